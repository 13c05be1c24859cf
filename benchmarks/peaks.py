"""What the machine can do at most, measured: multiply-adds in registers, and bytes moved in a cache and in memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from ctypes import CDLL, c_float, c_int64, c_void_p
from dataclasses import astuple, dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np

from benchmarks.processors import cache_sizes
from graphnn.compiler.targets.c.build import Compiler
from graphnn.compiler.targets.c.cache import load_library

SOURCE = Path(__file__).parent / "peaks.c"
ACCUMULATORS = 12  # in peaks.c

USUAL_CACHE_SIZES = {2: 1 << 18, 3: 1 << 25}
"""Bytes of the second-level cache and of the last one, where the system doesn't tell."""

BURST_SECONDS = 0.02
"""How long each peak is measured at a time, at least."""


@dataclass(frozen=True)
class Peaks:
    """What so many threads reach together, a second.

    Attributes
    ----------
    flops : float
        Multiplications and additions of float32, in vectors.
    cache_bytes, memory_bytes : float
        Bytes that a triad reads and writes, in arrays of the size of the second-level caches and far beyond all caches.
    """

    flops: float
    cache_bytes: float
    memory_bytes: float


def triad_sizes() -> tuple[int, int]:
    """Return the bytes of a triad's three arrays: half a second-level cache, and twelve times the largest cache."""
    sizes = {**USUAL_CACHE_SIZES, **cache_sizes()}
    return sizes[2] // 2, 12 * max(sizes.values())


class PeakMeter:
    """Measures the peaks of so many threads.

    Parameters
    ----------
    compiler : Compiler
        What compiles the loops.
    threads : int
        How many run them.
    cache_bytes : int
        Size of a triad's three arrays that fit into a second-level cache, for each thread.
    memory_bytes : int
        Size of those that fit into no cache, for all threads together.
    seconds : float
        How long each peak is measured at a time, at least.
    """

    def __init__(
        self, compiler: Compiler, threads: int, cache_bytes: int, memory_bytes: int, seconds: float = BURST_SECONDS
    ) -> None:
        self._library = _library(compiler)
        self._threads = threads
        self._seconds = seconds
        self._lanes = compiler.vector_bytes // 4
        self._result = np.zeros(threads * self._lanes, np.float32)
        self._cached = self._arrays(cache_bytes // (3 * 4))
        self._large = self._arrays(memory_bytes // (3 * 4 * threads))
        self.measured: list[Peaks] = []

    def _arrays(self, count: int) -> list[np.ndarray]:
        """Return three arrays with `count` numbers for each thread, which has written its part before all others."""
        a, b, c = (np.zeros(count * self._threads, np.float32) for _ in range(3))
        for arrays in ([c, a, b], [b, c, a], [a, b, c]):
            self._triad(arrays, 1)
        return [a, b, c]

    def measure(self) -> None:
        """Measure all peaks once more."""
        flops = 2 * ACCUMULATORS * self._lanes * self._threads
        cache_bytes, memory_bytes = (sum(array.nbytes for array in arrays) for arrays in (self._cached, self._large))
        self.measured.append(
            Peaks(
                flops=flops * self._rate(self._multiply_add),
                cache_bytes=cache_bytes * self._rate(partial(self._triad, self._cached)),
                memory_bytes=memory_bytes * self._rate(partial(self._triad, self._large)),
            )
        )

    @property
    def median(self) -> Peaks:
        """The median of each peak."""
        return Peaks(*map(statistics.median, zip(*map(astuple, self.measured), strict=True)))

    def _rate(self, work: Callable[[int], None]) -> float:
        """Return how often a second some work is repeated; ever more repeats, until they take long enough."""
        repeats = 1
        while True:
            start = time.perf_counter()
            work(repeats)
            seconds = time.perf_counter() - start
            if seconds >= self._seconds:
                return repeats / seconds
            repeats *= 2

    def _multiply_add(self, repeats: int) -> None:
        self._library.peak_multiply_add(
            c_void_p(self._result.ctypes.data), self._threads, c_int64(repeats), c_float(0.5), c_float(1.0)
        )

    def _triad(self, arrays: Sequence[np.ndarray], repeats: int) -> None:
        count = arrays[0].size // self._threads
        self._library.peak_triad(
            *(c_void_p(array.ctypes.data) for array in arrays),
            c_int64(count),
            self._threads,
            c_int64(repeats),
            c_float(0.5),
        )


@cache
def _library(compiler: Compiler) -> CDLL:
    text = f"#define VECTOR_BYTES {compiler.vector_bytes}\n{SOURCE.read_text(encoding='utf-8')}"
    return load_library({SOURCE.name: text}, {}, compiler)
