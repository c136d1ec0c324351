import json

import pytest

from motet import programs
from motet.cli import loading
from motet.cli.options import (
    ENGINE_OPTIONS,
    LIMIT_OPTIONS,
    MAP_OPTIONS,
    PLAN_OPTIONS,
    RUN_OPTIONS,
    VALUE_OPTIONS,
)


def names(*groups):
    found = []
    for group in groups:
        for annotation, _ in group.values():
            [option] = annotation.__metadata__
            found += [n for n in (option.default, *(option.param_decls or ())) if n]
    return sorted({n for n in found if isinstance(n, str) and n.startswith("--")})


PROGRAM_OPTIONS = ["--count", "--ratio", "--loud", "--kind", "--tags", "--where", "--input-seed"]
CASES = [
    *(("run", n) for n in names(ENGINE_OPTIONS, LIMIT_OPTIONS, RUN_OPTIONS, VALUE_OPTIONS)),
    *(("plan", n) for n in names(ENGINE_OPTIONS, PLAN_OPTIONS)),
    *(("map", n) for n in names(ENGINE_OPTIONS, LIMIT_OPTIONS, RUN_OPTIONS, MAP_OPTIONS)),
    *(("run", n) for n in PROGRAM_OPTIONS),
]


@pytest.mark.parametrize(("command", "option"), CASES)
def test_a_typo_in_an_option_suggests_the_right_one(motet, command, option):
    """An option with a doubled letter is refused, and the right one is suggested."""
    typo = option[:-1] + option[-1] * 2

    for args in ([command, "prog.py:typed", "x", typo, "1"], [command, typo, "prog.py:typed", "x"]):
        result = motet(*args)

        assert result.exit_code == 2
        assert typo in result.stderr
        assert option in result.stderr.replace(typo, "")
        assert "Traceback" not in result.stderr


def test_the_options_are_really_there():
    """The cases above cover the options of every command."""
    assert len(CASES) > 45


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["rum"], "run"),
        (["runs", "lst"], "list"),
        (["run", "mixture_of_agent", "q"], "mixture_of_agents"),
        (["run", "best-of-m", "q"], "best_of_n"),
        (["run", "prog.py:typd", "q"], "did you mean typed?"),
        (["run", "prog.py"], "typed (program)"),
        (["run", "absent.py:x"], "there is no file"),
        (["run", "absent.json"], "there is no file"),
        (["run", "prog.py:undecorated"], "@motet.program"),
        (["run", "prog.py:HOSTILE"], "is a str, no program"),
        (["run"], "no program is named"),
        (["run", "prog.py:typed", "q", "extra"], "extra"),
        (["run", "prog.py:typed", "q", "--count"], "--count"),
        (["run", "prog.py:typed", "q", "--budget-tokens", "many"], "valid integer"),
        (["run", "prog.py:typed", "q", "--budget-tokens=-1"], "max_tokens is -1"),
        (["run", "prog.py:typed", "q", "--max-concurrency", "0"], "max_concurrency is 0"),
        (["run", "prog.py:typed", "q", "--budget-cost", "nan"], "nan"),
        (["map", "prog.py:typed"], "no rows are named"),
        (["map", "prog.py:typed", "absent.jsonl"], "absent.jsonl cannot be read"),
        (["models", "--url", "host"], "such as http://"),
        (["runs", "list", "--status", "done"], "finished"),
    ],
)
def test_what_is_wrong_is_told(motet, args, told):
    """A wrong command line gives 2, one short message, and no traceback."""
    result = motet(*args, env={"MOTET_STORE": "s.db"})

    assert result.exit_code == 2, result.output
    assert told in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_an_unforeseen_exception_is_one_line(motet, monkeypatch):
    """A bug gives 70 and one line; --debug adds the traceback."""

    def fail():
        raise LookupError("broken\ninside")

    monkeypatch.setattr(loading, "built_in", fail)
    plain = motet("list")
    debug = motet("list", "--debug")

    assert plain.exit_code == 70
    assert "LookupError: broken inside" in plain.stderr
    assert "--debug" in plain.stderr
    assert "Traceback" not in plain.stderr
    assert "Traceback" in debug.stderr


def test_the_version_is_printed(motet):
    """--version prints name and version."""
    result = motet("--version")

    assert result.exit_code == 0
    assert result.stdout.startswith("motet 0.")


def test_list_names_every_program(motet):
    """`list` prints each built-in program with its line, and as JSON."""
    text, shown = motet("list"), motet("list", "--json")

    for name in programs.__all__:
        assert name in text.stdout
    assert [p["name"] for p in json.loads(shown.stdout)] == programs.__all__


@pytest.mark.parametrize("args", [[], ["runs"]])
def test_without_a_command_the_help_is_shown(motet, args):
    """The bare command shows its help, and no empty error."""
    result = motet(*args)

    assert result.exit_code == 2
    assert "Usage" in result.output
    assert "error" not in result.stderr


def test_the_help_lists_every_exit_code(motet):
    """The page of --help names the codes 70 and 141 too."""
    text = " ".join(motet("--help").stdout.split())

    assert "70 a bug" in text
    assert "141 whoever" in text


def test_a_graph_file_hints_at_the_option_for_operations(motet, tmp_path):
    """An operation of a file that was not given is an error that names --operations."""
    planned = motet("plan", "prog.py:wide", "q", "--json")
    (tmp_path / "g.json").write_text(planned.stdout)

    result = motet("run", "g.json", "--store", "none")

    assert result.exit_code == 2
    assert "--operations FILE.py" in result.stderr


def test_a_wrong_server_is_no_reason_to_name_a_local_model(motet):
    """`models --url` asks for a server's URL, not for a model."""
    result = motet("models", "--url", "nonsense")

    assert result.exit_code == 2
    assert "local:" not in result.stderr


@pytest.mark.parametrize(
    ("setting", "told"),
    [("beam(n=4, wdth=2)", "did you mean 'width'?"), ("beem(n=4)", "beem")],
)
def test_a_wrong_setting_of_a_program_is_a_usage_error(motet, setting, told):
    """A setting that the program refuses before it calls a model ends with 2, and nothing is to be resumed."""
    model = "http://127.0.0.1:1/v1#m"
    result = motet("run", "solve", "2+2", "--algorithm", setting, "--model", model)

    assert result.exit_code == 2
    assert told in result.stderr
    assert "resume" not in result.stderr
