"""Whole data sets in device memory, from which a step takes its batch by itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from weakref import WeakValueDictionary

import numpy as np

from graphnn.compiler.targets.cuda.concurrency import Access
from graphnn.compiler.targets.cuda.lowering import kernel_text
from graphnn.compiler.targets.cuda.machine import Kernel, Machine, Memory
from graphnn.ops.node import Node

THREADS = 256


@dataclass(eq=False)
class HeldArray:
    """An array and its copy on a device.

    The array is kept too, so that its identity stays its own.
    """

    array: np.ndarray
    memory: Memory


_HELD: WeakValueDictionary[tuple[str, int], HeldArray] = WeakValueDictionary()


def held(array: np.ndarray, machine: Machine) -> HeldArray:
    """Return an array's copy on a device, the same one for all who ask.

    Raises
    ------
    MemoryError
        If there is no room for it.
    """
    key = machine.name, id(array)
    found = _HELD.get(key)
    if found is None:
        found = _HELD[key] = HeldArray(array, machine.allocate(max(1, array.nbytes)))
        machine.upload(found.memory.address, np.ascontiguousarray(array))
    return found


class ResidentData:
    """Data sets for placeholders, an order of their rows, and the place in it where the next batch begins.

    Parameters
    ----------
    data : dict of Node to numpy.ndarray
        In storage form, with equally many rows.
    targets : dict of Node to int
        The addresses of the placeholders' memory.
    machine : Machine
        Where it lies.
    max_batch : int
        Rows of a batch at most.
    """

    def __init__(
        self, data: Mapping[Node, np.ndarray], targets: Mapping[Node, int], machine: Machine, max_batch: int
    ) -> None:
        self._machine = machine
        self._arrays = {node: held(array, machine) for node, array in data.items()}
        self._targets = targets
        self.rows = len(next(iter(data.values())))
        self._order = machine.allocate(8 * max(self.rows, max_batch))
        self._place = machine.allocate(8)
        self._kernels: Mapping[str, Kernel] = machine.compile(self._text(), [*self._names(), "advance"])

    def _names(self) -> Sequence[str]:
        return [f"take_rows_{number}" for number in range(len(self._arrays))]

    def _text(self) -> str:
        text = [kernel_text("device.h")]
        for name, found in zip(self._names(), self._arrays.values(), strict=True):
            size = math.prod(found.array.shape[1:])
            element = {1: "uint8_t", 2: "uint16_t", 4: "uint32_t", 8: "uint64_t"}[found.array.itemsize]
            defines = {"NAME": name, "ELEMENT": element, "SIZE": str(size), "THREADS": str(THREADS)}
            text += [f"#define {key} {value}" for key, value in defines.items()]
            text += [kernel_text("take_rows.cu"), *(f"#undef {key}" for key in defines)]
        return "\n".join([*text, "#define NAME advance", kernel_text("advance.cu"), "#undef NAME", ""])

    def pieces(self, batch: int) -> Iterator[tuple[Callable[[], None], Access]]:
        """Yield the copies of a batch and the step to the next one, each with the memory that it touches."""
        order, place = (self._order.address, self._order.address + 8), (self._place.address, self._place.address + 8)
        for name, node in zip(self._names(), self._arrays, strict=True):
            target = self._targets[node]
            nbytes = batch * math.prod(self._arrays[node].array.shape[1:]) * self._arrays[node].array.itemsize
            yield partial(self._take, name, node, batch), Access((order, place), ((target, target + nbytes),))
        yield partial(self._advance, batch), Access((), (place,))

    def _take(self, name: str, node: Node, batch: int) -> None:
        found = self._arrays[node]
        blocks = -(-batch * math.prod(found.array.shape[1:]) // THREADS)
        addresses = [found.memory.address, self._order.address, self._place.address, self._targets[node]]
        self._machine.launch(self._kernels[name], (blocks, 1, 1), THREADS, [*addresses, batch])

    def _advance(self, batch: int) -> None:
        self._machine.launch(self._kernels["advance"], (1, 1, 1), 32, [self._place.address, batch])

    def begin(self, order: np.ndarray) -> None:
        """Set the order, of as many rows as there are or one batch at most; the next batch is its first."""
        self._machine.upload(self._order.address, np.ascontiguousarray(order, np.int64))
        self._machine.upload(self._place.address, np.zeros(1, np.int64))
