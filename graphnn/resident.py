"""Whole data sets that stay where a plan runs, fed by the numbers of their rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from graphnn.ops.errors import FeedError
from graphnn.ops.node import Node
from graphnn.ops.source import caller
from graphnn.ops.spec import Dim

if TYPE_CHECKING:
    from graphnn.compiler.target import ResidentRuns
    from graphnn.executor import Executor


class Resident:
    """Data sets for all placeholders of an executor, of which each run takes some rows.

    On a GPU with room for them they are copied there once, and a run sends no examples; elsewhere each run is fed the
    rows. The arrays must not be changed afterwards. `Executor.resident` makes one.

    Attributes
    ----------
    is_on_device : bool
        Whether the data lies in the memory of a device.
    rows : int
        How many there are.
    """

    def __init__(self, executor: Executor, data: Mapping[Node, np.ndarray], runs: ResidentRuns | None) -> None:
        self._executor = executor
        self._data = data
        self._runs = runs
        self.is_on_device = runs is not None
        self.rows = len(next(iter(data.values())))
        self._turn: object = None  # which iteration's order the device has

    def run(self, rows: Any) -> Any:
        """Carry out one run on some rows.

        Parameters
        ----------
        rows : array_like of int
            Their numbers, at most ``max_batch`` of them.

        Returns
        -------
        As `Executor.run`.

        Raises
        ------
        FeedError
            If a number is out of range, or there are too many or none.
        """
        (value,) = self.batches(rows, self._executor.plan.max_batch + 1)
        return value

    def batches(self, order: Any, batch_size: int, fetch: bool = True) -> Iterator[Any]:
        """Carry out one run after the other, on the next rows of an order.

        Parameters
        ----------
        order : array_like of int
            Numbers of rows.
        batch_size : int
            Rows of a run; the last one takes those that are left.
        fetch : bool
            Without, nothing is fetched, so that a device need not be waited for between two runs.

        Yields
        ------
        What the executor fetches, in its form; None without `fetch`.

        Raises
        ------
        FeedError
            Before the first run, if a number is out of range or a batch is larger than the plan's.
        """
        numbers = np.asarray(order)
        self._check(numbers, min(batch_size, len(numbers)))
        runs = self._runs
        if runs is None:
            for start in range(0, len(numbers), batch_size):
                chosen = numbers[start : start + batch_size]
                values = self._executor.run({node: array[chosen] for node, array in self._data.items()})
                yield values if fetch else None
            return
        stretch = max(1, self.rows // batch_size) * batch_size  # as many as the device has room for
        turn = object()
        for start in range(0, len(numbers), batch_size):
            if self._turn is not turn or start % stretch == 0:
                runs.begin(numbers[start : start + stretch])
                self._turn = turn
            yield self._executor.run_resident(runs, min(batch_size, len(numbers) - start), fetch)
        if not fetch:
            runs.wait()

    def _check(self, numbers: np.ndarray, batch: int) -> None:
        most = self._executor.plan.max_batch
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or not 1 <= batch <= most:
            raise FeedError(
                "these are no rows to run on",
                expected=f"integers in one axis, 1 to max_batch = {most} of them a run",
                actual=f"{numbers.dtype} {numbers.shape}, {batch} a run",
                where=str(caller()),
                hint="pass the numbers of rows, such as np.arange(100)",
            )
        if numbers.min() < 0 or numbers.max() >= self.rows:
            raise FeedError(
                "a row is out of range",
                expected=f"0 to {self.rows - 1}",
                actual=f"{numbers.min()} to {numbers.max()}",
                where=str(caller()),
                hint="number the rows from 0",
            )


def takes_rows(placeholder: Node) -> bool:
    """Whether a placeholder is fed as many rows as there are examples in a run."""
    return placeholder.shape[:1] == (Dim(1),)


def checked_data(arrays: Mapping[Node, np.ndarray]) -> None:
    """Refuse data sets whose rows are not examples, or that have not equally many.

    Raises
    ------
    FeedError
        Naming the placeholder.
    """
    lengths = {node.name: len(array) if array.ndim else 0 for node, array in arrays.items()}
    for node in arrays:
        if not takes_rows(node):
            raise FeedError(
                f"{node.name!r} has no batch axis, so that it can't be fed by rows",
                expected="placeholders of shape (None, ...)",
                actual=str(node.spec),
                where=str(node.source),
                hint="use Executor.run for plans with other placeholders",
            )
    if len(set(lengths.values())) != 1 or not all(lengths.values()):
        raise FeedError(
            "the data sets have not equally many rows",
            expected="the same number of examples for each placeholder, 1 or more",
            actual=", ".join(f"{name!r}: {length}" for name, length in lengths.items()),
            where=str(caller()),
            hint="cut them to the same length",
        )
