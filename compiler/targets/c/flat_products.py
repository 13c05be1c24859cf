"""Print matrix products of values without a batch, which all threads compute together.

The lanes hold neighbouring columns. Some vectors of columns of the second factor are laid side by side first, for some
terms at a time, so that all rows read them from a first-level cache, however the factor lies in memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from graphnn.compiler.targets.c.cooperative import Shares
from graphnn.compiler.targets.c.products import Product
from graphnn.compiler.targets.c.register_tiles import outer_product, vector_registers
from graphnn.compiler.targets.c.text import function, indented, linear, loop, row_major

TERMS = 128
"""Terms whose columns are at hand at a time: four vectors of each stay in a first-level cache."""

ROWS = 64
"""Rows that a thread computes at a time: it lays out the columns anew for each such part."""

PARALLEL_FROM = 1 << 15
"""Multiply-adds from which a product is worth more than one thread."""


@dataclass(frozen=True)
class FlatProduct:
    """A product, or its transpose where vectors of columns would be emptier than those of rows.

    Attributes
    ----------
    shape : Product
        What the kernel computes.
    turned : bool
        Whether that is the transpose.
    matrix_steps : tuple of int
        Elements of the result from one matrix to the next, for each leading axis.
    """

    shape: Product
    lanes: int
    turned: bool
    matrix_steps: tuple[int, ...]

    @classmethod
    def of(cls, shape: Product, lanes: int) -> FlatProduct:
        """Choose the side whose vectors are fuller."""
        transposed = Product(shape.leading, shape.columns, shape.terms, shape.rows, shape.b.turned, shape.a.turned)
        choices = [cls(each, lanes, each is transposed, shape.matrix_steps) for each in (shape, transposed)]
        return min(choices, key=lambda choice: choice.vectors * choice.shape.rows)

    @property
    def vectors(self) -> int:
        """Vectors of a row."""
        return -(-self.shape.columns // self.lanes)

    @property
    def width(self) -> int:
        """Vectors that are computed at a time."""
        return min(self.vectors, 4 if vector_registers(self.lanes) > 16 else 3)

    @property
    def shares(self) -> Shares:
        """How rows are cut into parts, and these into tiles."""
        parts = -(-self.shape.rows // ROWS)
        return Shares(self.shape.rows, parts, at_most=5 if vector_registers(self.lanes) > 16 else 4)

    @property
    def by_row(self) -> int:
        """Elements of the result from one row of the kernel's to the next."""
        return 1 if self.turned else self.shape.columns

    @property
    def by_column(self) -> int:
        """Elements of the result from one column of the kernel's to the next."""
        return self.shape.rows if self.turned else 1


def print_flat_product(shape: Product, name: str, lanes: int) -> str:
    """Print ``name(a, b, y, n)``, which each thread calls."""
    flat = FlatProduct.of(shape, lanes)
    own = flat.shape
    body = [*_task(flat), *_tiles_of_task(flat, name)]
    count = math.prod(_tasks(flat))
    large = math.prod(own.leading) * own.rows * own.columns * own.terms >= PARALLEL_FROM
    shared = "omp for schedule(static) nowait" if large and count > 1 else "omp single nowait"
    lines = _lay_out(flat, name)
    for height in sorted(flat.shares.sizes):
        lines += _tile(flat, name, height)
    a, b = ("b", "a") if flat.turned else ("a", "b")
    signature = f"{name}(const float *restrict {a}, const float *restrict {b}, float *restrict y, int64_t n)"
    lines += function(signature, ["(void)n;", f"#pragma {shared}", *loop("task", range(count), body)])
    return "\n".join(lines[:-1])


def _tasks(flat: FlatProduct) -> tuple[int, ...]:
    """Return how many tasks there are by matrix, by vectors of columns and by part of the rows."""
    return *flat.shape.leading, -(-flat.vectors // flat.width), flat.shares.threads


def _task(flat: FlatProduct) -> list[str]:
    """Print which numbers a task computes, and where they and their factors lie."""
    own, sizes = flat.shape, _tasks(flat)
    indices = [*(f"g{axis}" for axis in range(len(own.leading))), "panel", "share"]
    steps = zip(indices, row_major(sizes), sizes, strict=True)
    of_b = linear(*own.matrix(own.b.leading), ("column", own.b.by_column))
    of_y = linear(*own.matrix(flat.matrix_steps), ("column", flat.by_column))
    return [
        *(f"const int {each} = task / {step} % {size};" for each, step, size in steps if size > 1 or each[0] != "g"),
        f"const int first_row = {own.rows} * share / {sizes[-1]}, last_row = {own.rows} * (share + 1) / {sizes[-1]};",
        f"const int column = panel * {flat.width} * LANES, left = {own.columns} - column;",
        f"const float *const of_a = a + {linear(*own.matrix(own.a.leading))};",
        f"const float *const of_b = b + {of_b};",
        f"float *const of_y = y + {of_y};",
    ]


def _tiles_of_task(flat: FlatProduct, name: str) -> list[str]:
    """Print the loops over terms and rows of a task."""
    own, shares = flat.shape, flat.shares
    from_a = f"of_a + {linear(('row', own.a.by_row), ('start', own.a.by_column))}"
    arguments = f"{from_a}, laid_out, of_y + {linear(('row', flat.by_row))}, terms, left, start > 0"
    over_rows = [
        "for (int row = first_row; row < last_row;) {",
        f"    const int height = gn_part(last_row - row, {shares.at_most});",
        *(f"    if (height == {height}) {name}_tile{height}({arguments});" for height in sorted(shares.sizes)),
        "    row += height;",
        "}",
    ]
    over_terms = [
        f"const int terms = {own.terms} - start < {TERMS} ? {own.terms} - start : {TERMS};",
        f"{name}_lay_out(of_b + {linear(('start', own.b.by_row))}, terms, left, laid_out);",
        *over_rows,
    ]
    laid_out = f"vec laid_out[{min(own.terms, TERMS) * flat.width}];"
    return [laid_out, *loop("start", range(0, own.terms, TERMS), over_terms)]


def _lay_out(flat: FlatProduct, name: str) -> list[str]:
    """Print how some vectors of columns are laid side by side, term by term."""
    b, width = flat.shape.b, flat.width
    vectors = [
        f"to[k * {width} + {v}] = load_some(b + {linear(('k', b.by_row), (f'{v} * LANES', b.by_column))}, "
        f"left - {v} * LANES, {b.by_column});"
        for v in range(width)
    ]
    body = ["for (int k = 0; k < terms; k++) {", *indented(vectors), "}"]
    return function(f"{name}_lay_out(const float *restrict b, int terms, int left, vec *restrict to)", body)


def _tile(flat: FlatProduct, name: str, height: int) -> list[str]:
    """Print some rows of a task: their sums start from 0 or from what is there, and go to the result."""
    a, width = flat.shape.a, flat.width
    sums = [[f"sum{row}_{v}" for v in range(width)] for row in range(height)]
    rows = [f"splat(a[{linear(('k', a.by_column), constant=row * a.by_row)}])" for row in range(height)]
    columns = [f"b[k * {width} + {v}]" for v in range(width)]
    moves = [
        (each, f"y + {linear((f'{v} * LANES', flat.by_column), constant=row * flat.by_row)}", f"left - {v} * LANES")
        for row, names in enumerate(sums)
        for v, each in enumerate(names)
    ]
    body = [
        *(f"vec {', '.join(f'{each} = {{0}}' for each in names)};" for names in sums),
        "if (adds) {",
        *(f"    {each} = load_some({at}, {left}, {flat.by_column});" for each, at, left in moves),
        "}",
        "for (int k = 0; k < terms; k++)",
        *indented(outer_product(sums, "a", rows, "b", columns)),
        *(f"store_some({at}, {left}, {flat.by_column}, {each});" for each, at, left in moves),
    ]
    arguments = "const float *restrict a, const vec *restrict b, float *restrict y, int terms, int left, int adds"
    return function(f"{name}_tile{height}({arguments})", body)
