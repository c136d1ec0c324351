"""Plots of a report, as SVG that stands in a page and takes its colours from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from motet.evaluation.money import money
from motet.evaluation.quoting import safe
from motet.evaluation.report import Line, Standing
from motet.programs.frontier.points import Interval
from motet.svg import Axis, around, axis_of, line_svg, mark_svg, style, tick_text

COLOURS: Final = tuple(f"var(--series-{number})" for number in range(8))
"""Names of the page's colours; it has others for light and for dark."""
_WIDTH, _HEIGHT = 322, 236
"""Of the area between the axes."""
_LEFT, _TOP, _RIGHT, _BELOW = 46, 12, 14, 46
_CHARACTER = 7.2
"""Width of a digit, rounded up."""
_APART = 9.0
"""Least distance of two bars."""
_EDGE = 6.0
"""Percent of a strip's width that is left at both ends, for its marks and labels."""
_STRIP = 22
_SMALL = 0.001
"""Ticks below it are written out, since an exponent is hard to read."""

Measure = Callable[[Standing], float]


def scatter_svg(lines: Sequence[Line], *, label: str, measure: Measure) -> str:
    """Return accuracy against a measure, a mark for each contender.

    The self-consistency beside a contender is a hollow mark of the same kind, joined to it. Bars
    are 95 percent intervals.

    Args:
        lines: In the order of their styles.
        label: Of the x axis.
        measure: What stands on the x axis.
    """
    standings = [
        (number, is_matched, standing)
        for number, line in enumerate(lines)
        for is_matched, standing in ((False, line.own), (True, line.matched))
        if standing is not None
    ]
    across = axis_of([measure(standing) for _, _, standing in standings])
    bounds = [standing.accuracy for _, _, standing in standings]
    up = around(min(each.low for each in bounds), max(each.high for each in bounds))
    places = [_LEFT + across.place(measure(standing)) * _WIDTH for _, _, standing in standings]
    places = apart(places, _LEFT + 5, _LEFT + _WIDTH - 5)
    bottom = _TOP + _HEIGHT
    joints, bars, marks = [], [], []
    last: tuple[float, float] | None = None
    for (number, is_matched, standing), x in zip(standings, places, strict=True):
        colour, kind = style(number, COLOURS)
        y, low, high = (
            bottom - up.place(each) * _HEIGHT
            for each in (standing.accuracy.mean, standing.accuracy.low, standing.accuracy.high)
        )
        if is_matched:
            assert last is not None
            joints.append(line_svg(*last, x, y, colour, 1.2, "stroke-dasharray='3 3'"))
        last = (x, y)
        dashes = "stroke-opacity='0.5'" + (" stroke-dasharray='2 2'" if is_matched else "")
        ends = [(x, low, x, high), (x - 3, low, x + 3, low), (x - 3, high, x + 3, high)]
        bars += [line_svg(*end, colour, 1.2, dashes) for end in ends]
        name = lines[number].name + (", self-consistency beside it" if is_matched else "")
        told = f"{name}: {percents(standing.accuracy)}, {money(measure(standing), 6)} {label}"
        drawn = mark_svg(kind, x, y, colour, is_hollow=is_matched)
        marks.append(f"<g><title>{safe(told)}</title>{drawn}</g>")
    width, height = _LEFT + _WIDTH + _RIGHT, _TOP + _HEIGHT + _BELOW
    title = f"Accuracy against {label}"
    size = f"viewBox='0 0 {width} {height}' width='{width}' height='{height}'"
    opening = f"<svg class='plot' {size} role='img' aria-label='{safe(title)}'>"
    return "\n".join([opening, *_frame(across, up, label), *joints, *bars, *marks, "</svg>"])


def _frame(across: Axis, up: Axis, label: str) -> list[str]:
    """Return grid, ticks and labels."""
    bottom = _TOP + _HEIGHT
    parts = []
    for tick in up.ticks:
        y = bottom - up.place(tick) * _HEIGHT
        parts.append(line_svg(_LEFT, y, _LEFT + _WIDTH, y, "var(--grid)", 1))
        parts.append(
            f"<text x='{_LEFT - 7}' y='{y + 4:.1f}' text-anchor='end'>{100 * tick:g}</text>"
        )
    last = 0.0
    for tick in across.ticks:
        x = _LEFT + across.place(tick) * _WIDTH
        parts.append(line_svg(x, bottom, x, bottom + 5, "var(--axis)", 1))
        text = money(tick) if 0 < tick < _SMALL else tick_text(tick)
        half = len(text) * _CHARACTER / 2
        middle = min(x, _LEFT + _WIDTH + _RIGHT - half)
        if middle - half < last:
            continue  # it would stand on the one before
        last = middle + half + _CHARACTER
        parts.append(f"<text x='{middle:.1f}' y='{bottom + 19}' text-anchor='middle'>{text}</text>")
    parts.append(line_svg(_LEFT, bottom, _LEFT + _WIDTH, bottom, "var(--axis)", 1))
    scale = f"{label} (log)" if across.is_log else label
    middle, height = _LEFT + _WIDTH / 2, _TOP + _HEIGHT / 2
    parts.append(f"<text x='{middle}' y='{bottom + 38}' text-anchor='middle'>{safe(scale)}</text>")
    parts.append(
        f"<text x='13' y='{height}' text-anchor='middle' transform='rotate(-90 13 {height})'>"
        "accuracy, percent</text>"
    )
    return parts


def apart(places: Sequence[float], low: float, high: float) -> list[float]:
    """Return `places` moved so little that none stands on another, within `low` and `high`."""
    order = sorted(range(len(places)), key=lambda index: places[index])
    gap = min(_APART, (high - low) / max(1, len(places) - 1))
    groups: list[tuple[list[int], float]] = []
    for index in order:
        members, middle = [index], places[index]
        # A group that meets the one before it becomes a part of it, around the mean of both.
        while groups and _right(*groups[-1], gap) + gap > middle - (len(members) - 1) * gap / 2:
            before, _ = groups.pop()
            members = [*before, *members]
            middle = sum(places[each] for each in members) / len(members)
        groups.append((members, middle))
    found = list(places)
    for members, middle in groups:
        for at, index in enumerate(members):
            found[index] = middle + (at - (len(members) - 1) / 2) * gap
    return _within(found, order, low, high, gap)


def _right(members: Sequence[int], middle: float, gap: float) -> float:
    return middle + (len(members) - 1) * gap / 2


def _within(
    found: list[float], order: Sequence[int], low: float, high: float, gap: float
) -> list[float]:
    for at, index in enumerate(order):
        found[index] = max(found[index], low + at * gap)
    for at, index in enumerate(reversed(order)):
        found[index] = min(found[index], high - at * gap)
    return found


def differences_axis(intervals: Sequence[Interval]) -> Axis:
    """Return the scale of differences: it holds all of them, and 0."""
    low = min([0.0, *(each.low for each in intervals)])
    high = max([0.0, *(each.high for each in intervals)])
    return around(low, high)


SHARES: Final = Axis(0.0, 1.0, False, (0.0, 0.25, 0.5, 0.75, 1.0))
"""Of accuracies of parts."""


def interval_svg(interval: Interval, axis: Axis, colour: str, *, is_hollow: bool = False) -> str:
    """Return a strip as wide as the page lets it be: the interval, its mean, and a line at 0."""
    middle = _STRIP / 2
    low, mean, high = (_across(axis, each) for each in (interval.low, interval.mean, interval.high))
    paint = (
        f"fill='var(--page)' stroke='{colour}' stroke-width='1.8'"
        if is_hollow
        else f"fill='{colour}'"
    )
    return (
        f"<svg class='strip' height='{_STRIP}' role='img' "
        f"aria-label='{safe(percents(interval, sign='+'))}'>"
        f"{_rule(axis, 0.0, _STRIP, 'var(--axis)')}"
        f"<line x1='{low}' y1='{middle}' x2='{high}' y2='{middle}' stroke='{colour}' "
        "stroke-width='2.5'/>"
        f"<circle cx='{mean}' cy='{middle}' r='4.5' {paint}/></svg>"
    )


def dots_svg(values: Sequence[tuple[float, str]], axis: Axis, colours: Sequence[str]) -> str:
    """Return a strip with a dot for each value, one below the other where there is no room.

    Args:
        values: Each with what it tells when it is pointed at.
        axis: The scale.
        colours: Of the dots.
    """
    height = max(_STRIP, 8 + 7 * len(values))
    gap = (height - 8) / len(values) if values else 0
    dots = []
    for number, ((value, told), colour) in enumerate(zip(values, colours, strict=True)):
        y = 4 + gap * (number + 0.5)
        dots.append(
            f"<circle cx='{_across(axis, value)}' cy='{y:.1f}' r='4' fill='{colour}'>"
            f"<title>{safe(told)}</title></circle>"
        )
    rules = [_rule(axis, tick, height, "var(--grid)") for tick in axis.ticks]
    return f"<svg class='strip' height='{height:.0f}' role='img'>{''.join([*rules, *dots])}</svg>"


def ticks_svg(axis: Axis, *, sign: str = "") -> str:
    """Return the strip of an axis: its ticks, in percent."""
    parts = [
        f"<text x='{_across(axis, tick)}' y='14' text-anchor='middle'>"
        f"{100 * tick:{sign if tick else ''}g}</text>"
        for tick in axis.ticks
    ]
    return f"<svg class='strip' height='18' aria-hidden='true'>{''.join(parts)}</svg>"


def _across(axis: Axis, value: float) -> str:
    return f"{_EDGE + (100 - 2 * _EDGE) * axis.place(value):.2f}%"


def _rule(axis: Axis, value: float, height: float, colour: str) -> str:
    x = _across(axis, value)
    return f"<line x1='{x}' y1='0' x2='{x}' y2='{height:.0f}' stroke='{colour}'/>"


def percents(interval: Interval, *, sign: str = "") -> str:
    """Return a mean and its interval in percent."""
    mean, low, high = (
        f"{100 * each:{sign}.1f}" for each in (interval.mean, interval.low, interval.high)
    )
    return f"{mean} ({low} to {high})"
