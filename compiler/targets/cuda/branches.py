"""Streams on which the pieces of a recorded step stand side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

BRANCHES = 3
"""Streams besides the first."""


class Branches:
    """A stream, and others that branch off from it and come back to it while a step is recorded.

    Attributes
    ----------
    current : cupy.cuda.Stream
        On which work is asked for at the moment.
    """

    def __init__(self, cupy: Any, stream: Any) -> None:
        self._cupy = cupy
        self._streams = [stream, *(cupy.cuda.Stream(non_blocking=True) for _ in range(BRANCHES))]
        self.current = stream

    def ask_for(self, pieces: Sequence[Callable[[], None]], waits: Sequence[Sequence[int]], kept: list[object]) -> None:
        """Ask for pieces, each on the `current` stream that is chosen for it.

        Parameters
        ----------
        pieces : sequence of callable
            In an order in which they may run one after the other.
        waits : sequence of sequence of int
            For each piece the numbers of the earlier ones that it has to wait for.
        kept : list
            Takes what must live as long as the recording.
        """
        first, last = self._streams[0], [-1] * len(self._streams)
        events = [self._cupy.cuda.Event(disable_timing=True) for _ in range(len(pieces) + 1)]
        kept += events
        events[-1].record(first)  # where the other streams branch off
        for number, (piece, behind) in enumerate(zip(pieces, waits, strict=True)):
            lane = _lane(last, behind)
            self.current = self._streams[lane]
            if last[lane] < 0 and lane:
                self.current.wait_event(events[-1])
            for earlier in behind:
                if earlier != last[lane]:
                    self.current.wait_event(events[earlier])
            piece()
            events[number].record(self.current)
            last[lane] = number
        for end in last[1:]:
            if end >= 0:
                first.wait_event(events[end])


def _lane(last: Sequence[int], behind: Sequence[int]) -> int:
    """Return the stream for a piece: one whose last piece it waits for anyway, else an unused one, else the idlest.

    Examples
    --------
    >>> _lane([4, 2, -1], behind=(2,)), _lane([4, 2, -1], behind=(1,)), _lane([4, 2, 3], behind=())
    (1, 2, 1)
    """
    return next((lane for lane, number in enumerate(last) if number in behind), last.index(min(last)))
