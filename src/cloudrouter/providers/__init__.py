"""Providers make machines; `base` is their contract, `registry` finds them by name."""

from __future__ import annotations
