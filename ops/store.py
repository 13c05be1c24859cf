"""Where variables keep their values between runs: outside every plan, shared by all plans of a graph."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(slots=True, eq=False)
class WriteCounter:
    """How often some variables were changed together."""

    count: int = 0


Bring = Callable[[str, np.ndarray], None]
"""Fills a variable's array, by its name, with the newest value from wherever that is."""


class VariableStore:
    """The values of a graph's variables: arrays, row-major, in storage form.

    A plan on a device may keep the newest values there: it says so by `leave`, and they come back by `settle`.

    `lock` serialises the runs of a graph. Whoever changes arrays in place holds it, and first increases the `counter`
    of these variables: one for all that a plan writes, so that this is a single step, however many there are.

    Examples
    --------
    >>> store = VariableStore()
    >>> store.add("w", np.zeros(2, np.float32))
    >>> store.write("w", np.ones(2))
    >>> store.read("w"), store.version("w")
    (array([1., 1.], dtype=float32), 1)
    """

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}
        self._counters: dict[frozenset[str], WriteCounter] = {}
        self.away: dict[str, Bring] = {}
        self.devices: dict[str, object] = {}  # copies on devices, which die with the store
        self.lock = threading.RLock()

    def add(self, name: str, initial: np.ndarray) -> None:
        """Keep a copy of a variable's initial value."""
        self._arrays[name] = np.array(initial, order="C", copy=True)

    def array(self, name: str) -> np.ndarray:
        """Return the array itself, not a copy: for plans, which write to it under the lock.

        Before they read it they call `settle`.
        """
        return self._arrays[name]

    def leave(self, name: str, bring: Bring) -> None:
        """Note that the newest value of a variable is not in its array, and what brings it there."""
        self.away[name] = bring

    def settle(self, names: Iterable[str] | None = None) -> None:
        """Bring the newest values into the arrays, of all variables or of some."""
        with self.lock:
            for name in list(self.away) if names is None else names:
                if name in self.away:
                    self.away[name](name, self._arrays[name])
                    del self.away[name]

    def read(self, name: str) -> np.ndarray:
        """Return a copy of a value."""
        with self.lock:
            self.settle([name])
            return self._arrays[name].copy()

    def write(self, name: str, value: np.ndarray) -> None:
        """Replace a value in place, so that plans that hold the array see it."""
        with self.lock:
            self.counter([name]).count += 1  # first, so that no interrupt leaves a new value with the old version
            self.away.pop(name, None)
            np.copyto(self._arrays[name], value, casting="unsafe")

    def counter(self, names: Iterable[str]) -> WriteCounter:
        """Return what counts the writes to these variables together; it is the same one for the same variables."""
        return self._counters.setdefault(frozenset(names), WriteCounter())

    def version(self, name: str) -> int:
        """Return how often a value was changed; it grows with each write, before the value changes."""
        counters = self._counters.copy()  # at once: another thread may be loading a plan
        return sum(counter.count for names, counter in counters.items() if name in names)
