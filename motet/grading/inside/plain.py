"""Plain values as bytes, between two processes of which one does not trust the other.

Only builtin values come out of `decode`, and no code of the sender runs: a value of a class of
its own goes as the builtin that it extends, or as a reference that only the sender can use.
This module runs inside the sandbox, too, and imports nothing of motet.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any, Final

_MOST_DEPTH: Final = 150
_FEWEST_PACKED: Final = 16
_EXACT: Final = 2**53
"""Above it not every whole number is a float."""


class UnsendableError(Exception):
    """A value cannot be sent, or bytes are no value."""


def encode(value: Any, refer: Callable[[Any], bytes] | None = None) -> bytes:
    """Write a value.

    Args:
        refer: Writes what is no plain value, in ASCII without blanks; by default nothing is.

    Raises:
        UnsendableError: The value is not plain, or too deep.
    """
    out: list[bytes] = []
    _write(value, out.append, refer, 0)
    return b"".join(out)


def decode(data: bytes, resolve: Callable[[bytes], Any] | None = None) -> Any:
    """Read a value that `encode` wrote.

    Raises:
        UnsendableError: The bytes are no value.
    """
    try:
        value, end = _read(data, 0, resolve, 0)
    except (LookupError, TypeError, ValueError, OverflowError) as exc:
        raise UnsendableError(f"bytes are no value: {exc}") from exc
    if end != len(data):
        raise UnsendableError("bytes are left behind a value")
    return value


def _write(
    value: Any, put: Callable[[bytes], None], refer: Callable[[Any], bytes] | None, depth: int
) -> None:
    if depth > _MOST_DEPTH:
        raise UnsendableError(f"a value is more than {_MOST_DEPTH} deep")
    if value is None or value is True or value is False:
        put(_frame("none" if value is None else "true" if value else "false", b""))
        return
    name = _NAMES.get(type(value)) or _name_of(value)
    if name in _SCALARS:
        content = _SCALARS[name](value)
        put(b"%s %d %s" % (name.encode(), len(content), content))
        return
    if name == "dict":
        put(_frame(name, b"%d" % dict.__len__(value)))
        for key, item in dict.items(value):
            _write(key, put, refer, depth + 1)
            _write(item, put, refer, depth + 1)
        return
    if type(value) is list and len(value) >= _FEWEST_PACKED:
        packed = _packed(value)
        if packed:
            put(packed)
            return
    if name:
        items = list(_CLASSES[name].__iter__(value))
        put(_frame(name, b"%d" % len(items)))
        for item in items:
            _write(item, put, refer, depth + 1)
        return
    if refer is None:
        raise UnsendableError(f"a {type(value).__name__} cannot be sent")
    put(_frame("ref", refer(value)))


def _packed(values: list[Any]) -> bytes:
    """Write a list of numbers as an array, the whole ones among floats marked; empty for others."""
    kinds = set(map(type, values))
    if not kinds <= {int, float}:
        return b""
    try:
        if kinds == {int}:
            return _frame("ints", array("q", values).tobytes())
        numbers = array("d", values).tobytes()
    except OverflowError:
        return b""
    if kinds == {float}:
        return _frame("floats", numbers)
    if any(type(value) is int and abs(value) > _EXACT for value in values):
        return b""
    return _frame("mixed", bytes(type(value) is int for value in values) + numbers)


def _unpacked(kind: str, content: bytes) -> list[Any]:
    numbers = array(kind)
    numbers.frombytes(content)
    return numbers.tolist()


def _mixed(content: bytes) -> list[Any]:
    count = len(content) // 9
    marks, numbers = content[:count], _unpacked("d", content[count:])
    return [int(x) if is_int else x for is_int, x in zip(marks, numbers, strict=True)]


def _name_of(value: Any) -> str:
    """Return the builtin class that `value` extends, empty where it extends none of them."""
    return next((name for name, cls in _CLASSES.items() if isinstance(value, cls)), "")


def _frame(name: str, content: bytes) -> bytes:
    return b"%s %d " % (name.encode(), len(content)) + content


def _read(
    data: bytes, at: int, resolve: Callable[[bytes], Any] | None, depth: int
) -> tuple[Any, int]:
    if depth > _MOST_DEPTH:
        raise ValueError(f"a value is more than {_MOST_DEPTH} deep")
    space = data.index(b" ", at, at + 16)
    name = data[at:space].decode("ascii")
    start = data.index(b" ", space + 1, space + 24) + 1
    end = start + _count(data[space + 1 : start - 1])
    if end > len(data):
        raise ValueError("a value is cut off")
    content = data[start:end]
    if name in _PARSERS:
        return _PARSERS[name](content), end
    if name in _CONSTANTS:
        return _CONSTANTS[name], end
    if name == "ref" and resolve is not None:
        return resolve(content), end
    items = []
    for _ in range(_count(content) * (2 if name == "dict" else 1)):
        item, end = _read(data, end, resolve, depth + 1)
        items.append(item)
    if name == "dict":
        return dict(zip(items[::2], items[1::2], strict=True)), end
    if name not in ("list", "tuple", "set", "frozenset"):
        raise ValueError(f"{name!r:.20} is no kind of value")
    return _CLASSES[name](items), end


def _count(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 12:
        raise ValueError(f"{digits[:20]!r} is no count")
    return int(digits)


def _whole(value: int) -> bytes:
    value = int.__index__(value)
    size = int.bit_length(value) // 8 + 1
    return int.to_bytes(value, size, "big", signed=True)


def _two(content: bytes) -> complex:
    real, imag = content.decode().split(",")
    return complex(float.fromhex(real), float.fromhex(imag))


_CONSTANTS: Final = {"none": None, "true": True, "false": False}
_SCALARS: Final[dict[str, Callable[[Any], bytes]]] = {
    "int": _whole,
    "float": lambda value: float.hex(value).encode(),
    "str": lambda value: str.encode(value, "utf-8", "surrogatepass"),
    "bytes": lambda value: bytes.__getitem__(value, slice(None)),
    "bytearray": lambda value: bytes(memoryview(value)),
    "complex": lambda value: (
        f"{float.hex(complex.__getattribute__(value, 'real'))},"
        f"{float.hex(complex.__getattribute__(value, 'imag'))}"
    ).encode(),
}
_PARSERS: Final[dict[str, Callable[[bytes], Any]]] = {
    "ints": lambda content: _unpacked("q", content),
    "floats": lambda content: _unpacked("d", content),
    "mixed": _mixed,
    "int": lambda content: int.from_bytes(content, "big", signed=True),
    "float": lambda content: float.fromhex(content.decode("ascii")),
    "str": lambda content: content.decode("utf-8", "surrogatepass"),
    "bytes": bytes,
    "bytearray": bytearray,
    "complex": _two,
}
_CLASSES: Final[dict[str, Any]] = {
    "int": int,
    "float": float,
    "str": str,
    "bytes": bytes,
    "bytearray": bytearray,
    "complex": complex,
    "dict": dict,
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
}
_NAMES: Final = {cls: name for name, cls in _CLASSES.items()}
