"""Machines and events: the first shape of the book."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "machines",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("name", sa.String(31), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("provider", sa.String(32), nullable=False),
        sa.Column("handle", sa.JSON, nullable=True),
        sa.Column("image", sa.String(255), nullable=False),
        sa.Column("size", sa.String(16), nullable=False),
        sa.Column("cpu", sa.Float, nullable=False),
        sa.Column("memory_bytes", sa.BigInteger, nullable=False),
        sa.Column("disk_bytes", sa.BigInteger, nullable=True),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("env", sa.JSON, nullable=False),
        sa.Column("ca_sha256", sa.String(64), nullable=True),
        sa.Column("token", sa.String(64), nullable=False),
        sa.Column("idempotency_key", sa.String(128), nullable=True),
        sa.Column("confirmed", sa.Boolean, nullable=False),
        sa.Column("unconfirmed_until", sa.Float, nullable=True),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("started_at", sa.Float, nullable=True),
        sa.Column("expires_at", sa.Float, nullable=True),
        sa.Column("ready_ms", sa.Integer, nullable=True),
        sa.Column("updated_at", sa.Float, nullable=False),
    )
    op.create_index("machines_by_state", "machines", ["state"])
    op.create_index("machines_by_key", "machines", ["owner", "idempotency_key"], unique=True)
    living = sa.text("name != '' AND state != 'gone'")
    op.create_index(
        "machines_by_name",
        "machines",
        ["owner", "name"],
        unique=True,
        sqlite_where=living,
        postgresql_where=living,
    )
    op.create_table(
        "events",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("kind", sa.String(48), nullable=False),
        sa.Column("machine_id", sa.String(16), nullable=True),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
    )
    op.create_index("events_by_machine", "events", ["machine_id", "seq"])


def downgrade() -> None:
    """Back to an empty database."""
    op.drop_table("events")
    op.drop_table("machines")
