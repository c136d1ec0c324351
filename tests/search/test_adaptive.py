"""Adaptive sampling: when it stops, what it costs, and its temperatures."""

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError
from motet.search.adaptive import AdaptiveSampling, isotonic, probability_of_yes
from motet.search.spending import Limits
from motet.search.tools import FAILED
from tests.search.script import Script, solve, walk

SCORES = {"a": 0.2, "b": 0.6, "c": 0.95, "d": 0.5}


def test_it_draws_until_a_score_is_above_the_threshold() -> None:
    """One at a time; the best-scored is the answer."""
    script = Script("abcd", SCORES)

    result = solve(AdaptiveSampling(threshold=0.9), script.problem)

    assert result.best is not None and result.best.text == "c"
    assert [len(batch) for batch in script.asks] == [1, 1, 1]
    assert result.notes["num_draws"] == result.spend.proposals == script.drawn == 3


def test_the_ends_of_the_threshold() -> None:
    """0 takes exactly one answer; above 1 all are drawn; a score at the threshold is not enough."""
    one, all_, at = (Script("abcd", SCORES) for _ in range(3))

    solve(AdaptiveSampling(threshold=0, max_draws=9), one.problem)
    best = solve(AdaptiveSampling(threshold=1.01, max_draws=9), all_.problem).best
    solve(AdaptiveSampling(threshold=0.95, max_draws=9), at.problem)

    assert (one.drawn, all_.drawn, at.drawn) == (1, 9, 9)
    assert best is not None and best.text == "c"


@pytest.mark.parametrize(("p", "n"), [(0.3, 8), (0.7, 4), (0.1, 16)])
def test_a_perfect_evaluator_draws_as_expected(p: float, n: int) -> None:
    """With success probability p the mean of draws is (1 - (1 - p)^N) / p."""
    total = 0
    for seed in range(700):
        luck = random.Random(seed)
        script = Script(["r" if luck.random() < p else "w" for _ in range(n)], {"r": 1.0, "w": 0.0})
        total += solve(AdaptiveSampling(threshold=0.5, max_draws=n), script.problem).spend.proposals

    assert total / 700 == pytest.approx((1 - (1 - p) ** n) / p, rel=0.1)


def test_the_schedule_is_asked_once_a_draw() -> None:
    """With k = 1, 2, ...; each draw of a batch has its own temperature."""
    asked: list[int] = []

    def schedule(draw: int) -> float:
        asked.append(draw)
        return draw / 10

    script = Script("a", SCORES)
    algorithm = AdaptiveSampling(max_draws=5, batch=2, temperature_schedule=schedule)
    solve(algorithm, script.problem)

    assert asked == [1, 2, 3, 4, 5]
    assert [[ask.temperature for ask in batch] for batch in script.asks] == [
        [0.1, 0.2],
        [0.3, 0.4],
        [0.5],
    ]


def test_without_a_schedule_the_proposer_s_temperature_stands() -> None:
    """The default leaves it alone."""
    script = Script("c", SCORES)
    solve(AdaptiveSampling(), script.problem)

    assert [ask.temperature for [ask] in script.asks] == [None]


def test_a_batch_stops_after_itself() -> None:
    """Answers of a round are all drawn and scored; the round that suffices is the last."""
    script = Script("cabd", SCORES)

    result = solve(AdaptiveSampling(batch=4), script.problem)

    assert (script.drawn, result.spend.scores) == (4, 4)


def test_failures_count_as_draws_and_never_end_it() -> None:
    """A sample or a score that failed is no reason to stop, nor an answer."""
    script = Script([None, "a", "b"], lambda text: FAILED if text == "a" else 0.4)

    result = solve(AdaptiveSampling(max_draws=3), script.problem)

    assert result.best is not None and result.best.text == "b"
    assert result.notes["num_draws"] == 3


def test_a_limit_keeps_the_best_so_far() -> None:
    """Two draws are held; the better one is the answer."""
    result = solve(
        AdaptiveSampling(), Script("bacd", SCORES).problem, limits=Limits(max_proposals=2)
    )

    assert (result.why, result.spend.proposals) == ("limit", 2)
    assert result.best is not None and result.best.text == "b"


@pytest.mark.parametrize("batch", [2, 3, 4])
def test_draws_of_a_batch_that_a_limit_cut_are_counted_as_they_were_paid(batch: int) -> None:
    """`num_draws` is what was asked for, not the batches; the last one is half there."""
    script = Script("abad", SCORES)
    limits = Limits(max_proposals=batch + 1)

    result = solve(AdaptiveSampling(batch=batch), script.problem, limits=limits)

    assert result.why == "limit"
    assert result.notes["num_draws"] == result.spend.proposals == script.drawn == batch + 1
    assert len(result.candidates) == batch + 1


def test_a_step_is_the_same_from_the_state_read_back() -> None:
    """State and steps pass through a checkpoint."""
    assert len(walk(AdaptiveSampling(), Script("abcd", SCORES))) == 4


@given(st.floats(-60, 0), st.floats(-60, 0))
def test_yes_and_no_make_a_probability(yes: float, no: float) -> None:
    """e^yes / (e^yes + e^no), in [0, 1]; with no and yes exchanged the rest to 1."""
    p = probability_of_yes(yes, no)

    assert 0 <= p <= 1
    assert p == pytest.approx(math.exp(yes) / (math.exp(yes) + math.exp(no)))
    assert p + probability_of_yes(no, yes) == pytest.approx(1)


def test_yes_and_no_far_below_are_still_told_apart() -> None:
    """Log-probabilities whose exponentials vanish, and one that is impossible."""
    assert probability_of_yes(-2000, -2000) == 0.5
    assert probability_of_yes(-1, -math.inf) == 1.0
    with pytest.raises(ConfigError, match="-inf"):
        probability_of_yes(-math.inf, -math.inf)


def test_golden_isotonic_fit() -> None:
    """Violators are pooled to their mean; what rises stays; equal scores share a step."""
    pairs = [(0.1, 0.0), (0.2, 1.0), (0.3, 0.0), (0.4, 0.0), (0.5, 1.0), (0.5, 0.0), (0.9, 1.0)]

    assert isotonic(pairs) == [(0.1, 0.0), (0.2, 1 / 3), (0.5, 0.5), (0.9, 1.0)]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1)), min_size=1, max_size=30))
def test_an_isotonic_fit_rises_and_keeps_the_mean(pairs: list[tuple[int, int]]) -> None:
    """Steps rise strictly, and their mean over the points is the mean outcome."""
    fitted = isotonic([(float(s), float(o)) for s, o in pairs])
    values = [value for _, value in fitted]
    at = [max(v for start, v in fitted if start <= score) for score, _ in pairs]

    assert all(a < b for a, b in zip(values, values[1:], strict=False))
    assert sum(at) == pytest.approx(sum(o for _, o in pairs))


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf, "hot", True])
def test_a_schedule_that_gives_no_temperature_leaves_the_best_so_far(wrong: Any) -> None:
    """The answers that were paid for before it are not lost."""
    algorithm = AdaptiveSampling(temperature_schedule=lambda k: 0.5 if k < 3 else wrong)

    result = solve(algorithm, Script("abd", SCORES).problem)

    assert (result.why, result.spend.proposals) == ("failed", 2)
    assert str(result.error).startswith(f"temperature_schedule gave {wrong!r}")
    assert result.best is not None and result.best.text == "b"


def test_settings_are_checked() -> None:
    """Each names its value."""
    for name, value in [("threshold", -0.1), ("max_draws", 0), ("batch", 0)]:
        wrong: Any = {name: value}
        with pytest.raises(ConfigError, match=f"{name} is {value}"):
            AdaptiveSampling(**wrong)
