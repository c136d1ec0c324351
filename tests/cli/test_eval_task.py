"""`motet eval TASK`: its folder, its table, its resumption, and what it refuses."""

import json
import signal
import subprocess
from collections import Counter
from dataclasses import replace

import pytest

from motet.cli.eval_task import legend_of
from motet.evaluation.report_files import read_report

VOTE = "self_consistency(n=3, max_tokens=40)"
ASK = "prog.py:ask"


@pytest.fixture
def rows(tmp_path):
    found = [{"id": f"q{i}", "question": f"What is {i} + {i}?", "answer": i + i} for i in range(6)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))
    return found


def evaluation(stub, *more):
    return ["eval", "rows.jsonl", "--program", VOTE, "--program", ASK, "--model", stub.url,
            "--sample-tokens", "40", "--max-samples", "4", "--out", "out", *more]  # fmt: skip


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def killed(process, stub, num, number):
    stub.wait_for(num)
    process.send_signal(number)
    return process.communicate(timeout=30)


def test_an_evaluation_writes_figures_report_page_and_table(motet, stub, rows, tmp_path):
    """Every attempt has a figure and one of self-consistency; every contender a line of each."""
    result = motet(*evaluation(stub, "--seeds", "2"))

    assert result.exit_code == 0, result.stderr
    figures = read(tmp_path / "out" / "figures.jsonl")
    counted = Counter((figure["contender"], figure["is_matched"]) for figure in figures)
    assert counted == {(name, is_m): 12 for name in (VOTE, ASK) for is_m in (False, True)}
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [line["name"] for line in report["lines"]] == [VOTE, ASK]
    assert report["lines"][0]["lead"] is None
    assert report["lines"][1]["lead"] is not None
    assert (report["num_rows"], report["num_seeds"], report["task"]) == (6, 2, "rows")
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert VOTE.replace("'", "&#x27;") in page
    head, *lines = result.stdout.splitlines()
    assert head.split()[:2] == ["CONTENDER", "ACCURACY"]
    assert [line.split("  ")[0] for line in lines] == [VOTE, ASK]
    assert "\n12 attempts" not in result.stderr
    assert "\n24 attempts" in result.stderr


def test_json_prints_the_report_alone(motet, stub, rows, tmp_path):
    """With --json stdout holds one object, that of report.json; with --quiet stderr nothing."""
    result = motet(*evaluation(stub, "--json", "--quiet", "-n", "2"))

    report = json.loads(result.stdout)
    assert report == json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["num_rows"] == 2
    assert result.stderr == ""


def test_every_program_runs_with_every_model(motet, start_stub, rows, tmp_path):
    """Two programs and two models make four contenders, whose names say the model."""
    first, second = start_stub(), start_stub()
    command = evaluation(first, "--model", second.url, "-n", "2", "--json", "-q")

    result = motet(*command)

    assert result.exit_code == 0, result.stderr
    names = [line["name"] for line in json.loads(result.stdout)["lines"]]
    urls = (first.url, second.url)
    assert names == [f"{program} on {url}" for program in (VOTE, ASK) for url in urls]
    assert first.digests
    assert second.digests


def test_a_finished_evaluation_asks_nothing_again(motet, stub, rows, tmp_path):
    """Started again with the same folder, the command shows the same and sends no request."""
    first = motet(*evaluation(stub))
    asked, figures = len(stub.digests), (tmp_path / "out" / "figures.jsonl").read_bytes()
    again = motet(*evaluation(stub))

    assert again.exit_code == 0, again.stderr
    assert "out holds this study, finished; no model was asked" in again.stderr
    assert "going on" not in again.stderr
    assert again.stdout == first.stdout
    assert len(stub.digests) == asked
    assert (tmp_path / "out" / "figures.jsonl").read_bytes() == figures


def test_after_a_kill_nothing_finished_is_asked_again(start_stub, spawn, motet, rows, tmp_path):
    """kill -9, twice: only requests that were in flight are repeated, and the figures are whole."""
    stub = start_stub("--delay-ms", "60")
    command = evaluation(stub, "--concurrency", "2", "--seeds", "2")
    for num in (8, 20):
        killed(spawn(*command), stub, num, signal.SIGKILL)
    result = motet(*command)
    whole = motet(*["whole" if part == "out" else part for part in command])

    assert result.exit_code == 0, result.stderr
    assert whole.exit_code == 0, whole.stderr
    names = ("contender", "is_matched", "row", "seed", "text", "value", "missing", "tokens")
    found, expected = (
        [{name: figure[name] for name in names} for figure in read(tmp_path / f / "figures.jsonl")]
        for f in ("out", "whole")
    )
    assert found == expected
    repeated = sum(count - 2 for count in Counter(stub.digests).values() if count > 2)
    assert repeated <= 2 * 2


def test_an_interrupt_keeps_what_is_done(start_stub, spawn, motet, rows, tmp_path):
    """Ctrl-C ends with 130 and says how to go on; nothing is asked twice."""
    stub = start_stub("--delay-ms", "100")
    command = evaluation(stub, "--concurrency", "2")

    process = spawn(*command)
    _, told = killed(process, stub, 6, signal.SIGINT)
    result = motet(*command)

    assert process.returncode == 130
    assert "of 12 attempts are kept" in told
    assert "start the same command again" in told
    assert result.exit_code == 0, result.stderr
    assert max(Counter(stub.digests).values()) == 1


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["--seeds", "2"], "was begun with seeds 1, not 2"),
        (["--metric", "text"], 'was begun with metric "auto", not "text"'),
        (["--program", "prog.py:chain"], "was begun with contenders"),
        (
            ["--match", "cost", "--price-prompt", "1", "--price-completion", "2"],
            "was begun with price_prompt null, not 1.0",
        ),
        (["--max-tokens", "900"], "was begun with max_tokens null, not 900"),
        (["--sample-tokens", "30"], "was begun with sample_tokens 40, not 30"),
        (["--seed", "5"], "was begun with seed null, not 5"),
        (["-n", "3"], "was begun with rows 6, not 3"),
    ],
)
def test_other_settings_are_not_mixed_in(motet, stub, rows, tmp_path, changed, said):
    """A folder that was begun with other settings is refused, and stays as it is."""
    motet(*evaluation(stub))
    asked, figures = len(stub.digests), (tmp_path / "out" / "figures.jsonl").read_bytes()

    other = motet(*evaluation(stub), *changed)

    assert other.exit_code == 2
    assert said in other.stderr
    assert len(stub.digests) == asked
    assert (tmp_path / "out" / "figures.jsonl").read_bytes() == figures


def test_other_rows_are_not_mixed_in(motet, stub, rows, tmp_path):
    """Rows that were changed since are refused."""
    motet(*evaluation(stub))
    file = tmp_path / "rows.jsonl"
    file.write_text(file.read_text().replace("What is 1", "How much is 1"))

    changed = motet(*evaluation(stub))

    assert changed.exit_code == 2
    assert "rows and metric changed since" in " ".join(changed.stderr.split())


def test_figures_of_a_program_that_was_changed_since_are_not_shown_as_its_own(
    motet, stub, rows, tmp_path
):
    program = tmp_path / "edited.py"
    text = (
        "import motet\n\n@motet.prompt(user='{{ question }}')\ndef ask(question: str) -> str: ...\n"
    )
    program.write_text(text)
    command = (
        "eval",
        tmp_path / "rows.jsonl",
        "--program",
        f"{program}:ask",
        "--model",
        stub.url,
        "-n",
        "2",
    )
    assert motet(*command, "--out", tmp_path / "out").exit_code == 0

    program.write_text(text.replace("{{", "Please: {{"))
    changed = motet(*command, "--out", tmp_path / "out")

    assert changed.exit_code == 2
    assert "edited.py changed since" in " ".join(changed.stderr.split())


def test_a_folder_of_another_command_is_refused(motet, stub, rows, tmp_path):
    """A study of searches is not gone on with as an evaluation."""
    search = ["eval", "search", "rows.jsonl", "--task", "jsonl", "--model", stub.url, "--scorer",
              "none", "--budgets", "500", "--answer-tokens", "40", "--out", "out"]  # fmt: skip
    assert motet(*search).exit_code == 0

    result = motet(*evaluation(stub))

    assert result.exit_code == 2
    assert "out was begun by `motet eval search`, not by `motet eval`" in result.stderr


def test_a_budget_ends_the_run_and_a_larger_one_goes_on(motet, stub, rows, tmp_path):
    """The exit code is the budget's; with a larger one what was finished is not paid again."""
    spent = motet(*evaluation(stub, "--budget-calls", "5"))
    more = motet(*evaluation(stub, "--budget-calls", "500"))

    assert spent.exit_code == 5
    assert "raise --budget-calls" in spent.stderr
    assert more.exit_code == 0, more.stderr
    assert "out holds a study; going on with it" in more.stderr
    assert max(Counter(stub.digests).values()) == 1


def test_a_task_file_says_programs_models_and_limits(motet, stub, rows, tmp_path):
    """What the file says needs no option; paths of programs are relative to the file."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    (tmp_path / "prog.py").rename(folder / "own.py")
    (folder / "sums.toml").write_text(
        f'rows = "../rows.jsonl"\nlimit = 2\nattempt_tokens = 700\nprograms = ["own.py:ask"]\n'
        f'models = ["{stub.url}"]\nbudget = {{ max_calls = 1 }}\n'
    )

    command = ["eval", "tasks/sums.toml", "--out", "out", "--sample-tokens", "40"]
    few = motet(*command)
    result = motet(*command, "--budget-calls", "50", "--json", "-q")

    assert few.exit_code == 5
    assert "raise max_calls of budget in tasks/sums.toml, or give --budget-calls" in few.stderr
    report = json.loads(result.stdout)
    assert [line["name"] for line in report["lines"]] == ["tasks/own.py:ask"]
    assert (report["task"], report["num_rows"]) == ("sums", 2)
    state = json.loads((tmp_path / "out" / "study.json").read_text())
    assert state["signature"]["max_tokens"] == 700


def test_a_task_files_python_program_may_have_a_url_in_its_settings(motet, stub, rows, tmp_path):
    """The path is beside the task file; what stands in brackets is no path."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    (tmp_path / "prog.py").rename(folder / "own.py")
    program = f"own.py:ask_models(models=['{stub.url}'])"
    (folder / "sums.toml").write_text(f'rows = "../rows.jsonl"\nprograms = ["{program}"]\n')

    result = motet("eval", "tasks/sums.toml", "--out", "out", "-n", "1", "--json", "-q",
                   "--model", stub.url, "--sample-tokens", "40")  # fmt: skip

    assert result.exit_code == 0, result.stderr
    [line] = json.loads(result.stdout)["lines"]
    assert line["name"] == f"tasks/{program}"
    assert line["own"]["calls"] == 1


def test_a_key_is_not_sent_to_a_server_that_a_task_file_names(motet, rows, tmp_path):
    """Whoever wrote the file would get it: its models and its programs' models are refused."""
    server = "http://example.invalid/v1"
    file = tmp_path / "task.toml"
    command = ["eval", "task.toml", "--out", "out"]
    for line in (
        f'programs = ["prog.py:ask"]\nmodels = ["{server}"]',
        f"""programs = ["self_consistency(model='{server}')"]""",
        f'programs = ["prog.py:ask"]\nmetric = {{ name = "judge", model = "{server}" }}',
    ):
        file.write_text(f'rows = "rows.jsonl"\n{line}\n')
        result = motet(*command, env={"MOTET_API_KEY": "k"})

        assert result.exit_code == 2, line
        assert "the API key is not sent to http://example.invalid" in result.stderr


def test_a_password_in_a_url_is_refused_and_kept_nowhere(motet, stub, rows, tmp_path):
    """The engine refuses it before anything is asked; folder and messages do not hold it."""
    url = stub.url.replace("http://", "http://user:s3cret@")

    result = motet(*[url if part == stub.url else part for part in evaluation(stub)])

    assert result.exit_code == 2
    assert "holds a password" in result.stderr
    assert "s3cret" not in result.output
    kept = b"".join(file.read_bytes() for file in (tmp_path / "out").iterdir())
    assert b"s3cret" not in kept


def test_rows_that_are_none_are_told_and_left_out(motet, stub, rows, tmp_path):
    """They are named by their lines, the others are evaluated, and the exit code is 1."""
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write('{"question": "q"}\n{bad\n')

    result = motet(*evaluation(stub))

    assert result.exit_code == 1
    assert "left out: rows.jsonl, line 7: it has no right answer" in result.stderr
    assert "left out: rows.jsonl, line 8: malformed JSON" in result.stderr
    assert json.loads((tmp_path / "out" / "report.json").read_text())["num_left_out"] == 2


def test_a_row_without_a_right_answer_is_left_out_among_good_ones(motet, stub, rows, tmp_path):
    """It is counted and named by its line where the metric needs one; alone it is an error."""
    good = [{"question": "The capital of France?", "answer": "Paris"}] * 2
    bad = {"question": "3+1?", "answer": None}
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in [*good, bad, *good]))
    result = motet(*evaluation(stub, "-n", "3"))
    file.write_text(json.dumps(bad) + "\n")
    alone = motet(*evaluation(stub, "--out", "alone"))

    assert result.exit_code == 1, result.stderr
    assert "rows.jsonl, line 3: it has no right answer, which metric 'auto'" in result.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["num_rows"], report["num_left_out"]) == (3, 1)
    assert alone.exit_code == 2
    assert "rows.jsonl holds no rows; rows.jsonl, line 1: it has no right answer" in alone.stderr


def test_why_attempts_failed_is_told_where_nothing_else_is(motet, stub, rows):
    """A line a contender with its commonest reason; self-consistency beside no spend is no match."""
    result = motet(*evaluation(stub, "--max-tokens", "3", "--quiet"))
    told = motet(*evaluation(stub, "--max-tokens", "3"))

    [legend, first, second] = result.stderr.splitlines()
    assert legend.startswith("VOTES: ")
    assert first.startswith(f"{VOTE}: 6 failed: BudgetExhaustedError: ")
    assert second.startswith(f"{ASK}: 6 failed: BudgetExhaustedError: ")
    assert len(first) <= 300
    assert f"{ASK} spent no tokens, so self-consistency beside it" in told.stderr
    assert "is behind self-consistency" not in told.stderr


def test_a_time_that_is_not_known_is_explained(motet, stub, rows, tmp_path):
    """Attempts that were cut in two have none; others need no word of it."""
    assert motet(*evaluation(stub, "-n", "1")).exit_code == 0
    report = read_report(tmp_path / "out" / "report.json")
    unknown = [replace(line, own=replace(line.own, wall_s=None)) for line in report.lines]

    assert not any("SECONDS" in each for each in legend_of(report))
    assert any("SECONDS -" in each for each in legend_of(replace(report, lines=tuple(unknown))))


def test_a_small_cost_is_a_plain_decimal(motet, stub, rows):
    """In the table there is no exponent to be read."""
    prices = ("--price-prompt", "0.01", "--price-completion", "0.01")
    result = motet(*evaluation(stub, *prices))

    head, first, _ = result.stdout.splitlines()
    assert "COST" in head
    assert " 0.00000" in first
    assert "e-0" not in result.stdout + result.stderr


def test_an_engine_that_is_away_ends_with_its_code(motet, stub, rows, tmp_path):
    """Nothing is wrong with the rows, and the mended address takes the folder."""
    result = motet(*[a.replace(stub.url, "http://127.0.0.1:9/v1") for a in evaluation(stub)])

    assert result.exit_code == 4
    assert "nothing answers at 127.0.0.1:9" in result.stderr
    assert not (tmp_path / "out" / "report.json").exists()
    assert motet(*evaluation(stub)).exit_code == 0


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["--program", "self_consistncy"], "did you mean self_consistency?"),
        (["--program", "prog.py:asq"], "did you mean ask?"),
        (["--program", "nowhere.py:ask"], "there is no file 'nowhere.py'"),
        (["--program", "prog.py:undecorated"], "is a plain function"),
        (["--program", "self_consistency(m=8)"], "there is no input 'm'"),
        (["--program", "self_consistency(n='x')"], "--program self_consistency(n='x'): n is"),
        (["--program", "self_consistency(n=0)"], "samples is 0"),
        (["--program", "self_consistency(8)"], "settings are written as in"),
        (["--program", "self_consistency(n=__import__('os'))"], "settings are written as in"),
        (["--program", "self_consistency(n=2"], "settings are written as in"),
        (["--program", "self_consistency(n={1, 2})"], "is no number, text, list or table"),
        (["--program", "solve(algorithm='beem')"], "did you mean 'beam'?"),
        (["--program", "solve(algorithm='beam(n=4, width=3)')"], "n is 4; it must be a multiple"),
        (["--program", VOTE], f"--program names '{VOTE}' twice"),
        (["--program", "plan.json"], "there is no file 'plan.json'"),
        (["--model", "nope"], "model 'nope' is no engine URL"),
        (["--model", "smollm2"], "did you mean local:smollm2?"),
        (["--metric", "nummber"], "did you mean 'number'?"),
        (["--metric", "judge"], "--metric judge needs a judge"),
        (["--metric", "nowhere.py:score"], "there is no file 'nowhere.py'"),
        (["--metric", ASK], "prog.py:ask is a prompt, and a plain function is needed here"),
        (["--metric", "prog.py:chain"], "prog.py:chain is a program"),
        (["--judge", "local:smollm2"], "--judge has no part where the metric is auto"),
        (["--match", "token"], "match is 'token'"),
        (["--match", "cost"], "has no price\nhint: give --price-prompt and --price-completion"),
        (["--budget-cost", "1"], "has no price\nhint: give --price-prompt and --price-completion"),
        (["--seeds", "0"], "--seeds is 0; it must be a whole number"),
        (["--seeds", "many"], "Invalid value for '--seeds'"),
        (["-n", "0"], "-n is 0; it must be a whole number"),
        (["--max-tokens", "0"], "--max-tokens is 0"),
        (["--sample-tokens", "0"], "--sample-tokens is 0"),
        (["--max-samples", "0"], "--max-samples is 0"),
        (["--temperature", "-1"], "temperature is -1.0"),
        (["--temperature", "nan"], "temperature is nan"),
        (["--concurrency", "0"], "--concurrency is 0"),
        (["--max-concurrency", "0"], "max_concurrency is 0"),
        (["--budget-tokens", "-5"], "max_tokens is -5"),
        (["--budget-calls", "x"], "Invalid value for '--budget-calls'"),
        (["--budget-cost", "nan"], "max_cost is nan"),
        (["--timeout", "-1"], "timeout_s is -1.0"),
        (["--timeout", "0"], "--timeout is 0, in which nothing can be done"),
        (["--price-prompt", "-1", "--price-completion", "1"], "prompt is -1.0"),
        (["--price-prompt", "1"], "--price-prompt is given without --price-completion"),
        (["--price-completion", "1"], "--price-completion is given without --price-prompt"),
        (["--events", "nowhere/e"], "--events nowhere/e cannot be written"),
        (["--out", "rows.jsonl"], "--out rows.jsonl cannot be used"),
        (["--programm", "x"], "did you mean: --program"),
        (["--data", "nowhere", "--compare", "a", "b"], "has no part beside --compare"),
        (["extra"], "extra"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_told_before_anything_is_asked(motet, stub, rows, changed, said):
    """Exit code 2, a message that names the value, and no request."""
    result = motet(*evaluation(stub), *changed)

    assert result.exit_code == 2, result.stderr
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert not stub.digests


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serch", "rows.jsonl"], "did you mean `motet eval search`?"),
        (["rows.json", "--program", ASK, "--out", "out"], "is no file and no data set"),
        (["gms8k", "--program", ASK, "--out", "out"], "did you mean 'gsm8k'?"),
        (["gsm8k", "--program", ASK, "--out", "out"], "name it by --data FOLDER or MOTET_DATA"),
        (
            ["gsm8k", "--program", ASK, "--out", "out", "--data", "no"],
            "no is no folder of data sets\nhint: name it by --data FOLDER",
        ),
        (
            ["gsm8k", "--program", ASK, "--out", "out", "--data", "."],
            ". is no folder of data sets with gsm8k",
        ),
        (["nowhere.toml", "--program", ASK, "--out", "out"], "nowhere.toml cannot be read"),
        (["--program", ASK, "--out", "out"], "no task is named"),
        (["rows.jsonl", "--out", "out"], "no program is named"),
        (["rows.jsonl", "--program", ASK], "give --out FOLDER, where the report and the run"),
        (["rows.jsonl", "--program", "self_consistncy"], "did you mean self_consistency?"),
        (["nowhere.toml", "--program", ASK], "nowhere.toml cannot be read"),
        (["rows.jsonl", "--program", ASK, "--match", "token"], "match is 'token'"),
        (["--compare", "a"], "write --compare BEFORE AFTER"),
        (["--compare", "a", "--json"], "write --compare BEFORE AFTER"),
        (["--compare", "no", "no"], "report no cannot be read"),
        (["compare", "no"], "AFTER"),
    ],
)
def test_a_wrong_task_or_command_is_told(motet, rows, arguments, said):
    """Exit code 2, and what was meant or missing."""
    result = motet("eval", *arguments)

    assert result.exit_code == 2, result.stderr
    assert said in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("name", ["study.json.new", "runs.db", "figures.jsonl", "report.html"])
def test_a_folder_that_cannot_be_written_costs_nothing(motet, stub, rows, tmp_path, name):
    """Every place that is written at the end is tried before anything is asked."""
    (tmp_path / "out" / name).mkdir(parents=True)

    result = motet(*evaluation(stub))

    assert result.exit_code == 2
    assert f"{name.removesuffix('.new')} cannot be written: it is a folder" in result.stderr
    assert not stub.digests


def test_help_shows_a_task_s_options_and_the_commands(spawn):
    """`motet eval --help` shows both; `motet eval FILE --help` the options."""
    shown = []
    for arguments in (["eval", "--help"], ["eval", "rows.jsonl", "--help"]):
        process = spawn(*arguments, stdout=subprocess.PIPE)
        shown.append(process.communicate(timeout=30)[0])
        assert process.returncode == 0

    assert "Required. Gets report.html" in shown[0]
    for name in ("--program", "--compare", "search", "replay", "compare", "published"):
        assert name in shown[0], name
    assert "--program" in shown[1]
