"""The package cache: a process of its own that answers package tools in place of their registries, and keeps it all.

Machines reach it and are not trusted by it: nothing of what a machine sends decides what is stored.
"""

from __future__ import annotations
