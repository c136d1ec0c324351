"""Files of scores: what answers were worth, by the id of a call or by prompt and model."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from motet.errors import ConfigError, DataError
from motet.routing.outcome_files import json_lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Scores from 0 to 1."""

    by_id: Mapping[str, float] = field(default_factory=dict)
    by_prompt: Mapping[tuple[str, str | None], float] = field(default_factory=dict)
    """By prompt and model; None stands for every model."""

    def find(self, identity: str, prompt: str | None, model: str | None) -> float | None:
        """Return the score of an answer: by its id, else by its prompt; None where there is none."""
        found = self.by_id.get(identity)
        if found is None and prompt is not None:
            found = self.by_prompt.get((prompt, model), self.by_prompt.get((prompt, None)))
        return found


def read_scores(path: str | Path) -> Scores:
    """Read a table with a `score` in each row, and an `id`, or a `prompt` and maybe a `model`.

    The suffix says the format: .jsonl, .jsonl.gz or .csv. An id is that of a call in the journal,
    or of a line in the log of a router at work.

    Raises:
        DataError: The file cannot be read, is empty, or a row is wrong or says again what another
            said; names the file, the line and the column.
        ConfigError: Another suffix.
    """
    path = Path(path)
    by_id: dict[str, float] = {}
    by_prompt: dict[tuple[str, str | None], float] = {}
    for line, record in _records(path):
        score = _score(path, line, record.get("score"))
        identity, prompt = record.get("id") or None, record.get("prompt")
        if (identity is None) == (prompt is None):
            raise DataError(f"{path}, line {line}: it must have an id, or else a prompt")
        for column in ("id", "prompt", "model"):
            value = record.get(column)
            if value is not None and not isinstance(value, str):
                raise DataError(f"{path}, line {line}, column {column!r}: {value!r:.80} is no text")
        if identity is not None:
            _put(by_id, identity, score, f"{path}, line {line}, column 'id'")
        else:
            key = (str(prompt), record.get("model") or None)
            _put(by_prompt, key, score, f"{path}, line {line}, column 'prompt'")
    if not by_id and not by_prompt:
        raise DataError(f"{path} is empty: it has no row")
    return Scores(by_id=by_id, by_prompt=by_prompt)


def _put(found: dict[Any, float], key: Any, score: float, place: str) -> None:
    if key in found:
        raise DataError(f"{place}: {key!r:.80} has a score already")
    found[key] = score


def _records(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        yield from json_lines(path)
    elif path.name.endswith(".csv"):
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file, restkey="", strict=True)
                for record in reader:
                    yield reader.line_num, {k: v or None for k, v in record.items()}
        except (OSError, UnicodeDecodeError, csv.Error) as exc:
            raise DataError(f"{path} cannot be read: {exc}") from exc
    else:
        raise ConfigError(f"path is {str(path)!r}; it must end in .jsonl, .jsonl.gz or .csv")


def _score(path: Path, line: int, value: Any) -> float:
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise TypeError
        score = float(value)
    except (TypeError, ValueError, OverflowError):
        score = -1.0
    if not 0 <= score <= 1:
        raise DataError(
            f"{path}, line {line}, column 'score': {value!r:.80} is no score from 0 to 1"
        )
    return score
