"""Chance of a search."""

from __future__ import annotations

import subprocess
import sys

from motet.search.algorithm import rng


def test_chance_follows_from_seed_and_place():
    """The same place gives the same numbers, another place or seed others."""
    draws = [rng(*place).random() for place in [(1,), (1, 2), (1, 2), (12,), (1, 2, 0), (2, 1)]]

    assert draws[1] == draws[2]
    assert len(set(draws)) == 5


def test_chance_is_the_same_in_every_process():
    """It does not depend on the process's hash seed."""
    code = "from motet.search.algorithm import rng; print(rng(3, 1, 4).random())"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert float(done.stdout) == rng(3, 1, 4).random()
