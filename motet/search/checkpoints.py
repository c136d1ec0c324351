"""States as bytes and back, and a file that always holds a whole one."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any, Protocol

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from motet.digest import digest_bytes, encode
from motet.errors import ConfigError, SearchError, StoreError, UnboundInputError
from motet.search.partials import Candidate
from motet.search.spending import Spend

_VERSION = 1
_BEST: Any = Candidate | None
_UNREADABLE = "the checkpoint cannot be read; delete it to begin anew"


class Checkpoint(Protocol):
    """Keeps the last state of a search."""

    def load(self) -> bytes | None:
        """Return what was saved last; None where nothing was."""
        ...

    def save(self, data: bytes) -> None:
        """Keep `data` in place of what was there."""
        ...


class FileCheckpoint:
    """A checkpoint in one file; a kill while it is written leaves the one before."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    def load(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise StoreError(f"the checkpoint {self._path} cannot be read: {exc}") from exc

    def save(self, data: bytes) -> None:
        beside = self._path.with_name(self._path.name + ".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._path)
        except OSError as exc:
            raise StoreError(f"the checkpoint {self._path} cannot be written: {exc}") from exc


@dataclass(frozen=True, slots=True)
class Saved:
    """Where a search stood."""

    state: Any
    spend: Spend
    num_steps: int
    best: Candidate | None = None
    """The best so far."""


def write_state(algorithm: Any, seed: int, saved: Saved) -> bytes:
    """Write where a search stands, and whose state it is; a digest of it stands before it.

    Raises:
        SearchError: The state holds what cannot be written.
        ConfigError: A setting has no identity.
    """
    owner = _owner(algorithm, seed)
    kind: Any = type(saved.state)
    try:
        body = {
            **owner,
            "num_steps": saved.num_steps,
            "spend": _adapter(Spend).dump_python(saved.spend, mode="json"),
            "best": _adapter(_BEST).dump_python(saved.best, mode="json"),
            "state": _adapter(kind).dump_python(saved.state, mode="json"),
        }
        text = json.dumps(body, separators=(",", ":")).encode()
    except (PydanticSerializationError, TypeError, ValueError, NameError, RecursionError) as exc:
        raise SearchError(f"the state cannot be written: {exc}") from exc
    return digest_bytes(text).encode() + b"\n" + text


def read_state(algorithm: Any, seed: int, kind: type, data: bytes) -> Saved:
    """Read what `write_state` wrote; `kind` is the state's class.

    Raises:
        SearchError: It is of another algorithm, other settings or another seed, or damaged.
    """
    digest, _, text = data.partition(b"\n")
    if digest != digest_bytes(text).encode():
        raise SearchError(_UNREADABLE)
    try:
        body = json.loads(text)
        owner = {name: body[name] for name in ("version", "algorithm", "seed")}
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise SearchError(_UNREADABLE) from exc
    ours = _owner(algorithm, seed)
    for name, value in ours.items():
        if owner[name] != value:
            raise SearchError(f"the checkpoint's {name} is {owner[name]}; this search's is {value}")
    try:
        return Saved(
            _adapter(kind).validate_python(body["state"]),
            _adapter(Spend).validate_python(body["spend"]),
            int(body["num_steps"]),
            _adapter(_BEST).validate_python(body["best"]),
        )
    except (ValidationError, KeyError, TypeError, ValueError) as exc:
        raise SearchError(_UNREADABLE) from exc


def _owner(algorithm: Any, seed: int) -> dict[str, Any]:
    return {"version": _VERSION, "algorithm": identity(algorithm), "seed": seed}


def identity(algorithm: Any) -> str:
    """Name an algorithm with its settings; the same in every process.

    Raises:
        ConfigError: A setting is an object whose content cannot be told.
    """
    kind = type(algorithm)
    settings = ", ".join(
        f"{f.name}={_named(f.name, getattr(algorithm, f.name))}" for f in fields(algorithm)
    )
    return f"{kind.__module__}.{kind.__qualname__}({settings})"


def _named(name: str, value: Any) -> str:
    if value is None or type(value) in (bool, int, float, str):
        return repr(value)
    if is_dataclass(value) and not isinstance(value, type):
        return identity(value)
    if isinstance(value, (tuple, list)):
        return f"({', '.join(_named(name, each) for each in value)})"
    if isinstance(value, FunctionType) and value.__closure__ is None and not value.__defaults__:
        hidden: Any = value if "<lambda>" in value.__qualname__ else None
    else:
        hidden = _parts(value)
    place = getattr(value, "__module__", None) or type(value).__module__
    title = f"{place}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    return title if hidden is None else f"{title}#{_digest(name, hidden)}"


def _parts(value: Any) -> Any:
    """Return what tells two callables of one name apart: what they are bound to or close over."""
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, FunctionType):
        closed = [each.cell_contents for each in value.__closure__ or ()]
        return [value if "<lambda>" in value.__qualname__ else None, value.__defaults__, closed]
    return value


def _digest(name: str, value: Any) -> str:
    pieces: list[bytes] = []
    try:
        encode(value, pieces, repr)
    except UnboundInputError as exc:
        raise ConfigError(
            f"{name} holds a {type(value).__name__}, which a checkpoint cannot tell from "
            "another; make it a dataclass, or give it an `identity`, a text"
        ) from exc
    return digest_bytes(b"".join(pieces))[:16]


@lru_cache(maxsize=256)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
