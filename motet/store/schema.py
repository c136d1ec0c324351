"""Brings the tables of a database to the version that this motet knows."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, select, text

from motet.errors import StoreError
from motet.store import migrations
from motet.store.connecting import transaction
from motet.store.failures import describe_url
from motet.store.tables import METADATA, VERSION, VERSION_TABLE

_LOCK = 0x6D6F746574  # "motet"


def prepare_schema(connection: Connection) -> None:
    """Create the tables, or migrate older ones; one query where they are current.

    Raises:
        StoreError: A newer motet made the tables.
    """
    with transaction(connection, is_write=False):
        if _read_version(connection) == migrations.HEAD:
            return
    with transaction(connection, is_write=True):
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        found = _read_version(connection)  # another process may have been faster
        if found == migrations.HEAD:
            return
        if found is None:
            METADATA.create_all(connection)
            VERSION.create(connection)
            connection.execute(VERSION.insert().values(version_num=migrations.HEAD))
        else:
            migrate(connection, found)


def _read_version(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(select(VERSION.c.version_num)).scalar()


def migrate(connection: Connection, found: str | None) -> None:
    """Run Alembic's migrations from the revision `found`, inside the open transaction."""
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        if found is not None:
            ScriptDirectory.from_config(config).get_revision(found)
        command.upgrade(config, "head")
    except CommandError as exc:
        raise StoreError(
            f"store {describe_url(connection.engine.url)} has schema version {found}, which this "
            f"motet does not know (it knows up to {migrations.HEAD}); upgrade motet: "
            "pip install --upgrade motet"
        ) from exc
