from __future__ import annotations

import asyncio
import operator
import random
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError, SearchError
from motet.search import FAILED, BestOfN, Limits, Problem, Step, search
from motet.search.checkpoints import Saved, read_state, write_state
from motet.search.speculative_rejection import RejectionState, SpeculativeRejection
from motet.search.spending import NOTHING
from motet.search.tools import Tools


@dataclass
class World:
    """Answers with a length and a worth of their own; what a part of one scores nears its worth."""

    noise: float = 0.0
    least: int = 40
    most: int = 100
    asks: list = field(default_factory=list)

    def length(self, stream: int) -> int:
        return random.Random(f"length {stream}").randint(self.least, self.most)

    def worth(self, stream: int) -> float:
        return random.Random(f"worth {stream}").random()

    def propose(self, asks):
        self.asks.append(list(asks))
        return [[self._step(ask, i) for i in range(ask.n)] for ask in asks]

    def _step(self, ask, place: int) -> Step:
        assert ask.is_whole
        stream = ask.partial.steps[-1].data if ask.partial.steps else place
        left = self.length(stream) - ask.partial.num_tokens
        taken = left if ask.max_tokens is None else min(left, ask.max_tokens)
        return Step("x" * taken, is_last=taken == left, num_tokens=taken, data=stream)

    def score(self, partials):
        return [self._score(partial) for partial in partials]

    def _score(self, partial) -> float:
        stream = partial.steps[-1].data
        missing = 1 - partial.num_tokens / self.length(stream)
        return self.worth(stream) + self.noise * missing * random.Random(stream).gauss(0, 1)

    @property
    def problem(self) -> Problem:
        return Problem(propose=self.propose, score=self.score, score_range=None, step_tokens=100)


def run(algorithm, of: Problem, **kwargs):
    return asyncio.run(search(algorithm, of, **kwargs))


def stream(candidate) -> int:
    return candidate.partial.steps[0].data


def stream_of(ask) -> int:
    return ask.partial.steps[0].data


def test_an_alpha_of_0_is_best_of_n() -> None:
    for noise in (0.0, 5.0):
        world = World(noise=noise)
        kept = run(SpeculativeRejection(n=12, alpha=0.0, round_tokens=7), world.problem)
        whole = run(BestOfN(n=12), world.problem)

        assert stream(kept.best) == stream(whole.best)
        assert kept.best.score == whole.best.score
        assert kept.spend.tokens == whole.spend.tokens


def test_an_alpha_of_0_under_a_budget_begins_only_what_can_be_kept() -> None:
    algorithm = SpeculativeRejection(n=50, alpha=0.0, max_tokens=100, max_kv_tokens=430)
    world = World(noise=5.0)

    result = run(algorithm, world.problem)

    assert len(result.candidates) == 4
    assert stream(result.best) == stream(run(BestOfN(n=4), world.problem).best)


@pytest.mark.parametrize("alpha", [0.2, 0.5, 0.9, 0.99])
def test_a_part_that_scores_as_its_whole_will_makes_the_winner_that_of_best_of_n(alpha) -> None:
    world = World()
    found = run(SpeculativeRejection(n=20, alpha=alpha, round_tokens=10), world.problem)
    whole = run(BestOfN(n=20), world.problem)

    assert stream(found.best) == stream(whole.best)
    assert found.spend.tokens < whole.spend.tokens


def test_half_is_kept_at_each_round_and_never_none() -> None:
    """Rounding instead of rounding up would keep 0 of the last one."""
    world = World(least=100)
    result = run(SpeculativeRejection(n=16, round_tokens=10), world.problem)

    assert result.notes["num_live"] == [16, 8, 4, 2, 1, 1, 1, 1, 1, 1]
    assert result.best.partial.is_finished


@pytest.mark.parametrize(("alpha", "wanted"), [(0.7, 3), (0.9, 1), (0.3, 7), (0.05, 10)])
def test_what_is_kept_is_rounded_up_but_not_by_an_error_of_the_float(alpha, wanted) -> None:
    world = World(least=100)
    result = run(SpeculativeRejection(n=10, alpha=alpha, round_tokens=50), world.problem)

    assert result.notes["num_live"] == [10, wanted]


def test_an_odd_number_is_halved_upwards() -> None:
    """Of 5 and 3 that compete 3 and 2 are kept; rounding to the nearest even number keeps 2."""
    world = World(least=100)
    result = run(SpeculativeRejection(n=5, round_tokens=20), world.problem)

    assert result.notes["num_live"] == [5, 3, 2, 1, 1]


def test_among_equal_scores_the_first_are_kept() -> None:
    """The cut goes through equals; who was begun first stays."""
    world = World(least=100)
    of = replace(world.problem, score=lambda partials: [0.5] * len(partials))
    result = run(SpeculativeRejection(n=6, round_tokens=25), of)

    lasting = [{stream_of(ask) for ask in batch} for batch in world.asks[1:]]
    assert lasting == [{0, 1, 2}, {0, 1}, {0}]
    assert stream(result.best) == 0


settings = st.fixed_dictionaries(
    {
        "n": st.integers(1, 20),
        "alpha": st.floats(0, 0.99),
        "max_kv_tokens": st.integers(130, 1500),
        "prompt_tokens": st.integers(0, 30),
        "min_chunk": st.integers(1, 40),
        "min_tokens": st.integers(0, 60),
    }
)


@given(settings, st.floats(0, 3))
def test_live_answers_never_hold_more_than_the_budget(settings, noise) -> None:
    algorithm = SpeculativeRejection(max_tokens=100, **settings)
    world = World(noise=noise)

    result = run(algorithm, world.problem)

    for batch in world.asks:
        held = [
            ask.n * (settings["prompt_tokens"] + ask.partial.num_tokens + ask.max_tokens)
            for ask in batch
        ]
        assert sum(held) <= settings["max_kv_tokens"]
        chunks = [min(ask.max_tokens, 100 - ask.partial.num_tokens) for ask in batch]
        least = [min(settings["min_chunk"], 100 - ask.partial.num_tokens) for ask in batch]
        assert all(map(operator.ge, chunks, least))
    assert result.notes["peak_kv_tokens"] <= settings["max_kv_tokens"]
    assert result.best.partial.is_finished
    whole = sum(world.length(i) for i in range(algorithm.num_first))
    assert result.spend.tokens <= whole


@given(settings, st.floats(0, 3))
def test_the_answer_is_the_best_of_all_that_ended_and_never_gets_worse(settings, noise) -> None:
    algorithm = SpeculativeRejection(max_tokens=100, **settings)
    world = World(noise=noise)

    async def play() -> list[float]:
        state, tools, scores = algorithm.init(0), Tools(world.problem), []
        while not algorithm.is_done(state):
            state = await algorithm.step(state, tools)
            scores.extend(
                [max(state.tree[node].score for node in state.ended)] if state.ended else []
            )
        assert algorithm.found(state).best.score == scores[-1]
        return scores

    scores = asyncio.run(play())
    assert scores == sorted(scores)


def test_rounds_grow_longer_as_answers_are_dropped() -> None:
    world = World(least=100)
    algorithm = SpeculativeRejection(n=16, max_tokens=100, max_kv_tokens=16 * 10)

    run(algorithm, world.problem)

    chunks = [max(ask.max_tokens for ask in batch) for batch in world.asks]
    assert chunks == [10, 10, 20, 40, 20]


def test_a_budget_that_is_tight_drops_the_worst_to_make_room_for_a_chunk() -> None:
    world = World(least=100)
    algorithm = SpeculativeRejection(
        n=4, alpha=0.01, max_tokens=100, max_kv_tokens=160, min_chunk=20
    )

    result = run(algorithm, world.problem)

    best_of_4 = max(range(4), key=world.worth)
    assert result.notes["num_live"] == [4, 2, 1]
    assert stream(result.best) == best_of_4


def test_none_is_rejected_before_all_have_the_least_length() -> None:
    """Here a call gives 10 tokens at most, whatever was asked for."""
    world = World(noise=3.0, least=100)

    def propose(asks):
        return world.propose([replace(ask, max_tokens=min(ask.max_tokens, 10)) for ask in asks])

    of = Problem(propose=propose, score=world.score, score_range=None)
    result = run(SpeculativeRejection(n=8, round_tokens=10, min_tokens=35), of)

    assert result.notes["num_live"][:5] == [8, 8, 8, 8, 4]


def test_the_first_round_is_as_long_as_the_least_length() -> None:
    world = World(least=100)
    run(SpeculativeRejection(n=8, round_tokens=10, min_tokens=35), world.problem)

    assert [batch[0].max_tokens for batch in world.asks[:2]] == [35, 10]


def test_a_finished_answer_that_is_outranked_stays_eligible() -> None:
    """The short one scores 0.5; the others promise more and then disappoint."""

    def propose(asks):
        return [
            [
                Step(
                    "x",
                    is_last=ask.partial.depth == (0 if i == 0 and ask.n > 1 else 2),
                    num_tokens=1,
                    data=i,
                )
                for i in range(ask.n)
            ]
            for ask in asks
        ]

    def score(partials):
        return [
            (0.5 if p.depth == 1 else 0.1) if p.is_finished else 0.9 + 0.01 * p.depth
            for p in partials
        ]

    result = run(SpeculativeRejection(n=4, round_tokens=1), Problem(propose=propose, score=score))

    assert result.best.score == 0.5
    assert result.best.partial.depth == 1


def test_a_finished_rival_can_reject_those_that_are_still_written() -> None:
    world = World(least=10, most=100)
    result = run(SpeculativeRejection(n=20, alpha=0.9, round_tokens=99), world.problem)

    assert result.best.partial.is_finished
    assert len(result.notes["num_live"]) <= 2


def test_an_answer_that_is_cut_by_its_bound_ends_and_finished_ones_go_first() -> None:
    world = World(least=40, most=100)
    result = run(
        SpeculativeRejection(n=8, alpha=0.0, max_tokens=60, round_tokens=30), world.problem
    )

    best_finished = max((i for i in range(8) if world.length(i) <= 60), key=world.worth)
    assert stream(result.best) == best_finished
    assert all(each.partial.num_tokens <= 60 for each in result.candidates)


def test_a_step_is_one_batch_and_each_round_has_seeds_of_its_own() -> None:
    world = World()
    result = run(SpeculativeRejection(n=16, round_tokens=20), world.problem)

    assert len(world.asks) == result.num_steps
    seeds = [ask.seed for batch in world.asks for ask in batch]
    assert len(set(seeds)) == len(seeds)


def test_a_lost_answer_costs_itself_alone() -> None:
    world = World()

    def score(partials):
        scores = world.score(partials)
        return [FAILED if p.steps[0].data == 3 else s for p, s in zip(partials, scores)]

    def propose(asks):
        found = world.propose(asks)
        return [
            FAILED if ask.partial.depth == 1 and i == 0 else s
            for i, (ask, s) in enumerate(zip(asks, found))
        ]

    of = Problem(propose=propose, score=score, score_range=None)
    result = run(SpeculativeRejection(n=8, round_tokens=20), of)

    assert result.why == "done"
    assert result.best.partial.is_finished
    assert 3 not in {stream(each) for each in result.candidates}


def test_a_limit_ends_the_search_with_what_is_written() -> None:
    limits = Limits(max_tokens=200)
    result = run(SpeculativeRejection(n=8, round_tokens=20), World().problem, limits=limits)

    assert result.why == "limit"
    assert result.spend.tokens <= 200
    assert result.best is not None
    assert result.candidates


def test_answers_that_a_limit_did_not_let_go_on_still_compete() -> None:
    """The limit holds the first round and one answer of the second."""
    limits = Limits(max_tokens=185)
    result = run(SpeculativeRejection(n=8, round_tokens=20), World().problem, limits=limits)

    assert (result.why, result.spend.tokens) == ("limit", 180)
    assert sorted(each.partial.num_tokens for each in result.candidates) in ([20, 20], [20, 40])


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (Step("long", num_tokens=50), "50 tokens; at most 10"),
        (Step("uncounted"), "text of 0 tokens"),
    ],
)
def test_a_proposer_that_does_not_keep_to_tokens_is_refused(step, message) -> None:
    of = Problem(propose=lambda asks: [[step] for _ in asks], score=lambda ps: [0.5] * len(ps))

    error = run(SpeculativeRejection(n=2, round_tokens=10), of).error

    assert isinstance(error, SearchError)
    assert message in str(error)


def test_a_proposer_that_falls_silent_ends_its_answer() -> None:
    of = Problem(propose=lambda asks: [[Step("")] for _ in asks], score=lambda ps: [0.5] * len(ps))

    result = run(SpeculativeRejection(n=1), of)

    assert (result.why, result.num_steps) == ("done", 1)


def test_a_state_is_read_back_as_it_was_and_goes_on_the_same() -> None:
    algorithm = SpeculativeRejection(n=8, round_tokens=20)

    async def play():
        state, tools = algorithm.init(0), Tools(World().problem)
        for _ in range(2):
            state = await algorithm.step(state, tools)
        data = write_state(algorithm, 0, Saved(state, NOTHING, 2))
        again = read_state(algorithm, 0, RejectionState, data).state
        return state, again, await algorithm.step(state, tools), await algorithm.step(again, tools)

    state, again, left, right = asyncio.run(play())

    assert again == state
    assert left == right


def test_with_noisy_parts_more_beginnings_reach_best_of_n_with_a_quarter_of_its_tokens() -> None:
    rewards, tokens = [0.0, 0.0], [0, 0]
    for world_seed in range(40):

        class Other(World):
            def worth(self, stream, seed=world_seed):
                return random.Random(f"{seed} {stream}").gauss(0, 1)

        world = Other(noise=1.0, least=100)
        algorithms = [
            BestOfN(n=32),
            SpeculativeRejection(n=64, max_tokens=100, max_kv_tokens=64 * 3, min_chunk=3),
        ]
        for i, algorithm in enumerate(algorithms):
            result = run(algorithm, world.problem)
            rewards[i] += result.best.score / 40
            tokens[i] += result.spend.tokens

    assert tokens[1] <= tokens[0] / 4
    assert rewards[1] >= rewards[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n": 0}, "n is 0"),
        ({"alpha": 1.0}, "alpha is 1"),
        ({"alpha": -0.1}, "alpha is -0.1"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"round_tokens": 0}, "round_tokens is 0"),
        ({"max_kv_tokens": 2000}, "max_kv_tokens is 2000"),
        ({"prompt_tokens": -1}, "prompt_tokens is -1"),
        ({"min_chunk": 0}, "min_chunk is 0"),
        ({"min_tokens": -1}, "min_tokens is -1"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(settings, message) -> None:
    with pytest.raises(ConfigError, match=message):
        SpeculativeRejection(**settings)
