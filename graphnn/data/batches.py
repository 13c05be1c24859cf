"""Arrays cut into batches, each prepared in a background thread while the one before it is used."""

import operator
import sys
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import numpy as np

from graphnn.data.errors import DataError

Arrays = tuple[np.ndarray, ...]


class Batches:
    """Arrays of equal length, cut into batches along their first axis.

    Iterating once is one epoch, and gives tuples, with one array for each that was given. The order of epoch k depends
    on the seed and on k alone, on every machine and with every NumPy, so that a run can be resumed from the number of
    its epoch. A thread that prepares batches ends with the iteration: at its end, when it is closed, or when it is
    dropped.

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
    ) -> None:
        self._arrays: Arrays = tuple(np.asarray(array) for array in arrays)
        self._rows = _common_length(self._arrays)
        self.batch_size = _at_least(1, batch_size, "batch_size")
        self.shuffle = shuffle
        self.seed = _at_least(0, seed, "seed")
        self.drop_last = drop_last
        self.prefetch = _at_least(0, prefetch, "prefetch")
        self._epoch = 0
        if not len(self):
            raise DataError(
                "drop_last leaves no batch",
                expected=f"{self.batch_size} rows or more, for one batch",
                actual=f"{self._rows} rows",
                hint="lower batch_size, or keep the last batch",
            )

    def __len__(self) -> int:
        whole, rest = divmod(self._rows, self.batch_size)
        return whole if self.drop_last or not rest else whole + 1

    @property
    def epoch(self) -> int:
        """Number of the epoch that the next iteration goes through, from 0."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration goes through.

        Parameters
        ----------
        epoch : int
            Its number, from 0.

        Raises
        ------
        DataError
            If it is negative.

        Examples
        --------
        >>> batches = Batches([1, 2, 3, 4], batch_size=4)
        >>> (first,), *_ = batches
        >>> batches.set_epoch(0)
        >>> (again,), *_ = batches
        >>> bool((first == again).all())
        True
        """
        self._epoch = _at_least(0, epoch, "epoch")

    def __iter__(self) -> Generator[Arrays, None, None]:
        order = self._order(self._epoch)
        self._epoch += 1
        starts = range(0, len(self) * self.batch_size, self.batch_size)
        batches = (_take(self._arrays, order[start : start + self.batch_size]) for start in starts)
        return _ahead(batches, self.prefetch) if self.prefetch else batches

    def _order(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(self._rows)
        # NumPy keeps the raw words of a bit generator for ever, but may change what `permutation` makes of them.
        words = np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=(epoch,))).random_raw(self._rows)
        return np.argsort(words, kind="stable")


@dataclass(eq=False)
class _Handover:
    """What the consumer of batches and the thread that prepares them share.

    Only `SimpleQueue.put` and plain attributes are used to stop the thread, for that may happen in the garbage
    collector, which can run in either thread at any line: a lock taken there might be held by that very thread.
    """

    ready: SimpleQueue[Arrays | BaseException | None] = field(default_factory=SimpleQueue)
    places: SimpleQueue[None] = field(default_factory=SimpleQueue)
    stopped: bool = False

    def prepare(self, batches: Iterator[Arrays]) -> None:
        """Put batches, then None or the exception that ended them; wait for a free place before each."""
        try:
            while True:
                self.places.get()
                if self.stopped:
                    return
                batch = next(batches, None)
                self.ready.put(batch)
                if batch is None:
                    return
        except BaseException as error:  # noqa: BLE001  # whatever it is, the consumer waits for it
            self.ready.put(error)

    def stop(self, thread: threading.Thread) -> None:
        """End the thread, after the batch that it may be preparing."""
        self.stopped = True
        self.places.put(None)
        # When the interpreter ends, its daemon threads have stopped without a word: there is nothing to wait for.
        if thread.is_alive() and thread is not threading.current_thread() and not sys.is_finalizing():
            # Bounded: the collector may have come while this thread holds a lock that an ending thread needs.
            thread.join(timeout=1.0)


def _ahead(batches: Iterator[Arrays], prefetch: int) -> Generator[Arrays, None, None]:
    """Yield the batches, preparing up to `prefetch` of them ahead in a thread that ends with this generator."""
    handover = _Handover()
    for _ in range(prefetch):
        handover.places.put(None)
    # A daemon, so that an iterator which is still referred to doesn't keep the interpreter from ending.
    thread = threading.Thread(target=handover.prepare, args=(batches,), name="graphnn-batches", daemon=True)
    try:
        thread.start()  # in here, since an interrupt may come while it waits for the thread
        while (batch := handover.ready.get()) is not None:
            if isinstance(batch, BaseException):
                raise batch
            handover.places.put(None)
            yield batch
    finally:
        handover.stop(thread)


def _take(arrays: Arrays, rows: np.ndarray) -> Arrays:
    """Return the rows of each array, copied."""
    return tuple(np.take(array, rows, axis=0) for array in arrays)


def _common_length(arrays: Arrays) -> int:
    if not arrays:
        raise DataError("Batches needs at least one array")
    for position, array in enumerate(arrays):
        if not array.ndim:
            raise DataError(
                f"array {position} has no axis to cut along", expected="one axis or more", actual="shape ()"
            )
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) > 1:
        raise DataError(
            "the arrays have different lengths",
            expected="equally many rows in each",
            actual=", ".join(map(str, lengths)),
            hint="compare how the arrays were made: row i of each belongs to example i",
        )
    if not lengths[0]:
        raise DataError("the arrays have no rows")
    return lengths[0]


def _at_least(least: int, value: int, name: str) -> int:
    number = operator.index(value)
    if number < least:
        raise DataError(f"{name} is out of its range", expected=f"{least} or more", actual=str(number))
    return number
