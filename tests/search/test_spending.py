"""What a search may use."""

from __future__ import annotations

import math

import pytest

from motet.errors import ConfigError
from motet.search.spending import NOTHING, Limits, Spend


def test_spends_add_and_subtract():
    """Field by field; nothing is neutral."""
    one = Spend(proposals=1, tokens=20, scores=3)
    other = Spend(proposals=4, tokens=5, scores=6)

    assert one + other == Spend(proposals=5, tokens=25, scores=9)
    assert one + other - other == one
    assert one + NOTHING == one


@pytest.mark.parametrize("name", ["max_proposals", "max_tokens", "max_scores", "max_steps"])
@pytest.mark.parametrize("value", [-1, 1.5, math.nan, math.inf, "3", True])
def test_a_count_is_a_whole_number(name, value):
    """The error names the limit and its value."""
    with pytest.raises(ConfigError, match=f"{name} is {value!r}"):
        Limits(**{name: value})


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, "3", True])
def test_a_time_is_a_number(value):
    """No limit is None, not infinity."""
    with pytest.raises(ConfigError, match="timeout_s is"):
        Limits(timeout_s=value)


def test_zero_is_a_limit():
    """Nothing may be used."""
    assert Limits(max_proposals=0, max_tokens=0, max_scores=0, max_steps=0, timeout_s=0)
