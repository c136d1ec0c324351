"""`motet eval search`: its folder, its table, its resumption, and what it refuses."""

import contextlib
import json
import resource
import signal
import subprocess
from collections import Counter

import pytest

from motet.errors import CapabilityError

SOLVE = "best-of-n(n=3, choose='majority')"


@pytest.fixture
def questions(tmp_path):
    rows = [{"id": f"q{i}", "question": f"What is {i} + {i}?", "answer": i + i} for i in range(6)]
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def study(stub, *more):
    return ["eval", "search", "questions.jsonl", "--task", "jsonl", "--model", stub.url,
            "--scorer", "none", "--algorithms", SOLVE, "--budgets", "1000", "--answer-tokens", "60",
            "--out", "out", *more]  # fmt: skip


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_study_writes_its_figures_table_summary_and_plot(motet, stub, questions, tmp_path):
    """Every attempt has a line, every method and budget a row and a point."""
    result = motet(*study(stub, "--budgets", "2000", "--seeds", "2"))

    assert result.exit_code == 0, result.stderr
    figures = read(tmp_path / "out" / "figures.jsonl")
    counted = Counter((figure["method"], figure["budget"]) for figure in figures)
    expected = {"greedy": 6, "self-consistency": 12, SOLVE: 12}
    assert counted == {(m, b): n for m, n in expected.items() for b in (1000, 2000)}
    assert {figure["question"] for figure in figures} == {f"q{i}" for i in range(6)}
    assert all(0 < figure["tokens"] <= figure["budget"] for figure in figures)
    rows = result.stdout.splitlines()
    assert rows[0].split()[:3] == ["METHOD", "BUDGET", "ACCURACY"]
    assert len(rows) == 7
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert len(summary["points"]) == 6
    assert summary["usage"]["prompt_tokens"] + summary["usage"]["completion_tokens"] == sum(
        figure["tokens"] for figure in figures
    )
    assert (tmp_path / "out" / "frontier.svg").read_text().startswith("<svg")


def test_json_prints_the_summary(motet, stub, questions, tmp_path):
    """With --json stdout holds one object, that of summary.json; with --quiet stderr nothing."""
    result = motet(*study(stub, "--json", "--quiet", "--limit", "2"))

    assert json.loads(result.stdout) == json.loads((tmp_path / "out" / "summary.json").read_text())
    assert json.loads(result.stdout)["num_questions"] == 2
    assert result.stderr == ""


def test_a_finished_study_asks_nothing_again(motet, stub, questions, tmp_path):
    """Started again with the same folder, the command shows the same and sends no request."""
    first = motet(*study(stub))
    asked, figures = len(stub.digests), (tmp_path / "out" / "figures.jsonl").read_bytes()
    again = motet(*study(stub))

    assert again.exit_code == 0, again.stderr
    assert again.stdout == first.stdout
    assert len(stub.digests) == asked
    assert (tmp_path / "out" / "figures.jsonl").read_bytes() == figures


def killed(process, stub, num, number):
    stub.wait_for(num)
    process.send_signal(number)
    return process.communicate(timeout=30)


def test_after_a_kill_nothing_finished_is_asked_again(
    start_stub, spawn, motet, questions, tmp_path
):
    """kill -9, twice: only requests that were in flight are repeated, and all budgets are kept."""
    stub = start_stub("--delay-ms", "60")
    command = study(stub, "--concurrency", "3", "--seeds", "2")
    for num in (8, 20):
        killed(spawn(*command), stub, num, signal.SIGKILL)
    result = motet(*command)
    whole = motet(*["whole" if part == "out" else part for part in command])

    assert result.exit_code == 0, result.stderr
    assert "holds a study; going on with it" in result.stderr
    assert whole.exit_code == 0, whole.stderr
    names = ("method", "seed", "question", "text", "tokens")
    found, expected = (
        [{name: figure[name] for name in names} for figure in read(tmp_path / f / "figures.jsonl")]
        for f in ("out", "whole")
    )
    assert found == expected
    before = stub.digests
    repeated = sum(count - 2 for count in Counter(before).values() if count > 2)
    assert repeated <= 2 * 3


def test_a_time_that_was_cut_is_not_told(start_stub, spawn, motet, questions, tmp_path):
    """Attempts that a kill cut in two have no time of their own."""
    stub = start_stub("--delay-ms", "100")
    command = study(stub, "--concurrency", "2")

    killed(spawn(*command), stub, 12, signal.SIGKILL)
    motet(*command)
    times = [figure["wall_s"] for figure in read(tmp_path / "out" / "figures.jsonl")]

    assert 1 <= times.count(None) <= 2
    assert all(time is None or 0.1 <= time < 5 for time in times)


def test_an_interrupt_keeps_what_is_done(start_stub, spawn, motet, questions, tmp_path):
    """Ctrl-C ends with 130 and says how to go on; the attempts that ended are kept."""
    stub = start_stub("--delay-ms", "100")
    command = study(stub, "--concurrency", "2")

    process = spawn(*command)
    _, told = killed(process, stub, 12, signal.SIGINT)
    asked = len(stub.digests)
    result = motet(*command)

    assert process.returncode == 130
    assert "of 18 attempts are kept" in told
    assert "start the same command again" in told
    assert not told.startswith("interrupted: 0 ")
    assert result.exit_code == 0
    assert max(Counter(stub.digests).values()) == 1
    assert len(stub.digests) > asked


def test_another_study_is_not_mixed_in(motet, stub, questions, tmp_path):
    """A folder that was begun with other settings or other questions is refused, and stays."""
    motet(*study(stub, "--limit", "2"))
    figures = (tmp_path / "out" / "figures.jsonl").read_bytes()

    other = motet(*study(stub, "--limit", "2", "--budgets", "3000"))
    questions.write_text(questions.read_text().replace("What is 1", "How much is 1"))
    changed = motet(*study(stub, "--limit", "2"))

    assert other.exit_code == 2
    assert "was begun with budgets [1000], not [1000, 3000]" in other.stderr
    assert changed.exit_code == 2
    assert "was begun with other questions" in changed.stderr
    assert (tmp_path / "out" / "figures.jsonl").read_bytes() == figures


def test_an_engine_that_is_away_ends_the_study_with_its_code(motet, stub, questions, tmp_path):
    """The exit code is the engine's, nothing is wrong, and the mended address takes the folder."""
    result = motet(*[a.replace(stub.url, "http://127.0.0.1:9/v1") for a in study(stub)])

    assert result.exit_code == 4
    assert "nothing answers at 127.0.0.1:9" in result.stderr
    assert not (tmp_path / "out" / "figures.jsonl").exists()
    assert motet(*study(stub)).exit_code == 0


def test_an_engine_that_goes_away_leaves_what_is_done(
    start_stub, spawn, motet, questions, tmp_path
):
    """A server that ends midway ends the study with its code, and says that it can go on."""
    stub = start_stub("--delay-ms", "60")
    process = spawn(*study(stub, "--concurrency", "2"))
    stub.wait_for(10)
    stub.process.kill()
    _, told = process.communicate(timeout=60)

    assert process.returncode == 4
    assert "of 18 attempts are kept; the same command goes on with them" in told
    assert not told.startswith("0 ")
    kept = (tmp_path / "out" / "study.json").read_bytes()
    again = motet(*study(stub, "--concurrency", "2"))
    assert again.exit_code == 4
    assert "the same command goes on" in again.stderr
    assert (tmp_path / "out" / "study.json").read_bytes() == kept


def test_a_resumption_that_fails_at_once_forgets_nothing(
    start_stub, spawn, motet, questions, tmp_path, monkeypatch
):
    """What was paid before stays, though this time nothing was asked."""

    async def refuse(needs):
        raise CapabilityError("the model lacks score")

    stub = start_stub("--delay-ms", "60")
    command = study(stub, "--concurrency", "2")
    killed(spawn(*command), stub, 8, signal.SIGKILL)
    kept = (tmp_path / "out" / "study.json").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr("motet.programs.frontier.study.refuse_unable", refuse)
        failed = motet(*command)

    assert failed.exit_code == 1
    assert "the model lacks score" in failed.stderr
    assert (tmp_path / "out" / "study.json").read_bytes() == kept


def test_rows_that_are_no_questions_are_told_and_left_out(motet, stub, questions, tmp_path):
    """They are named by their lines, the others are studied, and the exit code is 1."""
    with questions.open("a") as file:
        file.write('{"question": "q"}\n{bad\n')

    result = motet(*study(stub))

    assert result.exit_code == 1
    assert "left out: questions.jsonl, line 7: a row of jsonl needs answer" in result.stderr
    assert "left out: questions.jsonl, line 8: malformed JSON" in result.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["num_questions"], summary["num_rows_left_out"]) == (6, 2)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["--task", "gsm8"], "did you mean 'gsm8k'"),
        (["--algorithms", "bean(n=4)"], "did you mean 'beam'"),
        (["--algorithms", "beam(width=3)"], "n is 4; it must be a multiple of width, 3"),
        (["--algorithms", "beam(n=__import__('os'))"], "settings are written as"),
        (["--budgets", "60"], "budget is 60; it must hold a prompt and an answer of 60 tokens"),
        (["--scorer", "jury"], "scorer is 'jury'"),
        (["--scorer", "slef"], "did you mean 'self'"),
        (["--scorer", "Exact"], "did you mean 'exact'"),
        (["--algorithms", "greddy"], "did you mean 'greedy'"),
        (["--algorithms", "BestOfN(n=3, choose='majority')"], "one method"),
        (["--judge", "local:smollm2"], "--judge has no part where --scorer is none"),
        (["--model", "nope"], "model 'nope' is no engine URL"),
        (["--max-concurrency", "0"], "max_concurrency is 0"),
        (["--budgets", "many"], "Invalid value for '--budgets'"),
        (["--temperature", "nan"], "temperature is nan"),
        (["--budget", "5000"], "did you mean: --budgets"),
        (["--seed", "1"], "did you mean: --seeds"),
        (["--events", "nowhere/e"], "--events nowhere/e cannot be written"),
        (["--scorer", "exact"], "cannot be checked without the right one"),
        (["--limit", "0"], "limit is 0"),
        (["--seeds", "0"], "num_seeds is 0"),
        (["--step-tokens", "0"], "step_tokens is 0"),
        (["--temperature", "-1"], "temperature is -1.0"),
        (["--concurrency", "0"], "concurrency is 0"),
        (["--out", "questions.jsonl"], "--out questions.jsonl cannot be used"),
    ],
)
def test_a_wrong_option_is_told_before_anything_is_asked(motet, stub, questions, changed, said):
    """Exit code 2, a message that names the value, and no request."""
    result = motet(*study(stub), *changed)

    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert not stub.digests


def test_files_that_are_no_task_are_told(motet, stub, questions, tmp_path):
    """A missing file, a wrong row and a missing budget are each named."""
    missing = study(stub)
    missing[2] = "nowhere.jsonl"
    unlimited = [part for part in study(stub) if part not in ("--budgets", "1000")]

    assert "nowhere.jsonl cannot be read: No such file" in motet(*missing).stderr
    assert "no budget is given" in motet(*unlimited).stderr
    questions.write_text('{"question": "q"}\n')
    assert "line 1: a row of jsonl needs answer" in motet(*study(stub)).stderr
    assert not stub.digests


KEPT = {"signature": {}, "run_id": "20260101-000000-abcdef"}


@pytest.mark.parametrize(
    "state",
    [
        "{", "null", '"x"', "[1, 2]", "\udcff", "[" * 100_000, "{}",
        json.dumps({**KEPT, "signature": ["task"]}), json.dumps({**KEPT, "run_id": 5}),
        json.dumps({**KEPT, "run_id": ["a"]}), '{"signature": {}, "run_id": 1e999}',
    ],
)  # fmt: skip
def test_a_folder_that_cannot_be_read_as_a_study_is_told(motet, stub, questions, tmp_path, state):
    """A damaged state is named with what to do, and not overwritten."""
    (tmp_path / "out").mkdir()
    file = tmp_path / "out" / "study.json"
    file.write_text(state, errors="surrogateescape")
    before = file.read_bytes()

    result = motet(*study(stub))

    assert result.exit_code == 2
    assert "study.json is no state of `motet eval search`" in result.stderr
    assert "give another --out; or remove the file" in result.stderr
    assert file.read_bytes() == before
    assert not stub.digests


def test_a_number_without_end_in_a_state_is_another_setting(motet, stub, questions, tmp_path):
    """A state with 1e999 is one that was begun with other settings."""
    (tmp_path / "out").mkdir()
    state = '{"signature": {"task": 1e999}, "run_id": "r"}'
    (tmp_path / "out" / "study.json").write_text(state)

    result = motet(*study(stub))

    assert result.exit_code == 2
    assert 'was begun with task Infinity, not "jsonl"' in result.stderr


@pytest.mark.parametrize(
    "name", ["study.json.new", "runs.db", "figures.jsonl", "summary.json", "frontier.svg.new"]
)
def test_a_folder_that_cannot_be_written_costs_nothing(motet, stub, questions, tmp_path, name):
    """Every place that is written at the end is tried before anything is asked."""
    (tmp_path / "out" / name).mkdir(parents=True)

    result = motet(*study(stub))

    assert result.exit_code == 2
    assert f"{name.removesuffix('.new')} cannot be written: it is a folder" in result.stderr
    assert not stub.digests


def test_a_run_that_cannot_be_written_down_is_not_begun(
    motet, stub, questions, tmp_path, monkeypatch
):
    """Where the disk fills up just before the run begins, nothing is asked."""
    from motet.cli.eval_folder import Folder
    from motet.cli.failures import CommandError

    def full(self, run_id):
        raise CommandError("out/study.json cannot be written: No space left", code=1)

    monkeypatch.setattr(Folder, "begin", full)
    result = motet(*study(stub))

    assert result.exit_code == 1
    assert "out/study.json cannot be written: No space left" in result.stderr
    assert not stub.digests


def test_a_disk_that_fills_up_midway_costs_no_finished_attempt(
    stub, spawn, motet, questions, tmp_path
):
    """A store that cannot grow ends the study with its code; with room it goes on and ends."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))

    process = spawn(*study(stub, "--concurrency", "2", "--seeds", "4"), preexec_fn=limit)
    _, told = process.communicate(timeout=60)
    result = motet(*study(stub, "--concurrency", "2", "--seeds", "4"))

    assert process.returncode == 3, told
    assert "start the same command again" in told
    assert "--store" not in told
    assert result.exit_code == 0, result.stderr
    assert "going on with it" in result.stderr
    # Only what was in flight when the disk was full is asked again.
    assert sum(count - 1 for count in Counter(stub.digests).values()) <= 4


def test_a_run_that_is_gone_is_told(motet, stub, questions, tmp_path):
    """Without its store, or with another one, a study is not begun anew behind one's back."""
    motet(*study(stub))
    asked = len(stub.digests)
    (tmp_path / "out" / "runs.db").rename(tmp_path / "away.db")
    gone = motet(*study(stub))
    (tmp_path / "away.db").rename(tmp_path / "out" / "runs.db")
    file = tmp_path / "out" / "study.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "run_id": "01J"}))
    unknown = motet(*study(stub))
    (tmp_path / "out" / "runs.db").write_text("junk")
    junk = motet(*study(stub))

    assert (gone.exit_code, unknown.exit_code, junk.exit_code) == (2, 3, 3)
    assert "out/runs.db, which held it, is gone" in gone.stderr
    assert "no run begins with '01J'" in unknown.stderr
    assert "is not a database" in junk.stderr
    assert all("give another --out" in each.stderr for each in (gone, unknown, junk))
    assert "--store" not in unknown.stderr + junk.stderr
    assert len(stub.digests) == asked


def test_a_folder_that_is_in_use_is_refused(motet, stub, questions, tmp_path):
    """Two commands on one folder would pay twice: the second asks nothing."""
    from motet.cli.eval_folder import Folder

    with contextlib.closing(Folder(str(tmp_path / "out"), {}, ())):
        second = motet(*study(stub))
        assert not stub.digests
    third = motet(*study(stub))

    assert second.exit_code == 2
    assert "another process works on the study" in second.stderr
    assert third.exit_code == 0


def test_help_names_the_tasks(spawn):
    """`motet eval search --help` shows its options."""
    process = spawn("eval", "search", "--help", stdout=subprocess.PIPE)
    shown, _ = process.communicate(timeout=30)

    assert process.returncode == 0
    assert "countdown" in shown
    assert "--budgets" in shown
