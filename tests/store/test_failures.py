from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import inspect, make_url

from motet.errors import StoreError
from motet.store import Store, connecting, migrations, schema
from motet.store.connecting import connect, make_engine, transaction
from motet.store.locations import read_location
from motet.store.tables import METADATA, VERSION, VERSION_TABLE
from tests.store.samples import append, append_many, make_call, make_run

ROOT = Path(__file__).parents[2]


def said(error: BaseException | None) -> str:
    """Return all that an error and its causes say."""
    texts = []
    while error is not None:
        texts += [str(error), repr(error), repr(vars(error))]
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


def test_a_text_file_is_refused_unharmed(tmp_path: Path) -> None:
    """A file that is no database is named as such and left as it is."""
    path = tmp_path / "notes.txt"
    path.write_text("my notes\n" * 100)

    with pytest.raises(StoreError, match=r"notes.txt: file is not a database; give another path"):
        Store.open(path)

    assert path.read_text() == "my notes\n" * 100


def test_a_folder_is_refused(tmp_path: Path) -> None:
    """A folder is answered with a file that could be in it."""
    with pytest.raises(StoreError, match="is a folder; give a file in it, such as"):
        Store.open(tmp_path)


def test_missing_folders_are_made(tmp_path: Path) -> None:
    """The folders above a path are made, and a URL means the same as its path."""
    path = tmp_path / "a" / "b" / "runs.db"

    Store.open(path).close()
    with Store.open(f"sqlite:///{path}") as store:
        assert store.url == f"sqlite:///{path}"

    assert path.exists()


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("", "no path"),
        ("mysql://root@db/x", "cannot be at mysql://"),
        ("postgresql://u:s3cret@host:port/x", "cannot be read"),
        ("/dev/null/x.db", "/dev/null is no folder; give another path"),
        ("/dev/null", "no regular file"),
    ],
)
def test_a_wrong_place_is_explained(where: str, message: str) -> None:
    """What cannot be a store is refused with the reason."""
    with pytest.raises(StoreError, match=message) as caught:
        Store.open(where)

    assert "s3cret" not in said(caught.value)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_missing_permissions_are_named(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file or folder that may not be written is refused by name."""
    path = tmp_path / "runs.db"
    Store.open(path).close()
    locked = path if kind == "file" else tmp_path
    locked.chmod(0o400 if kind == "file" else 0o500)
    if os.getuid() == 0:  # root may write everywhere
        monkeypatch.setattr(os, "access", lambda place, mode: Path(place) != locked)

    try:
        with pytest.raises(StoreError, match=f"{locked} is not .*writable"):
            Store.open(path)
    finally:
        locked.chmod(0o700)


def test_a_newer_schema_asks_for_an_upgrade(where: str) -> None:
    """Tables of an unknown revision are left alone, with the advice to upgrade."""
    Store.open(where).close()
    engine = make_engine(read_location(where))
    with connect(engine) as connection, transaction(connection, is_write=True):
        connection.execute(VERSION.update().values(version_num="9999"))

    with pytest.raises(StoreError, match="version 9999, which this motet does not know.*upgrade"):
        Store.open(where)


def test_migrations_make_the_same_tables(where: str) -> None:
    """Alembic from nothing to head yields what `create_all` yields, and nothing to compare."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    engine = make_engine(read_location(where))
    seen = []
    with connect(engine) as connection:
        for is_migrated in (True, False):
            with transaction(connection, is_write=True):
                if is_migrated:
                    schema.migrate(connection, None)
                else:
                    METADATA.create_all(connection)
            with transaction(connection, is_write=True):
                seen.append(_describe(connection))
                context = MigrationContext.configure(
                    connection, opts={"version_table": VERSION_TABLE}
                )
                assert compare_metadata(context, METADATA) == []
                METADATA.drop_all(connection)
                VERSION.drop(connection, checkfirst=True)

    assert seen[0] == seen[1]


def _describe(connection: object) -> dict[str, object]:
    found = inspect(connection)
    return {
        name: (
            [{k: str(v) for k, v in column.items()} for column in found.get_columns(name)],
            sorted(str(it["column_names"]) for it in found.get_unique_constraints(name)),
            str(found.get_foreign_keys(name)),
            str(found.get_pk_constraint(name)["constrained_columns"]),
            sorted(str(it) for it in found.get_indexes(name)),
        )
        for name in METADATA.tables
    }


def test_head_is_the_newest_revision() -> None:
    """The revision that opening compares with is the last of the scripts."""
    from alembic.script import ScriptDirectory

    folder = Path(migrations.__file__).parent

    assert ScriptDirectory(str(folder)).get_current_head() == migrations.HEAD


NEXT = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "0002", "0001"
def upgrade():
    op.add_column("motet_runs", sa.Column("note", sa.Text))
"""


def test_an_older_store_is_migrated_at_open(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening a store of an older revision runs the migrations it lacks, and keeps its runs."""
    folder = tmp_path / "migrations"
    shutil.copytree(Path(migrations.__file__).parent, folder)
    (folder / "versions" / "r0002_note.py").write_text(NEXT)

    async def work() -> None:
        with Store.open(where) as store:
            await store.save_run(make_run())
        monkeypatch.setattr(migrations, "HEAD", "0002")
        monkeypatch.setattr(migrations, "__file__", str(folder / "__init__.py"))
        with Store.open(where) as store:
            assert await store.load_run("r1") == make_run()

    asyncio.run(work())

    with connect(make_engine(read_location(where))) as connection:
        assert "note" in [c["name"] for c in inspect(connection).get_columns("motet_runs")]
        assert connection.execute(VERSION.select()).scalar() == "0002"


FULL = """
import asyncio, resource, signal, sys
from motet.errors import StoreError
from motet.store import Store
from tests.store.samples import append_many, make_run
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
async def work():
    with Store.open(sys.argv[1]) as store:
        await store.save_run(make_run())
        assert set(await append_many(store, 10)) == {None}
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
        outcomes = []
        while not any(outcomes):
            outcomes = await append_many(store, 500)
        failures = [outcome for outcome in outcomes if outcome is not None]
        assert all(isinstance(failure, StoreError) for failure in failures)
        print(failures[0])
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        assert set(await append_many(store, 500)) == {None}
        assert len(await store.load_calls("r1")) == 500
asyncio.run(work())
"""


def test_a_disk_without_space_is_told_and_survived(tmp_path: Path) -> None:
    """While files cannot grow callers get an error that says so; afterwards the store works."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "runs.db")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert "free" in done.stdout
    assert "resume the run" in done.stdout


def test_a_full_database_is_told_and_survived(tmp_path: Path) -> None:
    """SQLite's own word for a full disk fails a batch whole; the store goes on after."""

    async def work() -> None:
        with Store.open(tmp_path / "runs.db") as store:
            await store.save_run(make_run())

            def limit(pages: int) -> None:
                store._writer._connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

            await store._read(lambda connection: limit(60))
            outcomes = await append_many(store, 500)
            told = [str(outcome) for outcome in outcomes if outcome is not None]
            assert told
            assert all("disk is full; free disk space" in each for each in told)
            kept = {call.call_id for call in await store.load_calls("r1")}
            serials = [i for i, outcome in enumerate(outcomes) if outcome is None]
            assert kept == {make_call(i)[0].call_id for i in serials}
            await store._read(lambda connection: limit(1_000_000))
            await store.save_run(make_run("r2"))
            assert set(await append_many(store, 500, run_id="r2")) == {None}

    asyncio.run(work())


def test_a_locked_database_is_told_and_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock held longer than the limit fails the batch; once it is free the store works."""
    monkeypatch.setattr(connecting, "_BUSY_S", 0.2)
    path = tmp_path / "runs.db"

    async def work() -> None:
        with Store.open(path) as store:
            await store.save_run(make_run())
            blocker = sqlite3.connect(path, isolation_level=None)
            blocker.execute("BEGIN IMMEDIATE")
            failure = await append(store, *make_call(0))
            assert "database is locked; another process" in str(failure)
            blocker.execute("ROLLBACK")
            blocker.close()
            assert await append(store, *make_call(0)) is None

    asyncio.run(work())


def test_a_server_out_of_reach_is_told() -> None:
    """An unreachable server is a `StoreError` without the password."""
    with pytest.raises(StoreError, match="start the server") as caught:
        Store.open("postgresql://motet:s3cret@127.0.0.1:1/x")

    assert "s3cret" not in said(caught.value)


@pytest.mark.postgres
def test_the_password_is_shown_nowhere(new_database: Callable[[], str]) -> None:
    """Neither `repr` nor any error repeats the password; only `url` holds it."""
    where = new_database()
    url = make_url(where)
    wrong_password = url.set(password="wr0ng").render_as_string(hide_password=False)
    wrong_name = url.set(database="absent").render_as_string(hide_password=False)

    with Store.open(where) as store:
        shown = [repr(store)]
        with pytest.raises(StoreError) as caught:
            asyncio.run(store.remove_run("absent"))
        shown.append(said(caught.value))
        assert store.url == where
    for place, advice in ((wrong_password, "check the user name"), (wrong_name, "create it")):
        with pytest.raises(StoreError, match=advice) as caught:
            Store.open(place)
        shown.append(said(caught.value))

    assert not any("s3cret" in text or "wr0ng" in text for text in shown)
    assert "motet:***@127.0.0.1" in shown[0]


def test_missing_psycopg_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without psycopg the error says what to install."""
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(StoreError, match=r"pip install 'motet\[postgres\]'"):
        Store.open("postgresql://localhost/x")
