"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    key = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "motet_runs",
        sa.Column("id", key, primary_key=True),
        sa.Column("run_id", sa.Text, nullable=False, unique=True),
        sa.Column("program", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("finished_at", sa.Float),
        sa.Column("root_id", sa.LargeBinary),
        sa.Column("value_digest", sa.LargeBinary),
        *_usage(),
        sa.Column("cost", sa.Float, nullable=False),
        sa.Column("calls", sa.BigInteger, nullable=False),
        sa.Column("manifest", sa.Text, nullable=False),
        sa.Column("error", sa.Text),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "motet_run_artifacts",
        sa.Column("run", key, sa.ForeignKey("motet_runs.id"), primary_key=True),
        sa.Column("digest", sa.LargeBinary, primary_key=True),
    )
    op.create_table(
        "motet_calls",
        sa.Column("id", key, primary_key=True),
        sa.Column("run", key, sa.ForeignKey("motet_runs.id"), nullable=False),
        sa.Column("call_id", sa.LargeBinary, nullable=False),
        sa.Column("parent_id", sa.LargeBinary, nullable=False),
        sa.Column("slot", sa.Text, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("value_digest", sa.LargeBinary),
        sa.Column("request_digest", sa.LargeBinary),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("model", sa.Text),
        *_usage(),
        sa.Column("cost", sa.Float, nullable=False),
        sa.Column("started_at", sa.Float, nullable=False),
        sa.Column("duration_s", sa.Float, nullable=False),
        sa.Column("inputs", sa.LargeBinary, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("finish_reason", sa.Text),
        sa.UniqueConstraint("run", "call_id", name="motet_calls_call"),
        sa.UniqueConstraint("run", "parent_id", "slot", name="motet_calls_slot"),
    )
    op.create_table(
        "motet_cache",
        sa.Column("request_digest", sa.LargeBinary, primary_key=True),
        sa.Column("value_digest", sa.LargeBinary, nullable=False),
        *_usage(),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_table(
        "motet_artifacts",
        sa.Column("digest", sa.LargeBinary, primary_key=True),
        sa.Column("encoding", sa.Integer, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )


def _usage() -> list[sa.Column[int]]:
    names = ("prompt_tokens", "completion_tokens", "cached_tokens", "model_calls")
    return [sa.Column(name, sa.BigInteger, nullable=False) for name in names]


def downgrade() -> None:
    for name in ("artifacts", "cache", "calls", "run_artifacts", "runs"):
        op.drop_table(f"motet_{name}")
