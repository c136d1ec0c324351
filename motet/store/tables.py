"""The tables, as SQLModel classes.

Names begin with `motet_` and the metadata is our own, so that the tables can live in a database,
and in a process, that an application already uses.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

_KEY = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers only an INTEGER by itself

METADATA = MetaData()


class _Row(SQLModel, registry=registry(metadata=METADATA)):
    metadata = METADATA


class RunRow(_Row, table=True):
    __tablename__ = "motet_runs"
    __table_args__ = {"sqlite_autoincrement": True}
    """An id is never used again: another process may remember it."""

    id: int | None = Field(default=None, sa_column=Column(_KEY, primary_key=True))
    run_id: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    program: str = Field(sa_type=Text)
    status: str = Field(sa_type=Text)
    created_at: float
    finished_at: float | None
    root_id: bytes | None = Field(sa_type=LargeBinary)
    value_digest: bytes | None = Field(sa_type=LargeBinary)
    prompt_tokens: int = Field(sa_type=BigInteger)
    completion_tokens: int = Field(sa_type=BigInteger)
    cached_tokens: int = Field(sa_type=BigInteger)
    model_calls: int = Field(sa_type=BigInteger)
    cost: float
    calls: int = Field(sa_type=BigInteger)
    manifest: str = Field(sa_type=Text)
    error: str | None = Field(sa_type=Text)


class RunArtifactRow(_Row, table=True):
    """An artifact that belongs to a run itself, such as its inputs."""

    __tablename__ = "motet_run_artifacts"

    run: int = Field(sa_column=Column(_KEY, ForeignKey("motet_runs.id"), primary_key=True))
    digest: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))


class CallRow(_Row, table=True):
    __tablename__ = "motet_calls"
    __table_args__ = (
        UniqueConstraint("run", "call_id", name="motet_calls_call"),
        UniqueConstraint("run", "parent_id", "slot", name="motet_calls_slot"),
    )

    id: int | None = Field(default=None, sa_column=Column(_KEY, primary_key=True))
    run: int = Field(sa_column=Column(_KEY, ForeignKey("motet_runs.id"), nullable=False))
    call_id: bytes = Field(sa_type=LargeBinary)
    parent_id: bytes = Field(sa_type=LargeBinary)
    """Empty for the root: two NULLs would not count as equal."""
    slot: str = Field(sa_type=Text)
    operation: str = Field(sa_type=Text)
    kind: str = Field(sa_type=Text)
    status: str = Field(sa_type=Text)
    value_digest: bytes | None = Field(sa_type=LargeBinary)
    request_digest: bytes | None = Field(sa_type=LargeBinary)
    source: str = Field(sa_type=Text)
    model: str | None = Field(sa_type=Text)
    prompt_tokens: int = Field(sa_type=BigInteger)
    completion_tokens: int = Field(sa_type=BigInteger)
    cached_tokens: int = Field(sa_type=BigInteger)
    model_calls: int = Field(sa_type=BigInteger)
    cost: float
    started_at: float
    duration_s: float
    inputs: bytes = Field(sa_type=LargeBinary)
    """Ids of 16 bytes, one after another."""
    error: str | None = Field(sa_type=Text)
    finish_reason: str | None = Field(sa_type=Text)


class CacheRow(_Row, table=True):
    __tablename__ = "motet_cache"

    request_digest: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    value_digest: bytes = Field(sa_type=LargeBinary)
    prompt_tokens: int = Field(sa_type=BigInteger)
    completion_tokens: int = Field(sa_type=BigInteger)
    cached_tokens: int = Field(sa_type=BigInteger)
    model_calls: int = Field(sa_type=BigInteger)
    created_at: float


class ArtifactRow(_Row, table=True):
    __tablename__ = "motet_artifacts"

    digest: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    encoding: int
    """0: as it is; 1: zlib."""
    data: bytes = Field(sa_type=LargeBinary)


def _table(row: type[SQLModel]) -> Table:
    return METADATA.tables[str(row.__tablename__)]


RUNS = _table(RunRow)
RUN_ARTIFACTS = _table(RunArtifactRow)
CALLS = _table(CallRow)
CACHE = _table(CacheRow)
ARTIFACTS = _table(ArtifactRow)

VERSION_TABLE = "motet_version"
VERSION = Table(
    VERSION_TABLE,
    MetaData(),
    Column("version_num", String(32), primary_key=True),
)
"""Alembic's own table; kept out of the metadata that migrations are compared with."""
