"""The tables, as SQLAlchemy knows them; `migrations/` brings a database to this shape."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

machines = sa.Table(
    "machines",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("owner", sa.String(64), nullable=False),
    sa.Column("name", sa.String(31), nullable=False, default=""),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False, default=""),
    sa.Column("provider", sa.String(32), nullable=False),
    sa.Column("handle", sa.JSON, nullable=True),
    sa.Column("image", sa.String(255), nullable=False),
    sa.Column("size", sa.String(16), nullable=False),
    sa.Column("cpu", sa.Float, nullable=False),
    sa.Column("memory_bytes", sa.BigInteger, nullable=False),
    sa.Column("disk_bytes", sa.BigInteger, nullable=True),
    sa.Column("labels", sa.JSON, nullable=False, default=dict),
    sa.Column("env", sa.JSON, nullable=False, default=dict),
    sa.Column("ca_sha256", sa.String(64), nullable=True),
    sa.Column("token", sa.String(64), nullable=False),
    sa.Column("idempotency_key", sa.String(128), nullable=True),
    sa.Column("confirmed", sa.Boolean, nullable=False, default=True),
    sa.Column("unconfirmed_until", sa.Float, nullable=True),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("started_at", sa.Float, nullable=True),
    sa.Column("expires_at", sa.Float, nullable=True),
    sa.Column("ready_ms", sa.Integer, nullable=True),
    sa.Column("updated_at", sa.Float, nullable=False),
    sa.Column("mounts", sa.JSON, nullable=False, default=list),
    sa.Column("package_cache", sa.Boolean, nullable=False, default=False),
    sa.Column("apps", sa.JSON, nullable=False, default=list),
    sa.Column("sidecars", sa.JSON, nullable=False, default=list),
    sa.Index("machines_by_state", "state"),
    sa.Index("machines_by_key", "owner", "idempotency_key", unique=True),
    sa.Index(
        "machines_by_name",
        "owner",
        "name",
        unique=True,
        sqlite_where=sa.text("name != '' AND state != 'gone'"),
        postgresql_where=sa.text("name != '' AND state != 'gone'"),
    ),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("kind", sa.String(48), nullable=False),
    sa.Column("machine_id", sa.String(16), nullable=True),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("data", sa.JSON, nullable=False, default=dict),
    sa.Index("events_by_machine", "machine_id", "seq"),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("machine_id", sa.String(16), nullable=False),
    sa.Column("target", sa.String(31), nullable=False),
    sa.Column("view", sa.String(8), nullable=False),
    sa.Column("view_only", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
    sa.Column("ended", sa.Boolean, nullable=False),
    sa.Index("sessions_by_machine", "machine_id"),
)
