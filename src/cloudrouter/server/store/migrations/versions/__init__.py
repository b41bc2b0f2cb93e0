"""One file a step, in order."""

from __future__ import annotations
