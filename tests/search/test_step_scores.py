"""Steps of a solution and one score of theirs."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError, SearchError
from motet.search.partials import Partial, Step
from motet.search.step_scores import StepScorer, aggregated, split_steps
from motet.search.tools import FAILED

PROBABILITIES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("a\n\nb\n\nc", ["a", "b", "c"]),
        ("a\n\n\n\n  b \n\n", ["a", "b"]),
        ("one line", ["one line"]),
        ("", []),
        ("so \\[\nx\n\n= 2\n\\] holds\n\nthen", ["so \\[\nx\n\n= 2\n\\] holds", "then"]),
        ("$$x\n\ny$$\n\nz", ["$$x\n\ny$$", "z"]),
        ("\\begin{align}a\n\nb\\end{align}\n\nc", ["\\begin{align}a\n\nb\\end{align}", "c"]),
        ("\\[ open\n\nb", ["\\[ open", "b"]),
        ("\\[a\\] \\[b\n\nc\\]\n\nd", ["\\[a\\] \\[b\n\nc\\]", "d"]),
        ("$$a$$\n\nb $$c$$", ["$$a$$", "b $$c$$"]),
    ],
)
def test_a_solution_is_split_at_blank_lines_outside_of_formulas(
    text: str, steps: list[str]
) -> None:
    """A closed formula stays in one step though it holds a blank line; an open one does not."""
    assert split_steps(text) == steps


@given(st.lists(st.text("ab c", min_size=1).filter(str.strip), max_size=6))
def test_joined_steps_are_split_into_the_same(steps: list[str]) -> None:
    """Splitting undoes joining, but for the space around steps."""
    assert split_steps("##".join(steps), "##") == [step.strip() for step in steps]


@given(PROBABILITIES)
def test_the_product_is_at_most_the_least_and_that_at_most_any(scores: list[float]) -> None:
    """prod <= min <= every score, for scores in [0, 1]; the mean is between the extremes."""
    assert aggregated(scores, "prod") <= aggregated(scores, "min") <= min(scores)
    assert min(scores) - 1e-12 <= aggregated(scores, "mean") <= max(scores) + 1e-12
    assert aggregated(scores, "last") == scores[-1]


@given(st.floats(0, 1))
def test_a_single_step_has_its_score_however_it_is_made(score: float) -> None:
    """With one step last, min, prod and mean are the same."""
    hows: list[Any] = ["last", "min", "prod", "mean"]

    assert [aggregated([score], how) for how in hows] == [score] * 4


def test_golden_aggregates() -> None:
    """Exact values of the four on one solution."""
    scores = [0.5, 0.25, 0.75]

    assert aggregated(scores) == 0.75
    assert aggregated(scores, "min") == 0.25
    assert aggregated(scores, "prod") == 0.09375
    assert aggregated(scores, "mean") == 0.5


def scored(scorer: StepScorer, *texts: str) -> list[Any]:
    return asyncio.run(scorer([Partial((Step(text),)) for text in texts]))


def test_a_batch_goes_to_the_reward_model_at_once() -> None:
    """All solutions of a batch, as steps, are one call; a failed one costs itself alone."""
    batches: list[Any] = []

    def score_steps(batch: Any) -> Any:
        batches.append(batch)
        return [FAILED if steps == ["x"] else [0.5] * len(steps) for steps in batch]

    scorer = StepScorer(score_steps=score_steps, aggregate="prod")

    assert scored(scorer, "a\n\nb", "x", "c") == [0.25, FAILED, 0.5]
    assert batches == [[["a", "b"], ["x"], ["c"]]]


def test_without_a_delimiter_the_proposed_steps_count() -> None:
    """A partial solution that was built by steps is scored by those, blank lines or not."""
    batches: list[Any] = []

    async def score_steps(batch: Any) -> Any:
        batches.extend(batch)
        return [[0.1, 0.9] for _ in batch]

    scorer = StepScorer(score_steps=score_steps, delimiter=None)
    partial = Partial((Step("a\n\nb"), Step("c")))

    assert asyncio.run(scorer([partial])) == [0.9]
    assert batches == [["a\n\nb", "c"]]


@pytest.mark.parametrize("given_scores", [[], [0.5], [0.5, 0.5, 0.5]])
def test_as_many_scores_as_steps_are_needed(given_scores: list[float]) -> None:
    """A reward model that loses or adds a step is told, not padded."""
    scorer = StepScorer(score_steps=lambda batch: [given_scores for _ in batch])

    with pytest.raises(SearchError, match=f"{len(given_scores)} scores for 2 steps"):
        scored(scorer, "a\n\nb")


def test_a_score_that_is_no_number_is_refused() -> None:
    """NaN does not become a solution's score."""
    scorer = StepScorer(score_steps=lambda batch: [[float("nan")] for _ in batch])

    with pytest.raises(SearchError, match="nan"):
        scored(scorer, "a")


def test_settings_are_checked() -> None:
    """An empty delimiter and an unknown aggregate are named."""
    unknown: Any = "max"
    with pytest.raises(ConfigError, match="delimiter"):
        split_steps("a", "")
    with pytest.raises(ConfigError, match="delimiter"):
        StepScorer(score_steps=lambda batch: [], delimiter="")
    with pytest.raises(ConfigError, match="'max'"):
        StepScorer(score_steps=lambda batch: [], aggregate=unknown)
    with pytest.raises(SearchError, match="no step scores"):
        aggregated([])
