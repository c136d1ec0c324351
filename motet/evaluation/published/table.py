"""Recomputed figures as lines of a table, and as a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from motet.evaluation.published.figure import Published
from motet.evaluation.published.registry import Recomputed

SUMMARY_COLUMNS: Final = [
    "SOURCE", "FIGURE", "NUMBER", "SAME", "LARGEST ERROR", "ALLOWED", "STATED BY",
]  # fmt: skip
FIGURE_COLUMNS: Final = [
    "SOURCE", "FIGURE", "OF", "STATED", "COMPUTED", "ERROR", "ALLOWED", "SAME", "ALL ROWS",
    "NOTE",
]  # fmt: skip
_HEAD: Final = """# Published figures, computed anew

Made by `motet eval published --out FILE.md` from stored outputs; no model was asked.
"""
_FEW: Final = 6
"""Kinds of so many figures or fewer have them shown one by one on a page."""


def summary_rows(found: Sequence[Recomputed]) -> list[list[str]]:
    """A line for each kind of figure of each source; one that is missing says so."""
    rows = []
    for each in found:
        if each.missing is not None:
            rows.append([each.source, "missing", "0", "-", "-", "-", "-"])
        for kind, figures in kinds_of(each).items():
            worst = max(figures, key=_badness)
            same = sum(figure.is_reproduced for figure in figures)
            by = sorted({figure.stated_by for figure in figures}, reverse=True)
            rows.append(
                [
                    each.source, kind, str(len(figures)), str(same),
                    small(worst.error), small(worst.tolerance), ", ".join(by),
                ]
            )  # fmt: skip
    return rows


def figure_rows(figures: Sequence[Published]) -> list[list[str]]:
    """A line for each figure."""
    return [
        [
            figure.source, figure.kind, figure.name, shown(figure.published),
            shown(figure.computed), small(figure.error), small(figure.tolerance),
            "yes" if figure.is_reproduced else "NO",
            "-" if figure.whole is None else shown(figure.whole), figure.note,
        ]
        for figure in figures
    ]  # fmt: skip


def page(found: Sequence[Recomputed]) -> str:
    """Return the tables in Markdown: a line for each kind, then the kinds of few figures whole."""
    parts = [_HEAD, _markdown(SUMMARY_COLUMNS, summary_rows(found))]
    few = [
        figure
        for each in found
        for kind, figures in kinds_of(each).items()
        if len(figures) <= _FEW and kind not in ("rows", "pairs", "tasks")
        for figure in figures
    ]
    misses = [figure for each in found for figure in each.misses if figure not in few]
    for title, figures in (("One by one", few), ("Not reproduced", misses)):
        if figures:
            parts.append(f"## {title}\n\n{_markdown(FIGURE_COLUMNS, figure_rows(figures))}")
    absent = [f"- {each.source}: {each.missing}" for each in found if each.missing is not None]
    if absent:
        parts.append("## Missing\n\n" + "\n".join(absent) + "\n")
    return "\n".join(parts)


def kinds_of(recomputed: Recomputed) -> dict[str, list[Published]]:
    """Return the figures by their kind, in the order of the first of each."""
    kinds: dict[str, list[Published]] = {}
    for figure in recomputed.figures:
        kinds.setdefault(figure.kind, []).append(figure)
    return kinds


def shown(value: float) -> str:
    """At most six digits that count; whole numbers without a point."""
    return "none" if math.isnan(value) else f"{value:.6g}"


def small(value: float) -> str:
    """An error: two digits that count."""
    return "none" if math.isnan(value) else f"{value:.2g}"


def _badness(figure: Published) -> tuple[bool, float]:
    is_absent = math.isnan(figure.error)
    return is_absent or not figure.is_reproduced, math.inf if is_absent else figure.error


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
