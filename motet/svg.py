"""Parts of pictures as SVG: scales, lines and marks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

COLOURS: Final = (
    "#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6A51A3",
)  # fmt: skip
"""Okabe and Ito's, which people with colour blindness tell apart; violet instead of yellow."""
MARKS: Final = ("circle", "square", "triangle", "diamond", "cross")


@dataclass(frozen=True, slots=True)
class Axis:
    """A scale."""

    low: float
    high: float
    is_log: bool
    ticks: tuple[float, ...]

    def place(self, value: float) -> float:
        """Return where `value` stands, from 0 to 1."""
        if self.is_log:
            span = math.log(self.high / self.low)
            return math.log(max(value, self.low) / self.low) / span
        return (value - self.low) / (self.high - self.low)


def axis_of(values: Sequence[float]) -> Axis:
    """Return a logarithmic scale where the values span more than a factor of eight."""
    if values and min(values) > 0 and max(values) > 8 * min(values):
        low, high = min(values) / 1.15, max(values) * 1.15
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        steps = (1, 2, 5) if last - first <= 3 else (1,)
        ticks = [step * 10.0**power for power in range(first, last + 1) for step in steps]
        return Axis(low, high, True, tuple(tick for tick in ticks if low <= tick <= high))
    return linear([*values, 0.0], margin=0.03)


def linear(values: Sequence[float], *, margin: float = 0.0) -> Axis:
    """Return a scale from 0 to a little over the largest value.

    Args:
        values: None negative, one at least.
        margin: Room below 0, as a share of the scale.
    """
    top = max(values) * 1.08 or 1.0
    step = _step(top)
    num = int(top / step + 1e-9)
    return Axis(-margin * top, top, False, tuple(round(i * step, 10) for i in range(num + 1)))


def around(low: float, high: float) -> Axis:
    """Return a scale that holds `low` and `high`, with whole steps at its ends."""
    span = high - low or 1.0
    step = _step(span)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    ticks = tuple(round(i * step, 10) for i in range(first, last + 1))
    return Axis(ticks[0], ticks[-1], False, ticks)


def _step(span: float) -> float:
    """Return 1, 2 or 5 times a power of ten, at most six of which make `span`."""
    step = 10.0 ** math.floor(math.log10(span / 4))
    while span / step > 6:
        step *= 2 if f"{step:e}"[0] in "15" else 2.5
    return step


def style(number: int, colours: Sequence[str] = COLOURS) -> tuple[str, str]:
    """Colour and mark of a line: the first alone has the first colour, and 35 others differ."""
    others = colours[1:]
    colour = others[(number - 1) % len(others)] if number else colours[0]
    return colour, MARKS[number % len(MARKS)]


def tick_text(value: float) -> str:
    """Return a tick's text."""
    if value >= 1000:
        return f"{value / 1000:g}k"
    return f"{value:g}"


def line_svg(
    x0: float, y0: float, x1: float, y1: float, colour: str, width: float, more: str = ""
) -> str:
    return (
        f"<line x1='{x0:.1f}' y1='{y0:.1f}' x2='{x1:.1f}' y2='{y1:.1f}' "
        f"stroke='{colour}' stroke-width='{width}' {more}/>"
    )


def mark_svg(kind: str, x: float, y: float, colour: str, *, is_hollow: bool = False) -> str:
    """Return one of `MARKS`; a hollow one has an outline and shows what is behind it."""
    paint = f"fill='none' stroke='{colour}' stroke-width='1.8'" if is_hollow else f"fill='{colour}'"
    if kind == "circle":
        return f"<circle cx='{x:.1f}' cy='{y:.1f}' r='4.5' {paint}/>"
    if kind == "cross":
        width = 1.2 if is_hollow else 2.5
        shape = f"M{x - 4:.1f},{y - 4:.1f} l8,8 m0,-8 l-8,8"
        return f"<path d='{shape}' stroke='{colour}' stroke-width='{width}' fill='none'/>"
    corners = {
        "square": ((-4, -4), (4, -4), (4, 4), (-4, 4)),
        "triangle": ((0, -5.5), (5, 4), (-5, 4)),
        "diamond": ((0, -5.5), (5.5, 0), (0, 5.5), (-5.5, 0)),
    }[kind]
    shape = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return f"<polygon points='{shape}' {paint}/>"
