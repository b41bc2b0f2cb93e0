"""Shipped for tests, ours and other people's: the suite that every provider passes, and providers that behave badly."""

from __future__ import annotations
