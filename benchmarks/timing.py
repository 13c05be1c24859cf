"""Timing that survives a noisy machine: competitors take turns, and medians are compared."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path


def interleaved(work: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Run each piece of work once per round, in turn, after one round to warm up; return seconds by name."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for name, run in work.items():
            start = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def summary(seconds: Mapping[str, list[float]], baseline: str) -> str:
    """Return a Markdown table: median and minimum of each, and how many times faster than the baseline."""
    lines = ["| what | median ms | minimum ms | times faster |", "|---|---|---|---|"]
    slow = statistics.median(seconds[baseline])
    for name, values in seconds.items():
        median = statistics.median(values)
        lines.append(f"| {name} | {median * 1e3:.3f} | {min(values) * 1e3:.3f} | {slow / median:.1f} |")
    return "\n".join(lines)


def machine() -> str:
    """Return the processor's name, its cores and the versions that matter."""
    import numpy

    return f"{_processor()}, {_cores()} cores; Python {platform.python_version()}, NumPy {numpy.__version__}"


def _processor() -> str:
    try:
        rows = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [row.partition(":")[2].strip() for row in rows if row.startswith("model name")]
    return names[0] if names else platform.machine()


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
