"""Plots of reports: where marks stand."""

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.evaluation.plots import (
    SHARES,
    apart,
    differences_axis,
    dots_svg,
    interval_svg,
    scatter_svg,
    ticks_svg,
)
from motet.evaluation.report import Line, Standing
from motet.programs.frontier.points import Interval
from motet.svg import around


def standing(accuracy, tokens):
    return Standing(
        accuracy=accuracy, tokens=tokens, calls=1.0, cost=0.0, wall_s=None, num_attempts=1
    )


def line(name, accuracy, tokens, *, matched=None):
    return Line(
        name=name, model=None, own=standing(accuracy, tokens), gain=None, lead=None, values={},
        matched=None if matched is None else standing(*matched),
    )  # fmt: skip


def scatter(*lines):
    return scatter_svg(lines, label="tokens of an attempt", measure=lambda each: each.tokens)


@given(
    st.lists(st.floats(0, 300), min_size=1, max_size=60),
)
def test_marks_are_apart_within_their_bounds_and_in_order(places):
    """Bars do not stand on each other, stay inside, and keep their order."""
    found = apart(places, 0.0, 300.0)

    least = min(9.0, 300 / max(1, len(places) - 1))
    order = sorted(range(len(places)), key=lambda index: places[index])
    ordered = [found[index] for index in order]
    assert all(0 - 1e-6 <= each <= 300 + 1e-6 for each in found)
    assert all(b - a >= least - 1e-6 for a, b in zip(ordered, ordered[1:], strict=False))


def test_marks_that_are_apart_already_stay():
    """Only what would stand on something else is moved, to both sides alike."""
    assert apart([10.0, 100.0, 200.0], 0.0, 300.0) == [10.0, 100.0, 200.0]
    assert apart([100.0, 100.0], 0.0, 300.0) == [95.5, 104.5]


@pytest.mark.parametrize("values", [(0.0, 0.0), (0.3, 0.31), (0.0, 1.0), (-1.0, 1.0), (0.97, 1.0)])
def test_a_scale_holds_its_values_with_few_whole_steps(values):
    """Two to eight ticks, evenly spaced, around the values."""
    axis = around(*values)

    steps = {round(b - a, 9) for a, b in zip(axis.ticks, axis.ticks[1:], strict=False)}
    assert axis.low <= values[0] <= values[1] <= axis.high
    assert 2 <= len(axis.ticks) <= 8
    assert len(steps) == 1
    assert float(f"{steps.pop():.0e}".split("e")[0]) in (1, 2, 5)


def test_a_contender_has_a_mark_and_its_self_consistency_a_hollow_one():
    """They are joined by a dashed line; a better contender stands higher, a dearer one right."""
    low, high = Interval(0.2, 0.1, 0.3), Interval(0.8, 0.7, 0.9)
    drawn = scatter(line("a", low, 100.0, matched=(low, 110.0)), line("b", high, 300.0))

    root = ET.fromstring(drawn)
    marks = [group[1] for group in root.iter("g")]
    titles = [group[0].text for group in root.iter("g")]
    own, beside, other = marks
    assert (own.get("fill"), beside.get("fill")) == ("var(--series-0)", "none")
    assert [title.partition(":")[0] for title in titles] == [
        "a", "a, self-consistency beside it", "b",
    ]  # fmt: skip
    assert len(re.findall("stroke-dasharray='3 3'", drawn)) == 1
    corner = [float(each) for each in other.get("points").split()[0].split(",")]
    assert corner[1] < float(own.get("cy"))
    assert corner[0] > float(beside.get("cx")) > float(own.get("cx"))


@pytest.mark.parametrize(
    ("accuracies", "tokens"),
    [
        ([0.0], [0.0]), ([1.0], [5.0]), ([0.5] * 9, [1e9] * 9), ([0.0, 1.0], [1.0, 1e7]),
        ([0.5, 0.6], [1e-7, 3e-4]),
    ],
)  # fmt: skip
def test_any_figures_make_a_picture_inside_its_frame(accuracies, tokens):
    """Zeros, equal ones and wide spans: all coordinates are finite and inside the picture."""
    lines = [
        line(f"<{n}>", Interval(accuracy, accuracy, accuracy), amount)
        for n, (accuracy, amount) in enumerate(zip(accuracies, tokens, strict=True))
    ]

    root = ET.fromstring(scatter(*lines))

    width, height = (float(root.get(name)) for name in ("width", "height"))
    for element in root.iter():
        for name in ("x", "x1", "x2", "cx"):
            assert -1 <= float(element.get(name, 0)) <= width + 1
        for name in ("y", "y1", "y2", "cy"):
            assert -1 <= float(element.get(name, 0)) <= height + 1
    assert "nan" not in scatter(*lines)


def test_labels_of_an_axis_do_not_stand_on_each_other():
    """Where ticks are close only some of them have a text."""
    lines = [line("a", Interval(0.5, 0.4, 0.6), each) for each in (0.00012, 0.08)]

    root = ET.fromstring(scatter(*lines))

    texts = [each for each in root.iter("text") if each.get("y") == "267"]
    ends = [(float(t.get("x")), len(t.text) * 7.2 / 2) for t in texts]
    assert len(ends) > 2
    for (x0, half0), (x1, half1) in zip(ends, ends[1:], strict=False):
        assert x0 + half0 < x1 - half1


def test_a_strip_of_a_difference_shows_0_and_the_interval():
    """0 has a line; low, mean and high stand in order."""
    interval = Interval(-0.1, -0.3, 0.2)
    axis = differences_axis([interval])

    root = ET.fromstring(interval_svg(interval, axis, "red"))

    zero, bar, dot = root
    at = [
        float(v.rstrip("%")) for v in (bar.get("x1"), dot.get("cx"), zero.get("x1"), bar.get("x2"))
    ]
    assert at == sorted(at)
    assert 0 < at[0] < at[-1] < 100
    assert root.get("aria-label") == "-10.0 (-30.0 to +20.0)"


def test_a_scale_of_differences_always_holds_0():
    """Also where every interval is on one side of it."""
    axis = differences_axis([Interval(0.4, 0.3, 0.5)])

    assert axis.low == 0.0
    assert "+50" in ticks_svg(axis, sign="+")
    assert ">0<" in ticks_svg(axis, sign="+")


def test_dots_of_one_value_stand_below_each_other():
    """A dot for each contender is seen, though they are equal; its text is escaped."""
    drawn = dots_svg([(0.5, "<a>"), (0.5, "b"), (0.5, "c")], SHARES, ["red", "green", "blue"])

    dots = [each for each in ET.fromstring(drawn) if each.tag == "circle"]
    assert len({dot.get("cy") for dot in dots}) == 3
    assert {dot.get("cx") for dot in dots} == {"50.00%"}
    assert dots[0][0].text == "<a>"
