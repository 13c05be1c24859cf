"""Pieces on several streams: what waits for what, as CUDA's rules for streams and events make it."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest

from graphnn.compiler.targets.cuda.branches import Branches


class Event:
    """Knows what is done once it is reached."""

    def __init__(self, **_: object) -> None:
        self.done: set[object] = set()

    def record(self, stream: Stream) -> None:
        self.done = set(stream.done)


class Stream:
    """Knows what is done before what comes next on it."""

    def __init__(self, **_: object) -> None:
        self.done: set[object] = set()

    def wait_event(self, event: Event) -> None:
        self.done |= event.done


CUPY: Any = SimpleNamespace(cuda=SimpleNamespace(Event=Event, Stream=Stream))


def done_before(waits: list[tuple[int, ...]]) -> tuple[list[set[object]], set[object]]:
    """Return what is done before each piece, and before what follows all of them on the first stream."""
    first = Stream()
    first.done = {"begun"}
    branches = Branches(CUPY, first)
    before: list[set[object]] = []

    def piece() -> None:
        before.append(set(branches.current.done))
        branches.current.done.add(len(before) - 1)

    branches.ask_for([piece] * len(waits), waits, [])
    return before, first.done


@pytest.mark.parametrize("seed", range(20))
def test_each_piece_waits_for_what_it_must(seed: int) -> None:
    generator = random.Random(seed)
    waits = [tuple(sorted(generator.sample(range(n), min(n, generator.randrange(4))))) for n in range(40)]
    before, after = done_before(waits)
    for number, behind in enumerate(waits):
        assert before[number] >= {"begun", *behind}
    assert after == {"begun", *range(40)}


def test_independent_pieces_stand_side_by_side() -> None:
    before, _ = done_before([(), (0,), (0,), (1,), (2,), (3, 4)])
    assert before == [{"begun"}, {"begun", 0}, {"begun", 0}, {"begun", 0, 1}, {"begun", 0, 2}, {"begun", 0, 1, 2, 3, 4}]
