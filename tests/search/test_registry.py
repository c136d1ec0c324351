"""Algorithms by name."""

from __future__ import annotations

import pytest

from motet.errors import ConfigError
from motet.search import Beam, BestOfN, RStar
from motet.search.registry import ALGORITHMS, find_algorithm


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_every_name_stands_for_an_algorithm_with_default_settings(name: str) -> None:
    found = find_algorithm(name)

    assert all(callable(getattr(found, each)) for each in ("init", "step", "is_done", "found"))


def test_settings_are_literals() -> None:
    assert find_algorithm("beam(n=16, width=4)") == Beam(n=16, width=4)
    assert find_algorithm(" Beam( is_distinct=True )") == Beam(is_distinct=True)
    assert find_algorithm("beam()") == Beam()
    assert find_algorithm("BestOfN(n=2)") == BestOfN(n=2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bean", "did you mean 'beam'"),
        ("", "there are"),
        ("beam(with=4)", "settings are written as"),
        ("beam(widht=4)", "did you mean 'width'"),
        ("beam(4)", "settings are written as"),
        ("beam(**{})", "settings are written as"),
        ("beam(n=open('x'))", "settings are written as"),
        ("beam(n=4) + 1", "settings are written as"),
        ("beam(n=4", "settings are written as"),
        ("beam(n='4')", "n is '4'"),
        ("beam(n=16)(n=4)", "settings are written as"),
        ("beam(n=1, n=4)", "settings are written as"),
        ("best-of-n(extract='final')", "extract of best-of-n is a function"),
        ("early-pruning(checkpoints=5)", "checkpoints"),
        ("beam(n=0)", "n is 0"),
    ],
)
def test_wrong_texts_are_told(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("(", r"\(")):
        find_algorithm(text)


def test_other_algorithms_may_be_known() -> None:
    """A program has names of its own, and hints at those."""
    known = {"rstar": "motet.search.rstar:RStar"}

    assert find_algorithm("rstar(num_votes=3)", known) == RStar(num_votes=3)
    assert find_algorithm("RStar", known) == RStar()
    with pytest.raises(ConfigError, match="did you mean 'rstar'"):
        find_algorithm("r-star", known)
    with pytest.raises(ConfigError, match="there are rstar"):
        find_algorithm("beam", known)
