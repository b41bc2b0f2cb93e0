"""Durations as people write them: 600, 90s, 15m, 1h, 2d."""

from __future__ import annotations

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
MAX_SECONDS = 10 * 365 * 86400


def parse_duration(text: str) -> float:
    """Seconds from `600`, `90s`, `1h30m`, `0.5`; raises ValueError with a sentence for the person."""
    word = text.strip().lower()
    total, number = 0.0, ""
    try:
        for char in word:
            if char in _UNITS:
                total += float(number) * _UNITS[char]
                number = ""
            else:
                number += char
        total += float(number) if number else 0.0
    except ValueError:
        total = -1.0
    if not word or not 0 <= total <= MAX_SECONDS:
        raise ValueError(f"{text!r} is not a duration; write 600, 90s, 15m or 1h")
    return total


def format_duration(seconds: float) -> str:
    """`45s`, `12m`, `3h 20m`, `2d 4h`: at most two units, for people."""
    left = max(0, int(seconds))
    if left < 60:
        return f"{left}s"
    days, left = divmod(left, 86400)
    hours, left = divmod(left, 3600)
    minutes = left // 60
    parts = [f"{value}{unit}" for value, unit in ((days, "d"), (hours, "h"), (minutes, "m")) if value]
    return " ".join(parts[:2])
