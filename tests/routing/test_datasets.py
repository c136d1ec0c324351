"""Readers of public tables: their means against those stored beside the data."""

from __future__ import annotations

import gzip
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motet.errors import ConfigError, DataError
from motet.routing.datasets import (
    STRONG,
    WEAK,
    Price,
    read_llmrouter,
    read_open_llm,
    read_prices,
    read_routellm,
    read_routerarena,
    read_zeroeval,
)

PRICES = {WEAK: Price(input=0.24, output=0.24), STRONG: Price(input=10, output=30)}


def data(name: str) -> Path:
    folder = os.environ.get("MOTET_DATA")
    if not folder:
        pytest.skip("MOTET_DATA names no folder of data sets")
    return Path(folder) / name


def expected(folder: Path) -> Any:
    return json.loads((folder / "expected.json").read_text())


def stored(folder: Path, name: str, *records: Any) -> Path:
    folder.mkdir(exist_ok=True)
    with gzip.open(folder / name, "wt") as file:
        file.write("".join(json.dumps(record) + "\n" for record in records))
    return folder


def pair(**changes: Any) -> dict[str, Any]:
    record = {"prompt": "p" * 40, "contaminated": 0, "weak_correct": 0, "strong_correct": 1}
    return record | {"weak_response": "w" * 80, "strong_response": "s" * 20} | changes


@pytest.mark.parametrize("name", ["zeroeval_gsm8k", "zeroeval_crux", "zeroeval_math_l5"])
def test_zeroeval_has_the_means_that_are_stored_with_it(name: str) -> None:
    folder = data(name)
    known = expected(folder)

    made = read_zeroeval(folder)

    means = dict(zip(made.models, np.nanmean(made.scores, axis=0) * 100, strict=True))
    assert len(made.prompts) == known["n_items"]
    assert set(known["accuracy_pct"]) <= set(means)
    for model, mean in known["accuracy_pct"].items():
        assert means[model] == pytest.approx(mean, abs=6e-3)
    whole = np.nanmax(made.only(list(known["accuracy_pct"])).scores, axis=1).mean() * 100
    assert whole == pytest.approx(known["oracle_any_model_pct"], abs=6e-3)
    assert np.isnan(made.costs).all()


def test_llmrouter_has_two_parts() -> None:
    """Every query is of one of them, and has its task."""
    folder = data("llmrouter")
    made = read_llmrouter(folder)

    parts = [len(read_llmrouter(folder, part).prompts) for part in ("train", "test")]
    assert min(parts) > 0
    assert sum(parts) == len(made.prompts)
    assert made.groups is not None and len(set(made.groups)) == 14


def test_routerarena_has_a_price_list() -> None:
    """Beside the outcomes, in dollars per million tokens."""
    prices = read_prices(data("routerarena") / "model_cost.json")

    assert prices["gpt-4"] == Price(input=10, output=30)


@pytest.mark.parametrize("metric", ["meteor_score", "exact"])
def test_only_a_meteor_score_may_be_below_nought(tmp_path: Path, metric: str) -> None:
    cell = {"score": -0.5, "cost": 1}
    record = {"question": "q", "dataset": "d", "metric": metric, "m": {"a": cell}}
    stored(tmp_path, "outcomes.jsonl.gz", record)

    if metric == "meteor_score":
        assert read_routerarena(tmp_path).scores.tolist() == [[0]]
    else:
        with pytest.raises(DataError, match="-0.5 of model 'a'"):
            read_routerarena(tmp_path)


def test_the_open_llm_leaderboard_has_prices_for_costs() -> None:
    """No two items are one prompt, and each costs what a million tokens do."""
    made = read_open_llm(data("open_llm_lb_v2"))

    assert len(set(made.prompts)) == len(made.prompts)
    assert set(made.costs[:, made.models.index("google/gemma-2b-it")]) == {0.1}


def test_a_quarter_of_the_characters_is_paid_for(tmp_path: Path) -> None:
    stored(tmp_path, "gsm8k.jsonl.gz", pair())

    made = read_routellm(tmp_path, "gsm8k", prices=PRICES)

    assert made.costs[0, 0] == pytest.approx((10 + 20) * 0.24e-6)
    assert made.costs[0, 1] == pytest.approx((10 * 10 + 5 * 30) * 1e-6)


def test_mmlu_has_domains_and_pays_for_its_prompts_only(tmp_path: Path) -> None:
    record = pair(domain="law")
    del record["weak_response"], record["strong_response"]
    stored(tmp_path, "mmlu.jsonl.gz", record)

    made = read_routellm(tmp_path, "mmlu", prices=PRICES)

    assert made.groups == ("law",)
    assert made.costs[0].tolist() == pytest.approx([10 * 0.24e-6, 10 * 10e-6])


def test_models_without_a_price_have_unknown_costs_and_missing_ones_were_not_tried(
    tmp_path: Path,
) -> None:
    stored(
        tmp_path,
        "outcomes.jsonl.gz",
        {"id": "gsm/1", "question": "q", "prompt_chars": 400, "m": {"a": [1, 80, "7"]}},
        {"id": "gsm/2", "question": "r", "prompt_chars": 400, "m": {"b": [0, 80, None]}},
    )

    made = read_zeroeval(tmp_path, prices={"a": Price(input=1, output=10)})

    assert made.groups == ("gsm", "gsm")
    np.testing.assert_array_equal(made.scores, [[1, math.nan], [math.nan, 0]])
    np.testing.assert_allclose(made.costs, [[300e-6, math.nan], [math.nan, math.nan]])


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({"prompt": "p"}, "line 2: 'contaminated' is missing"),
        (pair(weak_correct="yes"), "line 2: could not convert"),
        (pair(strong_response=None), "line 2: .*NoneType"),
        (3, "line 2: 3 is no JSON object"),
    ],
)
def test_a_wrong_record_is_named_by_its_line(tmp_path: Path, second: Any, said: str) -> None:
    stored(tmp_path, "gsm8k.jsonl.gz", pair(), second)

    with pytest.raises(DataError, match=f"gsm8k.jsonl.gz, {said}"):
        read_routellm(tmp_path, "gsm8k", prices=PRICES)


def test_bits_that_do_not_match_the_models_are_refused(tmp_path: Path) -> None:
    (tmp_path / "models.json").write_text(
        json.dumps({"order": ["a", "b"], "price_usd_per_million_tokens": {"a": 1, "b": 2}})
    )
    stored(tmp_path, "matrix.jsonl.gz", {"scenario": "s", "item": 0, "bits": "101"})

    with pytest.raises(DataError, match="matrix.jsonl.gz, line 1"):
        read_open_llm(tmp_path)


def test_a_folder_without_the_files_and_an_empty_file_are_refused(tmp_path: Path) -> None:
    for read in (read_zeroeval, read_llmrouter, read_routerarena, read_open_llm):
        with pytest.raises(DataError, match="cannot be read"):
            read(tmp_path)
    stored(tmp_path, "gsm8k.jsonl.gz", pair(contaminated=1))
    with pytest.raises(DataError, match="has no record"):
        read_routellm(tmp_path, "gsm8k")


def test_settings_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="part is 'mt_bench'"):
        read_routellm(tmp_path, "mt_bench")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="part is 'dev'"):
        read_llmrouter(tmp_path, "dev")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="input is -1"):
        Price(input=-1, output=0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"a": {"input_price": 1}}', "model 'a': no price"),
        ('{"a": {"input_price": "1", "output_price": 1}}', "model 'a': no price"),
        ('{"a": 3}', "model 'a': no price"),
        ("[]", "no JSON object"),
        ("{", "cannot be read"),
    ],
)
def test_a_price_list_that_is_none_is_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "prices.json"
    path.write_text(content)

    with pytest.raises(DataError, match=said):
        read_prices(path)
