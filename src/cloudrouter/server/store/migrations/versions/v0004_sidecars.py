"""Machines remember their sidecars."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Machines from before have none."""
    with op.batch_alter_table("machines") as machines:
        machines.add_column(sa.Column("sidecars", sa.JSON, nullable=False, server_default="[]"))


def downgrade() -> None:
    """Forget them."""
    with op.batch_alter_table("machines") as machines:
        machines.drop_column("sidecars")
