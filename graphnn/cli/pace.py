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
    >>> pace = Pace(["training", "test"], clock=iter([0.0, 10.0, 16.0, 17.0, 19.0]).__next__)
    >>> pace.advance("training", 2, 4)
    >>> pace.note(examples=100, epochs_left=1)  # that is 5 s for a batch, of which there are two more and four later
    '20 images/s, 0:00:30 left'
    >>> pace.advance("training", 4, 4)
    """

    def __init__(self, passes: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._passes = passes
        self._current = passes[0]
        self._began_at = clock()
        self._elapsed = 0.0
        self._done, self._total = 0, 1
        self._durations: dict[str, float] = {}

    def advance(self, current: str, done: int, total: int) -> None:
        """Note that so many batches of a pass are done."""
        if current != self._current:
            self._current, self._began_at = current, self._began_at + self._elapsed
        self._elapsed = self._clock() - self._began_at
        self._done, self._total = done, total
        self._durations[current] = self._elapsed * total / done
        
    def note(self, examples: int, epochs_left: int) -> str:
        """Return the images per second of this pass, and the time left until the last epoch is over.

        Parameters
        ----------
        examples : int
            In a batch of this pass.
        epochs_left : int
            After the current one.
        """
        speed = self._done * examples / max(self._elapsed, 1e-9)
        later = self._passes[self._passes.index(self._current) + 1 :]
        left = self._durations[self._current] - self._elapsed + sum(self._durations.get(name, 0.0) for name in later)
        left += epochs_left * sum(self._durations.values())
        hours, minutes = divmod(round(left) // 60, 60)
        return f"{speed:,.0f} images/s, {hours}:{minutes:02}:{round(left) % 60:02} left"
