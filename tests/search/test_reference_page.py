"""The reference page names what searches offer."""

import re
from pathlib import Path

import pytest

import motet.search
from motet.search import coverage, drawing

PAGE = Path(__file__).parents[2] / "docs" / "reference.md"


def members(module: str) -> set[str]:
    """What the page shows of a module."""
    [block] = re.findall(
        rf"::: {re.escape(module)}\n.*?members: \[(.*?)\]", PAGE.read_text(), re.DOTALL
    )
    return set(re.findall(r"\w+", block))


def test_every_public_name_of_searches_is_shown() -> None:
    """All but the two marks of what was lost."""
    assert members("motet.search") == set(motet.search.__all__) - {"FAILED", "UNPAID"}


@pytest.mark.parametrize("module", [drawing, coverage], ids=lambda module: module.__name__)
def test_what_has_a_page_s_block_of_its_own_is_shown_whole(module) -> None:
    """Every function and class that the module makes and that is no part of its inside."""
    made = {
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__ and not name.startswith("_")
    }

    assert members(module.__name__) == made - {"T"}
