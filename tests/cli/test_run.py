import json
import re

import pytest


def values_of(result):
    return json.loads(result.stdout)["values"]


def test_the_value_alone_goes_to_stdout(motet, stub):
    """stdout holds the value and nothing else; usage and run id go to stderr."""
    result = motet("run", "prog.py:ask_default", "hello", "--model", stub.url, "--store", "none")

    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 1
    assert re.search(r"1 call  \d+ tokens .* run \d{8}-", result.stderr)


def test_inputs_become_options_with_their_types(motet):
    """Every kind of input is read from its option and reaches the program as its type."""
    result = motet(
        "run", "prog.py:typed", "--text", "t", "--count", "3", "--ratio", "none", "--loud",
        "--kind", "b", "--tags", "p", "--tags", "q", "--where", '{"x": 4}', "--table", '{"k": 1}',
        "--convert", "prog.py:shout", "--input-seed", "11", "--store", "none",
    )  # fmt: skip

    assert result.exit_code == 0, result.stderr
    assert values_of(result) == [
        "t", "3", "None", "True", "b", "p,q", "Point(x=4, y=0)", "{'k': 1}", "11", "T",
    ]  # fmt: skip


def test_defaults_of_the_signature_hold(motet):
    """Options that are not given leave the program's own defaults."""
    result = motet("run", "prog.py:typed", "t", "--store", "none")

    assert values_of(result) == ["t", "2", "0.5", "False", "a", "", "None", "None", "7", "-"]


def test_what_a_step_prints_does_not_reach_stdout(motet):
    """Prints of user code go to stderr, so that pipes carry only the value."""
    result = motet("run", "prog.py:typed", "t", "--store", "none", "--json")

    assert json.loads(result.stdout)["value"]["values"][0] == "t"
    assert "printed by a step" in result.stderr


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--count", "three"], "count is 'three': it must be a whole number"),
        (["--ratio", "x"], "ratio is 'x': it must be a number"),
        (["--kind", "aa"], "kind is 'aa': it must be one of a, b"),
        (["--where", "{"], "where is '{'"),
        (["--where", '{"x": "no"}'], "(at x)"),
        (["--table", '{"k": "v"}'], "(at k)"),
        (["--convert", "shout"], "a function is written file.py:name"),
        (["--convert", "prog.py:shoutt"], "no function 'shoutt'"),
    ],
)
def test_a_wrong_value_is_named(motet, options, problem):
    """A value that does not have its input's type is a usage error that names both."""
    result = motet("run", "prog.py:typed", "t", *options, "--store", "none")

    assert result.exit_code == 2
    assert problem in result.stderr
    assert "Traceback" not in result.stderr


def test_the_first_text_comes_from_stdin_or_a_file(motet, tmp_path):
    """`-` reads stdin and `@file` a file; the option takes such a text as it is."""
    (tmp_path / "q.txt").write_text("from a file\n")

    piped = motet("run", "prog.py:typed", "-", "--store", "none", stdin="from stdin\n")
    filed = motet("run", "prog.py:typed", "@q.txt", "--store", "none")
    literal = motet("run", "prog.py:typed", "--text", "@q.txt", "--store", "none")
    absent = motet("run", "prog.py:typed", "@absent.txt", "--store", "none")

    assert values_of(piped)[0] == "from stdin"
    assert values_of(filed)[0] == "from a file"
    assert values_of(literal)[0] == "@q.txt"
    assert absent.exit_code == 2
    assert "@absent.txt cannot be read" in absent.stderr


def test_a_missing_input_is_named(motet):
    """Without a required input nothing runs, and its option is told."""
    result = motet("run", "prog.py:typed", "--store", "none")

    assert result.exit_code == 2
    assert "typed needs text" in result.stderr
    assert "--text" in result.stderr


def test_model_inputs_take_texts_and_the_default(motet, stub):
    """A list of models is a repeated option; a required one not given is --model."""
    base = ["run", "prog.py:ask_models", "q", "--store", "none", "--json"]

    default = motet(*base, "--model", stub.url)
    several = motet(*base, "--models", f"{stub.url}#stub", "--models", stub.url,
                    "--judge", stub.url)  # fmt: skip

    assert len(json.loads(default.stdout)["value"]) == 1
    assert len(json.loads(several.stdout)["value"]) == 3


def test_json_is_one_object(motet, stub):
    """--json prints value, usage, cost, run id and duration; prices make a cost."""
    result = motet("run", "prog.py:ask_default", "two words", "--model", stub.url, "--json",
                   "--price-prompt", "1e6", "--price-completion", "0", "--store", "none")  # fmt: skip
    shown = json.loads(result.stdout)

    assert set(shown) == {"value", "usage", "cost", "run_id", "duration_s"}
    assert shown["usage"]["calls"] == 1
    assert shown["cost"] == shown["usage"]["prompt_tokens"]


def test_stream_prints_the_last_stage_once(motet, stub):
    """--stream prints the same text that the value is, once."""
    args = ["run", "prog.py:ask_default", "q", "--model", stub.url, "--store", "none"]

    plain = motet(*args)
    streamed = motet(*args, "--stream")

    assert streamed.stdout == plain.stdout
    assert streamed.exit_code == 0


def test_events_are_json_lines(motet, stub, tmp_path):
    """--events writes every event of the run as a JSON line."""
    motet("run", "prog.py:ask_default", "q", "--model", stub.url, "--store", "none",
          "--events", "events.jsonl")  # fmt: skip
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    names = [json.loads(line)["event"] for line in lines]

    assert names[0] == "RunStarted"
    assert names[-1] == "RunFinished"
    assert "EngineCalled" in names


def test_events_that_find_no_room_cost_no_answer(motet, stub, caplog):
    """Where --events cannot be written to, that is told, and the answer comes all the same."""
    result = motet("run", "prog.py:ask", "q", "--model", stub.url, "--events", "/dev/full")

    assert result.exit_code == 0
    assert result.stdout.strip()
    assert "No space left" in caplog.text
    assert "Traceback" not in result.stderr + caplog.text


def test_quiet_leaves_stderr_empty(motet, stub):
    """--quiet shows neither progress nor summary."""
    result = motet("run", "prog.py:ask_default", "q", "--model", stub.url, "--store", "none", "-q")

    assert result.stderr == ""


def test_equal_requests_are_answered_from_the_cache(motet, stub):
    """A second equal run asks nothing; --no-cache asks again."""
    args = ["run", "prog.py:ask_default", "q", "--model", stub.url, "--store", "s.db", "--json"]

    first, second = motet(*args), motet(*args)
    asked = len(stub.digests)
    motet(*args, "--no-cache")

    assert json.loads(first.stdout)["value"] == json.loads(second.stdout)["value"]
    assert asked == 1
    assert len(stub.digests) == 2


def test_a_spent_budget_has_its_own_exit_code(motet, stub):
    """A budget that ends the run gives 5, names the limit, and prints the resume command."""
    result = motet("run", "prog.py:wide", "q", "--model", stub.url, "--budget-calls", "2",
                   "--store", "s.db")  # fmt: skip

    assert result.exit_code == 5
    assert "max_calls is 2" in result.stderr
    assert "--budget-calls" in result.stderr
    assert "motet runs resume" in result.stderr


def test_a_failed_run_tells_why_and_how_to_resume(motet, stub):
    """A step that raised gives 1; control characters of its message are escaped on the way."""
    result = motet("run", "prog.py:fails", "q", "--model", stub.url, "--store", "s.db", "--json")

    assert result.exit_code == 1
    assert "ZeroDivisionError: no \\x1b[31m way" in result.stderr
    assert re.search(r"resume it by: motet runs resume \S+", result.stderr)
    assert json.loads(result.stdout)["error"]["type"] == "StepError"
    assert "Traceback" not in result.output


def test_a_model_that_the_server_lacks(motet, stub):
    """A missing model gives 4 and says how to list the models."""
    result = motet("run", "prog.py:ask_default", "q", "--model", f"{stub.url}#absent",
                   "--store", "none")  # fmt: skip

    assert result.exit_code == 4
    assert "absent" in result.stderr
    assert "motet models" in result.stderr


def test_a_dead_server_fails_in_seconds(motet):
    """A refused connection gives 4 within ten seconds for one call."""
    import time

    began = time.monotonic()
    result = motet("run", "prog.py:ask_default", "q", "--model", "http://127.0.0.1:9/v1",
                   "--store", "none")  # fmt: skip

    assert result.exit_code == 4
    assert time.monotonic() - began < 10
    assert "is the server running" in result.stderr


@pytest.mark.parametrize("model", ["smollm2", "ftp://host/x", "http://u:p@host/v1"])
def test_a_wrong_model_text_is_a_usage_error(motet, model):
    """A text that names no engine gives 2."""
    result = motet("run", "prog.py:ask_default", "q", "--model", model, "--store", "none")

    assert result.exit_code == 2


def test_an_unreadable_store_has_its_own_exit_code(motet, stub, tmp_path):
    """A store that is no database, or a folder, gives 3 before anything is asked."""
    (tmp_path / "bad.db").write_text("this is no database, but a text " * 100)

    for store in ("bad.db", str(tmp_path), "ftp://host/db"):
        result = motet("run", "prog.py:ask_default", "q", "--model", stub.url, "--store", store)

        assert result.exit_code == 3, result.output
        assert "--store" in result.stderr

    assert stub.digests == []


def test_program_help_shows_its_inputs(motet):
    """`run PROGRAM --help` lists the program's inputs with their texts, brackets included."""
    result = motet("run", "prog.py:typed", "--help")

    assert result.exit_code == 0
    assert "Show what it was given." in result.stdout
    assert "in [brackets]" in result.stdout
    for option in ("--count", "--loud", "--kind", "a|b", "--input-seed", "FILE.PY:NAME"):
        assert option in result.stdout


def test_the_key_is_kept_out_of_store_and_output(motet, start_stub, tmp_path):
    """An API key goes to the server only: not into the store, the events or the messages."""
    server = start_stub("--api-key", "sk-very-secret")

    result = motet("run", "prog.py:ask_default", "q", "--model", server.url, "--store", "s.db",
                   "--events", "e.jsonl", "--json",
                   env={"MOTET_API_KEY": "sk-very-secret"})  # fmt: skip
    refused = motet("run", "prog.py:ask_default", "other", "--model", server.url,
                    "--store", "s.db", env={"MOTET_API_KEY": "sk-very-wrong"})  # fmt: skip

    assert result.exit_code == 0, result.stderr
    assert refused.exit_code != 0
    assert "sk-very" not in result.output + refused.output
    for name in ("s.db", "s.db-wal", "e.jsonl"):
        if (tmp_path / name).exists():
            assert b"sk-very" not in (tmp_path / name).read_bytes()
