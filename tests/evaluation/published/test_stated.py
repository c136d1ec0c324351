"""What is stated beside a set: of its part, and of the whole where all parts are there."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from motet.errors import DataError
from motet.evaluation.published import autoj, llmbar, zeroeval
from motet.evaluation.published.stated import Stated, places_of

PAIRS = [(0, [0, 1]), (1, [1, 0]), (2, [2, 2]), (1, [0, 1]), (0, [0, 0]), (0, [0, 1])]
"""Label and verdicts in both orders: four right, five consistent."""
OF_ALL = {
    "n": 6, "autoj13b_agreement_pct": 66.67, "autoj13b_consistency_pct": 83.33,
    "labels": {"0": 3, "1": 2, "2": 1},
}  # fmt: skip
OF_FOUR = {
    "n": 4, "autoj13b_agreement_pct": 75.0, "autoj13b_consistency_pct": 100.0,
    "labels": {"0": 1, "1": 2, "2": 1},
}  # fmt: skip


def written(folder: Path, name: str, rows: Sequence[Any]) -> None:
    folder.mkdir(parents=True)
    with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def part(folder: Path, pairs: Sequence[Any], stated: Any) -> Path:
    rows = [
        {"id": f"{i}", "scenario": "s", "label": label, "autoj13b": verdicts}
        for i, (label, verdicts) in enumerate(pairs)
    ]
    written(folder / "autoj", "pairs", rows)
    (folder / "autoj/expected.json").write_text(json.dumps({**stated, "full_set": OF_ALL}))
    return folder


def test_a_part_is_compared_with_what_is_stated_of_it(tmp_path: Path) -> None:
    """The figure of all rows stands beside it, and is not what is compared."""
    found = {f.kind: f for f in autoj.figures(part(tmp_path, PAIRS[:4], OF_FOUR))}

    agreement = found["agreement"]
    assert (agreement.published, agreement.computed, agreement.whole) == (75, 75, 66.67)
    assert agreement.stated_by == "data"
    assert all(figure.is_reproduced for figure in found.values())


def test_parts_that_make_the_whole_are_compared_with_the_source(tmp_path: Path) -> None:
    """So is one folder that holds all rows."""
    first = part(tmp_path / "a", PAIRS[:4], OF_FOUR)
    second = part(tmp_path / "b", PAIRS[4:], {})
    for folders in ((first, second), (part(tmp_path / "c", PAIRS, {}),)):
        found = {f.kind: f for f in autoj.figures(*folders)}

        agreement, consistency = found["agreement"], found["consistency"]
        assert (agreement.published, agreement.whole) == (66.67, None)
        assert agreement.computed == pytest.approx(200 / 3)
        assert consistency.computed == pytest.approx(250 / 3)
        assert {figure.stated_by for figure in found.values()} == {"source"}
        assert all(figure.is_reproduced for figure in found.values())


def test_parts_that_make_no_whole_are_refused(tmp_path: Path) -> None:
    """Nothing is stated of them; a part given twice is no other part."""
    first = part(tmp_path / "a", PAIRS[:4], OF_FOUR)
    second = part(tmp_path / "b", PAIRS[4:5], {})

    with pytest.raises(DataError, match="2 parts of autoj hold 5 rows; .* only of 6"):
        autoj.figures(first, second)
    with pytest.raises(DataError, match="hold 8 rows"):
        autoj.figures(first, first)


def test_folders_without_the_set_are_no_parts(tmp_path: Path) -> None:
    """One of several must have it."""
    first = part(tmp_path / "a", PAIRS[:4], OF_FOUR)
    (tmp_path / "b").mkdir()

    assert len(autoj.figures(first, tmp_path / "b")) == 6
    with pytest.raises(DataError, match="there is no folder bbh in .*a, .*b"):
        places_of("bbh", [first, tmp_path / "b"])


@pytest.mark.parametrize("value", ["55", None, True, math.nan, math.inf, [1]])
def test_what_is_no_number_is_not_compared(tmp_path: Path, value: Any) -> None:
    """The file and the key are named."""
    folder = part(tmp_path, PAIRS[:4], {**OF_FOUR, "n": value})

    with pytest.raises(DataError, match=r"expected\.json states no number under n: "):
        autoj.figures(folder)


def test_a_figure_without_rows_is_not_reproduced(tmp_path: Path) -> None:
    """It is computed from nothing, which equals no number."""
    folder = part(tmp_path, PAIRS[:4], OF_FOUR)
    figure = Stated("autoj", [folder / "autoj"]).figure("accuracy", "m", None, ("n",), 1e9)

    assert math.isnan(figure.computed)
    assert not figure.is_reproduced


def _zeroeval(folder: Path, rows: Sequence[Any], stated: Any) -> Path:
    records = [
        {"id": f"{i}", "question": "q", "gold": "# 1", "prompt_chars": 1, "m": models}
        for i, models in enumerate(rows)
    ]
    written(folder / "zeroeval_gsm8k", "outcomes", records)
    (folder / "zeroeval_gsm8k/expected.json").write_text(json.dumps(stated))
    return folder


def test_a_model_that_was_asked_a_part_may_be_off_by_four_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is stated of its part, so the source's figure is compared; with all rows exactly."""
    monkeypatch.setitem(zeroeval.SOURCES, "zeroeval_gsm8k", 4)
    right, wrong = [1, 5, "1"], [0, 5, "2"]
    rows = [{"a": right, "b": right}, {"a": wrong}, {"a": right, "b": wrong}, {"a": right}]
    stated = {
        "n_items": 3,
        "accuracy_pct": {"a": 66.67},
        "oracle_any_model_pct": 66.67,
        "full_set_published_acc": {"a": [75.0, "75.00"], "b": [50.0, "50.00"]},
    }

    of_part = zeroeval.gsm8k(_zeroeval(tmp_path / "part", rows[:3], stated))
    of_all = zeroeval.gsm8k(_zeroeval(tmp_path / "all", rows, stated))

    by_name = {f.name: f for f in of_part}
    assert (by_name["a"].published, by_name["a"].whole) == (66.67, 75)
    # sqrt(50 * 50 / 2 asked, times a quarter of the rows left out), four times.
    assert by_name["b"].tolerance == pytest.approx(4 * math.sqrt(2500 / 2 / 4))
    assert all(f.is_reproduced for f in [*of_part, *of_all])
    assert [(f.name, f.published, f.tolerance < 0.006) for f in of_all] == [
        ("a", 75, True),
        ("b", 50, True),
    ]


def test_all_of_llmbar_may_be_off_by_what_its_source_counts_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenth of a point; of a part the digits that are written."""
    monkeypatch.setattr(llmbar, "_NUM_PAIRS", 1)
    pair = {"id": "x", "subset": "s", "label": 1, "judges": {"j": ["1", "2"]}}
    written(tmp_path / "llmbar", "pairs", [pair])
    stated = {"full_set_from_statistics_json": {"s|j": {"correct_average": "50.1%"}}}
    (tmp_path / "llmbar/expected.json").write_text(json.dumps(stated))

    [figure] = llmbar.figures(tmp_path)

    assert (figure.name, figure.published, figure.computed) == ("s, j", 50.1, 50)
    assert figure.is_reproduced and figure.stated_by == "source"
    stated["full_set_from_statistics_json"]["s|j"] = {"correct_average": "half"}
    (tmp_path / "llmbar/expected.json").write_text(json.dumps(stated))
    with pytest.raises(DataError, match="correct_average of .* is 'half'"):
        llmbar.figures(tmp_path)
