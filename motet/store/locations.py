"""Where a store is: a path or a URL, checked before it is opened."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from motet.errors import StoreError

_POSTGRES = ("postgres", "postgresql")


def read_location(where: str | os.PathLike[str]) -> URL:
    """Read a path, `:memory:`, `sqlite:///…` or `postgresql://…`; make the folder of a path.

    Raises:
        StoreError: It is neither, or no database can be there.
    """
    text = os.fspath(where)
    if text == ":memory:":
        return URL.create("sqlite")
    if "://" not in text:
        return _file_url(text)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # the message of these may repeat the password
        raise StoreError(
            "the store's URL cannot be read; it has the form "
            "postgresql://user:password@host:5432/name, with special characters %-encoded"
        ) from None
    scheme = url.drivername.partition("+")[0]
    if scheme == "sqlite":
        if url.database in (None, "", ":memory:"):
            return URL.create("sqlite")
        return _file_url(str(url.database))
    if scheme in _POSTGRES:
        return url.set(drivername="postgresql+psycopg")
    raise StoreError(
        f"a store cannot be at {scheme}://; give a path, sqlite:///path or postgresql://host/name"
    )


def _file_url(text: str) -> URL:
    if not text or "\0" in text:
        raise StoreError(f"{text!r} is no path; give a file, such as runs.db")
    path = Path(text).expanduser().absolute()
    try:
        folder = next(above for above in path.parents if above.exists())
        if not folder.is_dir():
            raise StoreError(f"cannot use {path}: {folder} is no folder; give another path")
        if path.is_dir():
            raise StoreError(f"{path} is a folder; give a file in it, such as {path / 'runs.db'}")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            if not os.access(path, os.R_OK | os.W_OK):
                raise StoreError(f"{path} is not readable and writable; change its permissions")
            if not path.is_file():
                raise StoreError(f"{path} is no regular file; give another path")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise StoreError(f"the folder {path.parent} is not writable; SQLite writes beside it")
    except OSError as exc:
        raise StoreError(f"cannot use {path}: {exc.strerror}; give another path") from exc
    return URL.create("sqlite", database=str(path))
