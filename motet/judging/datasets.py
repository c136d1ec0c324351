"""Readers of published judgments: pairs with labels and verdicts, scores, and preferences.

They read gzip JSON lines: AlpacaEval 2, Auto-J, LLMBar, JudgeBench, PandaLM and WildBench.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from motet.errors import DataError, MotetError
from motet.judging.length_control import Comparison, GamedRows
from motet.judging.length_rates import LengthWeights
from motet.judging.verdicts import PairVerdict, ScoreVerdict, Winner, other

RecordT = TypeVar("RecordT")

_DECISIONS: Final[Mapping[Any, Winner]] = {"A>B": "A", "B>A": "B", "A=B": "tie"}


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedPair:
    """A pair of responses, what people said of it, and what judges did."""

    id: str
    group: str
    """Scenario, subset, source or pair of models, as the set has it."""
    labels: tuple[Winner, ...]
    """One a person, or one label by construction."""
    verdicts: Mapping[str, tuple[PairVerdict, ...]]
    """Of each judge: of the pair in order, and, where it was judged so, exchanged."""

    @property
    def majority(self) -> Winner:
        """What most people said; a tie where no winner has more than half of them."""
        sides: tuple[Winner, ...] = ("A", "B")
        for side in sides:
            if 2 * self.labels.count(side) > len(self.labels):
                return side
        return "tie"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedModel:
    """A model of the AlpacaEval 2 leaderboard."""

    name: str
    comparison: Comparison
    weights: LengthWeights
    published: Mapping[str, float | None]
    """The leaderboard's row: `win_rate`, `length_controlled_winrate` and others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlpacaEval:
    """What length-controlled win rates are fitted to; instructions are numbered from 0."""

    models: tuple[PublishedModel, ...]
    difficulty: Mapping[int, float]
    gamed: GamedRows


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredTask:
    """A task of WildBench with the scores of each judge."""

    id: str
    scores: Mapping[str, Mapping[str, ScoreVerdict]]
    """By judge, then by model; a model that a judge did not see is missing."""


def read_autoj(folder: Path | str) -> tuple[JudgedPair, ...]:
    """Read Auto-J's pairs, each judged in both orders.

    Raises:
        DataError: A file cannot be read, or a record is malformed; names the line.
    """
    names: tuple[Winner, ...] = ("A", "B", "tie")

    def read(record: dict[str, Any]) -> JudgedPair:
        orders = (names[_place(code)] for code in record["autoj13b"])
        return JudgedPair(
            id=record["id"],
            group=record["scenario"],
            labels=(names[_place(record["label"])],),
            verdicts={"autoj-13b": _both(*orders)},
        )

    return _read(Path(folder) / "pairs.jsonl.gz", read)


def read_llmbar(folder: Path | str) -> tuple[JudgedPair, ...]:
    """Read LLMBar's pairs; what was not parsed is an error.

    Raises:
        DataError: As `read_autoj`.
    """

    def read(record: dict[str, Any]) -> JudgedPair:
        # Both orders are written in the caller's names.
        return JudgedPair(
            id=record["id"],
            group=record["subset"],
            labels=(_numbered(record["label"]),),
            verdicts={
                judge: _both(_numbered(first), other(_numbered(second)))
                for judge, (first, second) in record["judges"].items()
            },
        )

    return _read(Path(folder) / "pairs.jsonl.gz", read)


def read_judgebench(folder: Path | str) -> tuple[JudgedPair, ...]:
    """Read JudgeBench's pairs; `group` is the model that answered, a slash, and the source.

    Raises:
        DataError: As `read_autoj`.
    """

    def read(record: dict[str, Any]) -> JudgedPair:
        judges = record["judges"].items()
        return JudgedPair(
            id=record["id"],
            group=f"{record['response_model']}/{record['source']}",
            labels=(_DECISIONS[record["label"]],),
            verdicts={judge: _both(*map(_decided, orders)) for judge, orders in judges},
        )

    return _read(Path(folder) / "pairs.jsonl.gz", read)


def read_pandalm(folder: Path | str) -> tuple[JudgedPair, ...]:
    """Read PandaLM's pairs: three people, and verdicts in one order only.

    Raises:
        DataError: As `read_autoj`.
    """

    def read(record: dict[str, Any]) -> JudgedPair:
        verdicts = {
            judge: (PairVerdict(winner=_numbered(record[judge]), raw=str(record[judge])),)
            for judge in ("gpt35", "pandalm7b")
        }
        labels = tuple(map(_numbered, record["annotators"]))
        if "error" in labels:
            raise ValueError(f"annotators are {record['annotators']}")
        return JudgedPair(id=record["id"], group=record["models"], labels=labels, verdicts=verdicts)

    return _read(Path(folder) / "pairs.jsonl.gz", read)


def read_wildbench(folder: Path | str) -> tuple[ScoredTask, ...]:
    """Read WildBench's scores.

    Raises:
        DataError: As `read_autoj`.
    """

    def read(record: dict[str, Any]) -> ScoredTask:
        scores: dict[str, dict[str, ScoreVerdict]] = {}
        for model, judged in record["scores"].items():
            for judge, score in judged.items():
                scores.setdefault(judge, {})[model] = ScoreVerdict(score=score)
        return ScoredTask(id=record["id"], scores=scores)

    return _read(Path(folder) / "scores.jsonl.gz", read)


def read_alpaca_eval(folder: Path | str) -> AlpacaEval:
    """Read the preferences, lengths and difficulties of AlpacaEval 2, and its gamed baselines.

    Its preferences run from 1 to 2, where 2 is the model; 0 stands for a draw.

    Raises:
        DataError: As `read_autoj`.
    """

    def read_model(record: dict[str, Any]) -> PublishedModel:
        found = record["published_glm_weights"]
        preference = [_unit_preference(value) for value in record["preference"]]
        return PublishedModel(
            name=record["model"],
            comparison=Comparison(
                instructions=tuple(range(len(preference))),
                preference=cast("Any", preference),
                model_lengths=_numbers(record["len_model"]),
                baseline_lengths=_numbers(record["len_baseline"]),
            ),
            weights=LengthWeights(
                model=found["not_gamed_baseline"],
                length=found["tanh_std_delta_len"],
                difficulty=found["instruction_difficulty"],
            ),
            published=record["published"],
        )

    def read_difficulty(record: dict[str, Any]) -> tuple[int, float]:
        return int(record["index"]), float(record["instruction_difficulty"])

    def read_gamed(record: dict[str, Any]) -> tuple[int, float, float]:
        return record["index"], record["soft_preference"], record["std_delta_len"]

    place = Path(folder)
    rows = _read(place / "gamed_rows_reconstructed.jsonl.gz", read_gamed)
    return AlpacaEval(
        models=_read(place / "models.jsonl.gz", read_model),
        difficulty=dict(_read(place / "instructions.jsonl.gz", read_difficulty)),
        gamed=GamedRows(
            instructions=tuple(row[0] for row in rows),
            preference=_numbers([row[1] for row in rows]),
            length_difference=_numbers([row[2] for row in rows]),
        ),
    )


def _read(path: Path, make: Callable[[dict[str, Any]], RecordT]) -> tuple[RecordT, ...]:
    records = []
    at = str(path)
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                at = f"{path}:{number}"
                records.append(make(json.loads(line)))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as exc:
        raise DataError(f"{at} cannot be read: {exc}") from exc
    except (LookupError, TypeError, ValueError, AttributeError, MotetError) as exc:
        raise DataError(f"{at} is no record of this set: {type(exc).__name__}: {exc}") from exc
    return tuple(records)


def _both(first: Winner, second: Winner) -> tuple[PairVerdict, ...]:
    return PairVerdict(winner=first), PairVerdict(winner=second, order="BA")


def _place(code: Any) -> int:
    if code not in (0, 1, 2):
        raise ValueError(f"verdict {code!r} is none of 0, 1 and 2")
    return int(code)


def _numbered(value: Any) -> Winner:
    known: dict[str, Winner] = {"1": "A", "2": "B", "0": "tie", "Tie": "tie", "tie": "tie"}
    return known.get(str(value), "error")


def _decided(judgment: Mapping[str, Any] | None) -> Winner:
    return _DECISIONS.get((judgment or {}).get("decision"), "error")


def _unit_preference(value: float | None) -> float:
    if value is None:
        return math.nan
    return 0.5 if value == 0 else float(value) - 1


def _numbers(values: Sequence[float | None]) -> Any:
    return [math.nan if value is None else float(value) for value in values]
