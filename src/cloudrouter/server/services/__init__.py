"""What the router does, without HTTP and without SQL."""

from __future__ import annotations
