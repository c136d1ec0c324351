"""Readers of public tables of outcomes, stored as gzip JSON lines with a README beside them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from motet.errors import ConfigError, DataError
from motet.routing.outcome_files import json_lines
from motet.routing.outcomes import Outcomes
from motet.search.settings import flag, number, one_of

Cell: TypeAlias = tuple[float, float]
"""Score and cost; NaN where unknown."""

WEAK: Final = "mixtral-8x7b"
STRONG: Final = "gpt-4-1106"
"""The pair of RouteLLM's tables."""

CHARACTERS_PER_TOKEN: Final = 4
"""A rule of thumb for English, where a table has no token counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a million tokens cost, in dollars."""

    input: float
    output: float

    def __post_init__(self) -> None:
        number("input", self.input, 0)
        number("output", self.output, 0)

    def of(self, input_characters: float, output_characters: float = 0) -> float:
        """Return the dollars that a call of so many characters costs, about."""
        paid = input_characters * self.input + output_characters * self.output
        return paid / CHARACTERS_PER_TOKEN / 1e6


@dataclass(frozen=True, slots=True)
class _Row:
    prompt: str
    group: str
    cells: Mapping[str, Cell]


def read_prices(path: str | Path) -> dict[str, Price]:
    """Read a price list: RouterArena's model_cost.json, or LLMRouter's models.json.

    Raises:
        DataError: The file cannot be read, or a model in it has no prices from 0.
    """
    path = Path(path)
    prices = {}
    for model, fields in _json_object(path).items():
        try:
            if "input_price" in fields:
                pair = fields["input_price"], fields["output_price"]
            else:
                names = "input_token_price_per_million", "output_token_price_per_million"
                pair = fields[names[0]], fields[names[1]]
            prices[model] = Price(input=pair[0], output=pair[1])
        except (KeyError, TypeError, ConfigError) as exc:
            raise DataError(f"{path}, model {model!r}: no price is given ({exc})") from exc
    return prices


def read_routellm(
    folder: str | Path,
    part: Literal["gsm8k", "mmlu"],
    *,
    prices: Mapping[str, Price] | None = None,
    drop_contaminated: bool = True,
) -> Outcomes:
    """Read RouteLLM's right and wrong answers of `WEAK` and `STRONG`.

    Args:
        prices: Of the two models; without them all costs are unknown. MMLU's answers are not
            stored, so only its prompts are paid for.
        drop_contaminated: Leave out the items that resemble the router's training data, as the
            authors do.

    Raises:
        DataError: The file cannot be read, or a record in it is wrong.
        ConfigError: `part` is another.
    """
    one_of("part", part, ("gsm8k", "mmlu"))
    flag("drop_contaminated", drop_contaminated)

    def row(record: dict[str, Any]) -> _Row | None:
        if record["contaminated"] and drop_contaminated:
            return None
        prompt = record["prompt"]
        cells = {}
        for model, side in ((WEAK, "weak"), (STRONG, "strong")):
            answer = record[f"{side}_response"] if part == "gsm8k" else ""
            cost = _cost(prices, model, len(prompt), len(answer))
            cells[model] = float(record[f"{side}_correct"]), cost
        return _Row(prompt, record.get("domain", part), cells)

    return _read(Path(folder) / f"{part}.jsonl.gz", row)


def read_zeroeval(folder: str | Path, *, prices: Mapping[str, Price] | None = None) -> Outcomes:
    """Read ZeroEval's right and wrong answers of some forty models.

    Args:
        prices: The cost of a model that is not among them is unknown. Tokens are counted as a
            quarter of the characters of prompt and answer.

    Raises:
        DataError: The file cannot be read, or a record in it is wrong.
    """

    def row(record: dict[str, Any]) -> _Row:
        size = record["prompt_chars"]
        cells = {
            model: (float(correct), _cost(prices, model, size, written))
            for model, (correct, written, _) in record["m"].items()
        }
        return _Row(record["question"], record["id"].partition("/")[0], cells)

    return _read(Path(folder) / "outcomes.jsonl.gz", row)


def read_llmrouter(folder: str | Path, part: Literal["train", "test"] | None = None) -> Outcomes:
    """Read LLMRouter's scores of nine open models on fourteen tasks.

    A cost is the list price of a quarter of the query's characters: answers are not stored.

    Args:
        part: The authors' part, or None for both.

    Raises:
        DataError: A file cannot be read, or a record in it is wrong.
        ConfigError: `part` is another.
    """
    one_of("part", part, ("train", "test", None))
    prices = read_prices(Path(folder) / "models.json")

    def row(record: dict[str, Any]) -> _Row | None:
        if part not in (None, record["orig_split"]):
            return None
        size = len(record["query"])
        cells = {
            model: (float(score), _cost(prices, model, size, 0))
            for model, score in record["scores"].items()
        }
        return _Row(record["query"], record["task"], cells)

    return _read(Path(folder) / "scores.jsonl.gz", row)


def read_routerarena(folder: str | Path) -> Outcomes:
    """Read RouterArena's scores and dollars of two models.

    METEOR can be below 0, where an answer is far from every reference; such a score counts as 0.

    Raises:
        DataError: The file cannot be read, or a record in it is wrong.
    """

    def row(record: dict[str, Any]) -> _Row:
        is_meteor = record["metric"] == "meteor_score"
        cells = {}
        for model, cell in record["m"].items():
            score = float(cell["score"])
            cells[model] = 0.0 if is_meteor and score < 0 else score, float(cell["cost"])
        return _Row(record["question"], record["dataset"], cells)

    return _read(Path(folder) / "outcomes.jsonl.gz", row)


def read_open_llm(folder: str | Path) -> Outcomes:
    """Read the right and wrong answers of nineteen models on the Open LLM Leaderboard v2.

    There are no prompts, so a prompt is `scenario/item`; and no token counts, so a cost is the
    model's dollars per million tokens.

    Raises:
        DataError: A file cannot be read, or a record in it is wrong.
    """
    path = Path(folder) / "models.json"
    described = _json_object(path)
    try:
        models = list(described["order"])
        prices = {
            model: float(described["price_usd_per_million_tokens"][model]) for model in models
        }
    except (KeyError, TypeError, ValueError) as exc:
        raise DataError(f"{path}: the order or a price is missing ({exc})") from exc
    scores = {"1": 1.0, "0": 0.0, ".": math.nan}

    def row(record: dict[str, Any]) -> _Row:
        pairs = zip(models, record["bits"], strict=True)
        cells = {model: (scores[bit], prices[model]) for model, bit in pairs}
        return _Row(f"{record['scenario']}/{record['item']}", record["scenario"], cells)

    return _read(Path(folder) / "matrix.jsonl.gz", row)


def _cost(prices: Mapping[str, Price] | None, model: str, asked: int, written: int) -> float:
    if prices is None or model not in prices:
        return math.nan
    return prices[model].of(asked, written)


def _read(path: Path, row: Callable[[dict[str, Any]], _Row | None]) -> Outcomes:
    import numpy as np

    rows = list(_rows(path, row))
    if not rows:
        raise DataError(f"{path} has no record")
    models = list(dict.fromkeys(model for each in rows for model in each.cells))
    unknown = math.nan, math.nan
    cells = np.array([[each.cells.get(model, unknown) for model in models] for each in rows])
    return Outcomes(
        prompts=tuple(each.prompt for each in rows),
        models=tuple(models),
        scores=cells[:, :, 0],
        costs=cells[:, :, 1],
        groups=tuple(each.group for each in rows),
    )


def _rows(path: Path, row: Callable[[dict[str, Any]], _Row | None]) -> Iterator[_Row]:
    for line, record in json_lines(path):
        try:
            made = row(record)
        except KeyError as exc:
            raise DataError(f"{path}, line {line}: {exc} is missing") from exc
        except (AttributeError, TypeError, ValueError) as exc:
            raise DataError(f"{path}, line {line}: {exc}") from exc
        if made is not None:
            yield made


def _json_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as exc:
        raise DataError(f"{path} cannot be read: {exc}") from exc
    if not isinstance(value, dict):
        raise DataError(f"{path} is no JSON object")
    return value
