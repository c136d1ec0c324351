"""Output types: constrain a reply, read it, and write values to the journal."""

from __future__ import annotations

import enum
import functools
import json
import math
import re
import types
import typing
from typing import Any, Literal, get_args, get_origin

from motet.digest import encode
from motet.engine import Completion, Constraint
from motet.errors import (
    ConstraintBrokenError,
    CutOffReplyError,
    EmptyReplyError,
    ParseError,
    RefusalError,
)
from motet.refs import PLAIN, Ref

_NUMBER = r"-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,15})?"
_INTEGER = r"-?(0|[1-9][0-9]{0,17})"
_FENCE = re.compile(r"\A```[A-Za-z]*\n(.*?)\n?```\Z", re.DOTALL)


def plain_annotation(annotation: Any) -> Any:
    """Return what a ref of this annotation becomes: `Ref[T]` is `T`."""
    if get_origin(annotation) is Ref:
        return get_args(annotation)[0]
    return annotation


class Output:
    """The declared type of a prompt's value.

    Attributes:
        constraint: What the engine is asked to hold while decoding; None for free text.
    """

    def __init__(self, annotation: Any, *, keep_cut_off: bool = False) -> None:
        self.annotation = plain_annotation(annotation)
        self.keep_cut_off = keep_cut_off
        self.constraint = self._constrain()

    def _constrain(self) -> Constraint | None:
        kind = self.annotation
        if kind is str or kind is Completion or kind is Any:
            return None
        if kind is bool:
            return Constraint("choice", ("true", "false"))
        if kind is int:
            return Constraint("regex", _INTEGER)
        if kind is float:
            return Constraint("regex", _NUMBER)
        if get_origin(kind) is Literal:
            return Constraint("choice", tuple(_choice_text(c) for c in get_args(kind)))
        return Constraint("json_schema", adapter(kind).json_schema())

    @property
    def schema(self) -> str:
        """JSON schema of the type, for templates that show it to the model."""
        return json.dumps(adapter(self.annotation).json_schema())

    def parse(self, completion: Completion) -> Any:
        """Read the value.

        Raises:
            RefusalError, CutOffReplyError, EmptyReplyError, ParseError: the reply is no value.
        """
        if completion.violation is not None:
            raise ConstraintBrokenError(
                f"the reply breaks {_shown(completion.violation)}: {_shown(completion.text)}",
                completion=completion,
            )
        if self.annotation is Completion:
            return completion
        text = completion.text
        if completion.finish_reason == "refusal":
            raise RefusalError(
                f"the model refused: {_shown(completion.refusal or text)}", completion=completion
            )
        if completion.finish_reason in ("length", "abort") and not self.keep_cut_off:
            raise CutOffReplyError(
                f"the reply was cut off after {len(text)} characters: {_shown(text[-80:])}; "
                "raise max_tokens, or declare keep_cut_off=True or `-> Completion`",
                completion=completion,
            )
        if not text.strip():
            raise EmptyReplyError(
                f"the reply is empty (finish reason {completion.finish_reason})",
                completion=completion,
            )
        if self.annotation is str or self.annotation is Any:
            return text
        try:
            return self._read(text.strip())
        except ValueError as exc:
            problem = _shown(str(exc).split("\n    For further information")[0])
            raise ParseError(
                f"the reply is no {describe(self.annotation)}: {_shown(text)} ({problem})",
                completion=completion,
            ) from exc

    def _read(self, text: str) -> Any:
        kind = self.annotation
        if kind is bool or get_origin(kind) is Literal:
            options: tuple[Any, ...] = (True, False) if kind is bool else get_args(kind)
            for said in (text, text.removesuffix(".").strip("\"'")):
                for option in options:
                    shown = _choice_text(option)
                    if said == shown or (kind is bool and said.lower() == shown):
                        return option
            raise ValueError(f"it must be one of {', '.join(_choice_text(o) for o in options)}")
        if kind is int:
            if re.fullmatch(r"[+-]?[0-9]+", text) is None:
                raise ValueError("it must be a whole number")
            return int(text)
        if kind is float:
            number = float(text)
            if not math.isfinite(number):
                raise ValueError("it must be finite")
            return number
        fenced = _FENCE.match(text)
        return adapter(kind).validate_json(fenced.group(1) if fenced else text)


def _choice_text(option: Any) -> str:
    if isinstance(option, bool):
        return "true" if option else "false"
    return str(option.value if isinstance(option, enum.Enum) else option)


def _shown(text: str) -> str:
    """At most 120 characters of foreign text, escaped."""
    return ascii(text if len(text) <= 120 else f"{text[:117]}...")


def describe(annotation: Any) -> str:
    """Short name of a type for messages."""
    if annotation is Any:
        return "anything"
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation.__name__
    return str(annotation).replace("typing.", "")


@functools.lru_cache(maxsize=1024)
def adapter(annotation: Any) -> Any:
    """Return pydantic's adapter of a type."""
    from pydantic import TypeAdapter

    return TypeAdapter(annotation)


def dump_value(annotation: Any, value: Any) -> bytes:
    """Write `value` as ASCII JSON, so that `load_value` gives an equal value of the same type.

    Plain JSON that is not quite of its declared type, such as 3 where a float was declared, is
    written as it is, behind a `=`.

    Raises:
        TypeError: The value would not come back as it is.
    """
    kind = type(value)
    if kind in PLAIN and kind is not bytes:
        data = json.dumps(value).encode()
        return data if annotation is kind or annotation is Any else _AS_IT_IS + data
    if annotation is Any or isinstance(annotation, typing.TypeVar):
        _check_json(value)
        return json.dumps(value).encode()
    try:
        plain = adapter(annotation).dump_python(value, mode="json", warnings="error")
        data = json.dumps(plain).encode()
        comes_back = _encoded(load_value(annotation, data)) == _encoded(value)
    except Exception:  # pydantic raises its own family, some of it not exported
        comes_back = False
    if not comes_back:
        try:
            _check_json(value)
        except TypeError as exc:
            shown = f"{value!r:.80} cannot be written as {describe(annotation)}"
            raise TypeError(shown) from exc
        return _AS_IT_IS + json.dumps(value).encode()
    return data


_AS_IT_IS = b"="


def _encoded(value: Any) -> bytes:
    out: list[bytes] = []
    encode(value, out, lambda ref: ref.place)
    return b"".join(out)


def load_value(annotation: Any, data: bytes) -> Any:
    """Read what `dump_value` wrote."""
    if data[:1] == _AS_IT_IS:
        return json.loads(data[1:])
    value = json.loads(data)
    if annotation is Any or annotation is str or isinstance(annotation, typing.TypeVar):
        return value
    return adapter(annotation).validate_python(value)


def _check_json(value: Any) -> None:
    kind = type(value)
    if kind is list:
        for part in value:
            _check_json(part)
    elif kind is dict:
        for key, part in value.items():
            if type(key) is not str:
                raise TypeError(f"a key of type {type(key).__name__} is not JSON")
            _check_json(part)
    elif kind not in PLAIN or kind is bytes:
        raise TypeError(f"a {kind.__qualname__} without an annotation cannot be journaled")


def fits(produced: Any, expected: Any) -> bool:
    """Say whether a value annotated `produced` may stand where `expected` is asked.

    Only what is surely wrong is refused: unknown types fit everything.
    """
    produced, expected = plain_annotation(produced), plain_annotation(expected)
    if produced == expected or produced is Any or expected is Any or expected is object:
        return True
    if isinstance(produced, (typing.TypeVar, str)) or isinstance(expected, (typing.TypeVar, str)):
        return True
    if _is_union(expected):
        return any(fits(produced, option) for option in get_args(expected))
    if _is_union(produced):
        return any(fits(option, expected) for option in get_args(produced))
    if get_origin(produced) is typing.Annotated or get_origin(expected) is typing.Annotated:
        return fits(_bare(produced), _bare(expected))
    if get_origin(produced) is Literal:
        if get_origin(expected) is Literal:
            return bool(set(get_args(produced)) & set(get_args(expected)))
        return all(fits(type(value), expected) for value in get_args(produced))
    if get_origin(expected) is Literal:
        return any(fits(produced, type(value)) for value in get_args(expected))
    return _classes_fit(produced, expected)


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is typing.Annotated else annotation


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (typing.Union, types.UnionType)


def _classes_fit(produced: Any, expected: Any) -> bool:
    base = get_origin(produced) or produced
    wanted = get_origin(expected) or expected
    if not isinstance(base, type) or not isinstance(wanted, type):
        return True
    if wanted is float and base in (int, bool):
        return True
    if base is str and wanted is not str and get_args(expected):
        return False  # text is a sequence of texts, but never what was meant
    if {base, wanted} <= {list, tuple}:
        pass
    elif not _is_subclass(base, wanted):
        return False
    ours, theirs = get_args(produced), get_args(expected)
    if wanted is not tuple and base is not tuple and len(ours) == len(theirs):
        return all(fits(a, b) for a, b in zip(ours, theirs, strict=True))
    return True


def _is_subclass(base: type, wanted: type) -> bool:
    try:
        return issubclass(base, wanted)
    except TypeError:  # typed dicts and some protocols cannot be asked
        return True


def element_type(annotation: Any) -> Any:
    """Type of the items of a list-like annotation; `Any` where unknown."""
    annotation = plain_annotation(annotation)
    if _is_union(annotation):
        found = [element_type(option) for option in get_args(annotation)]
        known = [f for f in found if f is not Any]
        return known[0] if len(known) == 1 else Any
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is None or not args or not isinstance(origin, type):
        return Any
    if origin is tuple:
        return args[0] if len(args) == 2 and args[1] is Ellipsis else Any
    return args[-1] if hasattr(origin, "__iter__") and origin is not Ref else Any
