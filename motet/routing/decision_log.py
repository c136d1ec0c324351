"""The log of a router at work: one JSON line for each decision."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal

from motet.errors import DataError
from motet.routing.outcome_files import json_lines

VERSION: Final = 1
"""Of a line; raised when a reader of the old form would be wrong."""

Asked = Literal["router", "member"]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedDecision:
    """What was asked, which model was drawn and with what chance, and what it took.

    A model asked for by name, or one that answered in place of another, was not drawn: only where
    `is_drawn` does the line tell something of the policy.
    """

    id: str
    time: float
    """Unix seconds."""
    prompt_digest: str
    prompt: str | None
    """None where the log keeps digests only."""
    asked: Asked
    """Whether the client left the choice to the router, or named a member."""
    best: str
    """What the rule chose, or what the client named."""
    chosen: str
    """What was drawn; another than `best` where the policy explored."""
    answered: str | None
    """Who answered in the end; None where nobody did."""
    reason: str
    price: float | None
    estimates: Mapping[str, float]
    propensity: float | None
    """Chance of `chosen`; None where it was not drawn."""
    propensities: Mapping[str, float]
    """Chance of each member; empty where nothing was drawn."""
    status: int
    """Of HTTP; 499 where the client went away."""
    error: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    """None where the model has no price."""
    route_s: float = 0.0
    """Embedding and decision."""
    latency_s: float = 0.0
    """From the request to the end of the answer."""
    first_token_s: float | None = None
    """From the request to the first text; None unless streamed."""
    is_streamed: bool = False
    version: int = VERSION

    @property
    def is_drawn(self) -> bool:
        """Whether the model that answered was drawn with a known chance."""
        return self.propensity is not None and self.answered == self.chosen


class DecisionLog:
    """Appends lines to a file, each whole and at once; never raises once it is open.

    Lines that cannot be written are counted and told by a warning, once for each time that the
    trouble begins.

    Raises:
        DataError: The file cannot be opened.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.num_lost = 0
        """Lines that could not be written."""
        self.is_failing = False
        try:
            self._is_torn = _is_cut_short(self.path)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            self._file = os.open(self.path, flags, 0o600)  # prompts may be private
        except OSError as exc:
            raise DataError(f"{self.path} cannot be written: {exc.strerror}") from exc

    def write(self, decision: LoggedDecision) -> None:
        line = json.dumps(_plain(asdict(decision))) + "\n"
        try:
            self._append(("\n" if self._is_torn else "") + line)
        except OSError as exc:
            self.num_lost += 1
            if not self.is_failing:
                _log.warning("%s cannot be written: %s; serving goes on", self.path, exc)
            self.is_failing = True
        else:
            if self.is_failing:
                _log.warning("%s is written again; %d lines lost", self.path, self.num_lost)
            self.is_failing = False

    def _append(self, text: str) -> None:
        data = text.encode("ascii")
        while data:
            written = os.write(self._file, data)
            # What follows half a line must not be taken for its end.
            self._is_torn = written < len(data)
            data = data[written:]

    def close(self) -> None:
        os.close(self._file)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionFile:
    """What a log holds."""

    decisions: tuple[LoggedDecision, ...]
    num_torn: int = 0
    """Lines that a full disk or a killed process cut short."""


def _is_cut_short(path: Path) -> bool:
    """Whether a file of an earlier log ends within a line."""
    if not path.is_file() or not path.stat().st_size:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def read_decisions(path: str | Path) -> DecisionFile:
    """Read what `DecisionLog` wrote; `.gz` is unpacked.

    Raises:
        DataError: The file cannot be read, holds no decision, or a line is of another version or
            has a wrong field; names the line and the field.
    """
    path = Path(path)
    found: list[LoggedDecision] = []
    torn: list[int] = []
    for number, record in json_lines(path, torn=torn):
        if record.get("version") != VERSION:
            raise DataError(
                f"{path}, line {number}: its version is {record.get('version')!r}; this motet "
                f"reads {VERSION}"
            )
        found.append(_read(path, number, record))
    if not found:
        raise DataError(f"{path} holds no decision")
    return DecisionFile(decisions=tuple(found), num_torn=len(torn))


_TEXT, _NUMBER, _WHOLE = (str,), (int, float), (int,)
_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "id": _TEXT,
    "time": _NUMBER,
    "prompt_digest": _TEXT,
    "prompt": (str, type(None)),
    "asked": _TEXT,
    "best": _TEXT,
    "chosen": _TEXT,
    "answered": (str, type(None)),
    "reason": _TEXT,
    "price": (int, float, type(None)),
    "propensity": (int, float, type(None)),
    "status": _WHOLE,
    "error": (str, type(None)),
    "prompt_tokens": _WHOLE,
    "completion_tokens": _WHOLE,
    "cost": (int, float, type(None)),
    "route_s": _NUMBER,
    "latency_s": _NUMBER,
    "first_token_s": (int, float, type(None)),
    "is_streamed": (bool,),
}
_MAPS: Final = ("estimates", "propensities")


def _read(path: Path, number: int, record: Mapping[str, Any]) -> LoggedDecision:
    values: dict[str, Any] = {}
    for each in fields(LoggedDecision):
        name = each.name
        if name == "version":
            continue
        if name not in record:
            raise DataError(f"{path}, line {number}, field {name!r}: it is missing")
        value = record[name]
        if name in _MAPS:
            is_right = isinstance(value, dict) and all(map(_is_number, value.values()))
        else:
            kinds = _KINDS[name]
            is_right = isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)
            if is_right and isinstance(value, (int, float)) and not isinstance(value, bool):
                is_right = _is_number(value)
        if not is_right:
            raise DataError(f"{path}, line {number}, field {name!r}: {value!r:.80} is wrong")
        values[name] = value
    chance = values["propensity"]
    if chance is not None and values["propensities"].get(values["chosen"]) != chance:
        raise DataError(
            f"{path}, line {number}, field 'propensity': {chance!r} is not that of "
            f"{values['chosen']!r} in 'propensities'"
        )
    return LoggedDecision(**values)


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and abs(value) < math.inf


def _plain(value: Any) -> Any:
    """What JSON has no number for is null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return value
