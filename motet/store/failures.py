"""Errors of the database, as `StoreError`s that say what to do."""

from __future__ import annotations

import re
import sqlite3
from urllib.parse import quote, quote_plus

from sqlalchemy import exc as sa
from sqlalchemy.engine import URL

from motet.errors import StoreError

_ADVICE = (
    (
        "locked",
        "another process has been writing to it for more than 30 s; let it end, then resume",
    ),
    ("is full", "free disk space, then resume the run"),
    ("no space left", "free disk space on the server, then resume the run"),
    ("disk i/o error", "check the disk and its free space, then resume the run"),
    ("readonly", "make the file and its folder writable"),
    ("read-only", "make it writable"),
    ("unable to open", "make the file and its folder readable and writable"),
    ("not a database", "give another path, or move that file away"),
    ("malformed", "the file is damaged: restore it from a copy, or move it away"),
    ("file is encrypted", "give another path, or move that file away"),
    ("password", "check the user name and the password in the URL"),
    ("does not exist", "create it, or correct the URL"),
    ("permission denied", "give the user the right to create and write tables"),
    ("refused", "start the server, or correct host and port in the URL"),
    ("connection", "check that the server runs and can be reached, then resume the run"),
    ("no such table", "the file was changed by something else; give another path"),
)

_LEAST_SECRET = 6
_SCHEMES = ("postgres", "postgresql", "psycopg")


def hide_password(text: str, url: URL) -> str:
    """Mask the password of `url` where `text` repeats it.

    In its place of a URL or a connection string it is masked whatever it is. Elsewhere it is masked
    as a whole word, unless it is too short to tell from other words, or no secret: what the URL
    says elsewhere too.
    """
    if not url.password:
        return text
    secret = str(url.password)
    for written in {secret, quote(secret, safe=""), quote_plus(secret)}:
        found = re.escape(written)
        text = re.sub(rf"(://[^/\s:@]*:){found}(?=@)", r"\1***", text)
        text = re.sub(rf"(\bpassword=)(['\"]?){found}(?!\w)", r"\1\2***", text)
        if len(secret) >= _LEAST_SECRET and secret not in _seen_parts(url):
            text = re.sub(rf"(?<!\w){found}(?!\w)", "***", text)
    return text


def _seen_parts(url: URL) -> set[str]:
    parts = (url.username, url.host, url.database, *_SCHEMES)
    return {part for part in parts if part}


def describe_url(url: URL) -> str:
    """Name the database for people: its path, or its URL without the password."""
    if url.get_backend_name() == "sqlite":
        return url.database or ":memory:"
    return url.set(drivername="postgresql").render_as_string(hide_password=True)


def to_store_error(error: BaseException, url: URL) -> StoreError:
    """Say what went wrong with the database at `url`, and what to do about it."""
    if isinstance(error, StoreError):
        return error
    found = getattr(error, "orig", None) or error
    text = " ".join(str(found).split()) or type(found).__name__
    lowered = text.lower()
    advice = next((say for sign, say in _ADVICE if sign in lowered), None)
    message = f"store {describe_url(url)}: {text}" + (f"; {advice}" if advice else "")
    made = StoreError(hide_password(message, url))
    made.__cause__ = found if url.password is None else None  # psycopg's errors hold it
    return made


def is_lost(error: BaseException) -> bool:
    """Whether the connection is gone, so that a new one may do better."""
    return isinstance(error, sa.DBAPIError) and error.connection_invalidated


def is_about_a_row(error: BaseException) -> bool:
    """Whether a row, and not the database, is at fault."""
    if isinstance(error, sa.DBAPIError):
        if isinstance(error, (sa.OperationalError, sa.InternalError)):
            return False
        return type(error.orig) is not sqlite3.DatabaseError  # such as a malformed file
    return not isinstance(error, (OSError, MemoryError, sa.SQLAlchemyError))
