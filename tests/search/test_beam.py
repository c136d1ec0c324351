"""Step-level beam search: what is kept, what it costs, and when it ends."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError
from motet.search.beam import Beam, BeamState
from motet.search.checkpoints import FileCheckpoint
from motet.search.driver import SearchResult, search
from motet.search.dvts import DVTS
from motet.search.partials import Partial, Step
from motet.search.spending import NOTHING, Limits
from motet.search.tools import FAILED, Ask, Problem


class World:
    """Texts over `names`, finished at `end` letters; keeps what it was asked."""

    def __init__(self, scores: Any, *, names: str = "abcd", end: int = 3) -> None:
        self.scores, self.names, self.end = scores, names, end
        self.asks: list[list[Ask]] = []
        self.scored: list[str] = []

    def propose(self, asks: Sequence[Ask]) -> list[list[Step]]:
        self.asks.append(list(asks))
        return [[self.step(ask, i) for i in range(ask.n)] for ask in asks]

    def step(self, ask: Ask, i: int) -> Step:
        num = self.end - ask.partial.depth if ask.is_whole else 1
        text = self.names[i % len(self.names)] * num
        return Step(text, is_last=ask.partial.depth + num >= self.end, num_tokens=num)

    def score(self, partials: Sequence[Partial]) -> list[float]:
        self.scored.extend(each.text for each in partials)
        return [
            self.scores(each.text) if callable(self.scores) else self.scores.get(each.text, 0.5)
            for each in partials
        ]

    @property
    def problem(self) -> Problem:
        return Problem(propose=self.propose, score=self.score, step_tokens=9)


def noise(seed: int) -> Any:
    return lambda text: random.Random(f"{seed}{text}").random()


def solve(algorithm: Any, world: World, **options: Any) -> SearchResult:
    return asyncio.run(search(algorithm, world.problem, **options))


def states(algorithm: Any, world: World) -> list[Any]:
    async def walk() -> list[Any]:
        tools = world.problem.tools(Limits(), NOTHING)
        found = [algorithm.init(0)]
        while not algorithm.is_done(found[-1]):
            found.append(await algorithm.step(found[-1], tools))
        return found

    return asyncio.run(walk())


def texts(state: BeamState) -> list[str]:
    return [state.tree.partial(node).text for node in state.beams]


def test_the_best_are_kept_and_each_is_extended_width_times() -> None:
    """Of 4 proposals the 2 best go on, with 2 proposals each, in one ask a beam."""
    world = World({"a": 0.1, "b": 0.9, "c": 0.3, "d": 0.8}, end=9)
    algorithm = Beam(n=4, width=2, max_steps=9)
    _, second, *_ = states(algorithm, world)

    assert sorted(texts(second)) == ["b", "b", "d", "d"]
    assert [(ask.partial.text, ask.n) for ask in world.asks[1]] == [("b", 2), ("d", 2)]


@pytest.mark.parametrize(("n", "width"), [(4, 2), (6, 3), (4, 1), (4, 4)])
def test_scores_are_the_active_beams_times_width(n: int, width: int) -> None:
    """Every step proposes n, scores n, until the last one."""
    world = World(noise(1), end=99)
    result = solve(Beam(n=n, width=width, max_steps=5), world)

    assert result.spend.proposals == 5 * n
    assert result.spend.scores == 5 * n == len(world.scored)


@given(st.integers(0, 500))
def test_one_kept_beam_is_greedy_and_one_subtree_of_dvts(seed: int) -> None:
    """With n = width one beam survives a step, the best-scored, as in DVTS with one subtree."""
    beam = states(Beam(n=4, width=4), World(noise(seed), end=6))
    dvts = states(DVTS(n=4, width=4), World(noise(seed), end=6))

    survivors = [texts(state)[0] for state in beam[1:-1]]
    assert survivors == [s.tree.partial(s.subtrees[0].trunk).text for s in dvts[1:-1]]
    greedy, text = [], ""
    for _ in range(5):
        text = max((text + name for name in "abcd"), key=noise(seed))
        greedy.append(text)
    assert survivors == greedy


def test_equal_scores_keep_the_first() -> None:
    """A constant score keeps the first proposals, the same ones each time."""
    first = states(Beam(n=4, width=2), World({}, end=5))
    again = states(Beam(n=4, width=2), World({}, end=5))

    assert first == again
    assert texts(first[1]) == ["a", "a", "b", "b"]
    assert texts(first[2]) == ["aa", "aa", "ab", "ab"]


@given(st.integers(0, 200), st.integers(1, 7))
def test_no_beam_passes_max_tokens(seed: int, max_tokens: int) -> None:
    """Each ask says what is left, and what has reached the bound is not extended."""
    world = World(noise(seed), end=99)
    algorithm = Beam(n=4, width=2, max_steps=30, max_tokens=max_tokens, lookahead=seed % 3)
    result = solve(algorithm, world)

    for ask in (ask for batch in world.asks for ask in batch):
        assert ask.max_tokens == max_tokens - ask.partial.num_tokens > 0
    assert max(c.partial.num_tokens for c in result.candidates) == max_tokens
    assert result.why == "done"


def test_a_beam_that_ends_is_set_aside_and_the_rest_goes_on() -> None:
    """An early end is no answer yet: a better one that ends later wins."""
    scores = {"a": 0.6, "b": 0.55, "bb": 0.9}

    def propose(asks: Sequence[Ask]) -> list[list[Step]]:
        return [
            [Step("a", is_last=True), Step("b", is_last=ask.partial.depth == 1)] for ask in asks
        ]

    world = World(scores, end=9)
    world.propose = propose  # type: ignore[method-assign]
    result = solve(Beam(n=2, width=2), world)

    assert result.best is not None
    assert result.best.text == "bb"
    assert [c.text for c in result.candidates if c.partial.is_finished] == ["bb", "a", "ba"]


def test_a_step_without_text_ends_its_beam() -> None:
    """There is nothing more to say, so the solution is finished."""
    world = World({})
    world.propose = lambda asks: [[Step("")] for _ in asks]  # type: ignore[method-assign]
    result = solve(Beam(n=1, width=1), world)

    assert result.num_steps == 1
    assert result.best is not None
    assert result.best.partial.is_finished


def test_a_cut_beam_is_no_answer_where_another_ended() -> None:
    """A beam that `max_tokens` cut has no end, however well it scored."""

    def propose(asks: Sequence[Ask]) -> list[list[Step]]:
        return [[Step("a", is_last=True, num_tokens=1), Step("b", num_tokens=3)] for _ in asks]

    world = World({"a": 0.2, "b": 0.9})
    world.propose = propose  # type: ignore[method-assign]
    result = solve(Beam(n=2, width=2, max_tokens=3), world)

    assert result.best is not None
    assert result.best.text == "a"


def test_the_last_step_runs_to_the_end() -> None:
    """At `max_steps` the rest is asked for as a whole, with no lookahead."""
    world = World({}, end=6)
    solve(Beam(n=2, width=2, max_steps=2, lookahead=1), world)

    assert [[ask.is_whole for ask in batch] for batch in world.asks] == [
        [False],
        [False] * 2,
        [True],
    ]
    assert [ask.temperature for ask in world.asks[1]] == [0.0, 0.0]


def test_a_last_step_that_does_not_end_is_scored_as_it_is() -> None:
    """There is no lookahead behind it, since nothing is chosen any more."""
    world = World({}, end=9)
    world.propose = lambda asks: [  # type: ignore[method-assign]
        [Step("a") for _ in range(ask.n)] for ask in asks
    ]
    result = solve(Beam(n=1, width=1, max_steps=1, lookahead=3), world)

    assert world.scored == ["a"]
    assert result.best is not None
    assert result.best.text == "a"


def test_lookahead_decides_by_the_longer_text() -> None:
    """A step that scores worse but leads further is kept; the rollout is not."""
    scores = {"a": 0.9, "b": 0.1, "aa": 0.2, "ba": 0.8}
    world = World(scores, end=9)
    _, second, *_ = states(Beam(n=2, width=2, lookahead=1, max_steps=3), world)

    assert world.scored[:2] == ["aa", "ba"]
    assert texts(second) == ["b", "b"]


def test_equal_texts_are_scored_and_kept_once() -> None:
    """With `is_distinct` copies cost no score, and too few survivors are still extended to n."""
    scores = {"a": 0.9, "b": 0.1}
    world = World(scores, names="aab", end=9)
    _, second, *_ = states(Beam(n=6, width=2, is_distinct=True, max_steps=2), world)

    assert world.scored[:2] == ["a", "b"]
    assert sorted(texts(second)) == ["a", "a", "a", "b", "b", "b"]


def test_a_text_that_ends_is_distinct_from_the_one_that_goes_on() -> None:
    """An end without text does not take the open beam's place."""

    def propose(asks: Sequence[Ask]) -> list[list[Step]]:
        return [[Step("a", is_last=True), Step("a")] for _ in asks]

    world = World({})
    world.propose = propose  # type: ignore[method-assign]
    _, second, *_ = states(Beam(n=2, width=2, is_distinct=True, max_steps=2), world)

    assert texts(second) == ["a", "a"]
    assert len(second.completed) == 1


def test_fewer_proposals_than_asked_for_are_gone_on_with() -> None:
    """A beam whose samples failed is gone; the others are extended to n."""
    world = World({"a": 0.9, "b": 0.8}, end=9)
    plain = world.propose

    def propose(asks: Sequence[Ask]) -> list[Any]:
        return [
            FAILED if ask.partial.text == "a" else steps[:1] if ask.partial.steps else steps
            for ask, steps in zip(asks, plain(asks), strict=True)
        ]

    world.propose = propose  # type: ignore[method-assign, assignment]
    _, second, third, *_ = states(Beam(n=4, width=2, max_steps=4), world)

    assert sorted(set(texts(second))) == ["a", "b"]
    assert texts(third) == ["ba"] * 4


def test_nothing_proposed_ends_the_search_without_an_answer() -> None:
    """Where every sample failed there is no best, and nothing divides by zero."""
    world = World({})
    world.propose = lambda asks: [FAILED for _ in asks]  # type: ignore[method-assign, assignment, misc]
    result = solve(Beam(n=2, width=2), world)

    assert result.best is None
    assert result.candidates == ()


def test_a_resumed_search_is_the_uninterrupted_one(tmp_path: Any) -> None:
    """A search cut after two steps goes on from its checkpoint to the same result."""
    algorithm = Beam(n=4, width=2)
    whole = solve(algorithm, World(noise(3), end=6))
    checkpoint = FileCheckpoint(tmp_path / "state")
    for limits in (Limits(max_steps=2), Limits()):
        resumed = solve(algorithm, World(noise(3), end=6), checkpoint=checkpoint, limits=limits)

    assert resumed == whole


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"n": 0}, "n is 0"),
        ({"width": 0}, "width is 0"),
        ({"n": 5, "width": 2}, "n is 5; .*width, 2"),
        ({"max_steps": 0}, "max_steps is 0"),
        ({"lookahead": -1}, "lookahead is -1"),
        ({"max_tokens": 0}, "max_tokens is 0"),
    ],
)
@pytest.mark.parametrize("kind", [Beam, DVTS])
def test_settings_out_of_range_are_named(kind: Any, settings: Any, named: str) -> None:
    """The error says which setting is wrong, and its value."""
    with pytest.raises(ConfigError, match=named):
        kind(**settings)
