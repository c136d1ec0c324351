"""Digests of values, so that equal inputs have equal ids."""

from __future__ import annotations

import dataclasses
import enum
import functools
import re
import struct
from collections import deque
from collections.abc import Callable, Mapping
from hashlib import blake2b
from types import CodeType, FunctionType, ModuleType
from typing import Any

from motet.errors import UnboundInputError
from motet.refs import Ref, parts_of


def digest_bytes(data: bytes) -> str:
    """Return 32 hexadecimal characters that name `data`."""
    return blake2b(data, digest_size=16).hexdigest()


def encode(value: Any, out: list[bytes], id_of: Callable[[Ref[Any]], str]) -> None:
    """Append an unambiguous encoding of `value` to `out`; a ref counts by its id.

    Raises:
        UnboundInputError: `value` is of a type that has no stable encoding.
    """
    kind = type(value)
    if kind is str:
        data = value.encode("utf-8", "surrogatepass")
        out.append(b"s%d:" % len(data))
        out.append(data)
    elif kind is Ref:
        out.append(b"r")
        out.append(id_of(value).encode())
    elif kind is int:
        out.append(b"i%d;" % value)
    elif kind is list or kind is tuple:
        out.append(b"l%d:" % len(value))
        for part in value:
            encode(part, out, id_of)
    elif kind is dict:
        _encode_mapping(value, out, id_of)
    elif value is None or kind is bool:
        out.append(b"n" if value is None else b"t" if value else b"f")
    elif kind is float:
        out.append(b"d" + struct.pack(">d", value))
    elif kind is bytes:
        out.append(b"b%d:" % len(value))
        out.append(value)
    elif kind is FunctionType and not value.__dict__ and "<lambda>" not in value.__qualname__:
        _encode_parts(b"c", value.__module__ or "", value.__qualname__, out, id_of)
    else:
        _encode_object(value, out, id_of)


def _encode_mapping(
    value: Mapping[Any, Any], out: list[bytes], id_of: Callable[[Ref[Any]], str]
) -> None:
    out.append(b"m%d:" % len(value))
    for key in value:
        encode(key, out, id_of)
        encode(value[key], out, id_of)


def _encode_object(value: Any, out: list[bytes], id_of: Callable[[Ref[Any]], str]) -> None:
    kind = type(value)
    is_data = dataclasses.is_dataclass(kind) or hasattr(kind, "model_fields")
    identity = getattr(value, "identity", None)
    if isinstance(identity, str) and (not is_data or getattr(kind, "__motet_opaque__", False)):
        _encode_parts(b"o", "", identity, out, id_of)
    elif isinstance(value, enum.Enum):
        _encode_parts(b"e", kind.__qualname__, value.value, out, id_of)
    elif isinstance(value, (str, int, float, bytes)):
        bases: tuple[Any, ...] = (str, int, float, bytes)
        base = next(b for b in bases if isinstance(value, b))
        encode(base(value), out, id_of)
    elif isinstance(value, (set, frozenset)):
        parts = []
        for part in value:
            piece: list[bytes] = []
            encode(part, piece, id_of)
            parts.append(b"".join(piece))
        out.append(b"u%d:" % len(parts))
        out.extend(sorted(parts))
    elif is_data:
        _encode_parts(b"p", kind.__qualname__, dict(parts_of(value) or {}), out, id_of)
    elif isinstance(value, Mapping):
        _encode_mapping(value, out, id_of)
    elif isinstance(value, (list, tuple, deque)):
        _encode_parts(b"q", kind.__qualname__, list(value), out, id_of)
    elif isinstance(value, re.Pattern):
        _encode_parts(b"g", kind.__qualname__, [value.pattern, value.flags], out, id_of)
    elif isinstance(value, functools.partial):
        bound = [value.func, list(value.args), value.keywords]
        _encode_parts(b"a", kind.__qualname__, bound, out, id_of)
    elif isinstance(value, type):
        _encode_parts(b"y", value.__module__, value.__qualname__, out, id_of)
    elif callable(value) and hasattr(value, "__qualname__"):
        _encode_parts(b"c", getattr(value, "__module__", "") or "", value.__qualname__, out, id_of)
        if "<lambda>" in value.__qualname__:
            _encode_function(value, out, id_of)
        owner = getattr(value, "__self__", None)
        if owner is not None and not isinstance(owner, ModuleType):
            _encode_known(owner, out, id_of)
    else:
        _encode_parts(b"x", kind.__qualname__, _stable_text(value), out, id_of)


def _encode_parts(
    tag: bytes, name: str, value: Any, out: list[bytes], id_of: Callable[[Ref[Any]], str]
) -> None:
    out.append(tag)
    encode(name, out, id_of)
    encode(value, out, id_of)


def _encode_function(value: Any, out: list[bytes], id_of: Callable[[Ref[Any]], str]) -> None:
    """Tell lambdas apart, which share their name: by their code, defaults and closed-over values."""
    code = getattr(value, "__code__", None)
    if code is None:
        return
    _encode_code(code, out)
    closed = [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
    for part in [*(value.__defaults__ or ()), *closed]:
        _encode_known(part, out, id_of)


def _encode_known(value: Any, out: list[bytes], id_of: Callable[[Ref[Any]], str]) -> None:
    """Append what can be told of a value that a function holds."""
    piece: list[bytes] = []
    try:
        encode(value, piece, id_of)
    except UnboundInputError:
        piece = [b"?"]
    out.extend(piece)


def _is_filled(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _encode_code(code: CodeType, out: list[bytes]) -> None:
    out.append(code.co_code)
    out.append(repr(code.co_names).encode("utf-8", "surrogatepass"))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _encode_code(constant, out)
        elif isinstance(constant, frozenset):
            out.append(repr(sorted(map(repr, constant))).encode("utf-8", "surrogatepass"))
        else:
            out.append(repr(constant).encode("utf-8", "surrogatepass"))


_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def _stable_text(value: Any) -> str:
    """Text of dates, paths, decimals and the like; objects that show an address are refused."""
    kind = type(value)
    plain: Any = object
    text = ""
    is_bare = kind.__str__ is plain.__str__ and kind.__repr__ is plain.__repr__
    if not is_bare:
        text = str(value)
    if is_bare or _ADDRESS.search(text):
        raise UnboundInputError(
            f"an input of type {kind.__module__}.{kind.__qualname__} has no stable identity, so "
            "the call could not be resumed: pass plain values, pydantic models or dataclasses, or "
            "give the class an `identity` attribute (text)"
        )
    return text
