"""How examples get to a plan: as batches that are fed, or as rows of data that lies on the plan's device."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np

from graphnn.data import Batches
from graphnn.executor import Executor
from graphnn.ops.node import Node
from graphnn.resident import Resident, takes_rows

Examples = tuple[np.ndarray, np.ndarray]
"""Inputs and labels: row i of each belongs to example i."""

KEPT = 8
"""Data sets that are kept on a device, for one plan each."""


class Feeding:
    """Feeds two placeholders.

    Where a plan runs on a device with memory of its own and room for the examples, they are copied there once.
    Examples that are changed afterwards stay there as they were.
    """

    def __init__(self, inputs: Node, labels: Node) -> None:
        self._inputs = inputs
        self._labels = labels
        self._by_rows = takes_rows(inputs) and takes_rows(labels)
        self._residents: dict[tuple[int, int, int], tuple[Examples, Resident]] = {}

    def training_runs(
        self, batches: Batches, examples: Examples, done: int, plan_of: Callable[[int, int], Executor]
    ) -> Generator[Callable[[], object], None, None]:
        """Yield the runs of an epoch, one after the other.

        Parameters
        ----------
        batches : Batches
            Of these examples, set to the epoch and its next batch.
        examples : tuple of two arrays
            All of them.
        done : int
            How many batches of the epoch were done before.
        plan_of : callable
            From the number of a batch, from 1, and how many an epoch has, to the plan that it is for.
        """
        if done == len(batches):  # an interrupt came after the last one
            return
        first = plan_of(done + 1, len(batches))
        one_plan = all(plan_of(number, len(batches)) is first for number in (1, len(batches)))
        resident = self._resident(first, examples) if one_plan and batches.transform is None else None
        if resident is not None:
            steps = resident.batches(batches.next_order(), batches.batch_size, fetch=False)
            yield from (partial(next, steps) for _ in range(done, len(batches)))
            next(steps, None)  # which waits for the last one
            return
        with closing(iter(batches)) as epoch:
            for number, (inputs, labels) in enumerate(epoch, start=done + 1):
                yield partial(plan_of(number, len(batches)).run, {self._inputs: inputs, self._labels: labels})

    def results(self, plan: Executor, batches: Batches, examples: Examples) -> Generator[Any, None, None]:
        """Yield what a plan fetches for each batch."""
        resident = self._resident(plan, examples)
        if resident is not None:
            yield from resident.batches(batches.next_order(), batches.batch_size)
            return
        with closing(iter(batches)) as epoch:
            for inputs, labels in epoch:
                yield plan.run({self._inputs: inputs, self._labels: labels})

    def _resident(self, plan: Executor, examples: Examples) -> Resident | None:
        """Return the examples on a plan's device, or None."""
        if not (plan.has_own_memory and self._by_rows):
            return None
        key = id(plan), id(examples[0]), id(examples[1])  # all of which are kept alive
        if key not in self._residents:
            while len(self._residents) >= KEPT:
                del self._residents[next(iter(self._residents))]
            found = plan.resident({self._inputs: examples[0], self._labels: examples[1]})
            self._residents[key] = examples, found
        _, found = self._residents[key]
        return found if found.is_on_device else None
