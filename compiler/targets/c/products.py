"""Print matrix products of stacks, one block of examples at a time.

A factor is read where it lies, by strides: turning its matrices, or putting its axes in another order, costs nothing.
One with a batch is read a vector of examples at a time, one without it a number at a time. A tile of the result stays
in registers while the loop over terms runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, product

from graphnn.compiler.targets.c.register_tiles import Parts, cycles, fits, outer_product, vector_registers
from graphnn.compiler.targets.c.text import indented, linear, loop, row_major
from graphnn.compiler.targets.c.units import example_shape, is_batched, read_in_place
from graphnn.ops.node import Node
from graphnn.ops.shape import Transpose


@dataclass(frozen=True)
class Factor:
    """A stack of matrices as it lies in memory.

    Attributes
    ----------
    batched : bool
        Whether each element is a vector of examples.
    leading : tuple of int
        Elements from one matrix to the next, for each leading axis of the product; 0 where it is broadcast.
    by_row, by_column : int
        Elements from one row to the next, and from one column to the next.
    """

    batched: bool
    leading: tuple[int, ...]
    by_row: int
    by_column: int

    @classmethod
    def of(cls, node: Node, leading: int) -> Factor:
        """Describe a factor of a product that has so many leading axes, the batch aside."""
        memory = read_in_place(node)
        strides = row_major(example_shape(memory))
        if memory is not node:
            assert isinstance(node.op, Transpose)
            batch_axes = int(is_batched(node))
            strides = tuple(strides[axis - batch_axes] for axis in node.op.axes[batch_axes:])
        steps = tuple(0 if size == 1 else step for size, step in zip(example_shape(node), strides, strict=True))
        full = (0,) * (leading + 2 - len(steps)) + steps[-leading - 2 :]
        return cls(is_batched(node), full[:-2], *full[-2:])

    @property
    def turned(self) -> Factor:
        """The transposed matrices."""
        return Factor(self.batched, self.leading, self.by_column, self.by_row)


@dataclass(frozen=True)
class Product:
    """``y[g, i, j] = Σ a[g, i, k] · b[g, k, j]``: one example's, or without a batch; y is row-major.

    Attributes
    ----------
    leading : tuple of int
        How many matrices there are on each leading axis.
    rows, terms, columns : int
        How many i, k and j there are.
    a, b : Factor
        What is multiplied.
    """

    leading: tuple[int, ...]
    rows: int
    terms: int
    columns: int
    a: Factor
    b: Factor

    @classmethod
    def of(cls, node: Node) -> Product:
        """Describe a MatMul that does not sum over examples."""
        a, b = node.inputs
        *leading, rows, columns = example_shape(node)
        count = len(leading)
        return cls(tuple(leading), rows, example_shape(a)[-1], columns, Factor.of(a, count), Factor.of(b, count))

    @property
    def matrix_steps(self) -> tuple[int, ...]:
        """Elements of the result from one matrix to the next, for each leading axis."""
        return row_major((*self.leading, self.rows, self.columns))[:-2]

    def matrix(self, steps: Sequence[int]) -> list[tuple[str, int]]:
        """Return the terms of an index that say which matrix is meant, by variables ``g0`` and so on."""
        return [(f"g{axis}", step) for axis, step in enumerate(steps) if self.leading[axis] > 1]


def print_product(shape: Product, name: str, lanes: int) -> str:
    """Print ``name(a, b, y)``: the products of one block of examples."""
    height, width = _best_tile(shape, vector_registers(lanes))
    body: list[str] = []
    for columns, rows in product(Parts.of(shape.columns, width).runs, Parts.of(shape.rows, height).runs):
        body += loop("j", columns, loop("i", rows, _tile(shape, rows.step, columns.step)))
    for axis in reversed(range(len(shape.leading))):
        if shape.leading[axis] > 1:
            body = loop(f"g{axis}", range(shape.leading[axis]), body)
    signature = f"{name}(const float *restrict a, const float *restrict b, float *restrict y)"
    return "\n".join([f"static void {signature}", "{", *indented(body), "}"])


def _best_tile(shape: Product, registers: int) -> tuple[int, int]:
    """Return the rows and columns of a tile that takes the least time."""

    def time(tile: tuple[int, int]) -> float:
        rows, columns = Parts.of(shape.rows, tile[0]).sizes, Parts.of(shape.columns, tile[1]).sizes
        return sum(n * m * cycles(height, width) for (height, n), (width, m) in product(rows, columns))

    heights, widths = (range(1, min(count, registers) + 1) for count in (shape.rows, shape.columns))
    return min((tile for tile in product(heights, widths) if fits(*tile, registers)), key=time)


def _tile(shape: Product, height: int, width: int) -> list[str]:
    """Print some rows and columns of a result."""
    sums = [[f"sum{row}_{column}" for column in range(width)] for row in range(height)]
    a, b = shape.a, shape.b
    rows = [_element("of_a", a, linear(("k", a.by_column), constant=row * a.by_row)) for row in range(height)]
    columns = [_element("of_b", b, linear(("k", b.by_row), constant=j * b.by_column)) for j in range(width)]
    places = [[f"to[{row * shape.columns + column}]" for column in range(width)] for row in range(height)]
    return [
        _lines_of(a, "a", linear(*shape.matrix(a.leading), ("i", a.by_row))),
        _lines_of(b, "b", linear(*shape.matrix(b.leading), ("j", b.by_column))),
        f"vec *const to = (vec *)y + {linear(*shape.matrix(shape.matrix_steps), ('i', shape.columns), ('j', 1))};",
        *(f"vec {', '.join(f'{each} = {{0}}' for each in row)};" for row in sums),
        *loop("k", range(shape.terms), outer_product(sums, "a", rows, "b", columns)),
        *(f"{to} = {value};" for to, value in zip(chain(*places), chain(*sums), strict=True)),
    ]


def _lines_of(factor: Factor, name: str, index: str) -> str:
    """Print the pointer to where a tile's rows, or columns, of a factor begin."""
    kind, pointer = ("vec", f"(const vec *){name}") if factor.batched else ("float", name)
    return f"const {kind} *const of_{name} = {pointer} + {index};"


def _element(name: str, factor: Factor, index: str) -> str:
    return f"{name}[{index}]" if factor.batched else f"splat({name}[{index}])"
