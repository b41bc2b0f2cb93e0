"""Machines remember their volumes, and whether their packages come through the cache."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Machines from before have neither."""
    with op.batch_alter_table("machines") as machines:
        machines.add_column(sa.Column("mounts", sa.JSON, nullable=False, server_default="[]"))
        machines.add_column(sa.Column("package_cache", sa.Boolean, nullable=False, server_default=sa.false()))


def downgrade() -> None:
    """Forget both."""
    with op.batch_alter_table("machines") as machines:
        machines.drop_column("package_cache")
        machines.drop_column("mounts")
