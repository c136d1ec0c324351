"""Lookahead: what is scored, how far, and what it costs."""

import asyncio
from collections.abc import Sequence
from typing import Any

from motet.search.lookahead import score_ahead
from motet.search.partials import Partial, Step
from motet.search.spending import NOTHING, Limits
from motet.search.tools import Ask, Problem, Tools


class Recorder:
    """Goes on with `x` and scores by length; keeps what it was asked."""

    def __init__(self, *, end: int = 99, step: Step | None = None) -> None:
        self.asks: list[list[Ask]] = []
        self.scored: list[str] = []
        self.end, self.step = end, step

    def propose(self, asks: Sequence[Ask]) -> list[list[Step]]:
        self.asks.append(list(asks))
        return [
            [self.step or Step("x", is_last=ask.partial.depth + 1 >= self.end, num_tokens=2)]
            for ask in asks
        ]

    def score(self, partials: Sequence[Partial]) -> list[float]:
        self.scored.extend(each.text for each in partials)
        return [len(each.text) / 100 for each in partials]

    def tools(self, **limits: Any) -> Tools:
        problem = Problem(propose=self.propose, score=self.score, step_tokens=2)
        return problem.tools(Limits(**limits), NOTHING)


def partial(text: str, *, is_last: bool = False) -> Partial:
    steps = [Step(letter, num_tokens=2) for letter in text[:-1]]
    return Partial((*steps, Step(text[-1:], is_last=is_last, num_tokens=2)))


def test_no_steps_ahead_score_the_text_itself() -> None:
    """With 0 steps nothing is proposed."""
    recorder = Recorder()
    scores = asyncio.run(score_ahead(recorder.tools(), [partial("a"), partial("bb")], 0))

    assert scores == [0.01, 0.02]
    assert recorder.asks == []


def test_the_longer_text_is_scored_and_the_rollout_is_greedy() -> None:
    """Two steps ahead, every step for all texts in one batch at temperature 0."""
    recorder = Recorder()
    scores = asyncio.run(score_ahead(recorder.tools(), [partial("a"), partial("bb")], 2))

    assert recorder.scored == ["axx", "bbxx"]
    assert scores == [0.03, 0.04]
    assert [len(batch) for batch in recorder.asks] == [2, 2]
    assert {ask.temperature for batch in recorder.asks for ask in batch} == {0.0}


def test_a_finished_text_is_not_gone_on_with() -> None:
    """One that ends is scored as it is, and one that ends on the way as far as it goes."""
    recorder = Recorder(end=3)
    asyncio.run(
        score_ahead(recorder.tools(), [partial("ab", is_last=True), partial("ab"), partial("a")], 5)
    )

    assert recorder.scored == ["ab", "abx", "axx"]
    assert [len(batch) for batch in recorder.asks] == [2, 1]


def test_a_rollout_ends_where_nothing_is_added() -> None:
    """An empty step is not asked for again."""
    recorder = Recorder(step=Step(""))
    asyncio.run(score_ahead(recorder.tools(), [partial("a")], 5))

    assert recorder.scored == ["a"]
    assert len(recorder.asks) == 1


def test_a_rollout_keeps_the_tokens_of_a_whole_solution() -> None:
    """No step ahead is asked for past `max_tokens`, and each ask says how many are left."""
    recorder = Recorder()
    asyncio.run(
        score_ahead(
            recorder.tools(), [partial("aaa"), partial("aa"), partial("a")], 9, max_tokens=6
        )
    )

    assert recorder.scored == ["aaa", "aax", "axx"]
    assert [[ask.max_tokens for ask in batch] for batch in recorder.asks] == [[2, 4], [2]]


def test_a_spent_limit_scores_as_far_as_it_goes() -> None:
    """Steps ahead that are not paid for are left out."""
    recorder = Recorder()
    tools = recorder.tools(max_proposals=3)
    asyncio.run(score_ahead(tools, [partial("a"), partial("b")], 2))

    assert recorder.scored == ["axx", "bx"]
    assert tools.is_spent
