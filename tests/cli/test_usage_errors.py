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


NOWHERE = ("--model", "http://127.0.0.1:1/v1#m", "--store", "none")


@pytest.mark.parametrize(
    ("program", "option", "given", "told"),
    [
        (
            "refine",
            "--algorithm",
            {"brunch": 2},
            ["'brunch'", "did you mean 'branch'?", "num_kept"],
        ),
        ("diver", "--algorithm", {"alfa": 0.1}, ["'alfa'", "did you mean 'alpha'?", "weight"]),
        ("steer", "--algorithm", {"nn": 2}, ["'nn'", "did you mean 'n'?", "ess_threshold"]),
        ("rstar", "--limits", {"max_proposal": 2}, ["did you mean 'max_proposals'?", "max_scores"]),
        (
            "prog.py:placed",
            "--spots",
            [{"x": 1, "z": 2}],
            ["spots has no 'z'", "there are x, inner"],
        ),
        (
            "prog.py:placed",
            "--spots",
            [{"x": 1, "inner": {"q": 1}}],
            ["no 'q'", "there are x, inner"],
        ),
    ],
)
def test_a_key_that_a_setting_does_not_have_is_refused(
    motet, tmp_path, program, option, given, told
):
    """It is named with the known ones, and no model is called."""
    with (tmp_path / "prog.py").open("a") as file:
        file.write(
            "\nimport dataclasses\n"
            "@dataclasses.dataclass\n"
            "class Spot:\n    x: int\n    inner: Spot | None = None\n"
            "@program\n"
            "def placed(text: str, spots: tuple[Spot, ...] = ()):\n    return ask(text)\n"
        )
    result = motet("run", program, "q", option, json.dumps(given), *NOWHERE)

    assert result.exit_code == 2, result.stderr
    for each in told:
        assert each in result.stderr


@pytest.mark.parametrize(
    ("program", "options", "told"),
    [
        ("refine", ["--algorithm", "refinement(brunch=2)"], "did you mean 'branch'?"),
        ("refine", ["--algorithm", '{"branch": 0}'], "branch is 0"),
        ("diver", ["--algorithm", "diver(alpha=2)"], "alpha is 2"),
        ("steer", ["--algorithm", "steering(n=0)"], "n is 0"),
        ("steer_steps", ["--scorer", "self", "--algorithm", "particles(n=0)"], "n is 0"),
        ("reward_guided", ["--reward", "self", "--algorithm", "transfer-q(k=0)"], "k is 0"),
    ],
)
def test_an_algorithm_is_given_as_its_text_or_as_json(motet, program, options, told):
    """Its settings are read from the command line, and checked before a model is called."""
    result = motet("run", program, "q", *options, *NOWHERE)

    assert result.exit_code == 2, result.stderr
    assert told in result.stderr


def page(result):
    """The text of a help page, without the lines around it."""
    return " ".join(result.output.replace("\u2502", " ").split())


def test_the_help_shows_defaults_that_can_be_read(motet, tmp_path):
    """A function has its name, limits of nothing are none, settings are those that differ."""
    with (tmp_path / "prog.py").open("a") as file:
        file.write(
            "\nfrom motet.search.beam import Beam\n"
            "@program\n"
            "def lifted(text: str, convert: Callable[[str], str] = shout,\n"
            "           beam: Beam = Beam(n=64, width=16)):\n    return ask(text)\n"
        )
    lifted = page(motet("run", "prog.py:lifted", "--help"))
    solve = page(motet("run", "solve", "--help"))
    refine = page(motet("run", "refine", "--help"))

    assert "Default: shout." in lifted
    assert "Default: Beam(n=64, width=16)." in lifted
    assert "Default: none." in solve
    assert "Default: '\\n\\n'." in solve
    assert "Default: Refinement()." in refine


@pytest.mark.parametrize(("program", "name"), [("play", "game"), ("agent_q", "environment")])
def test_an_input_that_only_python_can_make_is_no_json(motet, program, name):
    """The hint is to write a program in a file, and the help offers no JSON."""
    result = motet("run", program, "q", *NOWHERE)
    given = motet("run", program, "q", f"--{name}", "{}", *NOWHERE)

    assert result.exit_code == given.exit_code == 2
    assert f"{program} needs {name}" in result.stderr
    assert "motet run file.py:name" in result.stderr
    assert "JSON" not in result.stderr
    assert "in Python only" in given.stderr


@pytest.mark.parametrize(
    ("program", "option"), [("steer", "--potential"), ("reward_guided", "--baseline-reward")]
)
def test_the_help_offers_no_json_for_an_object_of_python(motet, program, option):
    """The option says that a program in a file gives it."""
    shown = page(motet("run", program, "--help", env={"COLUMNS": "200"})).partition(option)[2]

    assert shown.split()[0] == "PYTHON"
    assert "An object, only from a program in a file." in shown.partition(" --")[0]


def test_the_algorithms_are_named_where_one_is_missing(motet):
    """The hint and the help name what there is."""
    missing = motet("run", "solve", "2+2", *NOWHERE)

    assert missing.exit_code == 2
    for name in ("beam", "best-of-n", "mcts"):
        assert name in missing.stderr
        assert name in page(motet("run", "solve", "--help"))


@pytest.mark.parametrize("program", ["solve", "prog.py:typed"])
def test_an_unknown_option_points_to_the_help_of_the_program(motet, program):
    """The help that is named is the one that lists the right option."""
    result = motet("run", program, "q", "--algoritm", "beam")

    assert result.exit_code == 2
    assert f"see `motet run {program} --help`" in result.stderr.replace("root", "motet")


def test_what_a_server_cannot_do_is_a_usage_error(motet, stub):
    """A search that needs what the server lacks ends with 2 before it asks anything, with a hint."""
    result = motet("run", "solve", "2+2", "--algorithm", "beam", "--model", stub.url)

    assert result.exit_code == 2
    assert "lacks score" in result.stderr
    assert "majority" in result.stderr
    assert "resume" not in result.stderr
