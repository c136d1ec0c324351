"""Readers of published judgments."""

from __future__ import annotations

import gzip
import json
import math
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from motet.errors import DataError
from motet.judging.datasets import (
    JudgedPair,
    read_alpaca_eval,
    read_autoj,
    read_judgebench,
    read_llmbar,
    read_pandalm,
    read_wildbench,
)


def data(name: str) -> Path:
    folder = os.environ.get("MOTET_DATA")
    if not folder:
        pytest.skip("MOTET_DATA names no folder of data sets")
    return Path(folder) / name


def written(folder: Path, name: str, *rows: Any) -> Path:
    with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return folder


def chosen(pair: JudgedPair, judge: str) -> list[str]:
    return [verdict.chosen for verdict in pair.verdicts[judge]]


def test_auto_j_says_its_second_verdict_of_the_exchanged_pair(tmp_path: Path) -> None:
    """0 after the exchange is the caller's second response; 2 is a tie, in labels too."""
    row = {"id": "x", "scenario": "s", "label": 2, "autoj13b": [0, 0]}

    [pair] = read_autoj(written(tmp_path, "pairs", row))

    assert (pair.id, pair.group, pair.labels) == ("x", "s", ("tie",))
    assert chosen(pair, "autoj-13b") == ["A", "B"]
    assert [verdict.order for verdict in pair.verdicts["autoj-13b"]] == ["AB", "BA"]


def test_llmbar_says_both_verdicts_in_the_callers_names(tmp_path: Path) -> None:
    """The same number twice is consistent there; null is an error and not a tie."""
    row = {"id": "x", "subset": "s", "label": 2, "judges": {"j": ["1", "1"], "k": [None, "2"]}}

    [pair] = read_llmbar(written(tmp_path, "pairs", row))

    assert pair.majority == "B"
    assert (chosen(pair, "j"), chosen(pair, "k")) == (["A", "A"], ["error", "B"])
    assert pair.verdicts["j"][1].winner == "B"


def test_judgebench_without_a_decision_is_an_error(tmp_path: Path) -> None:
    """A judgment that is null or holds no decision is an error; A=B is a tie."""
    row = {
        "id": "x",
        "response_model": "m",
        "source": "s",
        "label": "A>B",
        "judges": {"j": [{"decision": "A>B"}, {"decision": "A>B"}], "k": [{}, None], "l": [{}, {}]},
    }
    row["judges"]["l"][0] = {"decision": "A=B"}  # type: ignore[index]

    [pair] = read_judgebench(written(tmp_path, "pairs", row))

    assert (pair.group, pair.majority) == ("m/s", "A")
    assert chosen(pair, "j") == ["A", "B"]
    assert chosen(pair, "k") == ["error", "error"]
    assert chosen(pair, "l") == ["tie", "error"]


@pytest.mark.parametrize(
    ("labels", "majority"),
    [([1, 1, 2], "A"), ([2, 0, 2], "B"), ([1, 2, 0], "tie"), ([1, 0], "tie")],
)
def test_pandalm_has_a_majority_or_a_tie(tmp_path: Path, labels: Any, majority: str) -> None:
    """More than half of the people decide, otherwise it is a tie. Garbage is an error."""
    row = {"id": "x", "models": "m", "annotators": labels, "gpt35": "Tie", "pandalm7b": "garbage"}

    [pair] = read_pandalm(written(tmp_path, "pairs", row))

    assert pair.majority == majority
    assert (chosen(pair, "gpt35"), chosen(pair, "pandalm7b")) == (["tie"], ["error"])
    assert pair.verdicts["pandalm7b"][0].raw == "garbage"


def test_alpaca_eval_preferences_become_zero_to_one(tmp_path: Path) -> None:
    """1 is the baseline's, 2 the model's, 0 a draw, and null was not judged."""
    model = {
        "model": "m",
        "preference": [1, 2, 0, None, 1.25],
        "len_model": [1, 2, 3, None, 5],
        "len_baseline": [5, 4, 3, 2, 1],
        "published": {"win_rate": 50.0},
        "published_glm_weights": {
            "tanh_std_delta_len": 0.1,
            "instruction_difficulty": 0.2,
            "not_gamed_baseline": 0.3,
        },
    }
    written(tmp_path, "models", model)
    written(tmp_path, "instructions", {"index": 4, "instruction_difficulty": -0.5})
    gamed = {"index": 4, "std_delta_len": 1.5, "soft_preference": 0.2}
    written(tmp_path, "gamed_rows_reconstructed", gamed)

    read = read_alpaca_eval(tmp_path)

    [found] = read.models
    preference = found.comparison.preference.tolist()
    assert preference[:3] == [0, 1, 0.5]
    assert math.isnan(preference[3])
    assert preference[4] == 0.25
    assert (found.weights.length, found.weights.difficulty, found.weights.model) == (0.1, 0.2, 0.3)
    assert read.difficulty == {4: -0.5}
    assert read.gamed.length_difference.tolist() == [1.5]


@pytest.mark.parametrize("reader", [read_autoj, read_llmbar, read_judgebench, read_pandalm])
def test_a_malformed_record_names_its_line(tmp_path: Path, reader: Any) -> None:
    """A field that is missing, or a line that is no JSON, is a data error of file and line."""
    with pytest.raises(DataError, match=r"pairs\.jsonl\.gz:1 is no record of this set: KeyError"):
        reader(written(tmp_path, "pairs", {"id": "x"}))

    with gzip.open(tmp_path / "pairs.jsonl.gz", "wt") as file:
        file.write("{")
    with pytest.raises(DataError, match="JSONDecodeError"):
        reader(tmp_path)


def test_what_cannot_be_read_is_a_data_error(tmp_path: Path) -> None:
    """A missing file, one that is not gzip, and a truncated one."""
    with pytest.raises(DataError, match="cannot be read"):
        read_autoj(tmp_path)
    path = tmp_path / "pairs.jsonl.gz"
    path.write_bytes(b"no gzip")
    with pytest.raises(DataError, match="cannot be read"):
        read_autoj(tmp_path)
    path.write_bytes(gzip.compress(b'{"id": 1}\n' * 100)[:-12])
    with pytest.raises(DataError):
        read_autoj(tmp_path)


def test_values_that_are_none_of_a_set_are_refused(tmp_path: Path) -> None:
    """A code outside 0 to 2, an unknown annotation and an impossible score name the line."""
    row: dict[str, Any] = {"id": "x", "scenario": "s", "label": 3, "autoj13b": [0, 0]}
    with pytest.raises(DataError, match="verdict 3"):
        read_autoj(written(tmp_path, "pairs", row))
    row = {"id": "x", "models": "m", "annotators": [1, 7, 1], "gpt35": "1", "pandalm7b": "1"}
    with pytest.raises(DataError, match=r"pairs\.jsonl\.gz:1 .*annotators"):
        read_pandalm(written(tmp_path, "pairs", row))
    row = {"id": "x", "scores": {"m": {"j": "high"}}}
    with pytest.raises(DataError, match=r"scores\.jsonl\.gz:1 .*score is 'high'"):
        read_wildbench(written(tmp_path, "scores", row))


# ---- the published sets ----------------------------------------------------------------------


def test_alpaca_eval_is_whole() -> None:
    """40 models on 805 instructions, each with a difficulty, and two gamed baselines."""
    read = read_alpaca_eval(data("alpaca_eval_lc"))

    assert len(read.models) == 40
    assert {len(model.comparison.instructions) for model in read.models} == {805}
    assert set(read.difficulty) == set(range(805))
    assert Counter(read.gamed.instructions) == dict.fromkeys(range(805), 2)
