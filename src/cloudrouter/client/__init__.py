"""The SDK: one transport to the router, streams, transfers, and the objects people program with. Loads nothing."""

from __future__ import annotations
