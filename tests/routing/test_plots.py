"""Plots of routers: what is drawn where, as XML that stands alone."""

import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from motet.errors import DataError
from motet.routing.intervals import Interval
from motet.routing.measuring import Compared
from motet.routing.plots import Curve, Spot, cost_quality_svg, deferral_svg, lines_svg

SVG = "{http://www.w3.org/2000/svg}"


def compared(name: str, **changes: Any) -> Compared:
    known = Interval(estimate=0.5, low=0.4, high=0.6, level=0.95)
    given: dict[str, Any] = {
        "name": name, "aiq": known, "gain": known, "over_baseline": None, "middle": known,
        "apgr": None, "cpt": None, "costs": (1.0, 2.0, 4.0), "qualities": (0.2, 0.6, 0.8),
        "lows": (0.1, 0.5, 0.7), "highs": (0.3, 0.7, 0.9), "deferral": None, "train_s": 0.0,
    }  # fmt: skip
    return Compared(**given | changes)


def places(text: str, tag: str = "polyline") -> list[list[tuple[float, float]]]:
    return [
        [
            (float(x), float(y))
            for x, y in re.findall(r"([\d.-]+),([\d.-]+)", each.get("points", ""))
        ]
        for each in ET.fromstring(text).iter(SVG + tag)
    ]


def test_a_curve_rises_from_left_to_right_and_is_level_beyond_its_last_setting() -> None:
    """In a picture up is a smaller y; a cheaper router is drawn to the end of the dearest."""
    text = cost_quality_svg(
        [compared("a"), compared("b", costs=(1.0, 2.0, 6.0))], title="T", unit="dollars"
    )

    short, long = places(text)
    assert [x for x, _ in short] == sorted(x for x, _ in short)
    assert [y for _, y in short] == sorted((y for _, y in short), reverse=True)
    assert short[-1] == long[-1]
    assert short[-2][1] == short[-1][1]


def test_intervals_are_bands_around_their_curve() -> None:
    text = cost_quality_svg([compared("a")], title="T", unit="dollars")

    [band] = [each for each in places(text, "polygon") if len(each) > 10]
    [curve] = places(text)
    above, below = band[: len(curve)], band[len(curve) :][::-1]
    assert all(a[1] < c[1] < b[1] for a, c, b in zip(above, curve, below, strict=True))


def test_a_straight_line_is_bent_by_a_logarithmic_scale() -> None:
    """Between two costs a mixture stands where its cost and quality are, not on the chord."""
    text = cost_quality_svg(
        [compared("a", costs=(1.0, 100.0), qualities=(0.0, 1.0), lows=(0, 0), highs=(1, 1))],
        title="T", unit="dollars",
    )  # fmt: skip

    [curve] = places(text)
    (x0, y0), (x1, y1) = curve[0], curve[-1]
    middle = min(curve, key=lambda place: abs(place[0] - (x0 + x1) / 2))
    assert middle[1] == pytest.approx(y0 + (y1 - y0) * 9 / 99, abs=1.0)


def test_labels_of_models_do_not_stand_on_one_another() -> None:
    spots = [Spot(label=f"a model of a long name {i}", x=1.0 + i / 100, y=0.5) for i in range(5)]

    text = lines_svg(
        [Curve(name="a", xs=(1.0, 2.0), ys=(0.4, 0.6))], title="T", across="x", up="y", spots=spots
    )

    heights = sorted(
        float(each.get("y", "nan"))
        for each in ET.fromstring(text).iter(SVG + "text")
        if "long name" in "".join(each.itertext())
    )
    assert len(heights) == 5
    assert all(high - low >= 12 for low, high in zip(heights, heights[1:], strict=False))


def test_names_are_text_and_colours_follow_light_and_dark() -> None:
    text = lines_svg(
        [Curve(name="<b>&", xs=(1.0, 2.0), ys=(0.4, 0.6))], title="<i>", across="&", up="y"
    )

    texts = ["".join(each.itertext()) for each in ET.fromstring(text).iter(SVG + "text")]
    assert {"<b>&", "<i>", "&"} <= set(texts)
    assert "prefers-color-scheme: dark" in text


def test_only_routers_with_a_deferral_curve_are_in_its_plot() -> None:
    told = compared("told", deferral=((0.0, 0.2), (0.5, 0.7), (1.0, 0.8)))
    text = deferral_svg([told, compared("mute")], title="T")

    assert len(places(text)) == 1
    assert "mute" not in text


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(DataError, match="nothing to draw in 'T'"):
        deferral_svg([compared("mute")], title="T")
    with pytest.raises(DataError, match="nothing to draw in 'T'"):
        cost_quality_svg([], title="T", unit="dollars")
