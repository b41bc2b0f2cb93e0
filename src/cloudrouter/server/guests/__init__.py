"""Streams to the guests inside the machines."""

from __future__ import annotations
