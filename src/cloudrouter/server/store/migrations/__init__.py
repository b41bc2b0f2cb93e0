"""Alembic's scripts: each version file takes the database one step further."""

from __future__ import annotations

HEAD = "0004"
"""The newest revision; a test holds it against the version files."""
