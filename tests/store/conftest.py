"""Places to open stores at, and records to fill them with."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

_serial = itertools.count()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty store can be opened: a new file, or a new database on the server."""
    if request.param == "sqlite":
        return str(tmp_path / "runs.db")
    make: Callable[[], str] = request.getfixturevalue("new_database")
    return make()


@pytest.fixture
def new_database(postgres_url: str) -> Callable[[], str]:
    def make() -> str:
        url = make_url(postgres_url).set(drivername="postgresql+psycopg")
        name = f"store_{next(_serial)}"
        engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        there = url.set(drivername="postgresql", database=name)
        return there.render_as_string(hide_password=False)

    return make
