"""Which processors a benchmark may use, and their caches."""

from __future__ import annotations

import os
from pathlib import Path

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_UNITS = {"K": 1 << 10, "M": 1 << 20}


def available_processors() -> list[int]:
    """Return the processors that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def hold_to(count: int) -> None:
    """Hold this process to so many processors, where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, available_processors()[:count])


def cache_sizes(folder: Path = _CACHES) -> dict[int, int]:
    """Return the bytes of a processor's data caches by level, as Linux tells them; empty where it doesn't."""
    sizes = {}
    for entry in folder.glob("index*"):
        kind, level, size = ((entry / name).read_text().strip() for name in ("type", "level", "size"))
        if kind != "Instruction":
            sizes[int(level)] = int(size.rstrip("KM")) * _UNITS.get(size[-1], 1)
    return sizes
