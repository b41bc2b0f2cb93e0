"""Machine sizes by name, and the check of a wanted size against the host."""

from __future__ import annotations

GIB = 1024**3

SIZES: dict[str, tuple[float, int, int]] = {
    "small": (2.0, 8 * GIB, 20 * GIB),
    "medium": (4.0, 16 * GIB, 40 * GIB),
    "large": (8.0, 32 * GIB, 80 * GIB),
    "xlarge": (16.0, 64 * GIB, 160 * GIB),
}
"""name -> (cpus, memory in bytes, disk in bytes). The original's presets, see its `start --size`."""

MIN_MEMORY_BYTES = 64 * 1024**2
MIN_CPU = 0.1


def default_size(host_cpus: int, host_memory_bytes: int) -> tuple[str, float, int]:
    """(name, cpus, memory) a machine gets when nothing was asked for.

    The largest preset that takes no more than the host's cpus and half of its memory; on hosts that are
    smaller than that, all cpus up to two and half of the memory, under the name `custom`.
    """
    best = None
    for name, (cpu, memory, _disk) in SIZES.items():
        if cpu <= host_cpus and memory <= host_memory_bytes // 2:
            best = (name, cpu, memory)
    if best is not None:
        return best
    return "custom", float(min(2, host_cpus)), max(MIN_MEMORY_BYTES, host_memory_bytes // 2)


def size_name(cpu: float, memory_bytes: int) -> str:
    """The preset with exactly these numbers, or `custom`."""
    for name, (size_cpu, size_memory, _disk) in SIZES.items():
        if (size_cpu, size_memory) == (cpu, memory_bytes):
            return name
    return "custom"


_UNITS = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


def parse_bytes(text: str) -> int:
    """Bytes from `512m`, `8g`, `8GiB`, `1.5G`; a bare number is MiB, as the original's `--memory` had it.

    Raises ValueError with a sentence for the person who typed it.
    """
    word = text.strip().lower().removesuffix("ib").removesuffix("b")
    number, unit = (word[:-1], word[-1]) if word and word[-1] in "kmgt" else (word, "")
    try:
        amount = float(number)
    except ValueError:
        amount = -1.0
    if not 0 <= amount < 1e15:
        raise ValueError(f"{text!r} is not an amount of memory; write 512m, 8g or a number of MiB")
    return int(amount * (_UNITS[unit] if unit else 1024**2))


def format_bytes(count: int) -> str:
    """`512 MiB`, `8 GiB`, `1.5 GiB`: short, for people."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if value >= 10 or value == int(value) else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
