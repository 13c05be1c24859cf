"""Print matrix products that all threads compute together, over all blocks of a batch at once.

Each thread has some of the weight's outputs, or some columns or rows of its gradient: nobody adds to another's numbers.

- The gradient of a weight, ``Σ a[r] · b[c]`` over all examples: a tile of it stays in registers while they go by.
- A layer whose weight is too large to stay in a cache: each number of it serves several blocks at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from graphnn.compiler.targets.c.dense import Dense
from graphnn.compiler.targets.c.register_tiles import vector_registers
from graphnn.compiler.targets.c.squares import print_turn
from graphnn.compiler.targets.c.text import function, indented, linear, loop

TURNED_EXAMPLES = 128
"""How many examples of the turned factor are at hand at a time: they stay in a first-level cache."""

UNROLLED_LANES = 4
"""Examples that a tile of a weight's gradient adds between two tests of the loop."""


@dataclass(frozen=True)
class Shares:
    """How threads share a number of rows or vectors, and each its share in tiles of nearly equal size.

    The C code computes the same: ``gn_part`` in support.h.

    Examples
    --------
    >>> sorted(Shares(count=13, threads=2, at_most=3).sizes)
    [2, 3]
    """

    count: int
    threads: int
    at_most: int

    @property
    def sizes(self) -> set[int]:
        """The sizes of all tiles."""
        found: set[int] = set()
        for thread in range(self.threads):
            left = self.count * (thread + 1) // self.threads - self.count * thread // self.threads
            while left:
                size = part(left, self.at_most)
                found.add(size)
                left -= size
        return found

    @property
    def largest(self) -> int:
        """The largest share of a thread."""
        return -(-self.count // self.threads)


def part(left: int, at_most: int) -> int:
    """Return the size of the next tile where so many rows are left."""
    tiles = -(-left // at_most)
    return -(-left // tiles)


@dataclass(frozen=True)
class WeightGradient:
    """``y[r, c] = Σ a[r] · b[c]``; where columns are few, `swapped`: rows and columns change places.

    Attributes
    ----------
    rows, columns : int
        Those of the kernel: of the result, or the other way round if `swapped`.
    by_columns : bool
        Whether threads share the columns; otherwise the rows.
    """

    rows: int
    columns: int
    lanes: int
    threads: int
    swapped: bool
    by_columns: bool

    @classmethod
    def of(cls, rows: int, columns: int, lanes: int, threads: int) -> WeightGradient:
        """Choose what gives the busiest thread the least to do."""
        choices = [
            cls(rows, columns, lanes, threads, False, True),
            cls(rows, columns, lanes, threads, False, False),
            cls(columns, rows, lanes, threads, True, True),
            cls(columns, rows, lanes, threads, True, False),
        ]
        return min(choices, key=lambda choice: choice.cost)

    @property
    def cost(self) -> float:
        """Multiply-adds of a thread for one example, roughly."""
        rows = self.rows if self.by_columns else self.row_shares.largest
        vectors = self.vector_shares.largest if self.by_columns else self.vectors
        # Sharing rows, each thread turns all columns; swapped, results are stored number by number.
        return rows * vectors * (1.2 if self.swapped else 1) + vectors * 2

    @property
    def vectors(self) -> int:
        """Vectors of a row."""
        return -(-self.columns // self.lanes)

    @property
    def _many_registers(self) -> bool:
        return vector_registers(self.lanes) > 16

    @property
    def row_shares(self) -> Shares:
        """How rows are cut into tiles."""
        return Shares(self.rows, 1 if self.by_columns else self.threads, 5 if self._many_registers else 4)

    @property
    def vector_shares(self) -> Shares:
        """How vectors of columns are cut into tiles."""
        return Shares(self.vectors, self.threads if self.by_columns else 1, 4 if self._many_registers else 3)


def print_weight_gradient(rows: int, columns: int, name: str, lanes: int, threads: int, positions: int = 1) -> str:
    """Print ``name(a, a_step, b, b_step, y, n)``, which each thread calls.

    `a` is blocks of `rows` vectors of examples for each of some positions, `b` of `columns`; `a_step` and `b_step` are
    bytes from one block to the next. The result, summed over positions too, is row-major.
    """
    shape = WeightGradient.of(rows, columns, lanes, threads)
    heights, widths = sorted(shape.row_shares.sizes), sorted(shape.vector_shares.sizes)
    lines = [*print_turn(name, lanes).split("\n")]
    for height, width in product(heights, widths):
        lines += _gradient_tile(shape, name, height, width)
    row_share = _share("row", shape.rows, 1 if shape.by_columns else threads)
    vector_share = _share("vector", shape.vectors, threads if shape.by_columns else 1)
    over_rows = [
        "for (int row = first_row; row < last_row;) {",
        f"    const int height = gn_part(last_row - row, {shape.row_shares.at_most});",
        *indented(_choose("height", heights, "width", widths, f"{name}_tile")),
        "    row += height;",
        "}",
    ]
    from_a, from_b = (f"position * {4 * count} * LANES" for count in (shape.rows, shape.columns))
    over_examples = [
        f"for (int64_t start = 0; start < n; start += {TURNED_EXAMPLES}) {{",
        f"    const int examples = n - start < {TURNED_EXAMPLES} ? (int)(n - start) : {TURNED_EXAMPLES};",
        f"    const char *const of_a = a + start / LANES * a_step + {from_a};",
        f"    const char *const of_b = b + start / LANES * b_step + {from_b};",
        "    const int adds = position > 0 || start > 0;",
        f"    {name}_turn_all(of_b, b_step, vector, width, examples, turned);",
        *indented(over_rows),
        "}",
    ]
    shared = [
        *row_share,
        *vector_share,
        "for (int vector = first_vector; vector < last_vector;) {",
        f"    const int width = gn_part(last_vector - vector, {shape.vector_shares.at_most});",
        *indented(loop("position", range(positions), over_examples)),
        "    vector += width;",
        "}",
    ]
    body = [
        *(["const char *const other = a; a = b; b = other;", *_swap_steps()] if shape.swapped else []),
        f"vec turned[{max(widths) * TURNED_EXAMPLES}];",
        *_over_shares(threads, shared),
    ]
    lines += _turn_all(shape, name)
    signature = f"{name}(const char *a, int64_t a_step, const char *b, int64_t b_step, float *restrict y, int64_t n)"
    return "\n".join([*lines, *function(signature, body)])


def _swap_steps() -> Iterator[str]:
    yield "const int64_t other_step = a_step; a_step = b_step; b_step = other_step;"


def _share(what: str, count: int, shares: int) -> list[str]:
    """Print the first and last of a share's rows or vectors."""
    if shares == 1:
        return [f"const int first_{what} = 0, last_{what} = {count};"]
    return [
        f"const int first_{what} = {count} * share / {shares};",
        f"const int last_{what} = {count} * (share + 1) / {shares};",
    ]


def _over_shares(threads: int, body: Sequence[str]) -> list[str]:
    """Print a loop over a thread's shares: one, unless there are fewer threads than were asked for."""
    head = f"for (int share = omp_get_thread_num(); share < {threads}; share += omp_get_num_threads()) {{"
    return [head, *indented(body), "}"]


def _choose(row: str, heights: Sequence[int], column: str, widths: Sequence[int], tile: str) -> Iterator[str]:
    """Print the call of the tile that has the right size."""
    arguments = "of_a + 4 * LANES * row, a_step, turned, examples, y, row, vector, adds"
    for height, width in product(heights, widths):
        yield f"if ({row} == {height} && {column} == {width}) {tile}{height}x{width}({arguments});"


def _turn_all(shape: WeightGradient, name: str) -> list[str]:
    """Print how some vectors of columns are turned around for all examples: one example's lie side by side."""
    body = [
        "for (int first = 0; first < examples; first += LANES, b += b_step) {",
        "    const mask inside = first_lanes(examples - first);",
        "    for (int v = 0; v < width; v++) {",
        "        const vec *from = (const vec *)b + (vector + v) * LANES;",
        f"        const int left = {shape.columns} - (vector + v) * LANES;",
        "        vec some[LANES] = {0}, square[LANES];",
        "        if (left < LANES) {",
        "            for (int i = 0; i < left; i++) some[i] = from[i];",
        "            from = some;",
        "        }",
        f"        {name}_turn(from, inside, square);",
        "        for (int i = 0; i < LANES; i++) turned[(first + i) * width + v] = square[i];",
        "    }",
        "}",
    ]
    arguments = "const char *b, int64_t b_step, int vector, int width, int examples, vec *turned"
    return function(f"{name}_turn_all({arguments})", body)


def _gradient_tile(shape: WeightGradient, name: str, height: int, width: int) -> list[str]:
    """Print the function of one size of tile: its sums start from 0 or from what is there, and go to the result."""
    sums = [[f"sum{row}_{v}" for v in range(width)] for row in range(height)]
    products = [f"const vec b{v} = in_register(turned[{v}]);" for v in range(width)]
    for row, each in enumerate(sums):
        added = " ".join(f"{name} += a{row} * b{v};" for v, name in enumerate(each))
        products.append(f"const float a{row} = values[{row} * LANES + lane]; {added}")
    products.append(f"turned += {width};")
    by_row, by_column = (1, shape.rows) if shape.swapped else (shape.columns, 1)
    places = [
        f"y + {linear(('(row + ' + str(row) + ')', by_row), ('(column + ' + str(v) + ' * LANES)', by_column))}"
        for row in range(height)
        for v in range(width)
    ]
    lefts = [f"{shape.columns} - column - {v} * LANES" for _ in range(height) for v in range(width)]
    flat = [each for row in sums for each in row]
    moves = list(zip(flat, places, lefts, strict=True))
    body = [
        "const int column = vector * LANES;",
        f"vec {', '.join(f'{each} = {{0}}' for each in flat)};",
        "if (adds) {",
        *(f"    {each} = load_some({at}, {left}, {by_column});" for each, at, left in moves),
        "}",
        "for (; examples > 0; examples -= LANES, a += a_step) {",
        "    const float *values = (const float *)a;",
        "    if (examples >= LANES) {",
        f"#pragma GCC unroll {UNROLLED_LANES}",
        *indented(indented(["for (int lane = 0; lane < LANES; lane++) {", *indented(products), "}"])),
        "    } else {",
        *indented(indented(["for (int lane = 0; lane < examples; lane++) {", *indented(products), "}"])),
        "    }",
        "}",
        *(f"store_some({at}, {left}, {by_column}, {each});" for each, at, left in moves),
    ]
    arguments = "const char *a, int64_t a_step, const vec *turned, int examples, float *restrict y"
    return function(f"{name}_tile{height}x{width}({arguments}, int row, int vector, int adds)", body)


def print_dense_together(layer: Dense, name: str, lanes: int, threads: int) -> str:
    """Print ``name(x, x_step, weight, y, y_step, n)``, which each thread calls: all blocks of a layer."""
    many = vector_registers(lanes) > 16
    shares = Shares(layer.outputs, threads, 8 if many else 4)
    heights, widths = sorted(shares.sizes), (1, 2, 3)
    lines: list[str] = []
    for height, width in product(heights, widths):
        lines += _dense_tile(layer, name, height, width)
    arguments = "x + block * x_step, x_step, weight, y + block * y_step, y_step, output"
    calls = [
        f"if (height == {height} && width == {width}) {name}_tile{height}x{width}({arguments});"
        for height, width in product(heights, widths)
    ]
    shared = [
        *_share("output", layer.outputs, threads),
        "for (int64_t block = 0; block < blocks;) {",
        "    const int width = gn_part(blocks - block, 3);",
        "    for (int output = first_output; output < last_output;) {",
        f"        const int height = gn_part(last_output - output, {shares.at_most});",
        *indented(indented(calls)),
        "        output += height;",
        "    }",
        "    block += width;",
        "}",
    ]
    body = ["const int64_t blocks = (n + LANES - 1) / LANES;", *_over_shares(threads, shared)]
    signature = f"{name}(const char *x, int64_t x_step, const float *weight, char *y, int64_t y_step, int64_t n)"
    return "\n".join([*lines, *function(signature, body)])


def _dense_tile(layer: Dense, name: str, height: int, width: int) -> list[str]:
    """Print the function of some outputs of some blocks."""
    sums = [[f"sum{row}_{v}" for v in range(width)] for row in range(height)]
    products = [f"const vec x{v} = in_register(((const vec *)(x + {v} * x_step))[i]);" for v in range(width)]
    for row, each in enumerate(sums):
        added = " ".join(f"{name} += w{row} * x{v};" for v, name in enumerate(each))
        at = linear(("i", layer.by_input), constant=row * layer.by_output)
        products.append(f"const vec w{row} = splat(w[{at}]); {added}")
    body = [
        f"const float *w = weight + {linear(('output', layer.by_output))};",
        f"vec {', '.join(f'{each} = {{0}}' for row in sums for each in row)};",
        *loop("i", range(layer.inputs), products),
        *(
            f"((vec *)(y + {v} * y_step))[output + {row}] = {each};"
            for row, row_sums in enumerate(sums)
            for v, each in enumerate(row_sums)
        ),
    ]
    arguments = "const char *x, int64_t x_step, const float *restrict weight, char *restrict y, int64_t y_step"
    return function(f"{name}_tile{height}x{width}({arguments}, int output)", body)
