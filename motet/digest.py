"""Digests of values, so that equal inputs have equal ids."""

from __future__ import annotations

import dataclasses
import enum
import struct
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

from motet.errors import UnboundInputError
from motet.refs import Ref


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
    identity = getattr(value, "identity", None)
    if isinstance(identity, str):
        out.append(b"o")
        encode(identity, out, id_of)
    elif isinstance(value, enum.Enum):
        out.append(b"e")
        encode(kind.__qualname__, out, id_of)
        encode(value.value, out, id_of)
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
    elif hasattr(kind, "model_fields") and hasattr(kind, "model_dump"):
        out.append(b"p")
        encode(kind.__qualname__, out, id_of)
        _encode_mapping(vars(value), out, id_of)
    elif dataclasses.is_dataclass(kind):
        out.append(b"p")
        encode(kind.__qualname__, out, id_of)
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(kind)}
        _encode_mapping(fields, out, id_of)
    elif isinstance(value, Mapping):
        _encode_mapping(value, out, id_of)
    elif callable(value) and hasattr(value, "__qualname__"):
        out.append(b"c")
        encode(f"{value.__module__}:{value.__qualname__}", out, id_of)
        code = getattr(value, "__code__", None)
        if code is not None and "<lambda>" in value.__qualname__:
            out.append(code.co_code)
    elif isinstance(value, type):
        out.append(b"y")
        encode(f"{value.__module__}:{value.__qualname__}", out, id_of)
    else:
        text = _stable_text(value)
        out.append(b"x")
        encode(kind.__qualname__, out, id_of)
        encode(text, out, id_of)


def _stable_text(value: Any) -> str:
    """Text of dates, paths, decimals and the like; objects that show an address are refused."""
    kind = type(value)
    plain: Any = object
    if kind.__str__ is plain.__str__ and kind.__repr__ is plain.__repr__:
        raise UnboundInputError(
            f"an input of type {kind.__module__}.{kind.__qualname__} has no stable identity, so "
            "the call could not be resumed: pass plain values, pydantic models or dataclasses, or "
            "give the class an `identity` attribute (text)"
        )
    return str(value)
