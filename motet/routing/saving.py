"""Trained routers on disk: one .npz of plain arrays with a JSON header, and no pickle."""

from __future__ import annotations

import dataclasses
import io
import json
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from motet.errors import DataError, MotetError
from motet.routing.elo import TrainedElo
from motet.routing.knn import TrainedKnn
from motet.routing.logistic import TrainedLinear
from motet.routing.matrix_factorisation import TrainedMatrixFactorisation
from motet.routing.mlp import TrainedMlp
from motet.routing.smoothie import TrainedSmoothie
from motet.search.settings import some_text

if TYPE_CHECKING:
    from motet.routing.router import TrainedRouter

FORMAT: Final = 1
"""Of the file; raised when a reader of the old form could not read the new one."""

KINDS: Final[dict[str, type[Any]]] = {
    "elo": TrainedElo,
    "knn": TrainedKnn,
    "linear": TrainedLinear,
    "matrix_factorisation": TrainedMatrixFactorisation,
    "mlp": TrainedMlp,
    "smoothie": TrainedSmoothie,
}
HEADER: Final = "header"


def save(router: TrainedRouter, path: str | Path, *, embedder: str) -> None:
    """Write a trained router; a file of that name is replaced only once the new one is whole.

    Args:
        embedder: Name of what embedded the prompts; `load` asks for the same.

    Raises:
        DataError: The router is of no kind that can be written, or the file cannot be.
    """
    write_kind(router, path, embedder=embedder, kinds=KINDS)


def write_kind(
    value: Any, path: str | Path, *, embedder: str, kinds: Mapping[str, type[Any]]
) -> None:
    """Write a frozen dataclass of arrays, numbers and texts that has `dimensions`.

    Raises:
        DataError: It is of none of `kinds`, or the file cannot be written.
    """
    import numpy as np

    from motet import __version__

    some_text("embedder", embedder)
    kind = next((name for name, cls in kinds.items() if type(value) is cls), None)
    if kind is None:
        raise DataError(f"{type(value).__name__} cannot be saved; {', '.join(kinds)} can")
    fields: dict[str, Any] = {}
    arrays: dict[str, Any] = {}
    lists: dict[str, int | None] = {}
    for field in dataclasses.fields(value):
        part = getattr(value, field.name)
        if isinstance(part, np.ndarray):
            lists[field.name] = None
            arrays[field.name] = part
        elif isinstance(part, tuple) and part and isinstance(part[0], np.ndarray):
            lists[field.name] = len(part)
            arrays.update({f"{field.name}.{i}": each for i, each in enumerate(part)})
        else:
            fields[field.name] = list(part) if isinstance(part, tuple) else part
    header = {
        "format": FORMAT,
        "kind": kind,
        "library": __version__,
        "embedder": embedder,
        "dimensions": value.dimensions,
        "fields": fields,
        "arrays": lists,
    }
    arrays[HEADER] = np.frombuffer(json.dumps(header, ensure_ascii=False).encode(), dtype=np.uint8)
    _replace(Path(path), arrays)


def _replace(path: Path, arrays: dict[str, Any]) -> None:
    import numpy as np

    part: str | None = None
    try:
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=path.name, suffix=".part", delete=False
        ) as file:
            part = file.name
            np.savez(file, **arrays)
        Path(part).replace(path)
    except OSError as exc:
        if part is not None:
            Path(part).unlink(missing_ok=True)
        raise DataError(f"{path} cannot be written: {exc.strerror or exc}") from exc


def load(path: str | Path, *, embedder: str) -> TrainedRouter:
    """Read a trained router. Nothing that the file holds is run or imported.

    Args:
        embedder: Name of what will embed the prompts.

    Raises:
        DataError: No such file, a foreign or damaged one, another format, an unknown kind, or
            another embedder; names the file.
    """
    what = "router that `motet route train` saved"
    router: TrainedRouter = read_kind(path, embedder=embedder, kinds=KINDS, what=what)
    return router


def read_kind(path: str | Path, *, embedder: str, kinds: Mapping[str, type[Any]], what: str) -> Any:
    """Read what `write_kind` wrote; `what` names it to who gives another file.

    Raises:
        DataError: As `load`; names the file.
    """
    some_text("embedder", embedder)
    try:
        return _read(Path(path), embedder, kinds)
    except MotetError as exc:
        raise DataError(f"{path}: {exc}") from exc
    except OSError as exc:
        is_absent = isinstance(exc, FileNotFoundError)
        why = "there is no such file" if is_absent else exc.strerror or exc
        raise DataError(f"{path} cannot be read: {why}") from exc
    except zipfile.BadZipFile as exc:
        raise DataError(f"{path} is no {what}, or it was damaged since: {exc}") from exc
    except (
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ArithmeticError,
        EOFError,
        MemoryError,
        NotImplementedError,
        RuntimeError,
        zlib.error,
    ) as exc:
        raise DataError(
            f"{path} is no {what}, or it was damaged since: {type(exc).__name__}: {exc}"
        ) from exc


def _read(path: Path, embedder: str, kinds: Mapping[str, type[Any]]) -> Any:
    with zipfile.ZipFile(path) as archive:
        header = json.loads(_array(archive, HEADER).tobytes())
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            version = header.get("format") if isinstance(header, dict) else None
            raise DataError(f"its format is {version!r}; this motet reads {FORMAT}")
        kind = header.get("kind")
        if not isinstance(kind, str) or kind not in kinds:
            raise DataError(f"its kind is {kind!r}; there are {', '.join(kinds)}")
        if header.get("embedder") != embedder:
            raise DataError(
                f"it was trained on embeddings of {header.get('embedder')!r}, not {embedder!r}"
            )
        values = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in header["fields"].items()
        }
        for name, count in header["arrays"].items():
            values[name] = (
                _array(archive, name)
                if count is None
                else tuple(_array(archive, f"{name}.{i}") for i in range(count))
            )
    expected = {field.name for field in dataclasses.fields(kinds[kind])}
    if set(values) != expected:
        raise DataError(f"it has the fields {sorted(values)}; a {kind} has {sorted(expected)}")
    made = kinds[kind](**values)
    if made.dimensions != header.get("dimensions"):
        raise DataError(
            f"it says {header.get('dimensions')!r} dimensions; its arrays have {made.dimensions}"
        )
    return made


def _array(archive: zipfile.ZipFile, name: str) -> Any:
    """Read one array; reading it whole makes `zipfile` compare its checksum."""
    import numpy as np

    member = archive.getinfo(f"{name}.npy")
    if member.compress_type != zipfile.ZIP_STORED:
        raise DataError(f"{member.filename} in it is compressed; no file that `save` wrote is")
    read: Any = np.lib.format.read_array
    return read(io.BytesIO(archive.read(member)), allow_pickle=False)
