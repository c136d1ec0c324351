"""The driver of all searches."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import (
    BudgetExhaustedError,
    ConfigError,
    EngineUnavailableError,
    SearchError,
    StoreError,
)
from motet.search.algorithm import Found
from motet.search.beam import Beam
from motet.search.best_of_n import BestOfN
from motet.search.driver import Progress, SearchResult, search, search_all
from motet.search.partials import Candidate, Partial, Step
from motet.search.spending import Limits, Spend
from motet.search.tools import UNPAID, Ask, Problem, Tools
from motet.testing.search import planted_problem

_BEAM = Beam(n=4, width=2, max_steps=6)


def run(algorithm: Any, problem: Any = None, **settings: Any) -> SearchResult:
    return asyncio.run(search(algorithm, problem or planted_problem(), **settings))


class Held:
    """A checkpoint in memory."""

    def __init__(self) -> None:
        self.data: bytes | None = None
        self.num_saves = 0

    def load(self) -> bytes | None:
        return self.data

    def save(self, data: bytes) -> None:
        self.data, self.num_saves = data, self.num_saves + 1


@dataclass(frozen=True, slots=True)
class ScriptState:
    place: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A search whose best after each step is written down: (score, is finished, is elected)."""

    bests: tuple[tuple[float | None, bool, bool] | None, ...]
    asks: int = 0

    def init(self, seed: int) -> ScriptState:
        return ScriptState()

    async def step(self, state: ScriptState, tools: Tools) -> ScriptState:
        await tools.propose([Ask(Partial(), n=self.asks)])
        return ScriptState(state.place + 1)

    def is_done(self, state: ScriptState) -> bool:
        return state.place == len(self.bests)

    def found(self, state: ScriptState) -> Found:
        planted = self.bests[state.place - 1] if state.place else None
        if planted is None:
            return Found(best=None)
        score, is_finished, is_elected = planted
        partial = Partial((Step(str(state.place), is_last=is_finished),))
        return Found(best=Candidate(partial, score), is_elected=is_elected)


bests = st.none() | st.tuples(
    st.none() | st.sampled_from([0.0, 0.5, 1.0]), st.booleans(), st.booleans()
)


@given(st.lists(bests, max_size=8))
def test_the_best_so_far_gets_no_worse(planted):
    """A finished one is never lost for an unfinished one, nor a score for a lower one."""
    seen: list[Progress] = []
    result = run(Script(bests=tuple(planted)), on_step=seen.append)

    before: Candidate | None = None
    for place, progress in enumerate(seen):
        now = progress.best
        if before is not None:
            assert now is not None
            assert now.partial.is_finished >= before.partial.is_finished
            is_elected = planted[place] is not None and planted[place][2]
            if now != before and now.partial.is_finished == before.partial.is_finished:
                assert is_elected or before.score is None or now.score > before.score
        elif planted[place] is not None:
            assert now is not None
        before = now
    assert result.best == before
    assert result.why == "done"


def test_of_equal_bests_the_first_stays():
    """An equal score is no reason to change."""
    result = run(Script(bests=((0.5, True, False), (0.5, True, False))))

    assert result.best.text == "1"


def test_what_is_elected_replaces_what_was():
    """Votes and chance do not go by the score."""
    result = run(Script(bests=((0.9, True, True), (0.1, True, True))))

    assert result.best.text == "2"


@pytest.mark.parametrize("most", [0, 1, 2, 3])
def test_steps_are_limited(most):
    """The best after so many steps is the result."""
    result = run(_BEAM, limits=Limits(max_steps=most))

    assert (result.num_steps, result.why) == (most, "steps")
    assert (result.best is None) == (most == 0)


def test_a_limit_ends_a_search_after_the_step_that_met_it():
    """What that step was granted counts."""
    result = run(BestOfN(n=8), limits=Limits(max_proposals=3))

    assert result.why == "limit"
    assert result.spend == Spend(proposals=3, tokens=result.spend.tokens, scores=3)
    assert result.best is not None
    assert len(result.candidates) == 3


def test_a_step_that_gets_nothing_is_as_if_it_had_not_been():
    """The candidates that were there are there still."""
    limited = run(_BEAM, limits=Limits(max_proposals=8))
    stopped = run(_BEAM, limits=Limits(max_steps=2))

    assert limited.spend.proposals == 8
    assert replace(limited, why="steps") == stopped


@given(st.integers(1, 30), st.sampled_from(["max_proposals", "max_scores", "max_tokens"]))
def test_a_search_goes_on_where_its_limit_is_raised(most, name):
    """It ends as the search that had the higher limit from the start."""
    held = Held()
    run(_BEAM, limits=Limits(**{name: most}), checkpoint=held)

    assert run(_BEAM, checkpoint=held) == run(_BEAM)


def test_a_search_that_is_over_costs_nothing_again():
    """Its checkpoint holds its end."""
    held = Held()
    first = run(_BEAM, checkpoint=held)

    def never(batch):
        raise AssertionError

    again = run(_BEAM, Problem(propose=never, score=never), checkpoint=held)

    assert again == first
    assert held.num_saves == first.num_steps


def test_a_step_that_changes_nothing_ends_the_search():
    """Though it paid for something: the next one would do the same."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Idle(Script):
        async def step(self, state: ScriptState, tools: Tools) -> ScriptState:
            await tools.propose([Ask(Partial(), n=2)])
            return ScriptState(state.place)

    result = run(Idle(bests=((0.5, True, False),)))

    assert (result.why, result.num_steps, result.spend.proposals) == ("stuck", 1, 2)


@pytest.mark.parametrize("is_async", [True, False])
def test_a_callable_that_raises_leaves_the_best_so_far(is_async):
    """Sync or async; the error is typed and stands in the result."""
    planted, num = planted_problem(), iter(range(100))

    def propose(asks):
        if next(num) == 2:
            raise KeyError("planted")
        return planted.propose(asks)

    async def propose_later(asks):
        await asyncio.sleep(0)
        return propose(asks)

    result = run(_BEAM, replace(planted, propose=propose_later if is_async else propose))

    assert (result.why, result.num_steps) == ("failed", 2)
    assert isinstance(result.error, SearchError)
    assert "propose failed: KeyError: 'planted'" in str(result.error)
    assert result.best == run(_BEAM, limits=Limits(max_steps=2)).best is not None


def test_an_error_of_the_engine_stands_in_the_result_as_it_is():
    """It is not wrapped, so that `retryable` can be read."""

    def away(batch):
        raise EngineUnavailableError("away")

    result = run(_BEAM, Problem(propose=away, score=away))

    assert (result.why, result.best) == ("failed", None)
    assert isinstance(result.error, EngineUnavailableError)


def test_a_budget_that_is_spent_in_a_step_is_a_limit():
    """Also where tools of an algorithm's own let it through."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Spender(Script):
        async def step(self, state: ScriptState, tools: Tools) -> ScriptState:
            if state.place == 1:
                raise BudgetExhaustedError("spent", limit="max_cost", limit_value=1)
            return ScriptState(state.place + 1)

    result = run(Spender(bests=((0.5, True, False),) * 3))

    assert (result.why, result.num_steps, result.error) == ("limit", 1, None)
    assert result.best.score == 0.5


def test_an_unpaid_sample_ends_the_search_with_what_there_is():
    """The budget around the search decides as its own limits do."""
    planted = planted_problem()

    def propose(asks):
        return [UNPAID if ask.partial.depth == 2 else planted.propose([ask])[0] for ask in asks]

    result = run(_BEAM, replace(planted, propose=propose))

    assert result.why == "limit"
    assert result.best == run(_BEAM, limits=Limits(max_steps=2)).best


def test_time_ends_a_search_and_cancels_its_callable():
    """The best of the steps before is the result."""
    planted, cancelled = planted_problem(), []

    async def propose(asks):
        if asks[0].partial.depth == 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(asks)
                raise
        return planted.propose(asks)

    start_s = time.monotonic()
    result = run(_BEAM, replace(planted, propose=propose), limits=Limits(timeout_s=0.2))

    assert time.monotonic() - start_s < 5
    assert (result.why, result.num_steps, len(cancelled)) == ("time", 2, 1)
    assert result.best == run(_BEAM, limits=Limits(max_steps=2)).best is not None


def test_time_ends_a_search_whose_callables_never_wait():
    """Sync callables give the loop no turn; the time is looked at before every step."""
    planted = planted_problem()

    def propose(asks):
        time.sleep(0.02)
        return [[replace(step, is_last=False) for step in steps] for steps in planted.propose(asks)]

    beam = Beam(n=4, width=2, max_steps=10_000)
    result = run(beam, replace(planted, propose=propose), limits=Limits(timeout_s=0.1))

    assert result.why == "time"
    assert 1 <= result.num_steps <= 6


def test_a_search_without_time_takes_no_step():
    """Not even one whose callables would answer at once."""
    assert (run(_BEAM, limits=Limits(timeout_s=0)).num_steps) == 0


def test_a_timeout_within_a_callable_is_its_error():
    """It is not the search's own time that was over."""

    async def slow(batch):
        async with asyncio.timeout(0.001):
            await asyncio.sleep(1)

    result = run(_BEAM, Problem(propose=slow, score=slow), limits=Limits(timeout_s=60))

    assert result.why == "failed"
    assert "TimeoutError" in str(result.error)


def test_cancellation_passes_through():
    """A search is ended from outside as any task."""

    async def act() -> None:
        async def hang(batch):
            await asyncio.Event().wait()

        task = asyncio.create_task(search(_BEAM, Problem(propose=hang, score=hang)))
        await asyncio.sleep(0.01)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(act())


def test_an_algorithm_without_its_scorer_is_a_config_error():
    """A wrong set-up is no result."""
    with pytest.raises(ConfigError, match="needs a scorer"):
        run(BestOfN(), Problem(propose=planted_problem().propose))


def test_progress_is_told_after_every_step():
    """Counts grow from step to step, up to the result's."""
    seen: list[Progress] = []

    result = run(_BEAM, on_step=seen.append)

    assert [progress.num_steps for progress in seen] == list(range(1, result.num_steps + 1))
    assert seen[-1].spend == result.spend
    assert seen[-1].best == result.best


def test_a_disk_that_is_full_leaves_the_best_so_far():
    """A checkpoint that cannot be written is an error in the result."""

    class Full(Held):
        def save(self, data: bytes) -> None:
            if self.num_saves == 1:
                raise StoreError("no space left")
            super().save(data)

    result = run(_BEAM, checkpoint=Full())

    assert (result.why, result.num_steps) == ("failed", 2)
    assert isinstance(result.error, StoreError)
    assert result.best is not None


def test_a_checkpoint_of_another_search_is_refused_before_anything_is_paid():
    """Another seed is another search."""
    held = Held()
    run(_BEAM, checkpoint=held)

    def never(batch):
        raise AssertionError

    with pytest.raises(SearchError, match="seed is 0; this search's is 1"):
        run(_BEAM, Problem(propose=never, score=never), seed=1, checkpoint=held)


def test_a_setting_without_identity_is_refused_before_anything_is_paid():
    """Only where there is a checkpoint that would need it."""

    class Reads:
        def __call__(self, text: str) -> str:
            return text

    calls: list[Any] = []
    planted = planted_problem()

    def propose(asks):
        calls.append(asks)
        return planted.propose(asks)

    algorithm = BestOfN(extract=Reads())
    with pytest.raises(ConfigError, match="extract holds a Reads"):
        run(algorithm, replace(planted, propose=propose), checkpoint=Held())
    assert calls == []
    assert run(algorithm, planted).why == "done"


def test_results_stand_in_the_order_of_their_problems():
    """Whatever the order in which they came, which `on_result` is told."""
    planted, told = planted_problem(), []

    def waiting(turns: int) -> Problem:
        async def propose(asks):
            for _ in range(turns):
                await asyncio.sleep(0)
            return planted.propose(asks)

        return replace(planted, propose=propose, score=lambda b: [turns / 100] * len(b))

    problems = [waiting(turns) for turns in (60, 3, 30)]
    results = asyncio.run(
        search_all(BestOfN(), problems, on_result=lambda place, _: told.append(place))
    )

    assert [result.best.score for result in results] == [0.6, 0.03, 0.3]
    assert told == [1, 2, 0]


def test_a_problem_that_fails_costs_itself():
    """By a callable, by its set-up, or by a mistake in the algorithm."""

    class Broken:
        def tools(self, limits, spend):
            raise IndexError("planted")

    def raises(batch):
        raise KeyError("planted")

    good = planted_problem()
    problems = [
        good,
        Problem(propose=raises, score=raises),
        Broken(),
        Problem(propose=good.propose),
        good,
    ]

    first, failed, broken, unscored, last = asyncio.run(search_all(BestOfN(), problems))

    assert first == last == run(BestOfN())
    assert [each.why for each in (failed, broken, unscored)] == ["failed"] * 3
    assert "propose failed: KeyError" in str(failed.error)
    assert "IndexError" in str(broken.error)
    assert isinstance(unscored.error, ConfigError)


@pytest.mark.parametrize("at_once", [1, 2, 3, 7])
def test_only_so_many_are_under_way_together(at_once):
    """A problem is taken when its turn comes; a slow one keeps one place only."""
    planted = planted_problem()
    state = {"now": 0, "most": 0, "taken": 0}

    def problems():
        for place in range(6):
            state["taken"] += 1
            state["now"] += 1
            state["most"] = max(state["most"], state["now"])

            async def propose(asks, place=place):
                for _ in range(200 if place == 0 else 2):
                    await asyncio.sleep(0)
                return planted.propose(asks)

            yield replace(planted, propose=propose)

    told: list[int] = []

    def on_result(place: int, result: SearchResult) -> None:
        state["now"] -= 1
        told.append(place)

    results = asyncio.run(search_all(BestOfN(), problems(), at_once=at_once, on_result=on_result))

    assert results == [run(BestOfN())] * 6
    assert state == {"now": 0, "most": min(at_once, 6), "taken": 6}
    assert told[-1 if at_once > 1 else 0] == 0


def test_each_of_many_has_its_own_limits_seed_and_checkpoint():
    """What holds for one search holds for each, as if it were alone."""
    held = [Held() for _ in range(3)]
    limits = Limits(max_proposals=5)

    results = asyncio.run(
        search_all(
            _BEAM,
            [planted_problem()] * 3,
            seed=4,
            limits=limits,
            checkpoint_of=lambda place: held[place],
        )
    )

    assert results == [run(_BEAM, seed=4, limits=limits)] * 3
    assert [each.num_saves for each in held] == [1] * 3


def test_many_problems_may_be_none():
    """No problem has no result."""
    assert asyncio.run(search_all(_BEAM, [])) == []
    with pytest.raises(ConfigError, match="at_once is 0"):
        asyncio.run(search_all(_BEAM, [], at_once=0))
