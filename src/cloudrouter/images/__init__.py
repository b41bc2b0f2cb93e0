"""Building the images that machines boot from, on any engine that speaks the small protocol of `engine`."""

from __future__ import annotations
