import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError, DataError
from motet.routing.confidence import (
    agreement_certainty,
    first_token_margin,
    majority_share,
    mean_probability,
    min_probability,
    normalised,
    token_certainty,
)

OF_LOGPROBS = (mean_probability, min_probability, first_token_margin, token_certainty)
OF_SAMPLES = (majority_share, agreement_certainty)


def logs(*probabilities: float) -> list[float]:
    return [math.log(p) if p else -math.inf for p in probabilities]


@pytest.mark.parametrize("function", [*OF_LOGPROBS, *OF_SAMPLES])
def test_nothing_to_go_by_is_none(function) -> None:
    """Empty input is never a number."""
    assert function([]) is None


@given(st.lists(st.one_of(st.floats(-1000, 0), st.just(-math.inf)), min_size=1, max_size=8))
def test_confidences_from_logprobs_are_from_0_to_1(logprobs) -> None:
    """Whatever the tokens, tokens of probability 0 among them; None where one is too few."""
    for function in OF_LOGPROBS:
        value = function(logprobs)
        assert value is None or 0 <= value <= 1
    assert mean_probability(logprobs) >= min_probability(logprobs) * (1 - 1e-9)


@given(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=12))
def test_confidences_from_samples_are_from_0_to_1(answers) -> None:
    """And are highest where all agree."""
    for function in OF_SAMPLES:
        value = function(answers)
        assert value is None or 0 <= value <= 1
        if value == 1:
            assert len(set(answers)) == 1


def test_known_values_from_logprobs() -> None:
    """Of small cases worked by hand."""
    assert mean_probability(logs(0.9, 0.4)) == pytest.approx(math.sqrt(0.36))
    assert min_probability(logs(0.9, 0.4)) == pytest.approx(0.4)
    assert first_token_margin(logs(0.1, 0.6, 0.3)) == pytest.approx(0.3)
    for probabilities, nats in [((0.9, 0.05, 0.05), 0.394), ((0.4, 0.3, 0.3), 1.089)]:
        certainty = token_certainty(logs(*probabilities))
        assert certainty is not None
        assert (1 - certainty) * math.log(3) == pytest.approx(nats, abs=5e-4)
    assert token_certainty(logs(0.5, 0.5)) == pytest.approx(0)
    assert token_certainty(logs(1, 0, 0)) == 1


def test_a_cut_off_distribution_is_made_to_sum_to_one() -> None:
    """The likeliest two of many tokens count as if they were all."""
    assert token_certainty(logs(0.2, 0.05)) == pytest.approx(token_certainty(logs(0.8, 0.2)))


def test_one_alternative_says_nothing_of_a_margin() -> None:
    """What the second one was is not known, so it is None and not the probability itself."""
    assert first_token_margin(logs(0.9)) is None
    assert token_certainty(logs(0.9)) is None
    assert token_certainty([-math.inf, -math.inf]) is None


def test_known_values_from_samples() -> None:
    """A sample without an answer agrees with no other, itself unanswered ones included."""
    assert majority_share(["a", "a", "b", None]) == 0.5
    assert majority_share([None, None]) == 0.0
    assert agreement_certainty(["a", "a", "a"]) == 1.0
    assert agreement_certainty(["a", "b", "c"]) == pytest.approx(0)
    assert agreement_certainty(["a", "a", "b", "b"]) == pytest.approx(0.5)
    assert agreement_certainty(["a", "a", None, None]) == pytest.approx(0.25)
    assert agreement_certainty([None, None]) is None
    assert agreement_certainty(["a"]) is None


@pytest.mark.parametrize("function", OF_LOGPROBS)
@pytest.mark.parametrize("bad", [0.1, math.nan])
def test_what_is_no_logprob_is_refused(function, bad: float) -> None:
    """A probability handed over in place of its logarithm is an error, not a confidence."""
    with pytest.raises(DataError, match="log-probability"):
        function([-0.5, bad])


def test_ranks_are_above_0_and_up_to_1_with_ties_averaged() -> None:
    """Or at their highest rank, which is the form of the chain ensembles' code."""
    values = np.array([0.2, 0.5, 0.5, 0.9])

    assert normalised(values).tolist() == [0.25, 0.625, 0.625, 1.0]
    assert normalised(values, ties="max").tolist() == [0.25, 0.75, 0.75, 1.0]
    assert normalised(values, "min_max") == pytest.approx([0, 3 / 7, 3 / 7, 1])
    assert normalised(np.array([0.3, 0.3]), "min_max").tolist() == [1, 1]


def test_each_model_is_ranked_by_itself_and_the_unknown_stay_unknown() -> None:
    """Models of any two scales come out the same where they order the items the same."""
    values = np.array([[-9.0, 0.1], [math.nan, 0.2], [-1.0, math.nan]])

    ranks = normalised(values)

    assert ranks[0].tolist() == [0.5, 0.5]
    assert ranks[2, 0] == ranks[1, 1] == 1
    assert np.isnan(ranks[1, 0]) and np.isnan(ranks[2, 1])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), st.sampled_from(["average", "max"]))
def test_ranks_keep_the_order(values, ties) -> None:
    """A higher confidence has a higher rank, an equal one the same; all in (0, 1]."""
    ranks = normalised(np.array(values), ties=ties)

    assert ((ranks > 0) & (ranks <= 1)).all()
    for a, x in zip(values, ranks, strict=True):
        for b, y in zip(values, ranks, strict=True):
            assert (a < b) == (x < y)


def test_bad_normalisation_is_a_typed_error() -> None:
    """Unknown names, infinite values and other shapes."""
    with pytest.raises(ConfigError, match="how is 'z'"):
        normalised(np.array([1.0]), "z")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="ties is 'min'"):
        normalised(np.array([1.0]), ties="min")
    with pytest.raises(DataError, match="infinite"):
        normalised(np.array([math.inf]))
    with pytest.raises(DataError, match="one or two dimensions"):
        normalised(np.zeros((1, 1, 1)))
