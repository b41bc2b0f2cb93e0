"""What happens by itself: deadlines and the comparison of the book with reality."""

from __future__ import annotations
