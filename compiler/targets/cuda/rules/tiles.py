"""Which part of a matrix product a block and a thread compute: chosen by an estimate of the time, in clock cycles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

MULTIPROCESSORS = 132
"""Of the GPU that is aimed at (H100, H200); fewer take more turns, but the same choice serves them well."""

SHARED_BYTES = 48 * 1024
LATENCY = 700
"""Cycles from asking for a tile's terms to having multiplied them, if nothing else is in the way."""

BRINGING = 1 / 8
"""Cycles of a multiprocessor for bringing one term: 16 instructions, or 4 bytes from the second-level cache."""

RESIDENT_THREADS = 1024
"""Threads of a multiprocessor that registers suffice for."""

RESIDENT_BYTES = 200 * 1024
"""Shared memory of a multiprocessor."""

SECOND_KERNEL = 3000
"""Cycles for one more kernel that goes on with a result: the one that adds up splits, or a pool."""

CACHED_BYTES = 1000
"""Bytes of a result that all multiprocessors together write to the second-level cache and read again, in a cycle."""

LARGEST_WORKSPACE = 64 * 2**20


@dataclass(frozen=True)
class Tile:
    """The tile of a block, and how its threads share it; the sizes are the macros of `gemm.cu`.

    Attributes
    ----------
    m, n, words : int
        Rows, columns, and words of terms that are brought at a time.
    inner_m, inner_n : int
        Rows and columns of a thread; of a warp, on tensor cores.
    slices : int
        Groups of threads that share the terms.
    """

    m: int
    n: int
    words: int
    inner_m: int
    inner_n: int
    slices: int

    def threads(self, tensor_cores: bool) -> int:
        """Return the number of threads of a block."""
        return (self.m // self.inner_m) * (self.n // self.inner_n) * self.slices * (32 if tensor_cores else 1)

    def shared_bytes(self, itemsize: int, tensor_cores: bool) -> int:
        """Return the shared memory of a block, at most: two tiles of each operand, or the slices' sums."""
        if tensor_cores:
            tiles = sum(max(side * (self.words + 4), self.words * (side + 8)) for side in (self.m, self.n))
        else:
            tiles = self.words * (self.m + self.n + 2 * 16 // itemsize)
        return itemsize * max(2 * tiles, self.slices * self.m * self.n if self.slices > 1 else 0)


# Large tiles save reads, small ones give every multiprocessor something to do and waste little where there are few rows
# or columns. None has more columns than rows: rows and columns can change places.
THREAD_TILES = (
    Tile(128, 128, 16, 8, 8, 1),
    Tile(128, 64, 16, 8, 4, 1),
    Tile(64, 64, 16, 4, 4, 1),
    Tile(64, 32, 32, 4, 4, 2),
    Tile(32, 32, 64, 4, 4, 4),
    Tile(128, 16, 16, 4, 4, 2),
    Tile(64, 16, 32, 4, 4, 4),
    Tile(32, 16, 32, 4, 4, 8),
    Tile(16, 16, 128, 4, 4, 16),
    Tile(128, 8, 16, 4, 4, 4),
    Tile(32, 8, 64, 4, 4, 16),
    Tile(16, 8, 128, 4, 4, 32),
    Tile(16, 4, 128, 4, 4, 32),
)
WARP_TILES = (
    Tile(128, 128, 16, 64, 32, 1),
    Tile(128, 64, 16, 32, 32, 1),
    Tile(64, 64, 32, 32, 32, 1),
    Tile(64, 32, 32, 32, 16, 2),
    Tile(32, 32, 64, 16, 16, 2),
    Tile(128, 16, 16, 32, 16, 2),
    Tile(64, 16, 32, 32, 16, 4),
    Tile(32, 16, 64, 16, 16, 4),
    Tile(16, 16, 128, 16, 16, 8),
    Tile(128, 8, 16, 32, 8, 2),
    Tile(32, 8, 64, 16, 8, 4),
    Tile(16, 8, 128, 16, 8, 8),
)


@dataclass(frozen=True)
class Work:
    """A product at the largest batch.

    Attributes
    ----------
    batches, m, n, k : int
        Number of products; rows, columns and terms of each.
    itemsize : int
        Bytes of a word in shared memory.
    word_terms : int
        Terms of a word.
    tensor_cores : bool
        Whether they multiply.
    may_split : bool
        Whether blocks may share the terms of a result.
    """

    batches: int
    m: int
    n: int
    k: int
    itemsize: int
    word_terms: int = 1
    tensor_cores: bool = False
    may_split: bool = True

    def cycles(self, tile: Tile, splits: int) -> float:
        """Estimate the time of a tile and a number of splits."""
        blocks = ceil(self.m / tile.m) * ceil(self.n / tile.n) * self.batches * splits
        steps = ceil(ceil(self.k / (tile.words * self.word_terms)) / splits)
        busy = max(1, ceil(blocks / MULTIPROCESSORS))
        room = RESIDENT_BYTES // tile.shared_bytes(self.itemsize, self.tensor_cores)
        resident = min(busy, room, RESIDENT_THREADS // tile.threads(self.tensor_cores))
        step = self._multiplying(tile) + (tile.m + tile.n) * tile.words * self.word_terms * BRINGING
        added = 0.0
        if splits > 1:
            added = SECOND_KERNEL + splits * self.batches * self.m * self.n * self.itemsize / CACHED_BYTES
        return steps * max(busy * step, ceil(busy / resident) * (LATENCY + step)) + added

    def _multiplying(self, tile: Tile) -> float:
        """Return the cycles that a multiprocessor takes to multiply the terms of one step."""
        products = tile.m * tile.n * tile.words
        reads = 1 + (tile.inner_m + tile.inner_n) / (tile.inner_m * tile.inner_n)  # of shared memory, beside products
        if self.tensor_cores:
            return products * (1 + 8 * (reads - 1)) / 512
        return products * reads * (self.itemsize / 4) / 128

    def splits(self, tile: Tile) -> Iterator[int]:
        """Generate numbers of splits worth looking at: none, and what gives a multiprocessor so many blocks."""
        yield 1
        if not self.may_split:
            return
        blocks = ceil(self.m / tile.m) * ceil(self.n / tile.n) * self.batches
        steps = ceil(self.k / (tile.words * self.word_terms))
        room = LARGEST_WORKSPACE // max(1, self.batches * self.m * self.n * self.itemsize)
        for each in (1, 2, 4):
            splits = min(each * MULTIPROCESSORS // max(1, blocks), steps, room)
            if splits > 1:
                yield splits

    def choose(self) -> tuple[Tile, int, float]:
        """Return the tile and the number of splits with the least estimate, and that.

        Examples
        --------
        >>> Work(batches=1, m=4096, n=4096, k=4096, itemsize=4).choose()[:2]
        (Tile(m=128, n=128, words=16, inner_m=8, inner_n=8, slices=1), 1)
        """
        choices = (
            (tile, splits, self.cycles(tile, splits))
            for tile in (WARP_TILES if self.tensor_cores else THREAD_TILES)
            if tile.shared_bytes(self.itemsize, self.tensor_cores) <= SHARED_BYTES
            for splits in self.splits(tile)
        )
        return min(choices, key=lambda choice: choice[2])
