"""Win rates at equal lengths, from known coefficients."""

from __future__ import annotations

import math
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError, DataError
from motet.judging.datasets import AlpacaEval, read_alpaca_eval
from motet.judging.length_rates import LengthWeights, corrected, rate_between, rate_from_weights

NUMBERS = st.floats(-5, 5)
EXAMPLE = LengthWeights(model=0.3, length=0.2, difficulty=0.1)


def alpaca_eval() -> AlpacaEval:
    folder = os.environ.get("MOTET_DATA")
    if not folder:
        pytest.skip("MOTET_DATA names no folder of data sets")
    return read_alpaca_eval(f"{folder}/alpaca_eval_lc")


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def test_the_worked_example_has_its_two_probabilities() -> None:
    """theta .3, phi .2, psi .1, difficulty 1.5 and one deviation of length: .5739, then .6106."""
    raw = sigmoid(0.3 + 0.2 * math.tanh(-50 / 50) + 0.1 * 1.5)

    assert raw == pytest.approx(0.5739, abs=5e-5)
    assert rate_from_weights(EXAMPLE, [1.5, 1.5]).rate == pytest.approx(61.06, abs=5e-3)
    assert corrected(raw, -50, 50, 0.2) == pytest.approx(0.6106, abs=5e-5)


def test_equal_weights_are_exactly_fifty() -> None:
    """No coefficient, or a model against itself, is 50 with no error, exactly."""
    nothing = rate_from_weights(LengthWeights(), [0.0, 1.5, -2.0])

    assert (nothing.rate, nothing.standard_error) == (50.0, 0.0)
    assert rate_between(EXAMPLE, EXAMPLE, [0.5, -1.5]) == nothing


@given(first=st.tuples(NUMBERS, NUMBERS), second=st.tuples(NUMBERS, NUMBERS), d=NUMBERS)
def test_two_models_share_a_hundred(first: Any, second: Any, d: float) -> None:
    """Exchanging the models gives 100 less the rate, and the same error."""
    one, two = (LengthWeights(model=theta, difficulty=psi) for theta, psi in (first, second))

    forth, back = rate_between(one, two, [d, 0.3]), rate_between(two, one, [d, 0.3])

    assert forth.rate + back.rate == pytest.approx(100)
    assert forth.standard_error == pytest.approx(back.standard_error, abs=1e-9)


def test_the_length_coefficient_does_not_count() -> None:
    """At equal lengths phi has no say."""
    heavy = LengthWeights(model=0.3, length=9.0, difficulty=0.1)

    assert rate_from_weights(heavy, [1.5, 0.2]) == rate_from_weights(EXAMPLE, [1.5, 0.2])


@given(p=st.floats(0.001, 0.999), difference=st.integers(-9000, 9000), weight=st.floats(-3, 3))
def test_correcting_both_ways_round_gives_probabilities_of_one(
    p: float, difference: int, weight: float
) -> None:
    """Exchanging the outputs gives the complement, and equal lengths need no correction."""
    forth, back = corrected(p, difference, 500, weight), corrected(1 - p, -difference, 500, weight)

    assert forth + back == pytest.approx(1)
    assert corrected(p, 0, 500, weight) == pytest.approx(p)


def test_a_longer_output_loses_what_its_length_won() -> None:
    """With phi below 0 the judge likes length; the longer output's preference falls, not past 0."""
    assert corrected(0.6, -400, 400, -1.0) < 0.6 < corrected(0.6, 400, 400, -1.0)
    assert (corrected(0, -400, 400, -1.0), corrected(1, -400, 400, -1.0)) == (0, 1)


def test_bad_numbers_are_refused() -> None:
    """Each names itself and its value."""
    with pytest.raises(ConfigError, match=r"preference is 1\.1"):
        corrected(1.1, 0, 1, 0)
    with pytest.raises(ConfigError, match="deviation is 0"):
        corrected(0.5, 10, 0, 0.1)
    with pytest.raises(ConfigError, match="length_difference is nan"):
        corrected(0.5, math.nan, 1, 0.1)
    with pytest.raises(ConfigError, match="difficulty is nan"):
        LengthWeights(difficulty=math.nan)
    with pytest.raises(DataError, match="difficulties hold"):
        rate_from_weights(EXAMPLE, [0.1, math.nan])
    for few in ([], [0.1], [[0.1, 0.2]]):
        with pytest.raises(DataError, match="at least two"):
            rate_from_weights(EXAMPLE, few)


# ---- the published leaderboard ---------------------------------------------------------------

INCOMPLETE = {"alpaca-7b_concise", "gpt35_turbo_instruct", "phi-2"}


def test_looking_difficulties_up_by_row_number_shifts_them() -> None:
    """Where rows are missing the published rate is that of shifted difficulties; ours is not."""
    read = alpaca_eval()
    for model in read.models:
        if model.name not in INCOMPLETE:
            continue
        judged = [
            name
            for name, value in zip(
                model.comparison.instructions, model.comparison.preference, strict=True
            )
            if not math.isnan(value)
        ]
        published = model.published["length_controlled_winrate"]
        shifted = rate_from_weights(model.weights, [read.difficulty[n] for n in range(len(judged))])
        ours = rate_from_weights(model.weights, [read.difficulty[n] for n in judged])
        assert shifted.rate == pytest.approx(published, abs=1e-6)
        assert abs(ours.rate - published) > 5e-4
