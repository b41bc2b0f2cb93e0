"""Folder trees as tar streams: packing and unpacking, the same on the person's side and inside a machine."""

from __future__ import annotations
