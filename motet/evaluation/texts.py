"""The text that a program's value says, by which it is scored."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from motet.engine import Completion
from motet.operations import FunctionOperation
from motet.outputs import dump_value, plain_annotation
from motet.programs.judges.reading import kept
from motet.types import Embedding, Rewards

_SPOKEN: Final = ("text", "answer", "winner", "move", "best", "value", "score")
"""Attributes that say what a value is about, the first that is there."""
_DEEPEST: Final = 4
_ABSENT: Final = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a value says."""

    text: str | None
    """None where it is empty."""
    is_cut_off: bool = False


def text_of(value: Any) -> Said:
    """Return what a program's value says.

    A text, a completion, a number, a flag or an enumeration says itself; an object or a dict says
    its `text`, or else its `answer`, `winner`, `move`, `best`, `value` or `score`; any other value
    says its JSON. One whose `is_finished` is false was cut off.
    """
    return _said(value, _DEEPEST)


def _said(value: Any, depth: int) -> Said:
    if isinstance(value, Completion):
        is_cut_off = value.finish_reason in ("length", "abort")
        return Said(text=_whole(value.text), is_cut_off=is_cut_off)
    if isinstance(value, enum.Enum):
        return _said(value.value, depth)
    if value is None or isinstance(value, str):
        return Said(text=_whole(value or ""))
    if isinstance(value, bool):
        return Said(text="true" if value else "false")
    if isinstance(value, (int, float)):
        is_number = not isinstance(value, float) or math.isfinite(value)
        return Said(text=str(value) if is_number else None)
    if depth and not isinstance(value, (list, tuple, set, frozenset, bytes)):
        for name in _SPOKEN:
            part = _part(value, name)
            if part is not _ABSENT:
                said = _said(part, depth - 1)
                is_cut_off = said.is_cut_off or _part(value, "is_finished") is False
                return Said(text=said.text, is_cut_off=is_cut_off)
    return Said(text=_json(value))


def _part(value: Any, name: str) -> Any:
    """Return what an object or a dict holds under a name, methods apart."""
    if isinstance(value, Mapping):
        return value.get(name, _ABSENT)
    part = getattr(value, name, _ABSENT)
    return _ABSENT if callable(part) else part


def _whole(text: str) -> str | None:
    return kept(text) if text.strip() else None


def _json(value: Any) -> str | None:
    if hasattr(value, "model_dump_json"):
        return _whole(value.model_dump_json())
    try:
        return _whole(dump_value(type(value), value).decode().removeprefix("="))
    except TypeError:
        return _whole(str(value))


def is_readable(program: FunctionOperation) -> bool:
    """Whether what a program returns can be said by a text, as far as its annotation tells."""
    return plain_annotation(program.output) not in (bytes, type(None), Embedding, Rewards)
