"""Which processors a benchmark may use."""

from __future__ import annotations

import os


def available_processors() -> list[int]:
    """Return the processors that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def hold_to(count: int) -> None:
    """Hold this process to so many processors, where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, available_processors()[:count])
