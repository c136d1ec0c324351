"""Tables of recomputed figures."""

from __future__ import annotations

import math
from typing import Any

from motet.evaluation.published.figure import Published, rounded
from motet.evaluation.published.registry import Recomputed
from motet.evaluation.published.table import figure_rows, page, shown, small, summary_rows


def figure(name: str, published: float, computed: float, **changes: Any) -> Published:
    given: dict[str, Any] = {
        "source": "s", "kind": "accuracy", "name": name, "published": published,
        "computed": computed, "tolerance": 0.005, "stated_by": "data",
    }  # fmt: skip
    return Published(**given | changes)


def of(*figures: Published, missing: str | None = None) -> Recomputed:
    return Recomputed(source="s", figures=figures, missing=missing, seconds=0.1)


def test_a_figure_is_reproduced_where_rounding_would_write_it() -> None:
    """The half of a last digit counts, and more does not; nothing equals no number."""
    assert rounded(2) > 0.005 > rounded(2) - 1e-6
    assert figure("a", 12.34, 12.345, tolerance=rounded(2)).is_reproduced
    assert not figure("a", 12.34, 12.3451).is_reproduced
    assert not figure("a", 12.34, math.nan).is_reproduced
    assert not figure("a", math.nan, 12.34).is_reproduced


def test_a_line_of_the_summary_shows_its_worst_figure() -> None:
    """One line a kind; a miss is worse than a larger error that is allowed, nothing is worst."""
    found = of(
        figure("a", 10, 12, tolerance=3),
        figure("b", 10, 11, tolerance=0.5),
        figure("c", 5, 5, kind="rows", stated_by="source"),
    )

    assert summary_rows([found]) == [
        ["s", "accuracy", "2", "1", "1", "0.5", "data"],
        ["s", "rows", "1", "1", "0", "0.005", "source"],
    ]
    nothing = of(figure("a", 10, 12), figure("b", 1, math.nan))
    assert summary_rows([nothing])[0][3:5] == ["0", "none"]
    assert summary_rows([of(missing="gone")]) == [["s", "missing", "0", "-", "-", "-", "-"]]


def test_a_line_of_a_figure_shows_both_and_what_all_rows_have() -> None:
    """And its note, or nothing."""
    [row] = figure_rows([figure("a", 55.19, 55.1913, whole=54.96, note="part")])

    assert row == [
        "s", "accuracy", "a", "55.19", "55.1913", "0.0013", "0.005", "yes", "54.96", "part",
    ]  # fmt: skip
    assert figure_rows([figure("a", 1, 2)])[0][-3:] == ["NO", "-", ""]


def test_a_page_has_few_figures_one_by_one_and_every_miss() -> None:
    """Kinds of many figures are a line of the summary, but for those that are not the same."""
    many = [figure(f"m{i}", 1, 1) for i in range(7)]
    few = figure("x|y", 2, 2, kind="kappa")

    shown_page = page([of(*many, figure("lost", 1, 3), few), of(missing="no folder")])

    summary, one_by_one, misses, missing = shown_page.split("## ")
    assert "| s | accuracy | 8 | 7 | 2 | 0.005 | data |" in summary
    assert "x\\|y" in one_by_one and "m1" not in one_by_one
    assert misses.startswith("Not reproduced") and "lost" in misses
    assert missing == "Missing\n\n- s: no folder\n"


def test_numbers_are_short() -> None:
    """Values keep six digits, errors two."""
    assert (shown(1098), shown(54.9606123), shown(math.nan)) == ("1098", "54.9606", "none")
    assert (small(0.0012568), small(0), small(6.3e-10)) == ("0.0013", "0", "6.3e-10")
