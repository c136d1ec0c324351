"""The frontier as a picture: accuracy against tokens, scorer passes and seconds, as SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from itertools import pairwise
from typing import Final

from motet.programs.frontier.attempts import GREEDY
from motet.programs.frontier.points import Point
from motet.svg import Axis, axis_of, line_svg, linear, mark_svg, style, tick_text

_WIDTH, _HEIGHT = 360, 300
"""Of a panel's area between its axes."""
_LEFT, _TOP, _GAP, _BELOW = 62, 52, 62, 52
_LEGEND_ROW = 22
_SHIFT = 7
_CHARACTER = 7.2
"""Width of a letter of the legend, rounded up."""
_FONT = "font-family='DejaVu Sans, Verdana, sans-serif' font-size='12'"


Measure = tuple[str, Callable[[Point], float | None]]
"""The label of a panel's x axis, and what stands on it."""
TOKENS: Final[Measure] = ("tokens of an attempt", lambda point: point.tokens)
SCORES: Final[Measure] = ("scorer passes of an attempt", lambda point: point.scores)
SECONDS: Final[Measure] = ("seconds of an attempt", lambda point: point.wall_s)
SOLUTIONS: Final[Measure] = ("solutions to choose from", lambda point: float(point.budget))


def frontier_svg(
    points: Sequence[Point],
    *,
    title: str,
    base: str = GREEDY,
    panels: Sequence[Measure] = (TOKENS, SCORES, SECONDS),
) -> str:
    """Return the picture: a panel for each measure, by default tokens, scorer passes and seconds.

    Every method is a line through its budgets; bars are 95 percent intervals. A dashed line is as
    high as `base`.
    """
    methods = list(dict.fromkeys(point.method for point in points))
    width = _LEFT + len(panels) * (_WIDTH + _GAP) - _GAP + 24
    rows = _legend_rows(methods, width - _LEFT)
    height = _TOP + _HEIGHT + _BELOW + len(rows) * _LEGEND_ROW + 12
    highest = max(point.accuracy.high for point in points)
    up = linear([highest, 0.0])
    parts = [
        _opening(width, height),
        f"<rect width='{width}' height='{height}' fill='white'/>",
        f"<text x='{_LEFT}' y='26' font-size='16'>{escape(title)}</text>",
    ]
    for number, (label, measure) in enumerate(panels):
        left = _LEFT + number * (_WIDTH + _GAP)
        parts += _panel(points, methods, left, (label, measure), up, base, has_label=number == 0)
    y = _TOP + _HEIGHT + _BELOW + _LEGEND_ROW / 2
    for row in rows:
        for x, method in row:
            colour, mark = style(methods.index(method))
            parts.append(line_svg(_LEFT + x, y, _LEFT + x + 24, y, colour, 1.5))
            parts.append(mark_svg(mark, _LEFT + x + 12, y, colour))
            parts.append(f"<text x='{_LEFT + x + 30:.1f}' y='{y + 4:.1f}'>{escape(method)}</text>")
        y += _LEGEND_ROW
    return "\n".join([*parts, "</svg>", ""])


def _panel(
    points: Sequence[Point],
    methods: Sequence[str],
    left: float,
    panel: Measure,
    up: Axis,
    base: str,
    *,
    has_label: bool,
) -> list[str]:
    label, measure = panel
    bottom = _TOP + _HEIGHT
    known = [value for point in points if (value := measure(point)) is not None]
    across = axis_of(known)
    parts = []
    for tick in up.ticks:
        y = bottom - up.place(tick) * _HEIGHT
        parts.append(line_svg(left, y, left + _WIDTH, y, "#e4e4e4", 1))
        parts.append(
            f"<text x='{left - 8}' y='{y + 4:.1f}' text-anchor='end'>{100 * tick:g}</text>"
        )
    for tick in across.ticks:
        x = left + across.place(tick) * _WIDTH
        parts.append(line_svg(x, bottom, x, bottom + 5, "#444444", 1))
        parts.append(
            f"<text x='{x:.1f}' y='{bottom + 19}' text-anchor='middle'>{tick_text(tick)}</text>"
        )
    parts.append(line_svg(left, bottom, left + _WIDTH, bottom, "#444444", 1))
    parts.append(line_svg(left, _TOP, left, bottom, "#444444", 1))
    scale = f"{label} (log)" if across.is_log else label
    middle = left + _WIDTH / 2
    parts.append(f"<text x='{middle}' y='{bottom + 38}' text-anchor='middle'>{scale}</text>")
    if has_label:
        y = _TOP + _HEIGHT / 2
        parts.append(
            f"<text x='18' y='{y}' text-anchor='middle' transform='rotate(-90 18 {y})'>"
            "accuracy, percent</text>"
        )
    shifts = _shifts(points, [measure(point) for point in points], across)
    for number, method in enumerate(methods):
        colour, mark = style(number)
        if method == base:
            y = bottom - up.place(_last(points, method).accuracy.mean) * _HEIGHT
            parts.append(line_svg(left, y, left + _WIDTH, y, colour, 1, "stroke-dasharray='4 4'"))
        places = []
        for point, shift in zip(points, shifts, strict=True):
            value = measure(point)
            if point.method == method and value is not None:
                x = left + across.place(value) * _WIDTH + shift
                heights = (point.accuracy.mean, point.accuracy.low, point.accuracy.high)
                places.append((x, *(bottom - up.place(each) * _HEIGHT for each in heights)))
        places.sort()
        for (x0, y0, *_), (x1, y1, *_) in pairwise(places):
            parts.append(line_svg(x0, y0, x1, y1, colour, 1.5))
        for x, y, low, high in places:
            bars = [(x, low, x, high), (x - 3, low, x + 3, low), (x - 3, high, x + 3, high)]
            parts += [line_svg(*bar, colour, 1.2, "stroke-opacity='0.55'") for bar in bars]
            parts.append(mark_svg(mark, x, y, colour))
    return parts


def _shifts(points: Sequence[Point], values: Sequence[float | None], across: Axis) -> list[float]:
    """Return by how much each point is shifted, so that methods at one place stand side by side."""
    places = [None if value is None else round(across.place(value) * _WIDTH) for value in values]
    methods: dict[int | None, list[str]] = {}
    for point, place in zip(points, places, strict=True):
        if point.method not in methods.setdefault(place, []):
            methods[place].append(point.method)
    shifts = []
    for point, place in zip(points, places, strict=True):
        beside = methods[place]
        shifts.append(_SHIFT * (beside.index(point.method) - (len(beside) - 1) / 2))
    return shifts


def _last(points: Sequence[Point], method: str) -> Point:
    return [point for point in points if point.method == method][-1]


def _opening(width: int, height: int) -> str:
    size = f"width='{width}' height='{height}' viewBox='0 0 {width} {height}'"
    return f"<svg xmlns='http://www.w3.org/2000/svg' {size} {_FONT}>"


def _legend_rows(methods: Sequence[str], width: float) -> list[list[tuple[float, str]]]:
    rows: list[list[tuple[float, str]]] = [[]]
    x = 0.0
    for method in methods:
        taken = 30 + len(method) * _CHARACTER + 24
        if rows[-1] and x + taken > width:
            rows.append([])
            x = 0.0
        rows[-1].append((x, method))
        x += taken
    return rows
