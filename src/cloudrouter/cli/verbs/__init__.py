"""The verbs, one a file; `cli.table` says which there are."""

from __future__ import annotations
