"""DVTS: independent subtrees, their candidates, and the reports at smaller n."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError
from motet.search.checkpoints import FileCheckpoint
from motet.search.driver import SearchResult, search
from motet.search.dvts import DVTS, candidates_at
from motet.search.partials import Partial, Step
from motet.search.spending import NOTHING, Limits
from motet.search.tools import FAILED, Ask, Problem
from tests.search import toy_lm


def noise(seed: int) -> Any:
    return lambda text: random.Random(f"{seed}{text}").random()


class World:
    """Texts of random letters, finished at `end`; what a text goes on with is always the same."""

    def __init__(self, seed: int = 0, *, end: int = 3, scores: Any = None) -> None:
        self.seed, self.end, self.scores = seed, end, scores or noise(seed)
        self.asks: list[list[Ask]] = []
        self.scored: list[str] = []

    def propose(self, asks: Sequence[Ask]) -> list[list[Step]]:
        self.asks.append(list(asks))
        found = []
        for ask in asks:
            rnd = random.Random(f"{self.seed} {ask.partial.text}")
            is_last = ask.is_whole or ask.partial.depth + 1 >= self.end
            found.append(
                [Step(rnd.choice("abcdefgh"), is_last=is_last, num_tokens=1) for _ in range(ask.n)]
            )
        return found

    def score(self, partials: Sequence[Partial]) -> list[float]:
        self.scored.extend(each.text for each in partials)
        return [self.scores(each.text) for each in partials]

    @property
    def problem(self) -> Problem:
        return Problem(propose=self.propose, score=self.score, step_tokens=1)


def solve(algorithm: DVTS, problem: Problem, **options: Any) -> SearchResult:
    return asyncio.run(search(algorithm, problem, **options))


def test_with_a_width_of_one_the_candidates_are_independent_samples() -> None:
    """Two subtrees of width 1 write every pair of texts with the product of their probabilities,
    the sum taken over every choice of the model."""

    async def run(choices: toy_lm.Choices) -> tuple[str, ...]:
        problem = Problem(propose=choices.propose, score=lambda batch: [0.5] * len(batch))
        result = await search(DVTS(n=2, width=1), problem)
        groups = result.notes["groups"]
        return tuple(each.text for each in candidates_at(result.candidates, groups, 2))  # type: ignore[arg-type]

    found = asyncio.run(toy_lm.outcomes(run))

    wanted = {
        (one, two): p * q
        for one, p in toy_lm.PROBABILITY.items()
        for two, q in toy_lm.PROBABILITY.items()
    }
    assert len(found) == 225
    assert found == {pair: pytest.approx(p, abs=1e-12) for pair, p in wanted.items()}


def test_a_width_above_one_follows_the_score() -> None:
    """With width 2 and a score for `b`, texts with b come more often than from the model alone,
    by exactly the chance that one of two letters is b."""

    async def run(choices: toy_lm.Choices) -> str:
        problem = Problem(
            propose=choices.propose,
            score=lambda batch: [float(each.text[:1] == "b") for each in batch],
        )
        result = await search(DVTS(n=2, width=2, max_steps=1), problem)
        assert result.best is not None
        return result.best.text[:1]

    found = asyncio.run(toy_lm.outcomes(run))

    assert found["b"] == pytest.approx(1 - 0.7**2)


@given(st.integers(0, 300), st.sampled_from([(4, 2), (6, 3), (8, 2), (3, 1)]))
def test_every_candidate_is_a_text_that_was_scored(seed: int, sizes: tuple[int, int]) -> None:
    """A candidate is its trunk's text and one step more, with the score of just that text."""
    n, width = sizes
    world = World(seed)
    result = solve(DVTS(n=n, width=width), world.problem)

    assert len(result.candidates) == n
    for each in result.candidates:
        assert each.node is not None
        node = result.tree[each.node]
        assert node.parent is not None
        assert node.step is not None
        assert each.text == result.tree.partial(node.parent).text + node.step.text
        assert each.text in world.scored
        assert each.score == noise(seed)(each.text)


@given(st.integers(0, 300))
def test_each_subtree_follows_its_own_best(seed: int) -> None:
    """After every step the trunk is the best-scored of what its subtree proposed."""
    algorithm, tools = DVTS(n=6, width=3), World(seed, end=5).problem.tools(Limits(), NOTHING)
    state = algorithm.init(0)
    while not algorithm.is_done(state):
        before, state = state, asyncio.run(algorithm.step(state, tools))
        for old, new in zip(before.subtrees, state.subtrees, strict=True):
            parents = {state.tree[node].parent for node in new.group}
            scores = {node: state.tree[node].score or 0.0 for node in new.group}
            assert parents == {old.trunk}
            assert len(new.group) == 3
            assert scores[new.trunk] == max(scores.values())


def test_one_step_of_one_subtree_is_the_argmax() -> None:
    """The best of the first `width` steps is extended, though another subtree has a better one."""
    world = World(0, end=9, scores=lambda text: ord(text[0]) / 1000)
    world.propose = lambda asks: [  # type: ignore[method-assign]
        [Step(letter) for letter in ("adbc" if not ask.partial.steps else "xy")] for ask in asks
    ]
    algorithm = DVTS(n=4, width=2, max_steps=5)
    tools = world.problem.tools(Limits(), NOTHING)
    state = asyncio.run(algorithm.step(algorithm.init(0), tools))

    # Dealt out in turn: a and b to the first subtree, d and c to the second.
    trunks = [state.tree.partial(subtree.trunk).text for subtree in state.subtrees]
    assert trunks == ["b", "d"]


def test_subtrees_at_one_text_are_one_ask_with_samples_of_their_own() -> None:
    """The first step asks once for n; a proposer that answers equal asks alike cannot make the
    subtrees copies of each other."""
    world = World(5, end=4)
    solve(DVTS(n=8, width=2), world.problem)

    assert [(ask.partial.text, ask.n) for ask in world.asks[0]] == [("", 8)]
    for batch in world.asks:
        texts = [ask.partial.text for ask in batch]
        assert len(texts) == len(set(texts))
        assert sum(ask.n for ask in batch) == 8


@given(st.integers(0, 100), st.integers(1, 4))
def test_a_smaller_report_keeps_whole_groups(seed: int, num: int) -> None:
    """The candidates of the first k subtrees are k whole groups, in order."""
    result = solve(DVTS(n=8, width=2), World(seed).problem)
    groups: Any = result.notes["groups"]

    found = candidates_at(result.candidates, groups, num)

    assert [each.node for each in found] == [node for group in groups[:num] for node in group]
    assert len(found) == 2 * num


def test_a_report_of_more_subtrees_than_there_were_is_refused() -> None:
    """The error names what was asked for."""
    result = solve(DVTS(n=4, width=2), World().problem)
    groups: Any = result.notes["groups"]

    with pytest.raises(ConfigError, match="num_subtrees is 3; the search had 2"):
        candidates_at(result.candidates, groups, 3)


def test_a_subtree_ends_with_the_step_it_follows() -> None:
    """A finished step that scores worse does not end its subtree, and is no candidate later."""
    scores = {"a": 0.9, "b": 0.95, "ba": 0.3, "bb": 0.2}

    def propose(asks: Sequence[Ask]) -> list[list[Step]]:
        return [
            [Step("a", is_last=True), Step("b", is_last=bool(ask.partial.steps))] for ask in asks
        ]

    result = solve(
        DVTS(n=2, width=2),
        Problem(propose=propose, score=lambda batch: [scores[each.text] for each in batch]),
    )

    assert [each.text for each in result.candidates] == ["ba", "bb"]
    assert result.best is not None
    assert result.best.text == "ba"


@pytest.mark.parametrize(
    ("choose", "wanted"), [("best", "x"), ("majority", "y"), ("weighted", "z")]
)
def test_a_score_or_a_vote_chooses(choose: Any, wanted: str) -> None:
    """`best` takes the top score, `majority` the most frequent answer, `weighted` the most score."""
    answers = ["x", "y", "y", "y", "z", "z"]
    scores = {"x": 0.9, "y": 0.2, "z": 0.5}
    result = solve(
        DVTS(n=6, width=1, choose=choose, extract=lambda text: text),
        Problem(
            propose=lambda asks: [[Step(a, is_last=True) for a in answers] for _ in asks],
            score=lambda batch: [scores[each.text] for each in batch],
        ),
    )

    assert result.best is not None
    assert result.best.text == wanted


def test_lookahead_follows_the_step_that_leads_further() -> None:
    """The longer text is scored; the candidate is the text without the rollout."""
    scores = {"a": 0.9, "b": 0.1, "ac": 0.2, "bc": 0.8}

    def propose(asks: Sequence[Ask]) -> list[list[Step]]:
        return [[Step("a"), Step("b")][: ask.n] if ask.n > 1 else [Step("c")] for ask in asks]

    algorithm = DVTS(n=2, width=2, lookahead=1, max_steps=2)
    problem = Problem(propose=propose, score=lambda batch: [scores[each.text] for each in batch])
    tools = problem.tools(Limits(), NOTHING)
    state = asyncio.run(algorithm.step(algorithm.init(0), tools))

    assert state.tree.partial(state.subtrees[0].trunk).text == "b"
    assert [state.tree.partial(node).text for node in state.subtrees[0].group] == ["a", "b"]


def test_a_last_step_that_does_not_end_is_scored_as_it_is() -> None:
    """There is no lookahead behind it, since nothing is chosen any more."""
    scored: list[str] = []

    def score(partials: Sequence[Partial]) -> list[float]:
        scored.extend(each.text for each in partials)
        return [0.5] * len(partials)

    problem = Problem(propose=lambda asks: [[Step("a")] * ask.n for ask in asks], score=score)
    result = solve(DVTS(n=1, width=1, max_steps=1, lookahead=3), problem)

    assert scored == ["a"]
    assert result.best is not None
    assert result.best.text == "a"


def test_no_candidate_passes_max_tokens() -> None:
    """Each ask says what is left, and a full trunk ends its subtree."""
    world = World(2, end=99)
    result = solve(DVTS(n=4, width=2, max_tokens=5, lookahead=1), world.problem)

    assert max(each.partial.num_tokens for each in result.candidates) == 5
    assert all(
        ask.max_tokens == 5 - ask.partial.num_tokens for batch in world.asks for ask in batch
    )


def test_a_subtree_whose_samples_failed_keeps_what_it_had() -> None:
    """It ends with its last candidates; the other one goes on."""

    def propose(asks: Sequence[Ask]) -> list[Any]:
        return [
            FAILED
            if ask.partial.text == "a"
            else [Step("a"), Step("b")]
            if not ask.partial.steps
            else [Step("c", is_last=True)]
            for ask in asks
        ]

    result = solve(
        DVTS(n=2, width=1), Problem(propose=propose, score=lambda batch: [0.5] * len(batch))
    )

    assert [each.text for each in result.candidates] == ["bc", "a"]
    assert result.best is not None
    assert result.best.text == "bc"


def test_a_resumed_search_is_the_uninterrupted_one(tmp_path: Any) -> None:
    """A search cut after two steps goes on from its checkpoint to the same result."""
    algorithm = DVTS(n=6, width=2)
    whole = solve(algorithm, World(3, end=5).problem)
    checkpoint = FileCheckpoint(tmp_path / "state")
    for limits in (Limits(max_steps=2), Limits()):
        resumed = solve(algorithm, World(3, end=5).problem, checkpoint=checkpoint, limits=limits)

    assert resumed == whole
