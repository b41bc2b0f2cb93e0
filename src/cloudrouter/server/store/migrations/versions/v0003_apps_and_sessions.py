"""Machines know their apps, and the gateway the sessions of people."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Machines from before have no apps."""
    with op.batch_alter_table("machines") as machines:
        machines.add_column(sa.Column("apps", sa.JSON, nullable=False, server_default="[]"))
    op.create_table(
        "sessions",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("machine_id", sa.String(16), nullable=False),
        sa.Column("target", sa.String(31), nullable=False),
        sa.Column("view", sa.String(8), nullable=False),
        sa.Column("view_only", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.Column("ended", sa.Boolean, nullable=False),
    )
    op.create_index("sessions_by_machine", "sessions", ["machine_id"])


def downgrade() -> None:
    """Forget both."""
    op.drop_table("sessions")
    with op.batch_alter_table("machines") as machines:
        machines.drop_column("apps")
