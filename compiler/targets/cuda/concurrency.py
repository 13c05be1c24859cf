"""Which pieces of a step have to wait for which, by the memory that they read and write.

Before: pieces in the order of the plan.
After: for each piece those before it that it can't run beside. What waits for nothing runs side by side: weight
gradients and the rest of the backward pass, say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MOST_PIECES = 512
"""Longer steps run one piece after the other: finding out what waits for what takes the square of their number."""

Range = tuple[int, int]
"""Addresses of the first byte and of the one after the last."""


@dataclass(frozen=True)
class Access:
    """The device memory that a piece reads, and that it writes."""

    reads: tuple[Range, ...]
    writes: tuple[Range, ...]

    def conflicts(self, later: Access) -> bool:
        """Whether a later piece may not run before this one ends."""
        return _meet(self.writes, (*later.reads, *later.writes)) or _meet(self.reads, later.writes)


def _meet(some: Sequence[Range], others: Sequence[Range]) -> bool:
    return any(low < end and start < high for low, high in some for start, end in others)


def waits(accesses: Sequence[Access]) -> list[tuple[int, ...]]:
    """Return the numbers of the pieces that each one waits for, without those that others of them wait for.

    Examples
    --------
    >>> made, used = Access((), ((0, 8),)), Access(((0, 8),), ((8, 16),))
    >>> waits([made, used, Access(((0, 4),), ((32, 64),)), Access(((8, 9), (32, 33)), ())])
    [(), (0,), (0,), (1, 2)]
    """
    if len(accesses) > MOST_PIECES:
        return [(number - 1,) if number else () for number in range(len(accesses))]
    behind: list[int] = []  # for each piece a bit for each one that it comes after
    found: list[tuple[int, ...]] = []
    for number, access in enumerate(accesses):
        ancestors = 0
        direct: list[int] = []
        for earlier in reversed(range(number)):
            if not ancestors >> earlier & 1 and accesses[earlier].conflicts(access):
                direct.append(earlier)
                ancestors |= behind[earlier] | 1 << earlier
        behind.append(ancestors)
        found.append(tuple(reversed(direct)))
    return found
