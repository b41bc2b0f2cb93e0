"""The SDK for programs that await: the names of the blocking one, on one event loop. Loads nothing by itself."""

from __future__ import annotations
