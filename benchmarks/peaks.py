"""What the machine can do at most, measured: multiply-adds in registers, and bytes moved in a cache and in memory."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from ctypes import CDLL, c_double, c_float, c_int64, c_void_p
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

BURST_SECONDS = 0.002
"""How long a burst of work takes, at least: about as long as a step of the networks."""

BURSTS = 7
"""How many bursts there are each time, of which the best counts: others on the machine make no peak lower."""


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


@dataclass
class Work:
    """Work that can be repeated until it takes long enough to be timed.

    Attributes
    ----------
    run : callable
        Does it so many times, returns the seconds.
    amount : int
        FLOPs or bytes of doing it once.
    repeats : int
        How often a burst does it.
    """

    run: Callable[[int], float]
    amount: int
    repeats: int = 1

    def rate(self, seconds: float) -> float:
        """Return the amount a second in the best of several bursts, each of which takes so many seconds at least."""
        while (best := min(self.run(self.repeats) for _ in range(BURSTS))) < seconds:
            self.repeats *= 2
        return self.amount * self.repeats / best


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
        How long a burst of work takes, at least.
    """

    def __init__(
        self, compiler: Compiler, threads: int, cache_bytes: int, memory_bytes: int, seconds: float = BURST_SECONDS
    ) -> None:
        loops = Loops(compiler, threads)
        self._seconds = seconds
        self._multiply_adds = Work(loops.multiply_add, 2 * loops.sums.size * ACCUMULATORS)
        self._cache_triad = _triad(loops, cache_bytes * threads)
        self._memory_triad = _triad(loops, memory_bytes)
        self.measured: list[Peaks] = []

    def measure(self) -> None:
        """Measure all peaks once more."""
        work = (self._multiply_adds, self._cache_triad, self._memory_triad)
        self.measured.append(Peaks(*(each.rate(self._seconds) for each in work)))

    @property
    def median(self) -> Peaks:
        """The median of each peak."""
        return Peaks(*map(statistics.median, zip(*map(astuple, self.measured), strict=True)))


def _triad(loops: Loops, nbytes: int) -> Work:
    """Return a triad of three arrays of so many bytes together."""
    arrays = loops.arrays(nbytes // (3 * 4))
    return Work(partial(loops.triad, arrays), sum(array.nbytes for array in arrays))


class Loops:
    """The functions of peaks.c on so many threads; they return the seconds that they took.

    Attributes
    ----------
    sums : array
        A vector for each thread, in which it leaves the sum of its multiply-adds' results.
    """

    def __init__(self, compiler: Compiler, threads: int) -> None:
        self._library = _library(compiler)
        self._threads = threads
        self.sums = np.zeros(threads * compiler.vector_bytes // 4, np.float32)

    def multiply_add(self, repeats: int) -> float:
        """Halve numbers and add 1, so often."""
        sums = c_void_p(self.sums.ctypes.data)
        return self._library.peak_multiply_add(sums, self._threads, c_int64(repeats), c_float(0.5), c_float(1.0))

    def triad(self, arrays: Sequence[np.ndarray], repeats: int) -> float:
        """Compute ``a = b + c / 2`` so often."""
        pointers = [c_void_p(array.ctypes.data) for array in arrays]
        count = arrays[0].size // self._threads
        return self._library.peak_triad(*pointers, c_int64(count), self._threads, c_int64(repeats), c_float(0.5))

    def arrays(self, count: int) -> list[np.ndarray]:
        """Return three arrays of about `count` numbers, each part written first by the thread that will work on it."""
        a, b, c = (np.zeros(count // self._threads * self._threads, np.float32) for _ in range(3))
        for arrays in ([c, a, b], [b, c, a], [a, b, c]):
            self.triad(arrays, 1)
        return [a, b, c]


@cache
def _library(compiler: Compiler) -> CDLL:
    text = f"#define VECTOR_BYTES {compiler.vector_bytes}\n{SOURCE.read_text(encoding='utf-8')}"
    library = load_library({SOURCE.name: text}, {}, compiler)
    library.peak_multiply_add.restype = library.peak_triad.restype = c_double
    return library
