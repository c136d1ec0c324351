"""Every source: its figures come out, and a number that was damaged is seen."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from motet.errors import ConfigError
from motet.evaluation.published.registry import SOURCES, recompute


def data() -> Path:
    folder = os.environ.get("MOTET_DATA")
    if not folder:
        pytest.skip("MOTET_DATA names no folder of data sets")
    return Path(folder)


NUMBERS: dict[str, dict[str, int]] = {
    "alpaca_eval_lc": {
        "win rate": 40,
        "win rate, error": 40,
        "discrete win rate": 40,
        "wins, draws, losses": 120,
        "controlled, by weights": 36,
        "controlled, by weights, judgments missing": 3,
        "controlled, by weights, other weights": 1,
        "controlled, error": 4,
        "controlled, refit": 36,
        "controlled, refit, judgments missing": 3,
        "controlled, cross-validated": 37,
        "controlled, cross-validated, judgments missing": 3,
    },
    "zeroeval_gsm8k": {"accuracy": 43, "accuracy, partly asked": 1},
    "zeroeval_math_l5": {"accuracy": 41, "accuracy, partly asked": 2},
    "zeroeval_crux": {"accuracy": 51},
    "llmbar": {"accuracy": 325},
    "judgebench": {"accuracy": 35},
    "autoj": {"agreement": 1, "consistency": 1, "labels": 3},
    "pandalm": {"kappa": 3, "accuracy": 2, "unanimous": 1, "labels": 3},
    "wildbench": {"mean score": 20},
    "bbh": {"accuracy": 54, "average": 6},
    "gsm8k": {"accuracy": 4},
    "qwen_bon8": {"accuracy": 4},
    "codet_samples": {"pass@k": 4},
    "tot_logs": {"Game of 24": 8, "crosswords": 7},
    "routellm": {"accuracy": 12},
    "routerarena": {"mean score": 2, "dollars": 2},
    "llmrouter": {"mean score": 9},
    "open_llm_lb_v2": {"accuracy": 113},
    "bandit": {"regret": 26, "regret, error": 26},
}
"""Of the public folder, by kind."""
_COUNTS = {"rows", "pairs", "tasks", "any model right", "best of each query"}


@pytest.mark.parametrize("source", SOURCES)
def test_all_figures_of_a_source_come_out(source: str) -> None:
    """Each within what is allowed; as many of each kind as the source has."""
    [found] = recompute([data()], [source])

    assert found.missing is None
    assert [(f.kind, f.name, f.published, f.computed) for f in found.misses] == []
    kinds = Counter(figure.kind for figure in found.figures if figure.kind not in _COUNTS)
    assert kinds == NUMBERS[source]
    assert {figure.source for figure in found.figures} == {source}


Change = Callable[[Any], None]


def _first(record: Any, *keys: Any) -> tuple[Any, Any]:
    """Return the holder of a value and its key; None takes the first key."""
    for key in keys[:-1]:
        record = record[next(iter(record)) if key is None else key]
    last = keys[-1]
    return record, next(iter(record)) if last is None else last


def put(value: Any, *keys: Any) -> Change:
    def change(record: Any) -> None:
        holder, key = _first(record, *keys)
        assert holder[key] != value, "the damage would change nothing"
        holder[key] = value

    return change


def turned(*keys: Any) -> Change:
    """Exchange 0 and 1."""

    def change(record: Any) -> None:
        holder, key = _first(record, *keys)
        holder[key] = 1 - holder[key]

    return change


def other_bits(record: Any) -> None:
    record["bits"] = record["bits"].translate(str.maketrans("01", "10"))


def other_labels(record: Any) -> None:
    record["annotators"] = [{1: 2, 2: 1, 0: 1}[each] for each in record["annotators"]]


DAMAGES: dict[str, tuple[str, Change]] = {
    "zeroeval_gsm8k": ("outcomes", turned("m", None, 0)),
    "zeroeval_math_l5": ("outcomes", turned("m", None, 0)),
    "zeroeval_crux": ("outcomes", turned("m", None, 0)),
    "llmbar": ("pairs", put(["tie", "tie"], "judges", None)),
    "judgebench": ("pairs", put("B>A", "label")),
    "autoj": ("pairs", put([1, 0], "autoj13b")),
    "pandalm": ("pairs", other_labels),
    "wildbench": ("scores", put(0, "scores", None, None)),
    "bbh": ("bbh", put("something else", "direct_pred")),
    "gsm8k": ("test", put("1000001", "gold")),
    "qwen_bon8": ("samples", put([0] * 8, "correct")),
    "codet_samples": ("samples", put([0] * 79, "gold_pass")),
    "tot_logs": ("crosswords", put(1.0, "dfs_prune", 0, "info", "r_letter")),
    "routellm": ("gsm8k", turned("strong_correct")),
    "routerarena": ("outcomes", put(123.0, "m", None, "cost")),
    "llmrouter": ("all", turned("scores", None)),
    "open_llm_lb_v2": ("matrix", other_bits),
}
"""A file of each set, and what is done to its first record."""


def copied(source: str, place: Path) -> Path:
    """A copy that can be written to; of AlpacaEval with three models, since fits take time."""
    shutil.copytree(data() / source, place / source, copy_function=shutil.copyfile)
    for path in place.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return place


def rewritten(path: Path, change: Callable[[list[Any]], list[Any]]) -> None:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as file:
        file.writelines(json.dumps(record) + "\n" for record in change(records))


@pytest.mark.parametrize("source", DAMAGES)
def test_a_damaged_number_is_seen(source: str, tmp_path: Path) -> None:
    """One value of one record is another; some figure of the set is no longer the stated one."""
    folder = copied(source, tmp_path)
    name, damage = DAMAGES[source]
    files = sorted((folder / source).glob(f"{'*' if name == 'all' else name}.jsonl.gz"))

    def change(records: list[Any]) -> list[Any]:
        damage(records[0])
        return records

    rewritten(files[0], change)

    [found] = recompute([folder], [source])

    assert found.missing is None
    assert found.misses
    assert not found.is_reproduced


def test_a_damaged_preference_of_alpaca_eval_is_seen(tmp_path: Path) -> None:
    """One preference of one model changes its win rate, and leaves the others alone."""
    folder = copied("alpaca_eval_lc", tmp_path)
    path = folder / "alpaca_eval_lc"
    expected = json.loads((path / "expected.json").read_text())

    def change(records: list[Any]) -> list[Any]:
        kept = records[:2]
        kept[0]["preference"][0] = 1.0 if kept[0]["preference"][0] > 1.5 else 2.0
        names = {record["model"] for record in kept}
        for table in expected.values():
            for name in set(table) - names:
                del table[name]
        return kept

    rewritten(path / "models.jsonl.gz", change)
    (path / "expected.json").write_text(json.dumps(expected))

    [found] = recompute([folder], ["alpaca_eval_lc"])

    damaged = next(iter(expected["win_rates"]))
    assert found.missing is None
    assert ("win rate", damaged) in {(figure.kind, figure.name) for figure in found.misses}
    assert {figure.name.split(",")[0] for figure in found.misses} == {damaged}


def test_a_damaged_configuration_of_a_bandit_is_seen(tmp_path: Path) -> None:
    """Another mean of one arm gives another regret."""
    folder = copied("bandit", tmp_path)
    path = folder / "bandit/benches.json"
    benches = json.loads(path.read_text())
    next(iter(benches.values()))[0]["arm_params"][0] = 0.123
    path.write_text(json.dumps(benches))

    [found] = recompute([folder], ["bandit"])

    assert found.misses


@pytest.mark.parametrize("source", SOURCES)
def test_a_set_that_is_absent_or_broken_is_told_by_its_name(source: str, tmp_path: Path) -> None:
    """No folder, no file, an empty file, a cut one, no JSON, no statement: each says what."""
    [found] = recompute([tmp_path], [source])
    assert found.missing == f"there is no folder {source} in {tmp_path}"
    folder = copied(source, tmp_path)
    files = [
        *(folder / source).glob("*.jsonl.gz"),
        *(folder / source).glob("benches.json"),
    ]
    whole = {path: path.read_bytes() for path in files}
    broken = [None, b"", gzip.compress(b""), gzip.compress(b'{"id": 1}\n'), b"\x1f\x8b no gzip"]
    broken.append(next(iter(whole.values()))[:-20])
    for content in broken:
        for path in files:
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_bytes(content)

        [found] = recompute([folder], [source])

        assert found.missing is not None, content
        assert source in found.missing
        assert not found.figures and not found.is_reproduced
    for path, content in whole.items():
        path.write_bytes(content)
    for statement in (None, "", "[]", "{}", '{"full_set": {"n": "many"}}'):
        stated = folder / source / "expected.json"
        stated.unlink(missing_ok=True)
        if statement is not None:
            stated.write_text(statement)

        [found] = recompute([folder], [source])

        assert found.missing is not None, statement
        assert source in found.missing or "expected.json" in found.missing


def test_one_missing_set_stops_no_other(tmp_path: Path) -> None:
    """The others are computed, each once and in the order that was asked for."""
    folder = copied("pandalm", tmp_path)

    found = list(recompute([folder], ["autoj", "pandalm", "autoj"]))

    assert [(each.source, each.is_reproduced) for each in found] == [
        ("autoj", False),
        ("pandalm", True),
    ]


def test_what_is_no_source_or_no_folder_is_refused(tmp_path: Path) -> None:
    """Before anything is computed, by the name that was given."""
    with pytest.raises(ConfigError, match=r"source is 'auto-j'; .*autoj"):
        recompute([tmp_path], ["auto-j"])
    with pytest.raises(ConfigError, match="nowhere is no folder of data sets"):
        recompute([tmp_path / "nowhere"])
    with pytest.raises(ConfigError, match="no folder of data sets is given"):
        recompute([])
