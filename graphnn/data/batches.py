"""Arrays cut into batches, which threads prepare in the background while the ones before are used."""

from __future__ import annotations

import operator
from collections.abc import Generator
from functools import partial
from typing import Any

import numpy as np

from graphnn.data.ahead import prepared_ahead
from graphnn.data.errors import DataError
from graphnn.data.transforms import Transform
from graphnn.ops.source import caller

Arrays = tuple[np.ndarray, ...]


class Batches:
    """Arrays of equal length, cut into batches along their first axis.

    Iterating once is one epoch, and gives tuples, with one array for each that was given. The order of epoch k depends
    on the seed and on k alone, and what is drawn for batch b of it on the seed, k and b alone, on every machine, with
    every NumPy and any number of threads, so that a run can be resumed from the number of its epoch and batch. Threads
    that prepare batches end with the iteration: at its end, when it is closed, or when it is dropped.

    Parameters
    ----------
    *arrays : array_like
        One or more arrays whose first axes have the same length. They are not copied.
    batch_size : int
        Rows in a batch. The last one of an epoch may be smaller.
    shuffle : bool
        Whether each epoch goes through the rows in an order of its own.
    seed : int
        Seed of the orders, not negative.
    drop_last : bool
        Whether to leave out a last batch that is smaller than the others.
    prefetch : int
        How many batches may be prepared ahead. With 0 there is no thread.
    threads : int
        How many threads prepare batches, of which no more than `prefetch` have something to do. NumPy lets them work at
        the same time while it copies and computes.
    transform : callable, optional
        Makes of the first array of each batch what is given instead, with the help of a random generator of that
        batch: ``transform(images, generator)``. `graphnn.data.transforms` has some; of your own, it is called in
        several threads at a time.

    Raises
    ------
    DataError
        If the arrays have no rows or not equally many, or an argument is out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> batches = Batches(np.arange(5), np.arange(5) ** 2, batch_size=2, shuffle=False)
    >>> len(batches)
    3
    >>> for numbers, squares in batches:
    ...     print(numbers, squares)
    [0 1] [0 1]
    [2 3] [4 9]
    [4] [16]
    >>> batches.epoch
    1
    """

    def __init__(
        self,
        *arrays: Any,
        batch_size: int,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        prefetch: int = 2,
        threads: int = 1,
        transform: Transform | None = None,
    ) -> None:
        self._arrays: Arrays = tuple(np.asarray(array) for array in arrays)
        self._rows = _common_length(self._arrays)
        self.batch_size = _at_least(1, batch_size, "batch_size")
        self.shuffle = shuffle
        self.seed = _at_least(0, seed, "seed")
        self.drop_last = drop_last
        self.prefetch = _at_least(0, prefetch, "prefetch")
        self.threads = _at_least(1, threads, "threads")
        self.transform = transform
        self._epoch = 0
        self._start = 0
        if not len(self):
            raise DataError(
                "drop_last leaves no batch",
                expected=f"{self.batch_size} rows or more, for one batch",
                actual=f"{self._rows} rows",
                where=str(caller()),
                hint="lower batch_size, or keep the last batch",
            )

    def __len__(self) -> int:
        whole, rest = divmod(self._rows, self.batch_size)
        return whole if self.drop_last or not rest else whole + 1

    @property
    def epoch(self) -> int:
        """Number of the epoch that the next iteration goes through, from 0."""
        return self._epoch

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Choose the epoch that the next iteration goes through, and where in it.

        Parameters
        ----------
        epoch : int
            Its number, from 0.
        start : int
            How many of its batches to leave out: those that a run had before it was broken off. The others are the
            same as without. The epoch after it is whole again.

        Raises
        ------
        DataError
            If one is negative, or the epoch has fewer batches than are to be left out.

        Examples
        --------
        >>> batches = Batches([1, 2, 3, 4], batch_size=4)
        >>> (first,), *_ = batches
        >>> batches.set_epoch(0)
        >>> (again,), *_ = batches
        >>> bool((first == again).all())
        True
        >>> batches.set_epoch(0, start=1)
        >>> list(batches)
        []
        """
        epoch, start = _at_least(0, epoch, "epoch"), _at_least(0, start, "start")
        if start > len(self):
            raise DataError(
                "start is out of its range",
                expected=f"0 to {len(self)}, the batches of an epoch",
                actual=str(start),
                where=str(caller()),
                hint="resume with the data and the batch size that the run had",
            )
        self._epoch, self._start = epoch, start

    def next_order(self) -> np.ndarray:
        """Return the rows that the next iteration would go through, in order, and go on to the epoch after it."""
        order = self._order(self._epoch)[self._start * self.batch_size : len(self) * self.batch_size]
        self._epoch, self._start = self._epoch + 1, 0
        return order

    def __iter__(self) -> Generator[Arrays, None, None]:
        prepare = partial(self._prepare, self._epoch, self._order(self._epoch))
        numbers = range(self._start, len(self))
        self._epoch, self._start = self._epoch + 1, 0
        if not self.prefetch:
            return (prepare(number) for number in numbers)
        return prepared_ahead(prepare, numbers, self.prefetch, self.threads, "graphnn-batches")

    def _prepare(self, epoch: int, order: np.ndarray, number: int) -> Arrays:
        first, *others = _take(self._arrays, order[number * self.batch_size : (number + 1) * self.batch_size])
        if self.transform is None:
            return first, *others
        seeds = np.random.SeedSequence(self.seed, spawn_key=(epoch, number))
        try:
            changed = np.ascontiguousarray(self.transform(first, np.random.Generator(np.random.PCG64(seeds))))
            if changed.shape[:1] != first.shape[:1]:
                raise DataError(
                    "the transform has changed how many rows a batch has",
                    expected=f"{len(first)} rows",
                    actual=f"shape {changed.shape}",
                    hint="let it return one row for each row that it is given",
                )
        except Exception as error:
            error.add_note(f"in the transform of batch {number} of epoch {epoch}, both counted from 0")
            raise
        return changed, *others

    def _order(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(self._rows)
        # NumPy keeps the raw words of a bit generator for ever, but may change what `permutation` makes of them.
        words = np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=(epoch,))).random_raw(self._rows)
        return np.argsort(words, kind="stable")


def _take(arrays: Arrays, rows: np.ndarray) -> Arrays:
    """Return the rows of each array, copied."""
    return tuple(np.take(array, rows, axis=0) for array in arrays)


def _common_length(arrays: Arrays) -> int:
    if not arrays:
        raise DataError("Batches needs at least one array", where=str(caller()))
    for position, array in enumerate(arrays):
        if not array.ndim:
            raise DataError(
                f"array {position} has no axis to cut along",
                expected="one axis or more",
                actual="shape ()",
                where=str(caller()),
            )
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) > 1:
        raise DataError(
            "the arrays have different lengths",
            expected="equally many rows in each",
            actual=", ".join(map(str, lengths)),
            where=str(caller()),
            hint="compare how the arrays were made: row i of each belongs to example i",
        )
    if not lengths[0]:
        raise DataError("the arrays have no rows", where=str(caller()))
    return lengths[0]


def _at_least(least: int, value: int, name: str) -> int:
    number = operator.index(value)
    if number < least:
        raise DataError(
            f"{name} is out of its range", expected=f"{least} or more", actual=str(number), where=str(caller())
        )
    return number
