"""`motet eval replay`: its table, its files, and what it refuses."""

import json
import xml.etree.ElementTree as ET

import pytest


@pytest.fixture
def recorded(tmp_path):
    rows = [
        {
            "id": f"q{i}",
            "solutions": [
                {"answer": "1", "correct": i % 2, "score": 0.9},
                {"answer": "2", "correct": 1, "score": 0.5},
                {"answer": "2", "correct": 1, "score": 0.3},
            ],
        }
        for i in range(6)
    ]
    path = tmp_path / "recorded.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_replay_writes_its_table_and_files(motet, recorded, tmp_path):
    """Majority is right, the best-scored on every other question; no model is named or asked."""
    result = motet("eval", "replay", recorded, "--out", "out")

    assert result.exit_code == 0, result.stderr
    rows = {tuple(line.split()[:2]): line.split()[2] for line in result.stdout.splitlines()}
    assert rows["majority", "3"] == "100.0"
    assert rows["best", "3"] == "50.0"
    assert rows["verified", "3"] == "100.0"
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["num_questions"] == 6
    svg = ET.fromstring((tmp_path / "out" / "frontier.svg").read_text())
    shown = {each.text for each in svg.iter()}
    assert {"one solution", "majority", "weighted", "best", "verified"} <= shown
    assert {"solutions to choose from", "scorer passes of an attempt"} <= shown
    figures = (tmp_path / "out" / "figures.jsonl").read_text().splitlines()
    assert len(figures) == 6 * 20 * (1 + 4 * 3)


def test_json_prints_the_summary_of_the_budgets_that_are_asked_for(motet, recorded):
    """Each method has a point for each budget; without --out no file is written."""
    result = motet("eval", "replay", recorded, "--budgets", "2", "--seeds", "3", "--json", "-q")

    points = json.loads(result.stdout)["points"]
    assert [(p["method"], p["budget"]) for p in points] == [
        ("one solution", 1), ("majority", 2), ("weighted", 2), ("best", 2), ("verified", 2),
    ]  # fmt: skip
    assert {p["num_seeds"] for p in points} == {3}
    base, *others = points
    assert base["gain"] is None
    for other in others:
        gained = other["accuracy"]["mean"] - base["accuracy"]["mean"]
        assert other["gain"]["mean"] == pytest.approx(gained)
    assert result.stderr == ""
    assert sorted(p.name for p in recorded.parent.iterdir()) == ["prog.py", "recorded.jsonl"]


def test_rows_that_hold_no_solutions_are_told_and_left_out(motet, recorded):
    """They are named by their lines, and the exit code is 1."""
    with recorded.open("a") as file:
        file.write('{"id": "x"}\n')

    result = motet("eval", "replay", recorded)

    assert result.exit_code == 1
    assert "line 7: a row has solutions, responses or steps" in result.stderr
    assert "6 questions" in result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--aggregate", "max"], "aggregate is 'max'; it must be one of last, min, prod, mean"),
        (["--budgets", "0"], "budget is 0"),
        (["--seeds", "0"], "num_seeds is 0"),
        (["--limit", "0"], "limit is 0"),
        (["--out", "recorded.jsonl"], "--out recorded.jsonl cannot be used"),
        (["--budget", "3"], "did you mean: --budgets"),
    ],
)
def test_a_wrong_option_is_told(motet, recorded, options, said):
    """Exit code 2 and a message that names the value."""
    result = motet("eval", "replay", recorded, *options)

    assert result.exit_code == 2
    assert said in result.stderr


def test_scores_of_several_evaluators_ask_for_the_option(motet, tmp_path):
    """The message names the option and the evaluators."""
    path = tmp_path / "several.jsonl"
    solution = {"answer": "1", "correct": 1, "scores": {"a": [0.1], "b": [0.2]}}
    path.write_text(json.dumps({"id": "q", "solutions": [solution]}) + "\n")

    result = motet("eval", "replay", path)

    assert result.exit_code == 2
    assert "there are a, b" in result.stderr
    assert "--evaluator" in result.stderr
