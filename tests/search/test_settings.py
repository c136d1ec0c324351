"""Checks of settings."""

from __future__ import annotations

import math

import pytest

from motet.errors import ConfigError
from motet.search.settings import number, one_of, whole


@pytest.mark.parametrize("value", [0, -1, 2.0, "2", True, None, math.nan])
def test_whole_refuses_what_is_no_count(value):
    """The error names the setting, its value and the least."""
    with pytest.raises(ConfigError, match=f"width is {value!r}; it must be a whole number, at lea"):
        whole("width", value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "1", True, None, 10**400])
def test_number_refuses_what_is_no_finite_number(value):
    """An integer beyond all floats is refused as any other value out of bounds."""
    with pytest.raises(ConfigError, match="alpha is .*; it must be a finite number from 0 to 1$"):
        number("alpha", value, 0, 1)


def test_open_bounds_are_not_spelled_out():
    """Bounds that are not there are not in the message."""
    with pytest.raises(ConfigError, match="it must be a finite number$"):
        number("alpha", math.nan)


def test_bounds_are_included():
    """The least and the most are allowed."""
    whole("width", 3, 3)
    number("alpha", 0, 0, 1)
    number("alpha", 1.0, 0, 1)
    one_of("choose", "best", ("best", "majority"))


def test_one_of_names_what_there_is():
    """The error lists the known values."""
    with pytest.raises(ConfigError, match="choose is 'worst'; it must be one of best, majority"):
        one_of("choose", "worst", ("best", "majority"))
