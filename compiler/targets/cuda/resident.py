"""Whole data sets in device memory, from which a step takes its batch by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from weakref import WeakValueDictionary

import numpy as np

from graphnn.compiler.targets.cuda.concurrency import Access, Range
from graphnn.compiler.targets.cuda.lowering import kernel_text
from graphnn.compiler.targets.cuda.machine import Kernel, Machine, Memory

THREADS = 256


Piece = tuple[Callable[[], None], Access]
"""What asks for a piece of work, and the memory that the work touches."""


@dataclass(eq=False)
class HeldArray:
    """An array and what a device has of it: a copy, or what was made of that row by row.

    The array is kept too, so that its identity stays its own.
    """

    array: np.ndarray
    memory: Memory


_HELD: WeakValueDictionary[tuple[str, int, str], HeldArray] = WeakValueDictionary()


def held(array: np.ndarray, machine: Machine) -> HeldArray:
    """Return an array's copy on a device, the same one for all who ask.

    Raises
    ------
    MemoryError
        If there is no room for it.
    """

    def copy(memory: Memory) -> None:
        machine.upload(memory.address, np.ascontiguousarray(array))

    return made_of(array, "", array.nbytes, machine, copy)


def made_of(array: np.ndarray, how: str, nbytes: int, machine: Machine, fill: Callable[[Memory], None]) -> HeldArray:
    """Return what is made of an array on a device, the same for all who ask for it.

    Parameters
    ----------
    array : numpy.ndarray
        Of what.
    how : str
        What tells it from other things made of the same array.
    nbytes : int
        Its size.
    machine : Machine
        Where it lies.
    fill : callable
        Makes it, if there is none yet.

    Raises
    ------
    MemoryError
        If there is no room for it.
    """
    key = machine.name, id(array), how
    found = _HELD.get(key)
    if found is None:
        found = HeldArray(array, machine.allocate(max(1, nbytes)))
        fill(found.memory)
        _HELD[key] = found
    return found


@dataclass(frozen=True)
class Rows:
    """The rows of a data set on a device, and where those of a batch are copied to.

    Attributes
    ----------
    held : HeldArray
        All rows.
    row_bytes : int
        Bytes of one.
    target : int
        The address.
    """

    held: HeldArray
    row_bytes: int
    target: int

    @property
    def itemsize(self) -> int:
        """Bytes that can be copied at once."""
        return next(size for size in (8, 4, 2, 1) if self.row_bytes % size == 0)


class ResidentData:
    """Data sets for placeholders, an order of their rows, and the place in it where the next batch begins.

    Parameters
    ----------
    feeds : sequence of Rows
        What a step finds when it begins.
    prepared : mapping of str to Rows
        What stands for the results of kernels.
    machine : Machine
        Where it lies.
    max_batch : int
        Rows of a batch at most.
    """

    def __init__(self, feeds: Sequence[Rows], prepared: Mapping[str, Rows], machine: Machine, max_batch: int) -> None:
        self._machine = machine
        self._feeds = feeds
        self.prepared = prepared
        self._sets = (*feeds, *prepared.values())
        self.rows = len(self._sets[0].held.array)
        self._order = machine.allocate(8 * max(self.rows, max_batch))
        self._place = machine.allocate(8)
        names = [self._name(rows) for rows in self._sets]
        self._kernels: Mapping[str, Kernel] = machine.compile(self._text(), [*names, "advance"])

    def _name(self, rows: Rows) -> str:
        return f"take_rows_{self._sets.index(rows)}"

    def _text(self) -> str:
        text = [kernel_text("device.h")]
        for rows in self._sets:
            element = {1: "uint8_t", 2: "uint16_t", 4: "uint32_t", 8: "uint64_t"}[rows.itemsize]
            size = str(rows.row_bytes // rows.itemsize)
            defines = {"NAME": self._name(rows), "ELEMENT": element, "SIZE": size, "THREADS": str(THREADS)}
            text += [f"#define {key} {value}" for key, value in defines.items()]
            text += [kernel_text("take_rows.cu"), *(f"#undef {key}" for key in defines)]
        return "\n".join([*text, "#define NAME advance", kernel_text("advance.cu"), "#undef NAME", ""])

    def feeds(self, batch: int) -> Iterator[Piece]:
        """Yield the copies that a step begins with."""
        for rows in self._feeds:
            yield self.take(rows, batch)

    def take(self, rows: Rows, batch: int) -> Piece:
        """Return the copy of a batch's rows."""
        order, place = self._ranges()
        written = rows.target, rows.target + batch * rows.row_bytes
        return partial(self._take, rows, batch), Access((order, place), (written,))

    def advance(self, batch: int) -> Piece:
        """Return the step on to the next batch, which comes after all copies of this one."""
        return partial(self._advance, batch), Access((), (self._ranges()[1],))

    def _ranges(self) -> tuple[Range, Range]:
        return (self._order.address, self._order.address + 8), (self._place.address, self._place.address + 8)

    def _take(self, rows: Rows, batch: int) -> None:
        blocks = -(-batch * rows.row_bytes // rows.itemsize // THREADS)
        addresses = [rows.held.memory.address, self._order.address, self._place.address, rows.target]
        self._machine.launch(self._kernels[self._name(rows)], (blocks, 1, 1), THREADS, [*addresses, batch])

    def _advance(self, batch: int) -> None:
        self._machine.launch(self._kernels["advance"], (1, 1, 1), 32, [self._place.address, batch])

    def begin(self, order: np.ndarray) -> None:
        """Set the order, of as many rows as there are or one batch at most; the next batch is its first."""
        self._machine.upload(self._order.address, np.ascontiguousarray(order, np.int64))
        self._machine.upload(self._place.address, np.zeros(1, np.int64))
