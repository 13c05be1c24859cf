"""How fast a training goes and how long it will take, from the passes that it has made so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence


class Pace:
    """Measures the passes of a training: each epoch goes through the same ones, in the same order.

    Parameters
    ----------
    passes : sequence of str
        What the passes of an epoch are called.
    clock : callable
        Gives the time in seconds.

    Examples
    --------
    >>> pace = Pace(["training", "test"], clock=iter([0.0, 5.0, 10.0]).__next__)
    >>> for done in (1, 2):
    ...     pace.advance("training", done, 4)
    >>> pace.note(examples=100, epochs_left=1)  # 5 s a batch; two more in this epoch, four in the next
    '20 images/s, 0:00:30 left'
    """

    def __init__(self, passes: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._passes = passes
        self._clock = clock
        self._current = ""
        self._began_after = 0  # batches of the pass: a resumed epoch begins in its middle
        self._began_at = self._now = clock()
        self._done = self._total = 0
        self._durations: dict[str, float] = {}

    def advance(self, current: str, done: int, total: int) -> None:
        """Note that so many batches of a pass are done."""
        if current != self._current:
            self._current, self._began_after, self._began_at = current, done - 1, self._now
        self._done, self._total, self._now = done, total, self._clock()
        self._durations[current] = (self._now - self._began_at) / (done - self._began_after) * total

    def note(self, examples: int, epochs_left: int) -> str:
        """Return the images per second of this pass, and the time left until the last epoch is over.

        Parameters
        ----------
        examples : int
            In a batch of this pass.
        epochs_left : int
            After the current one.
        """
        elapsed = self._now - self._began_at
        speed = (self._done - self._began_after) * examples / max(elapsed, 1e-9)
        later = self._passes[self._passes.index(self._current) + 1 :]
        left = self._durations[self._current] * (1 - self._done / self._total)
        left += sum(self._durations.get(name, 0.0) for name in later)
        seconds = round(left + epochs_left * sum(self._durations.values()))
        return f"{speed:,.0f} images/s, {seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02} left"
