import json

import pytest


@pytest.fixture
def run(motet, stub):
    """Run `prog.py:wide` in store s.db; give its run id."""

    def start(*more):
        result = motet("run", "prog.py:wide", "q", "--width", "2", "--model", stub.url,
                       "--store", "s.db", "--json", *more)  # fmt: skip
        return json.loads(result.stdout)["run_id"]

    return start


def runs(motet, *args, **kwargs):
    return motet("runs", *args, "--store", "s.db", **kwargs)


def test_list_shows_the_newest_first(motet, run):
    """Runs are listed with status, program and usage; --json parses; filters hold."""
    first, second = run(), run("--seed", "5")

    text = runs(motet, "list").stdout
    shown = json.loads(runs(motet, "list", "--json").stdout)

    assert text.splitlines()[0].split()[:3] == ["RUN", "STATUS", "PROGRAM"]
    assert "finished" in text
    assert {r["run_id"] for r in shown} == {first, second}
    assert len(json.loads(runs(motet, "list", "--json", "-n", "1").stdout)) == 1
    assert json.loads(runs(motet, "list", "--json", "--status", "failed").stdout) == []


def test_show_prints_the_call_tree(motet, run):
    """A run's calls are shown under their makers with usage and values, prompts on demand."""
    run_id = run()

    text = runs(motet, "show", run_id[:17]).stdout
    prompts = runs(motet, "show", run_id, "--prompts").stdout
    shown = json.loads(runs(motet, "show", run_id, "--json", "--prompts").stdout)

    assert "status   finished" in text
    assert text.count("+ ask on") == 2
    assert "    = " in text
    assert "| user: q 0" not in text
    assert "| user: q 0" in prompts
    assert [c["operation"] for c in shown["calls"]].count("prog:ask") == 2
    assert all(isinstance(c["value"], str) for c in shown["calls"] if c["kind"] == "prompt")


def test_show_escapes_hostile_values(motet):
    """Values are shown on one line, control characters as escapes."""
    motet("run", "prog.py:hostile", "q", "--store", "s.db")
    [record] = json.loads(runs(motet, "list", "--json").stdout)

    text = runs(motet, "show", record["run_id"]).stdout

    assert "\x1b" not in text
    assert "\\x1b]0;title" in text


def test_resume_finishes_a_run_whose_budget_ended(motet, stub):
    """A run that stopped at its budget goes on with a larger one; the finished part is kept."""
    stopped = motet("run", "prog.py:chain", "q", "--length", "5", "--model", stub.url,
                    "--budget-calls", "2", "--store", "s.db", "--json")  # fmt: skip
    run_id = json.loads(stopped.stdout)["run_id"]

    still = runs(motet, "resume", run_id)
    resumed = runs(motet, "resume", run_id, "--budget-calls", "50", "--json")
    whole = motet("run", "prog.py:chain", "q", "--length", "5", "--model", stub.url,
                  "--store", "none", "--json")  # fmt: skip

    assert stopped.exit_code == 5
    assert still.exit_code == 5
    assert resumed.exit_code == 0, resumed.stderr
    assert json.loads(resumed.stdout)["value"] == json.loads(whole.stdout)["value"]
    assert json.loads(resumed.stdout)["run_id"] == run_id
    assert len(set(stub.digests)) == 5


def test_resume_keeps_inputs_model_and_seed(motet, stub):
    """The resumed program has the inputs, the model and the seed that it was started with."""
    failed = motet("run", "prog.py:chain", "q", "--length", "3", "--fail-at", "2", "--seed", "9",
                   "--model", stub.url, "--store", "s.db")  # fmt: skip
    [record] = json.loads(runs(motet, "list", "--json").stdout)

    again = runs(motet, "resume", record["run_id"])
    command = record["manifest"]["command"]

    assert failed.exit_code == again.exit_code == 1
    assert "failed at 2" in again.stderr
    assert command["inputs"] == {"text": "q", "length": 3, "fail_at": 2}
    assert command["settings"]["model"] == stub.url
    assert record["manifest"]["seed"] == 9
    assert len(stub.digests) == 2


def test_resume_refuses_a_changed_program(motet, stub, home):
    """A program whose calls are others now is not mixed with the journal."""
    motet("run", "prog.py:chain", "q", "--fail-at", "2", "--model", stub.url, "--store", "s.db")
    [record] = json.loads(runs(motet, "list", "--json").stdout)
    import sys

    del sys.modules["prog"]
    source = (home / "prog.py").read_text()
    (home / "prog.py").write_text(source.replace("[[delay=50]]", "changed"))

    result = runs(motet, "resume", record["run_id"])

    assert result.exit_code in (1, 2)
    assert "undo the change" in result.stderr


def test_diff_shows_what_differs(motet, run):
    """Two runs with other seeds differ in their values; a run does not differ from itself."""
    first, second = run(), run("--seed", "5")

    same = runs(motet, "diff", first, first)
    other = runs(motet, "diff", first, second)
    shown = json.loads(runs(motet, "diff", first, second, "--json").stdout)

    assert same.exit_code == 0
    assert "no call differs" in same.stdout
    assert other.exit_code == 1
    assert "- value:" in other.stdout
    assert "+ value:" in other.stdout
    assert len([d for d in shown if "ask@" in d["call"]]) == 2


def test_rm_removes_runs(motet, run):
    """Removed runs are gone; an unknown id is told with 3."""
    first, second = run(), run("--seed", "5")

    removed = runs(motet, "rm", first)
    unknown = runs(motet, "rm", "19990101")

    assert removed.exit_code == 0
    assert [r["run_id"] for r in json.loads(runs(motet, "list", "--json").stdout)] == [second]
    assert unknown.exit_code == 3
    assert "motet runs list" in unknown.stderr


def test_without_a_store_there_are_no_runs(motet):
    """`--store none` and the runs commands exclude each other."""
    result = motet("runs", "list", "--store", "none")

    assert result.exit_code == 2
