"""The store that the terminal's commands read."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from motet.cli.failures import STORE, CommandError
from motet.errors import StoreError

if TYPE_CHECKING:
    from motet.cli.settings import Settings
    from motet.store import RunRecord, Store

T = TypeVar("T")


@contextlib.contextmanager
def opened_store(settings: Settings) -> Iterator[Store]:
    """Open the store that the settings name.

    Raises:
        CommandError: They name none, or one that does not exist.
    """
    where = settings.store_or_none
    if where is None:
        raise CommandError("the store is none, so there are no runs", "name one by --store PATH")
    if where != "default" and not _may_exist(where):
        raise CommandError(
            f"there is no store at {where}", "name another by --store PATH", code=STORE
        )
    from motet.runtime.running import default_store_path
    from motet.store import Store

    with Store.open(default_store_path() if where == "default" else where) as store:
        yield store


def _may_exist(where: str) -> bool:
    """Whether a store may be there: of a file that exists, of any other place always."""
    path: str | None = where
    scheme, mark, _ = where.partition("://")
    if mark or where == ":memory:":
        if not scheme.startswith("sqlite"):
            return True
        from sqlalchemy import make_url
        from sqlalchemy.exc import ArgumentError

        try:
            path = make_url(where).database
        except (ArgumentError, ValueError):
            return True  # opening it says what is wrong
    if path in (None, "", ":memory:"):
        return True
    try:
        Path(str(path)).expanduser().stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError, RuntimeError):
        return True  # opening it says what is wrong
    return True


def ask(settings: Settings, question: Callable[[Store], Awaitable[T]]) -> T:
    """Open the store, ask it, and close it."""

    async def work(store: Store) -> T:
        return await question(store)

    with opened_store(settings) as store:
        return asyncio.run(work(store))


async def find_run(store: Store, prefix: str) -> RunRecord:
    """Return the run whose id begins with `prefix`.

    Raises:
        CommandError: There is none, or several.
    """
    try:
        return await store.find_run(prefix)
    except StoreError as exc:
        hint = "`motet runs list` shows the runs; a beginning of an id will do"
        raise CommandError(str(exc), hint, code=STORE) from exc
