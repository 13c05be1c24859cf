"""Where variables keep their values between runs: outside every plan, shared by all plans of a graph."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np


@dataclass(slots=True)
class StoredValue:
    """A variable's array (row-major, in storage form) and a number that grows with every write."""

    array: np.ndarray
    version: int = 0


class VariableStore:
    """The values of a graph's variables.

    `lock` serialises the runs of a graph; whoever changes an array in place holds it and calls `touch`.

    Examples
    --------
    >>> store = VariableStore()
    >>> store.add("w", np.zeros(2, np.float32))
    >>> store.write("w", np.ones(2))
    >>> store.read("w"), store.version("w")
    (array([1., 1.], dtype=float32), 1)
    """

    def __init__(self) -> None:
        self._values: dict[str, StoredValue] = {}
        self.lock = threading.RLock()

    def add(self, name: str, initial: np.ndarray) -> None:
        """Keep a copy of a variable's initial value."""
        self._values[name] = StoredValue(np.array(initial, order="C", copy=True))

    def array(self, name: str) -> np.ndarray:
        """Return the array itself, not a copy: for plans, which write to it under the lock."""
        return self._values[name].array

    def read(self, name: str) -> np.ndarray:
        """Return a copy of a value."""
        with self.lock:
            return self._values[name].array.copy()

    def write(self, name: str, value: np.ndarray) -> None:
        """Replace a value in place, so that plans that hold the array see it."""
        with self.lock:
            self.touch(name)  # first, so that no interrupt leaves a new value with the old version
            np.copyto(self._values[name].array, value, casting="unsafe")

    def touch(self, name: str) -> None:
        """Record that a value was changed in place."""
        self._values[name].version += 1

    def version(self, name: str) -> int:
        """Return how often a value was changed."""
        return self._values[name].version
