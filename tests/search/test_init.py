"""The package of searches is light to import, and gives every name that it promises."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import motet.search


def test_importing_the_package_loads_no_algorithm() -> None:
    """A fresh interpreter has neither numpy, pydantic nor an algorithm's module after it."""
    code = (
        "import sys, motet.search; "
        "print(*[m for m in sys.modules if m.startswith('motet.search.') "
        "or m in ('numpy', 'pydantic')])"
    )

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.split() == []


def test_a_name_loads_its_own_module_only() -> None:
    """Asking for beam search does not load Monte-Carlo tree search."""
    code = (
        "import sys; from motet.search import Beam; "
        "print(*[m for m in ('motet.search.beam', 'motet.search.mcts') if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.split() == ["motet.search.beam"]


@pytest.mark.parametrize("name", motet.search.__all__)
def test_every_name_resolves_to_what_a_checker_reads(name: str) -> None:
    """What is loaded is what the import for type checkers names, and `dir` shows it."""
    tree = ast.parse(Path(motet.search.__file__).read_text())
    places = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and "motet.search." in node.module
        for alias in node.names
    }

    found = getattr(motet.search, name)

    assert found is getattr(sys.modules[places[name]], name)
    assert name in dir(motet.search)


def test_a_name_that_there_is_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Beem'"):
        getattr(motet.search, "Beem")  # noqa: B009 - the checker knows that there is none
