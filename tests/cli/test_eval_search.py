"""`motet eval search`: its folder, its table, its resumption, and what it refuses."""

import json
import signal
import subprocess
from collections import Counter

import pytest

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
    """The exit code is the engine's, and nothing is counted as wrong."""
    result = motet(*[a.replace(stub.url, "http://127.0.0.1:9/v1") for a in study(stub)])

    assert result.exit_code == 4
    assert "the same command goes on" in result.stderr
    assert not (tmp_path / "out" / "figures.jsonl").exists()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["--task", "gsm8"], "did you mean 'gsm8k'"),
        (["--algorithms", "bean(n=4)"], "did you mean 'beam'"),
        (["--algorithms", "beam(width=3)"], "n is 4; it must be a multiple of width, 3"),
        (["--algorithms", "beam(n=__import__('os'))"], "settings are written as"),
        (["--budgets", "60"], "budget is 60; it must hold a prompt and an answer of 60 tokens"),
        (["--scorer", "jury"], "scorer is 'jury'"),
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


def test_a_folder_that_cannot_be_read_as_a_study_is_told(motet, stub, questions, tmp_path):
    """A damaged state is named with what to do, not overwritten."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "study.json").write_text("{")

    result = motet(*study(stub))

    assert result.exit_code == 2
    assert "study.json is no state of `motet eval search`" in result.stderr


def test_help_names_the_tasks(spawn):
    """`motet eval search --help` shows its options."""
    process = spawn("eval", "search", "--help", stdout=subprocess.PIPE)
    shown, _ = process.communicate(timeout=30)

    assert process.returncode == 0
    assert "countdown" in shown
    assert "--budgets" in shown
