"""Plots of routers as SVG: cost and quality, deferral, and the regret of bandits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Final

from motet.errors import DataError
from motet.svg import Axis, around, axis_of, line_svg, mark_svg, style, tick_text

if TYPE_CHECKING:
    from motet.routing.measuring import Compared

COLOURS: Final = tuple(f"var(--c{number})" for number in range(8))
_LIGHT: Final = (
    "#000000", "#C24E00", "#0072B2", "#00805D", "#B0538A", "#A87400", "#2A86C0", "#6A51A3",
)  # fmt: skip
"""Okabe and Ito's, as dark as white paper needs."""
_DARK: Final = (
    "#F2F2F2", "#FF8A3D", "#5CB3F0", "#2FCB9C", "#E79AC4", "#E9B83C", "#9BD3F5", "#B39DE8",
)  # fmt: skip
_WIDTH, _HEIGHT = 560, 340
"""Of the area between the axes."""
_LEFT, _TOP, _BELOW = 68, 44, 50
_CHARACTER = 7.4
"""Width of a letter of a label, rounded up."""
_ROW = 19
_MARKS: Final = 6
"""On a curve of many points."""
_SAMPLES: Final = 80
"""Points of a curve: a straight line is bent by a logarithmic scale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A line to draw, with an interval around it where there is one."""

    name: str
    xs: tuple[float, ...]
    """Rising."""
    ys: tuple[float, ...]
    lows: tuple[float, ...] = ()
    highs: tuple[float, ...] = ()
    is_dashed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A point with a label."""

    label: str
    x: float
    y: float


def cost_quality_svg(
    found: Sequence[Compared],
    *,
    title: str,
    unit: str,
    models: Mapping[str, tuple[float, float]] | None = None,
    dashed: Sequence[str] = (),
) -> str:
    """Return the hulls of routers, mean score against mean cost, with their 95 % intervals.

    Args:
        unit: Of the costs.
        models: Mean cost and score of each single model, drawn as labelled points.
        dashed: Names of references.

    Raises:
        DataError: There is nothing to draw.
    """
    spots = [Spot(label=name, x=x, y=y) for name, (x, y) in (models or {}).items()]
    last = max((each.costs[-1] for each in found), default=0.0)
    last = max([last, *(spot.x for spot in spots)])
    curves = [
        Curve(
            name=each.name,
            # Beyond its last vertex a hull is level.
            xs=(*each.costs, last) if each.costs[-1] < last else each.costs,
            ys=_longer(each.qualities, each.costs[-1] < last),
            lows=_longer(each.lows, each.costs[-1] < last),
            highs=_longer(each.highs, each.costs[-1] < last),
            is_dashed=each.name in dashed,
        )
        for each in found
    ]
    return lines_svg(curves, title=title, across=f"mean cost, {unit}", up="mean score", spots=spots)


def deferral_svg(found: Sequence[Compared], *, title: str, dashed: Sequence[str] = ()) -> str:
    """Return mean score against the share of prompts that the strong model answers.

    Raises:
        DataError: No router of `found` has such a curve.
    """
    curves = [
        Curve(
            name=each.name,
            xs=tuple(share for share, _ in each.deferral),
            ys=tuple(score for _, score in each.deferral),
            is_dashed=each.name in dashed,
        )
        for each in found
        if each.deferral is not None
    ]
    across = "share of prompts at the strong model"
    return lines_svg(curves, title=title, across=across, up="mean score", is_log=False)


def lines_svg(
    curves: Sequence[Curve],
    *,
    title: str,
    across: str,
    up: str,
    spots: Sequence[Spot] = (),
    is_log: bool = True,
) -> str:
    """Return curves in one panel with a legend below.

    Colours follow the reader's setting of light or dark, also where the picture stands in a page
    as an image.

    Args:
        across: Label of the x axis.
        up: Label of the y axis.
        is_log: Whether the x axis is logarithmic where its values span a factor of eight.

    Raises:
        DataError: There is nothing to draw.
    """
    if not curves or not all(curve.xs for curve in curves):
        raise DataError(f"there is nothing to draw in {title!r}")
    xs = [x for curve in curves for x in curve.xs] + [spot.x for spot in spots]
    ys = [y for curve in curves for part in (curve.ys, curve.lows, curve.highs) for y in part]
    ys += [spot.y for spot in spots]
    x_axis = axis_of(xs) if is_log else around(min(xs), max(xs))
    y_axis = around(min(ys), max(ys))
    width = _LEFT + _WIDTH + 24
    rows = _legend([curve.name for curve in curves], width - _LEFT)
    height = _TOP + _HEIGHT + _BELOW + len(rows) * _ROW + 10
    parts = [
        _opening(width, height, title),
        _styles(),
        f"<rect width='{width}' height='{height}' fill='var(--paper)'/>",
        f"<g fill='var(--ink)'><text x='{_LEFT}' y='26' font-size='15'>{escape(title)}</text>",
        *_frame(x_axis, y_axis, across, up),
        "</g>",
    ]
    drawn = [(curve, *style(number, COLOURS)) for number, curve in enumerate(curves)]
    parts += [_band(curve, colour, x_axis, y_axis) for curve, colour, _ in drawn if curve.lows]
    for curve, colour, mark in drawn:
        parts += _curve(curve, colour, mark, x_axis, y_axis)
    parts += _spots(spots, x_axis, y_axis)
    y = _TOP + _HEIGHT + _BELOW + _ROW / 2
    for row in rows:
        for x, number in row:
            curve, colour, mark = drawn[number]
            dashes = "stroke-dasharray='5 4'" if curve.is_dashed else ""
            parts.append(line_svg(_LEFT + x, y, _LEFT + x + 24, y, colour, 1.8, dashes))
            parts.append(mark_svg(mark, _LEFT + x + 12, y, colour))
            parts.append(
                f"<text x='{_LEFT + x + 30:.1f}' y='{y + 4:.1f}' fill='var(--ink)'>"
                f"{escape(curve.name)}</text>"
            )
        y += _ROW
    return "\n".join([*parts, "</svg>", ""])


def _longer(values: tuple[float, ...], is_short: bool) -> tuple[float, ...]:
    return (*values, values[-1]) if is_short else values


def _opening(width: int, height: int, title: str) -> str:
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' "
        f"viewBox='0 0 {width} {height}' role='img' aria-label='{escape(title)}' "
        "font-family='DejaVu Sans, Verdana, sans-serif' font-size='12' class='routing'>"
    )


def _styles() -> str:
    def named(colours: Sequence[str], paper: str, ink: str, grid: str) -> str:
        series = " ".join(f"--c{i}: {colour};" for i, colour in enumerate(colours))
        return f".routing {{ --paper: {paper}; --ink: {ink}; --grid: {grid}; {series} }}"

    light = named(_LIGHT, "#ffffff", "#222222", "#e2e2e2")
    dark = named(_DARK, "#14171a", "#e6e6e6", "#343a40")
    return f"<style>{light} @media (prefers-color-scheme: dark) {{ {dark} }}</style>"


def _frame(x_axis: Axis, y_axis: Axis, across: str, up: str) -> list[str]:
    bottom, right = _TOP + _HEIGHT, _LEFT + _WIDTH
    parts = []
    for tick in y_axis.ticks:
        y = bottom - y_axis.place(tick) * _HEIGHT
        parts.append(line_svg(_LEFT, y, right, y, "var(--grid)", 1))
        parts.append(f"<text x='{_LEFT - 8}' y='{y + 4:.1f}' text-anchor='end'>{tick:g}</text>")
    for tick in x_axis.ticks:
        x = _LEFT + x_axis.place(tick) * _WIDTH
        parts.append(line_svg(x, bottom, x, bottom + 5, "var(--ink)", 1))
        parts.append(
            f"<text x='{x:.1f}' y='{bottom + 19}' text-anchor='middle'>{tick_text(tick)}</text>"
        )
    parts.append(line_svg(_LEFT, bottom, right, bottom, "var(--ink)", 1))
    parts.append(line_svg(_LEFT, _TOP, _LEFT, bottom, "var(--ink)", 1))
    scale = f"{across} (log)" if x_axis.is_log else across
    parts.append(
        f"<text x='{_LEFT + _WIDTH / 2}' y='{bottom + 38}' text-anchor='middle'>"
        f"{escape(scale)}</text>"
    )
    y = _TOP + _HEIGHT / 2
    parts.append(
        f"<text x='18' y='{y}' text-anchor='middle' transform='rotate(-90 18 {y})'>"
        f"{escape(up)}</text>"
    )
    return parts


def _sampled(curve: Curve, x_axis: Axis) -> list[float]:
    """Return x values that are even on the axis, and those of the curve."""
    places = [x_axis.place(x) for x in (curve.xs[0], curve.xs[-1])]
    even = [places[0] + (places[1] - places[0]) * i / _SAMPLES for i in range(_SAMPLES + 1)]
    if x_axis.is_log:
        between = [x_axis.low * (x_axis.high / x_axis.low) ** place for place in even]
    else:
        between = [x_axis.low + (x_axis.high - x_axis.low) * place for place in even]
    inside = [x for x in between if curve.xs[0] < x < curve.xs[-1]]
    return sorted({*inside, *curve.xs})


def _path(xs: Sequence[float], curve_xs: Sequence[float], ys: Sequence[float]) -> list[float]:
    import numpy as np

    found: Any = np.interp(np.asarray(xs), curve_xs, ys)
    return list(map(float, found))


def _points(xs: Sequence[float], ys: Sequence[float], x_axis: Axis, y_axis: Axis) -> str:
    return " ".join(
        f"{_LEFT + x_axis.place(x) * _WIDTH:.1f},{_TOP + _HEIGHT * (1 - y_axis.place(y)):.1f}"
        for x, y in zip(xs, ys, strict=True)
    )


def _band(curve: Curve, colour: str, x_axis: Axis, y_axis: Axis) -> str:
    xs = _sampled(curve, x_axis)
    above = _points(xs, _path(xs, curve.xs, curve.highs), x_axis, y_axis)
    below = _points(xs[::-1], _path(xs, curve.xs, curve.lows)[::-1], x_axis, y_axis)
    return f"<polygon points='{above} {below}' fill='{colour}' fill-opacity='0.08'/>"


def _curve(curve: Curve, colour: str, mark: str, x_axis: Axis, y_axis: Axis) -> list[str]:
    xs = _sampled(curve, x_axis)
    points = _points(xs, _path(xs, curve.xs, curve.ys), x_axis, y_axis)
    dashes = " stroke-dasharray='5 4'" if curve.is_dashed else ""
    parts = [
        f"<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='1.8'{dashes}/>"
    ]
    step = max(1, len(curve.xs) // _MARKS)
    for x, y in list(zip(curve.xs, curve.ys, strict=True))[::step]:
        [place] = _points([x], [y], x_axis, y_axis).split()
        left, top = map(float, place.split(","))
        parts.append(mark_svg(mark, left, top, colour))
    return parts


def _spots(spots: Sequence[Spot], x_axis: Axis, y_axis: Axis) -> list[str]:
    """Return hollow marks whose labels do not cover one another."""
    parts: list[str] = []
    taken: list[tuple[float, float, float, float]] = []
    for spot in sorted(spots, key=lambda each: each.y):
        [place] = _points([spot.x], [spot.y], x_axis, y_axis).split()
        x, y = map(float, place.split(","))
        parts.append(mark_svg("circle", x, y, "var(--ink)", is_hollow=True))
        length = len(spot.label) * _CHARACTER * 0.85
        is_left = x + 9 + length > _LEFT + _WIDTH + 20
        start = x - 9 - length if is_left else x + 9
        top, step = (y - 8, -3) if is_left else (y + 14, 3)
        while any(
            start < right and left < start + length and abs(top - other) < 13
            for left, right, other, _ in taken
        ):
            top += step
        taken.append((start, start + length, top, y))
        anchor, at = ("end", x - 9) if is_left else ("start", x + 9)
        parts.append(
            f"<text x='{at:.1f}' y='{top:.1f}' text-anchor='{anchor}' font-size='10.5' "
            "paint-order='stroke' stroke='var(--paper)' stroke-width='3' "
            f"fill='var(--ink)'>{escape(spot.label)}</text>"
        )
    return parts


def _legend(names: Sequence[str], width: float) -> list[list[tuple[float, int]]]:
    """Return rows of (place, number of a curve)."""
    rows: list[list[tuple[float, int]]] = [[]]
    x = 0.0
    for number, name in enumerate(names):
        taken = 30 + len(name) * _CHARACTER + 20
        if rows[-1] and x + taken > width:
            rows.append([])
            x = 0.0
        rows[-1].append((x, number))
        x += taken
    return rows
