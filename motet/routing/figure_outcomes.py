"""Outcomes from the figures of an evaluation: its contenders are what a router chooses among."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from motet.errors import DataError
from motet.routing.outcome_files import json_lines
from motet.routing.outcomes import Outcomes

NOT_JUDGED: Final = "not judged"


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureOutcomes:
    """A table, and how many attempts of the contenders have no place in it."""

    outcomes: Outcomes
    num_attempts: int
    left_out: Mapping[str, int]


def outcomes_from_figures(path: str | Path, prompts: Mapping[str, str]) -> FigureOutcomes:
    """Read `figures.jsonl` of an evaluation; a cell is the mean of a contender's attempts.

    The self-consistency beside a contender is passed over. An attempt without an answer is worth
    0; one that was not judged, or whose row has no prompt here, is left out and counted. A cost of
    0 is unknown, as without prices.

    Args:
        prompts: By the ids of rows.

    Raises:
        DataError: The file cannot be read, or a line is wrong; names it. Or there are fewer than
            two contenders.
    """
    path = Path(path)
    left_out: Counter[str] = Counter()
    values: dict[tuple[str, str], list[tuple[float, float]]] = {}
    num_attempts = 0
    for number, record in json_lines(path):
        if record.get("is_matched"):
            continue
        row, contender = (_text(path, number, record, name) for name in ("row", "contender"))
        if record.get("missing") == NOT_JUDGED:
            left_out[NOT_JUDGED] += 1
        elif row not in prompts:
            left_out["of rows that the task has not"] += 1
        else:
            value = 0.0 if record.get("missing") else _number(path, number, record, "value", 1.0)
            cost = _number(path, number, record, "cost", math.inf)
            values.setdefault((prompts[row], contender), []).append((value, cost or math.nan))
            num_attempts += 1
    return FigureOutcomes(
        outcomes=_table(path, values), num_attempts=num_attempts, left_out=dict(left_out)
    )


def _table(path: Path, values: Mapping[tuple[str, str], list[tuple[float, float]]]) -> Outcomes:
    import numpy as np

    rows = {prompt: place for place, prompt in enumerate(dict.fromkeys(p for p, _ in values))}
    models = {model: place for place, model in enumerate(dict.fromkeys(m for _, m in values))}
    if len(models) < 2:
        raise DataError(f"{path} has {len(models)} contenders with values; routing needs two")
    scores = np.full((len(rows), len(models)), np.nan)
    costs = scores.copy()
    for (prompt, model), attempts in values.items():
        place = rows[prompt], models[model]
        scores[place] = np.mean([value for value, _ in attempts])
        known = [cost for _, cost in attempts if not math.isnan(cost)]
        if known:
            costs[place] = np.mean(known)
    return Outcomes(prompts=tuple(rows), models=tuple(models), scores=scores, costs=costs)


def _text(path: Path, line: int, record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    if not isinstance(value, str) or not value:
        raise DataError(f"{path}, line {line}, field {name!r}: {value!r:.80} is no text")
    return value


def _number(path: Path, line: int, record: Mapping[str, Any], name: str, most: float) -> float:
    value = record.get(name)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not 0 <= value <= most:  # type: ignore[arg-type, operator]
        raise DataError(f"{path}, line {line}, field {name!r}: {value!r:.80} is wrong")
    return float(value)  # type: ignore[arg-type]
