"""Tokens drawn by rejection: every way that chance can go, added up, is what is wanted."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from typing import Any

import pytest

from motet.errors import ConfigError, SearchError
from motet.search import Limits, search
from motet.search.potentials import Condition, Potential, SomeTokens, Twist, as_row
from motet.search.rejection import Place, chooser, draw_allowed
from motet.search.spending import NO_LIMITS, NOTHING
from motet.search.steering import Steering
from motet.search.token_problem import TokenProblem
from motet.testing import toy_lm as toy


def problem(potential: Potential | None) -> TokenProblem:
    return TokenProblem(
        next_logprobs=toy.next_logprobs, end=toy.END, decode=toy.text, potential=potential
    )


class Path:
    """Chance that goes one given way, and then takes the first branch that there is."""

    def __init__(self, way: list[int]) -> None:
        self.way, self.at, self.probability = way, 0, 1.0
        self.branches: list[list[int]] = []

    def choose(self, weights: Any) -> int:
        open_places = [i for i, weight in enumerate(weights) if weight > 0]
        if self.at == len(self.way):
            self.way.append(open_places[0])
        place = self.way[self.at]
        self.at += 1
        self.branches.append(open_places)
        self.probability *= float(weights[place] / weights.sum())
        return place


def every_way(
    tokens: tuple[int, ...], potential: Potential | None, extra_draws: int, row: Any = None
) -> Any:
    """Yield (probability, token, weight) of each way that chance can go."""
    way: list[int] | None = []
    while way is not None:
        path = Path(way)
        row = row or as_row(toy.next_logprobs([tokens])[0])
        drawn = asyncio.run(
            draw_allowed(
                problem(potential).tools(NO_LIMITS, NOTHING),
                [Place(tokens, row, path.choose)],
                extra_draws=extra_draws,
            )
        )
        assert drawn is not None
        [(token, log_weight)] = drawn
        yield path.probability, token, math.exp(log_weight)
        way = None
        for depth in reversed(range(path.at)):
            later = [b for b in path.branches[depth] if b > path.way[depth]]
            if later:
                way = [*path.way[:depth], later[0]]
                break


SETS = [{0, 1, 2}, {0, 1}, {1, 2}, {0}, {1}, {2}, set()]


def only(allowed: set[int]) -> Condition:
    """Allow these tokens, whatever comes before them."""
    return Condition(
        lambda tokens: toy.END in allowed, lambda tokens: tokens[-1:] == () or tokens[-1] in allowed
    )


@pytest.mark.parametrize("extra_draws", [1, 2, 3])
@pytest.mark.parametrize("allowed", SETS, ids=str)
def test_token_and_weight_are_proper_together(allowed: set[int], extra_draws: int) -> None:
    """The mean of weight times indicator is the probability of each token that is allowed."""
    means: Counter[int] = Counter()
    total = 0.0
    for probability, token, weight in every_way((), only(allowed), extra_draws):
        total += probability
        means[token] += probability * weight

    assert total == pytest.approx(1)
    for token in range(3):
        wanted = toy.FIRST[token] if token in allowed else 0.0
        assert means[token] == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("allowed", SETS[:-1], ids=str)
def test_the_token_is_the_models_among_what_is_allowed(allowed: set[int]) -> None:
    shares: Counter[int] = Counter()
    for probability, token, _ in every_way((), only(allowed), 1):
        shares[token] += probability

    z = sum(toy.FIRST[token] for token in allowed)
    for token in range(3):
        wanted = toy.FIRST[token] / z if token in allowed else 0.0
        assert shares[token] == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("allowed", [{1, 4}, {3}, {0, 1, 2, 3, 4}], ids=str)
def test_it_is_proper_over_several_blocks_of_a_peaked_row(allowed: set[int]) -> None:
    shares = [1e-9, 0.9, 1e-4, 0.0, 0.0999]
    row = as_row(SomeTokens(range(5), [math.log(p) if p else -math.inf for p in shares]))
    means: Counter[int] = Counter()
    for probability, token, weight in every_way((), only(allowed), 1, row):
        means[token] += probability * weight

    for token in set(range(5)) - {toy.END}:
        wanted = shares[token] / sum(shares) if token in allowed else 0.0
        assert means[token] == pytest.approx(wanted, rel=1e-9)


def test_a_draw_does_not_look_at_all_of_a_vocabulary() -> None:
    """Nor do many draws behind each other keep the loop from others."""
    size, num_seen, turns, known = 10_000, [0], [0], chooser(0.5)

    def counted(weights: Any) -> int:
        num_seen[0] += len(weights)
        return known(weights)

    late = Condition(lambda tokens: True, lambda tokens: tokens[-1] > 300)
    many = TokenProblem(next_logprobs=lambda texts: [], end=size, decode=str, potential=late)
    row = as_row(SomeTokens(range(size), [-0.1 * token for token in range(size)]))

    async def act() -> Any:
        async def others() -> None:
            while True:
                turns[0] += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(others())
        tools = many.tools(NO_LIMITS, NOTHING)
        drawn = await draw_allowed(tools, [Place((), row, counted)], extra_draws=1)
        task.cancel()
        return drawn

    [(token, _)] = asyncio.run(act())

    assert token > 300
    assert num_seen[0] < 400 * 2 * math.isqrt(size) + 1000
    assert turns[0] > 200


def test_no_token_is_asked_about_twice() -> None:
    asked: list[tuple[int, ...]] = []

    size = 12
    row = as_row(SomeTokens(range(size), [0.0] * size))

    def can_hold(tokens: tuple[int, ...]) -> bool:
        asked.append(tokens)
        return tokens[-1] % 2 == 0

    many = TokenProblem(
        next_logprobs=lambda texts: [],
        end=size,
        decode=str,
        potential=Condition(lambda tokens: True, can_hold),
    )
    places = [Place((), row, chooser(n / 10)) for n in range(10)]
    drawn = asyncio.run(draw_allowed(many.tools(NO_LIMITS, NOTHING), places, extra_draws=2))

    assert drawn is not None
    assert all(token % 2 == 0 for token, _ in drawn)
    assert len(asked) == len(set(asked))


def has_no_aa(tokens: tuple[int, ...]) -> bool:
    return "aa" not in toy.text(tokens)


def test_the_estimate_of_z_is_unbiased_through_the_whole_search() -> None:
    algorithm = Steering(n=4, proposal="rejection", extra_draws=1)
    found = []
    for seed in range(400):
        result = asyncio.run(search(algorithm, problem(Condition(has_no_aa, has_no_aa)), seed=seed))
        assert all(has_no_aa(toy.ids(each.text)) for each in result.candidates)
        found.append(math.exp(result.notes["log_z"]))  # type: ignore[arg-type]

    assert sum(found) / len(found) == pytest.approx(toy.Z, abs=0.03)


def test_a_text_that_must_end_weighs_as_its_end() -> None:
    row = as_row(toy.next_logprobs([(toy.A,)])[0])
    for holds, wanted in ((True, math.log(toy.AFTER[toy.A][2])), (False, -math.inf)):
        ends = problem(Condition(lambda tokens, holds=holds: holds)).tools(NO_LIMITS, NOTHING)
        [(token, log_weight)] = asyncio.run(
            draw_allowed(ends, [Place((toy.A,), row, chooser(0.5), True)], extra_draws=1)
        )
        assert (token, log_weight) == (toy.END, pytest.approx(wanted))


def test_potentials_that_weigh_are_refused() -> None:
    weighing = Twist(lambda texts: [-0.5] * len(texts))

    result = asyncio.run(search(Steering(n=2, proposal="rejection"), problem(weighing)))

    assert isinstance(result.error, SearchError)
    assert "it must be 0 or -inf" in str(result.error)
    with pytest.raises(ConfigError, match="extra_draws is 0"):
        Steering(extra_draws=0)


def test_a_limit_of_scores_ends_it() -> None:
    condition = Condition(has_no_aa, has_no_aa)
    result = asyncio.run(
        search(Steering(n=4, proposal="rejection"), problem(condition), limits=Limits(max_scores=3))
    )

    assert result.why == "limit"
    assert result.spend.scores <= 3
