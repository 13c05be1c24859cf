"""Print matrix products with a batch: a layer's result, the gradient by its input, and by its weight.

Each works on a block of LANES examples. A layer is ``y[o] = Σ weight[o, i] · x[i]`` over vectors of examples: each
number of the weight multiplies a whole vector. For the weight's gradient the examples of a block are added up, so that
one of the two factors is turned around first: neighbouring columns of one example then lie side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from graphnn.compiler.targets.c.register_tiles import Parts, vector_registers
from graphnn.compiler.targets.c.text import indented, linear, loop

TILE = 12
"""Results of a layer that are summed at a time: they fit into 16 registers and hide an addition's latency."""

UNROLLED_INPUTS = 16
"""Up to so many inputs a layer's loop over them is unrolled: leaving a short loop costs as much as running it."""

TURNED_BYTES = 16384
"""How much of the turned factor is at hand at a time: half of a first-level cache."""

LANE_STEP = 4
"""Examples that a tile of the weight's gradient adds at a time."""

_SETS_BYTES = 4096  # addresses so far apart share a set of a first-level cache,
_WAYS = 6  # which holds so many lines of the weight beside what else is read


@dataclass(frozen=True)
class Dense:
    """A layer: `outputs` sums over `inputs` values; the weight's element (o, i) is ``o · by_output + i · by_input``."""

    inputs: int
    outputs: int
    by_output: int
    by_input: int


def print_dense(layer: Dense, name: str) -> str:
    """Print ``name(x, weight, y)``: one block of a layer."""
    at_most = _WAYS if layer.by_output * 4 % _SETS_BYTES == 0 else TILE
    lines = ["const vec *in = (const vec *)x;", "vec *restrict out = (vec *)y;"]
    for run in Parts.of(layer.outputs, at_most).runs:
        lines += loop("o", run, _outputs(layer, run.step))
    signature = f"static void {name}(const float *restrict x, const float *restrict weight, float *restrict y)"
    return "\n".join([signature, "{", *indented(lines), "}"])


def _outputs(layer: Dense, count: int) -> list[str]:
    """Print some neighbouring results. Where they are few, each has several sums, one for every second input, say."""
    chains = min(TILE // count, layer.inputs)
    sums = [
        [f"sum{place}" + (f"_{number}" if chains > 1 else "") for number in range(chains)] for place in range(count)
    ]
    short = layer.inputs <= UNROLLED_INPUTS
    steps = [_step(layer, [each[number] for each in sums], number, short) for number in range(chains)]
    end = layer.inputs - layer.inputs % chains
    rest = list(chain.from_iterable(steps[: layer.inputs - end]))
    return [
        *(f"vec {', '.join(f'{each} = {{0}}' for each in row)};" for row in sums),
        f"const float *w = weight + {linear(('o', layer.by_output))};",
        *([f"#pragma GCC unroll {UNROLLED_INPUTS}"] if short else []),
        *loop("i", range(0, end, chains), chain.from_iterable(steps)),
        *(["{", f"    const int i = {end};", *indented(rest), "}"] if rest else []),
        *(f"out[{linear(('o', 1), constant=place)}] = {' + '.join(row)};" for place, row in enumerate(sums)),
    ]


def _step(layer: Dense, sums: Sequence[str], after: int, short: bool) -> list[str]:
    """Print what the input that is `after` places after i adds to each result."""
    value, given = f"value{after}", f"in[{linear(('i', 1), constant=after)}]"
    lines = [f"const vec {value} = {f'in_register({given})' if short else given};"]
    for place, each in enumerate(sums):
        index = linear(("i", layer.by_input), constant=after * layer.by_input + place * layer.by_output)
        lines.append(f"{each} += w[{index}] * {value};")
    return lines


def weight_gradient_floats(rows: int, columns: int, lanes: int) -> int:
    """Return how many numbers the sums of `print_dense_weight_gradient` take."""
    tiling = _Tiling.of(rows, columns, lanes)
    return tiling.rows * tiling.vectors * lanes


def print_dense_weight_gradient(rows: int, columns: int, name: str, lanes: int) -> str:
    """Print ``name(a, b, sums, valid)`` and ``name_finish(sums, result)``.

    The first adds Σ a[r]·b[c] over a block's first `valid` examples to the sums, whatever the other lanes hold; `a` is
    `rows` vectors of examples, `b` is `columns`. In the sums, one tile lies after the other, its columns filled up to
    whole vectors; the second function writes them in row-major order.
    """
    tiling = _Tiling.of(rows, columns, lanes)
    functions = [_print_turn(name, lanes)]
    functions += [_print_chunk(tiling, run.step, name) for run in tiling.chunks.runs]
    return "\n".join([*functions, _print_adding(tiling, name), _print_finish(tiling, name)])


@dataclass(frozen=True)
class _Tiling:
    """How a weight's gradient is cut: vectors of columns into chunks that are turned at a time, and all into tiles.

    Attributes
    ----------
    rows, columns : int
        Those of the weight, or the other way round if `swapped`.
    """

    rows: int
    columns: int
    lanes: int
    swapped: bool = False

    @classmethod
    def of(cls, rows: int, columns: int, lanes: int) -> _Tiling:
        """Return the tiling; where few columns would leave most of a vector empty, rows take their place."""
        plain, swapped = cls(rows, columns, lanes), cls(columns, rows, lanes, swapped=True)
        return swapped if 1.25 * swapped.rows * swapped.vectors < plain.rows * plain.vectors else plain

    @property
    def vectors(self) -> int:
        """Vectors of a row."""
        return -(-self.columns // self.lanes)

    @property
    def chunks(self) -> Parts:
        """The vectors that are turned at a time."""
        return Parts.of(self.vectors, max(1, TURNED_BYTES // (4 * self.lanes**2)))

    def tiles(self, vectors: int) -> tuple[list[range], list[range]]:
        """Return where the tiles of a chunk start, by rows and by vectors."""
        height, width = (5, 4) if vector_registers(self.lanes) > 16 else (4, 3)
        return Parts.of(self.rows, height).runs, Parts.of(vectors, width).runs


def _print_turn(name: str, lanes: int) -> str:
    """Print ``name_turn(from, inside, to)``: the transpose of `lanes` vectors, 0 for the lanes that are not inside.

    Of each square, the upper right and the lower left quarter are exchanged, and then the same within each quarter.
    """
    lines = [f"const vec of{lanes}_{i} = keep(from[{i}], inside);" for i in range(lanes)]
    side = lanes
    while side > 1:
        half = side // 2
        for i in range(lanes):
            upper, lower = f"of{side}_{i & ~half}", f"of{side}_{i | half}"
            side_of_row = [j | half if i & half else j & ~half for j in range(lanes)]
            picked = ", ".join(str(place + (lanes if j & half else 0)) for j, place in enumerate(side_of_row))
            lines.append(f"const vec of{half}_{i} = GN_PICK({upper}, {lower}, {picked});")
        side = half
    lines += [f"to[{i}] = of1_{i};" for i in range(lanes)]
    signature = f"static inline void {name}_turn(const vec *from, mask inside, vec *to)"
    return "\n".join([signature, "{", *indented(lines), "}"])


def _print_chunk(tiling: _Tiling, vectors: int, name: str) -> str:
    """Print ``name_chunkN(a, b, columns, sums, valid)`` for N vectors of columns, the last perhaps not full."""
    lines = [
        "const mask inside = first_lanes(valid);",
        f"vec turned[{vectors} * LANES];",
        "vec rest[LANES] = {0};",
        f"for (int v = 0; v < {vectors}; v++) {{",
        "    const vec *from = b + v * LANES;",
        "    if (columns - v * LANES < LANES) {",
        "        for (int i = 0; i < columns - v * LANES; i++) rest[i] = from[i];",
        "        from = rest;",
        "    }",
        f"    {name}_turn(from, inside, turned + v * LANES);",
        "}",
    ]
    row_runs, vector_runs = tiling.tiles(vectors)
    for rows in row_runs:
        body = [f"vec kept[{rows.step}];"]
        body += loop("row", range(rows.step), ["kept[row] = keep(a[r + row], inside);"])
        body.append("const float *values = (const float *)kept;")
        for run in vector_runs:
            body += loop("v", run, _tile(rows.step, run.step))
        lines += loop("r", rows, body)
    arguments = "const vec *a, const vec *b, int columns, vec *restrict sums, int valid"
    return "\n".join([f"static void {name}_chunk{vectors}({arguments})", "{", *indented(lines), "}"])


def _tile(rows: int, vectors: int) -> list[str]:
    """Print how a tile's sums are loaded, added to and stored. Lanes from `valid` on are 0 on both sides."""
    sums = [f"sum{row}_{v}" for row in range(rows) for v in range(vectors)]
    body = [f"const vec b{v} = in_register(of_lane[{v} * LANES + lane + i]);" for v in range(vectors)]
    for row in range(rows):
        products = " ".join(f"sum{row}_{v} += a{row} * b{v};" for v in range(vectors))
        body.append(f"const float a{row} = values[{row} * LANES + lane + i]; {products}")
    return [
        "const vec *of_lane = turned + v * LANES;",
        *(f"vec {each} = sums[{place}];" for place, each in enumerate(sums)),
        f"for (int lane = 0; lane < valid; lane += {LANE_STEP}) {{",
        f"#pragma GCC unroll {LANE_STEP}",
        *indented(loop("i", range(LANE_STEP), body)),
        "}",
        *(f"sums[{place}] = {each};" for place, each in enumerate(sums)),
        f"sums += {len(sums)};",
    ]


def _print_adding(tiling: _Tiling, name: str) -> str:
    """Print the function that goes through all chunks."""
    rows, columns = ("b", "a") if tiling.swapped else ("a", "b")
    body = []
    for run in tiling.chunks.runs:
        given = f"(const vec *){rows}, (const vec *){columns} + v * LANES, {tiling.columns} - v * LANES"
        call = f"{name}_chunk{run.step}({given}, (vec *)sums + {linear(('v', tiling.rows))}, valid);"
        body += loop("v", run, [call])
    signature = f"static void {name}(const float *a, const float *b, float *sums, int valid)"
    return "\n".join([signature, "{", *indented(body), "}"])


def _print_finish(tiling: _Tiling, name: str) -> str:
    """Print the function that goes through all tiles in the same order and puts their numbers where they belong."""
    body = []
    for chunk in tiling.chunks.runs:
        row_runs, vector_runs = tiling.tiles(chunk.step)
        inner = []
        for rows in row_runs:
            tiles = []
            for run in vector_runs:
                tiles += loop("v", run, _written(tiling, rows.step, run.step))
            inner += loop("r", rows, tiles)
        body += loop("first", chunk, inner)
    signature = f"static void {name}_finish(const float *restrict sums, float *restrict result)"
    return "\n".join([signature, "{", *indented(body), "}"])


def _written(tiling: _Tiling, rows: int, vectors: int) -> list[str]:
    by_row, by_column = (1, tiling.rows) if tiling.swapped else (tiling.columns, 1)
    place = linear(("(r + row)", by_row), ("(column + i)", by_column))
    return [
        f"const int column = (first + v) * LANES, left = {tiling.columns} - column;",
        f"const int count = left < {vectors} * LANES ? left : {vectors} * LANES;",
        *loop(
            "row",
            range(rows),
            [f"for (int i = 0; i < count; i++) result[{place}] = sums[i];", f"sums += {vectors} * LANES;"],
        ),
    ]
