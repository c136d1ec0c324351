import json
import re
import shlex

import pytest

from motet.cli.runs import call_value
from motet.engine import Reply, Usage
from motet.prompts import dump_reply
from motet.store.records import CallRecord
from motet.types import Embedding


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


def test_the_printed_resume_command_resumes(motet, stub, tmp_path):
    """It names the store that the run is in, in the failure and in `runs show`."""
    stopped = motet("run", "prog.py:chain", "q", "--length", "3", "--model", stub.url,
                    "--budget-calls", "1", "--store", "my runs.db")  # fmt: skip
    [printed] = re.findall(r"resume it by: motet (.+)", stopped.stderr)

    words = shlex.split(printed)
    shown = motet("runs", "show", words[2], "--store", "my runs.db").stdout
    resumed = motet(*words, "--budget-calls", "9")
    there = {"MOTET_STORE": str(tmp_path / "env.db")}
    elsewhere = motet("run", "prog.py:chain", "q", "--length", "3", "--model", stub.url,
                      "--budget-calls", "1", "--no-cache", env=there)  # fmt: skip

    assert words[3:] == ["--store", "my runs.db"]
    assert f"resume   motet {printed}\n" in shown
    assert resumed.exit_code == 0, resumed.stderr
    assert "motet runs resume" in elsewhere.stderr
    assert "--store" not in elsewhere.stderr


@pytest.mark.parametrize("where", ["nofile/none.db", "sqlite:///nofile/none.db"])
@pytest.mark.parametrize(
    "command", [["list"], ["show", "r"], ["resume", "r"], ["diff", "r", "s"], ["rm", "r"]]
)
def test_commands_that_read_make_no_store(motet, tmp_path, command, where):
    """A mistyped store is told with 3, and nothing is created."""
    result = motet("runs", *command, "--store", where)

    assert result.exit_code == 3
    assert f"there is no store at {where}" in result.stderr
    assert not (tmp_path / "nofile").exists()


def test_the_default_store_need_not_exist(motet):
    """Before the first run there are no runs, which is no error."""
    result = motet("runs", "list")

    assert result.exit_code == 0
    assert "no runs yet" in result.stderr


def test_nothing_said_is_not_shown(motet, stub):
    """Where no model was called, no command is told that would show what it said."""
    silent = motet("run", "solve", "q", "--algorithm", "best-of-n(n=2, choose='majority')",
                   "--limits", '{"max_proposals": 0}', "--model", stub.url,
                   "--store", "s.db")  # fmt: skip

    assert silent.exit_code == 1
    assert "nothing to show" in silent.stderr
    assert "--prompts" not in silent.stderr


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


def test_a_cost_that_nobody_knows_is_not_zero(motet, run):
    """Without a price the cost is `-` and null; with one it is a number, be it 0."""
    unknown, free = run(), run("--seed", "2", "--price-prompt", "0", "--price-completion", "0")

    listed = {r["run_id"]: r["cost"] for r in json.loads(runs(motet, "list", "--json").stdout)}
    shown = json.loads(runs(motet, "show", unknown, "--json").stdout)
    text = runs(motet, "show", unknown).stdout

    assert listed == {unknown: None, free: 0.0}
    assert [c["cost"] for c in shown["calls"] if c["kind"] == "prompt"] == [None, None]
    assert "cost     -" in text


def test_list_finds_programs_by_their_short_names(motet, run):
    """--program takes what the table shows; where nothing is found that is said."""
    run_id = run()

    found = [json.loads(runs(motet, "list", "--json", "--program", name).stdout)
             for name in ("wide", "prog:wide")]  # fmt: skip
    nothing = runs(motet, "list", "--program", "ide")

    assert [[r["run_id"] for r in records] for records in found] == [[run_id], [run_id]]
    assert "no run has program 'ide'" in nothing.stderr
    assert "no runs yet" not in nothing.stderr


def test_a_killed_run_shows_what_it_paid(start_stub, spawn, motet):
    """After kill -9 the usage is that of the kept calls; while it runs, the run is running."""
    stub = start_stub("--delay-ms", "100")
    process = spawn("run", "prog.py:chain", "q", "--length", "40", "--model", stub.url,
                    "--store", "s.db")  # fmt: skip
    stub.wait_for(8)
    alive = runs(motet, "list").stdout
    process.kill()
    process.wait()

    listed = runs(motet, "list").stdout
    [record] = json.loads(runs(motet, "list", "--json").stdout)
    text = runs(motet, "show", record["run_id"]).stdout

    assert " running " in alive
    assert "interrupted?" in listed
    assert record["usage"]["calls"] == text.count("+ ask on") > 0
    assert "used     0 calls" not in text
    assert "motet runs resume" in text


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"rewards": ((0.5, 1.0),)}, ((0.5, 1.0),)),
        ({"embedding": Embedding((0.5, 1.0))}, (0.5, 1.0)),
    ],
)
def test_the_numbers_of_a_reward_model_or_a_vector_are_shown(given, shown):
    """They are the call's value, since it has no text."""
    reply = Reply((), Usage(3), **given)
    call = CallRecord(
        run_id="r",
        call_id="c",
        parent_id=None,
        slot="0/0",
        operation="judged",
        kind="prompt",
        status="finished",
        value_digest="d",
    )

    assert call_value(call, {"d": dump_reply(reply)}) == shown
