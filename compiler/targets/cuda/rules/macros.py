"""What the rules of several families have in common: threads, element types, and lines along an axis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphnn.compiler.targets.cuda.elements import extent_text, loaded, value_type
from graphnn.compiler.targets.cuda.instance import Blocks, Instance
from graphnn.ops import dtypes
from graphnn.ops.dtypes import DType
from graphnn.ops.node import Node
from graphnn.ops.spec import Extent, Shape, bind_extent, product

THREADS = 256
"""Threads of a block, where nothing speaks for another number."""

WARP = 32
ONE = Blocks(1)


def working_type(dtype: DType) -> str:
    """Return the type in which elements are computed with, one that threads can exchange.

    Examples
    --------
    >>> working_type(dtypes.bfloat16), working_type(dtypes.uint8), working_type(dtypes.int64)
    ('float', 'int', 'int64_t')
    """
    return "int" if dtype in (dtypes.bool, dtypes.uint8) else value_type(dtype)


def element(node: Node, place: int) -> dict[str, str]:
    """Return the macro that loads an element of an input: ``X0(i)`` for the first.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     element(gn.ops.softmax(gn.placeholder("x", (None, 10), "float16")), 0)
    {'X0(i)': 'gn_load_f16(x0[i])'}
    """
    return {f"X{place}(i)": loaded(f"x{place}[i]", node.inputs[place].dtype)}


def flat(file: str, defines: Mapping[str, str], size: Extent) -> Instance:
    """Return a kernel whose threads each make one of `size` elements."""
    macros = {**defines, "SIZE": extent_text(size), "THREADS": str(THREADS)}
    return Instance(file, macros, (Blocks(size, THREADS), ONE, ONE), THREADS)


@dataclass(frozen=True)
class Lines:
    """What stands along one axis of a row-major value: a line for each place on all other axes.

    Attributes
    ----------
    outer, length, inner : int or Dim
        Places before the axis, along it, and after it. Neighbours on a line are `inner` elements apart.

    Examples
    --------
    >>> Lines.of((2, 3, 4), axis=1)
    Lines(outer=2, length=3, inner=4)
    """

    outer: Extent
    length: Extent
    inner: Extent

    @classmethod
    def of(cls, shape: Shape, axis: int) -> Lines:
        """Cut a shape along an axis, which may count from the last."""
        axis %= len(shape)
        return cls(product(shape[:axis]), shape[axis], product(shape[axis + 1 :]))

    @property
    def count(self) -> Extent:
        """How many lines there are."""
        return self.outer * self.inner

    def bind(self, batch: int) -> tuple[int, int, int]:
        """Return how many lines there are in a run over `batch` examples, their length and the distance within."""
        return bind_extent(self.count, batch), bind_extent(self.length, batch), bind_extent(self.inner, batch)

    def instance(self, file: str, defines: Mapping[str, str], team: int = 1, threads: int = THREADS) -> Instance:
        """Return a kernel in which `team` threads work on each line."""
        sizes = {"LINES": extent_text(self.count), "LENGTH": extent_text(self.length), "INNER": extent_text(self.inner)}
        geometry = {"TEAM": str(team), "THREADS": str(threads)}
        blocks = Blocks(self.count, threads // team)
        return Instance(file, {**defines, **sizes, **geometry}, (blocks, ONE, ONE), threads)


def power_of_two(at_least: int) -> int:
    """Return the smallest power of two that is not below a number.

    Examples
    --------
    >>> [power_of_two(number) for number in (1, 2, 3, 10)]
    [1, 2, 4, 16]
    """
    return 1 << (at_least - 1).bit_length()
