"""Place buffers in one arena (a first version, largest first; the real planner replaces it)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Buffer:
    """One piece of memory wanted from the arena, from step `start` up to but not including `stop`."""

    start: int
    stop: int
    nbytes: int


def lower_bound(buffers: Sequence[Buffer]) -> int:
    """Return the largest sum of live bytes at any step."""
    changes = sorted([(b.start, 1, b.nbytes) for b in buffers] + [(b.stop, 0, -b.nbytes) for b in buffers])
    alive = best = 0
    for _, _, change in changes:
        alive += change
        best = max(best, alive)
    return best


def assign_offsets(buffers: Sequence[Buffer], alignment: int = 64) -> tuple[list[int], int]:
    """Return offsets in the order of the input, and the arena's size."""
    offsets = [0] * len(buffers)
    placed: list[int] = []
    for index in sorted(range(len(buffers)), key=lambda i: -buffers[i].nbytes):
        here = buffers[index]
        taken = sorted(
            (offsets[i], offsets[i] + buffers[i].nbytes)
            for i in placed
            if buffers[i].start < here.stop and here.start < buffers[i].stop
        )
        offset = 0
        for low, high in taken:
            if offset + here.nbytes <= low:
                break
            offset = max(offset, -(-high // alignment) * alignment)
        offsets[index] = offset
        placed.append(index)
    return offsets, max((offsets[i] + b.nbytes for i, b in enumerate(buffers)), default=0)
