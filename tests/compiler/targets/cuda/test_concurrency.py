"""What waits for what: whatever shares memory that one of the two writes, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from graphnn.compiler.targets.cuda import concurrency
from graphnn.compiler.targets.cuda.concurrency import Access, waits


def reads(*ranges: tuple[int, int]) -> Access:
    return Access(ranges, ())


def writes(*ranges: tuple[int, int]) -> Access:
    return Access((), ranges)


@pytest.mark.parametrize(
    ("first", "second", "waiting"),
    [
        (writes((0, 8)), reads((4, 12)), True),
        (reads((0, 8)), writes((7, 9)), True),
        (writes((0, 8)), writes((0, 8)), True),
        (reads((0, 8)), reads((0, 8)), False),
        (writes((0, 8)), reads((8, 16)), False),
        (writes((8, 16)), Access(((16, 24), (0, 8)), ((24, 32),)), False),
        (Access(((0, 8),), ((8, 16),)), Access(((16, 24),), ((0, 1),)), True),
    ],
)
def test_two_pieces(first: Access, second: Access, waiting: bool) -> None:
    assert waits([first, second]) == [(), (0,) if waiting else ()]


def ancestors(found: Sequence[Sequence[int]]) -> list[set[int]]:
    """Return all that each piece comes after."""
    behind: list[set[int]] = []
    for direct in found:
        behind.append({*direct}.union(*(behind[number] for number in direct)))
    return behind


def random_accesses(seed: int) -> list[Access]:
    generator = np.random.default_rng(seed)

    def ranges(most: int) -> tuple[tuple[int, int], ...]:
        starts = generator.integers(0, 60, generator.integers(0, most + 1))
        return tuple((int(start), int(start + generator.integers(1, 9))) for start in starts)

    return [Access(ranges(3), ranges(2)) for _ in range(40)]


@pytest.mark.parametrize("seed", range(20))
def test_random_pieces_wait_for_no_more_and_no_less(seed: int) -> None:
    accesses = random_accesses(seed)
    found = waits(accesses)
    behind = ancestors(found)
    for number, later in enumerate(accesses):
        needed = {
            earlier
            for earlier in range(number)
            if set(bytes_of(accesses[earlier].writes)) & set(bytes_of((*later.reads, *later.writes)))
            or set(bytes_of(accesses[earlier].reads)) & set(bytes_of(later.writes))
        }
        assert needed <= behind[number]
        assert set(found[number]) <= needed
        through = set().union(*(behind[direct] for direct in found[number]))
        assert not through & set(found[number])  # nothing is said twice
        assert found[number] == tuple(sorted(found[number]))


def bytes_of(ranges: Sequence[tuple[int, int]]) -> list[int]:
    return [place for low, high in ranges for place in range(low, high)]


def test_long_steps_run_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    accesses = [reads((0, 8))] * 6
    assert waits(accesses) == [()] * 6
    monkeypatch.setattr(concurrency, "MOST_PIECES", 5)
    assert waits(accesses) == [(), (0,), (1,), (2,), (3,), (4,)]
    assert waits([]) == []
