"""Replays of recorded solutions: how files are read, and what selectors make of them."""

from __future__ import annotations

import gzip
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError
from motet.programs.frontier.figures import Figure
from motet.programs.frontier.points import Point, points_of
from motet.programs.frontier.recorded import SAMPLED, Given, Problem, read_recorded
from motet.programs.frontier.replay import ONE, replayed
from motet.search.coverage import pass_at


def data(name: str) -> Path:
    folder = os.environ.get("MOTET_DATA")
    if not folder:
        pytest.skip("MOTET_DATA names no folder of data sets")
    return Path(folder) / name


def no_bad_row(said: str) -> None:
    raise AssertionError(said)


def points(figures: list[Figure]) -> dict[tuple[str, int], Point]:
    return {(p.method, p.budget): p for p in points_of(figures, base=ONE)}


def percents(figures: list[Figure]) -> dict[tuple[str, int], float]:
    return {key: 100 * point.accuracy.mean for key, point in points(figures).items()}


def problem(*given: Given) -> Problem:
    return Problem(id="p", solutions={SAMPLED: given})


def written(folder: Path, *rows: Any) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


# ---- the published sets ----------------------------------------------------------------------


def test_scored_samples_give_their_published_rates() -> None:
    """Eight samples with a reward model's scores: best, majority and verified as was computed."""
    expected = json.loads(data("qwen_bon8/expected.json").read_text())
    read = read_recorded(data("qwen_bon8/samples.jsonl.gz"), on_bad_row=no_bad_row)

    found = percents(replayed(read, num_seeds=8))

    assert len(read) == expected["n"]
    assert found["best", 8] == pytest.approx(expected["rm@8"], abs=1e-3)
    assert found["majority", 8] == pytest.approx(expected["maj@8_string"], abs=1e-3)
    assert found["verified", 8] == pytest.approx(expected["pass@8"], abs=1e-3)
    assert found[ONE, 1] == pytest.approx(expected["pass@1_mean"], abs=2)


def test_logs_of_trees_of_thoughts_give_their_published_rates() -> None:
    """The search over the logged thoughts and values ends as published, beside the samples."""
    expected = json.loads(data("tot_logs/expected.json").read_text())["game24"]
    read = read_recorded(data("tot_logs/game24.jsonl.gz"), on_bad_row=no_bad_row)

    figures = replayed(read)
    found = percents(figures)

    assert found["tree-of-thoughts, best", 1] == pytest.approx(
        expected["tot_b5_first_pct"], abs=1e-3
    )
    assert found["tree-of-thoughts, verified", 5] == pytest.approx(
        expected["tot_b5_any_of_5_pct"], abs=1e-3
    )
    assert found["verified", 100] == pytest.approx(expected["cot_best_of_100_pct"], abs=1e-3)
    assert found["direct, verified", 100] == pytest.approx(
        expected["standard_best_of_100_pct"], abs=1e-3
    )
    assert found[ONE, 1] == pytest.approx(expected["cot_mean_pct"], abs=1)
    assert points(figures)["tree-of-thoughts, best", 1].scores > 50


def test_logs_of_crosswords_give_their_published_numbers() -> None:
    """So many puzzles are solved by a state that was visited, with pruning and without."""
    expected = json.loads(data("tot_logs/expected.json").read_text())["crosswords"]
    read = read_recorded(data("tot_logs/crosswords.jsonl.gz"), on_bad_row=no_bad_row)

    found = percents(replayed(read))

    for method, name in (
        ("depth-first", "dfs_prune"),
        ("depth-first without pruning", "dfs_no_prune"),
    ):
        solved = 100 * expected[name]["solved"] / expected["n"]
        assert found[f"{method}, verified", 100] == pytest.approx(solved)
        assert found[f"{method}, verified", 4] == 0


def test_scored_steps_choose_as_their_least_score_says() -> None:
    """Of a right solution and wrong ones beside it the one whose least step score is highest."""
    path = data("prm_scored_steps/perturbation.jsonl.gz")
    best: dict[str, tuple[float, bool]] = {}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            for name, is_right in (("reference_scores", True), ("scores", False)):
                scored = (min(row[name]["math-shepherd"]), is_right)
                best[row["question"]] = max(best.get(row["question"], (-1.0, False)), scored)

    read = read_recorded(path, evaluator="math-shepherd", on_bad_row=no_bad_row)
    found = percents(replayed(read, num_seeds=1))

    largest = max(len(each.solutions[SAMPLED]) for each in read)
    rate = 100 * sum(is_right for _, is_right in best.values()) / len(best)
    assert len(read) == len(best)
    assert found["best", largest] == pytest.approx(rate)
    assert found["verified", largest] == 100


# ---- selectors -------------------------------------------------------------------------------


def test_each_selector_has_its_own_choice() -> None:
    """Two poor votes beat one good score by majority, not by weight, and never the verifier."""
    read = problem(
        Given(text="a", answer="1", is_right=False, score=0.3, weight=0.3),
        Given(text="b", answer="1", is_right=False, score=0.2, weight=0.2),
        Given(text="c", answer="2", is_right=False, score=0.6, weight=0.6),
        Given(text="d", answer="3", is_right=True, score=0.1, weight=0.1),
    )

    chosen = {f.method: f.answer for f in replayed([read], budgets=[4], num_seeds=1)}

    assert chosen["majority"] == "1"
    assert chosen["weighted"] == "2"
    assert chosen["best"] == "2"
    assert chosen["verified"] == "3"


def test_votes_are_weighted_by_shares_and_not_by_logits() -> None:
    """Two answers of little share together beat one of more, though its logit is higher."""
    low = Given(text="a", answer="1", is_right=True, score=-1.0, weight=0.27)
    high = Given(text="c", answer="2", is_right=False, score=0.0, weight=0.5)
    read = problem(low, replace(low, text="b"), high)

    chosen = {f.method: f.answer for f in replayed([read], budgets=[3], num_seeds=1)}

    assert (chosen["weighted"], chosen["best"]) == ("1", "2")


def test_methods_that_lack_what_they_need_are_left_out() -> None:
    """Without scores there is no best and no weight, without answers no vote."""
    bare = [Given(text="a", is_right=True), Given(text="b", is_right=False)]
    voting = [Given(text="a", is_right=True, answer="1"), Given(text="b", is_right=False)]

    assert {f.method for f in replayed([problem(*bare)])} == {ONE, "verified"}
    assert {f.method for f in replayed([problem(*voting)])} == {ONE, "majority", "verified"}


solutions = st.lists(
    st.builds(
        lambda answer, right, score: Given(
            text=f"{answer} {right} {score}", answer=answer, is_right=right, score=score,
            weight=score,
        ),
        st.sampled_from(["1", "2", None]), st.booleans(), st.floats(0, 1),
    ),
    min_size=1, max_size=9,
)  # fmt: skip


@given(st.lists(solutions, min_size=1, max_size=4), st.integers(1, 10))
def test_no_selector_does_better_than_the_verifier(samples: list[list[Given]], budget: int) -> None:
    """Of the same solutions, what any method gets right is right when it is verified."""
    read = [Problem(id=str(i), solutions={SAMPLED: each}) for i, each in enumerate(samples)]

    figures = replayed(read, budgets=[budget], num_seeds=3)

    right = {(f.question, f.seed): f.is_correct for f in figures if f.method == "verified"}
    assert all(right[f.question, f.seed] >= f.is_correct for f in figures if f.method != ONE)


@pytest.mark.parametrize("budget", [1, 2, 5])
def test_random_subsets_are_as_often_right_as_the_formula_says(budget: int) -> None:
    """Over many subsets what is verified comes to the unbiased pass@k."""
    read = [
        Problem(
            id=str(num),
            solutions={SAMPLED: [Given(text=str(i), is_right=i < num) for i in range(8)]},
        )
        for num in range(5)
    ]

    found = percents(replayed(read, budgets=[budget], num_seeds=1500))

    expected = 100 * sum(pass_at(budget, 8, num) for num in range(5)) / 5
    assert found["verified", budget] == pytest.approx(expected, abs=1.5)


# ---- files -----------------------------------------------------------------------------------


def test_solutions_are_read_with_their_scores_and_grades(tmp_path: Path) -> None:
    """Step scores become one, answers of one value are one, and the gold answer grades."""
    row = {
        "id": "x",
        "gold": "\\frac{1}{2}",
        "solutions": [
            {"text": "The answer is 0.5.", "scores": [0.9, 0.4, 0.8]},
            {"answer": "1/3", "score": 2.5},
        ],
    }

    [read] = read_recorded(written(tmp_path, row), on_bad_row=no_bad_row)

    first, second = read.solutions[SAMPLED]
    assert (first.answer, first.is_right, first.score) == ("1/2", True, 0.4)
    assert (second.is_right, second.score) == (False, 2.5)
    # 2.5 is no share, so that all weights are squashed.
    assert second.weight == pytest.approx(0.924142, abs=1e-6)
    assert first.weight == pytest.approx(0.598688, abs=1e-6)


@pytest.mark.parametrize(
    ("aggregate", "score"), [("last", 0.8), ("min", 0.4), ("prod", 0.288), ("mean", 0.7)]
)
def test_step_scores_become_one_as_is_said(tmp_path: Path, aggregate: Any, score: float) -> None:
    """The aggregate decides; three probabilities of a step count as not invalid."""
    steps = [[0.1, 0.2, 0.7], [0.6, 0.0, 0.4], [0.2, 0.3, 0.5]]
    row = {"question": "q", "steps": ["a", "b", "c"], "scores": {"e": steps},
           "solution_correct": 1}  # fmt: skip
    path = written(tmp_path, row)

    [read] = read_recorded(path, evaluator="e", aggregate=aggregate, on_bad_row=no_bad_row)

    assert read.solutions[SAMPLED][0].score == pytest.approx(score)


def test_rows_of_a_question_are_one_problem(tmp_path: Path) -> None:
    """Solutions of the same question stand together, and the same text once."""
    row = {"question": "q", "steps": ["a"], "scores": [0.5], "solution_correct": 0,
           "reference_steps": ["r"], "reference_scores": [0.4]}  # fmt: skip
    path = written(tmp_path, row, {**row, "steps": ["b"]}, {**row, "question": "other"})

    first, second = read_recorded(path, on_bad_row=no_bad_row)

    assert [each.text for each in first.solutions[SAMPLED]] == ["r", "a", "b"]
    assert [each.is_right for each in first.solutions[SAMPLED]] == [True, False, False]
    assert len(read_recorded(path, limit=1, on_bad_row=no_bad_row)) == 1
    assert second.id == "other"


GOOD = {"id": "good", "solutions": [{"answer": "1", "correct": 1}]}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"id": "x"}, "a row has solutions, responses or steps"),
        ([1], "a row is a JSON object"),
        ({"solutions": []}, "there is no solution"),
        ({"solutions": [{"answer": "1"}]}, "a solution has no correct, and the row no gold"),
        ({"solutions": [{"correct": 1}]}, "the row has no text"),
        ({"solutions": [{"answer": "1", "correct": 1, "score": "high"}]}, "the score is 'high'"),
        ({"solutions": [{"answer": "1", "correct": 1, "scores": []}]}, "no list of numbers"),
        ({"responses": ["a"], "correct": [1, 0]}, "no recorded solutions"),
        ({"steps": ["a"], "scores": [1], "solution_correct": 1}, "the row has no question"),
        ({"question": "q", "steps": ["a"], "scores": {"e": [1]}, "solution_correct": 1},
         "no evaluator is named; there are e"),
        ({"x": "1 2", "steps": [{"new_ys": [], "values": []}]}, "the log cannot be replayed"),
        (GOOD, "the id 'good' stands there twice"),
        ({"question": "good", "steps": ["a"], "scores": [1], "solution_correct": 1},
         "the id 'good' stands there twice"),
        ({"solutions": [{"answer": "1", "correct": 1, "score": 10**400}]}, "the score is 1000"),
        ({"solutions": [{"answer": "1", "correct": 1, "scores": [10**400]}]}, "the score is 1000"),
        ({"solutions": [{"answer": "1", "correct": 1, "scores": [[0, 1e308, 1e308]]}]},
         "the score is inf"),
    ],
)  # fmt: skip
def test_a_row_that_is_none_costs_that_row(tmp_path: Path, row: Any, said: str) -> None:
    """It is told with its line, and the others are read."""
    bad: list[str] = []

    read = read_recorded(written(tmp_path, GOOD, row), on_bad_row=bad.append)

    assert [each.id for each in read] == ["good"]
    assert len(bad) == 1
    assert "line 2: " in bad[0]
    assert said in bad[0]


def test_a_file_without_solutions_is_refused(tmp_path: Path) -> None:
    """The first row's fault is told; so are settings that are out of range."""
    with pytest.raises(ConfigError, match=re.escape("line 1: a row has solutions")):
        read_recorded(written(tmp_path, {"id": 1}), on_bad_row=no_bad_row)
    with pytest.raises(ConfigError, match="aggregate is 'max'"):
        read_recorded("nowhere", aggregate="max", on_bad_row=no_bad_row)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="budget is 0"):
        replayed([problem(Given(text="a", is_right=True))], budgets=[0])
    with pytest.raises(ConfigError, match="problems is empty"):
        replayed([])


def test_scores_that_have_no_mean_are_a_bad_row(tmp_path: Path) -> None:
    """Two scores may be numbers where their sum is none."""
    bad: list[str] = []
    row = {"solutions": [{"answer": "1", "correct": 1, "scores": [1e308, 1e308]}]}

    [read] = read_recorded(written(tmp_path, GOOD, row), aggregate="mean", on_bad_row=bad.append)

    assert read.id == "good"
    assert "line 2: the scores have no mean" in bad[0]


def test_a_step_row_of_a_logs_id_is_a_bad_row(tmp_path: Path) -> None:
    """A log of a crossword has no samples that a solution could stand beside."""
    bad: list[str] = []
    log = {"id": "q", "dfs_prune": [{"actions": ["a"], "info": {"r_word": 1}}]}
    row = {"question": "q", "steps": ["a"], "scores": [0.5], "solution_correct": True}

    [read] = read_recorded(written(tmp_path, log, row), on_bad_row=bad.append)

    assert read.id == "q"
    assert "line 2: the id 'q' stands there twice" in bad[0]


def test_recorded_rows_whose_id_is_null_are_told_apart_by_their_lines(tmp_path: Path) -> None:
    """They are no copies of one another."""
    path = written(tmp_path, GOOD | {"id": None}, GOOD | {"id": None})

    read = read_recorded(path, on_bad_row=no_bad_row)

    assert [each.id for each in read] == ["line 1", "line 2"]
