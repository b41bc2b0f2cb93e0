"""The database; all SQL of the project is in this folder."""

from __future__ import annotations
