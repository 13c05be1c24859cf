"""Print the C of a convolution and of its gradient by the images, a block of examples in the lanes at a time.

Both gather: a place of the result is a sum, over channels and taps of the kernel, of a number of the weight times a
vector of the source. They differ in which taps meet which places (`Reads`) and in the strides of the weight. What lies
outside the source is neither read nor multiplied: along the height a table says which taps a row has, along the width
the taps are resolved here, tile by tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from graphnn.compiler.targets.c.convolution_geometry import Conv2dGeometry, Reads
from graphnn.compiler.targets.c.register_tiles import (
    ALL_STATEMENTS,
    STATEMENTS,
    Parts,
    cycles,
    fits,
    outer_product,
    vector_registers,
)
from graphnn.compiler.targets.c.text import Table, function, indented, linear, loop


def print_conv2d(
    name: str,
    geometry: Conv2dGeometry,
    lanes: int,
    bias: bool = False,
    relu: bool = False,
    pool: tuple[int, int] | None = None,
) -> str:
    """Return a C function that computes ``y = conv2d(x, weight) + bias`` of one block of examples.

    ::

        static void NAME(const float *x, const float *weight, const float *bias, uint8_t *indices, float *y)

    Parameters
    ----------
    name : str
        Of the function.
    geometry : Conv2dGeometry
        All sizes; x is (C, H, W, lanes), the weight (O, C / groups, KH, KW), y (O, OH, OW, lanes).
    lanes : int
        Examples of a block, the macro LANES of the unit.
    bias : bool
        Whether a bias of shape (O,) is added; it isn't read otherwise.
    relu : bool
        Whether what is negative becomes 0.
    pool : pair of int
        Height and width of the windows, side by side, of which y has the largest number each, and `indices` its
        position, unless that pointer is null; otherwise `indices` isn't used.

    Examples
    --------
    >>> g = Conv2dGeometry(1, (8, 8), 2, (3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 1, (6, 6))
    >>> print_conv2d("conv1", g, lanes=8).splitlines()[0]
    '/* kernel: conv2d conv1: 1x8x8 to 2x6x6, kernel 3x3 */'
    """
    rows, columns = geometry.axes
    taps = prod(geometry.kernel)
    gather = _Gather(
        geometry=geometry,
        results=geometry.group_outputs,
        sources=geometry.group_channels,
        size=geometry.positions,
        source_size=geometry.size,
        rows=rows.forward(),
        columns=columns.forward(),
        result_stride=geometry.group_channels * taps,
        source_stride=taps,
        result="y",
        source="x",
        result_channel="o",
        source_channel="c",
        bias=bias,
        relu=relu,
        pool=pool,
    )
    kind = "conv2d" + (" + bias" if bias else "") + (" + relu" if relu else "")
    kind += " + max pool" if pool else ""
    inputs = "const float *restrict x, const float *restrict weight, const float *restrict bias"
    results = "uint8_t *restrict indices, float *restrict y"
    return _function(kind, f"{name}({inputs}, {results})", gather, vector_registers(lanes))


def print_conv2d_data_gradient(name: str, geometry: Conv2dGeometry, lanes: int) -> str:
    """Return a C function that computes the gradient by the images of one block of examples; all of dx is written.

    ::

        static void NAME(const float *dy, const float *weight, float *dx)

    Parameters
    ----------
    name : str
        Of the function.
    geometry : Conv2dGeometry
        Of the forward convolution; dy is (O, OH, OW, lanes), the weight (O, C / groups, KH, KW), dx (C, H, W, lanes).
    lanes : int
        Examples of a block, the macro LANES of the unit.
    """
    rows, columns = geometry.axes
    taps = prod(geometry.kernel)
    gather = _Gather(
        geometry=geometry,
        results=geometry.group_channels,
        sources=geometry.group_outputs,
        size=geometry.size,
        source_size=geometry.positions,
        rows=rows.backward(),
        columns=columns.backward(),
        result_stride=taps,
        source_stride=geometry.group_channels * taps,
        result="dx",
        source="dy",
        result_channel="c",
        source_channel="o",
    )
    arguments = "const float *restrict dy, const float *restrict weight, float *restrict dx"
    return _function("conv2d data gradient", f"{name}({arguments})", gather, vector_registers(lanes))


@dataclass(frozen=True)
class _Gather:
    """A convolution seen from its result.

    Attributes
    ----------
    results, sources : int
        Channels of one group.
    result_stride, source_stride : int
        Numbers of the weight from one channel to the next.
    result, source, result_channel, source_channel : str
        What they are called in C.
    """

    geometry: Conv2dGeometry
    results: int
    sources: int
    size: tuple[int, int]
    source_size: tuple[int, int]
    rows: Reads
    columns: Reads
    result_stride: int
    source_stride: int
    result: str
    source: str
    result_channel: str
    source_channel: str
    bias: bool = False
    relu: bool = False
    pool: tuple[int, int] | None = None

    @property
    def channel_step(self) -> int:
        """Vectors from one channel to the next, where the sums go."""
        return prod(self.size) if self.pool is None else self.pool[0] * self.size[1]

    @property
    def windows(self) -> tuple[int, int]:
        """Rows and columns of the result."""
        height, width = self.pool or (1, 1)
        return self.size[0] // height, self.size[1] // width


@dataclass(frozen=True)
class _Columns:
    """Tiles of columns that read alike, apart from where they start.

    Attributes
    ----------
    phase : int
        The columns are ``period · m + phase``.
    starts : range
        The first m of each tile; the step is the number of columns.
    reads
        For each column of a tile, pairs of a tap and a place of the source counted from the tile's own first.
    """

    phase: int
    starts: range
    reads: tuple[tuple[tuple[int, int], ...], ...]

    @property
    def products(self) -> int:
        """Multiply-adds for one channel of the result, one of the source and one row of the kernel."""
        return sum(map(len, self.reads))


def _function(kind: str, signature: str, gather: _Gather, registers: int) -> str:
    """Print the loops over groups, rows and tiles of channels."""
    name, rows, columns = signature.partition("(")[0], _Tables("row", gather.rows), _Tables("column", gather.columns)
    channels, width = _tile(gather, registers)
    tiles = _tiles(gather.columns, width)
    resolved = sum(each.products for each in tiles) * channels <= ALL_STATEMENTS
    if not resolved:
        channels = min(gather.results, registers - 3)
    body: list[str] = []
    for run in Parts.of(gather.results, channels).runs:
        inner = _pointers_of_row(gather, rows)
        if resolved:
            inner += [line for each in tiles for line in _columns(gather, run.step, each, rows.taps)]
        else:
            inner += _any_column(gather, run.step, rows.taps, columns)
        body += loop(gather.result_channel, run, inner if gather.pool is None else _pooled(gather, run.step, inner))
    over_rows = loop("row" if gather.pool is None else "window_row", range(gather.windows[0]), body)
    body = [*_pointers_of_group(gather), *over_rows]
    lines = [
        *rows.declarations,
        *([] if resolved else columns.declarations),
        *loop("group", range(gather.geometry.groups), body),
    ]
    return "\n".join([f"/* kernel: {kind} {name}: {gather.geometry} */", *function(signature, lines)])


def _pooled(gather: _Gather, channels: int, row: list[str]) -> list[str]:
    """Print the rows of a row of windows, and the largest number of each window."""
    assert gather.pool is not None
    (height, width), (rows, columns) = gather.pool, gather.windows
    places = [p * gather.size[1] + q for p in range(height) for q in range(width)]
    window = linear(("(o + i)", rows * columns), ("window_row", columns), ("window", 1))
    group = linear(("group", gather.results * rows * columns))
    each_window = [
        f"const vec *from = rows + {linear(('i', gather.channel_step), ('window', width))};",
        "vec best = from[0];",
        "mask index = {0};",
        *(f"take_larger(from[{place}], {number}, &best, &index);" for number, place in enumerate(places) if number),
        f"results[{window}] = best;",
        f"if (indices) store_positions(indices + LANES * ({group} + {window}), index);",
    ]
    return [
        f"vec rows[{channels * gather.channel_step}];",
        f"for (int row = window_row * {height}; row < (window_row + 1) * {height}; row++) {{",
        *indented(row),
        "}",
        *loop("i", range(channels), loop("window", range(columns), each_window)),
    ]


def _pointers_of_group(gather: _Gather) -> list[str]:
    weights = gather.results * gather.sources * prod(gather.geometry.kernel)
    return [
        f"const float *weights = weight + group * {weights};",
        f"const vec *sources = (const vec *){gather.source} + group * {gather.sources * prod(gather.source_size)};",
        f"vec *results = (vec *){gather.result} + group * {gather.results * prod(gather.windows)};",
        *([f"const float *biases = bias + group * {gather.results};"] if gather.bias else []),
    ]


def _pointers_of_row(gather: _Gather, rows: _Tables) -> list[str]:
    channel, kernel_width = gather.result_channel, gather.geometry.kernel[1]
    weight = linear((channel, gather.result_stride), (rows.first_tap, kernel_width))
    source = linear((rows.first_source, gather.source_size[1]))
    to = f"results + {linear((channel, prod(gather.size)), ('row', gather.size[1]))}"
    if gather.pool is not None:
        to = f"rows + row % {gather.pool[0]} * {gather.size[1]}"
    return [
        f"const float *first_weight = weights + {weight};",
        f"const vec *first_source = sources + {source};",
        f"vec *to = {to};",
    ]


class _Tables:
    """What the places along one axis read, as C expressions of the place."""

    def __init__(self, place: str, reads: Reads) -> None:
        pairs = [each[0] if each else (0, 0) for each in reads.places]
        tables = (
            Table(f"{place}_first_tap", [tap for tap, _ in pairs]),
            Table(f"{place}_first_source", [source for _, source in pairs]),
            Table(f"{place}_taps", [len(each) for each in reads.places]),
        )
        self.declarations = [line for table in tables for line in table.declaration]
        self.first_tap, self.first_source, self.taps = (table.at(place) for table in tables)


def _tile(gather: _Gather, registers: int) -> tuple[int, int]:
    """Return how many channels and columns of the result are computed at a time: what costs the fewest cycles."""
    width, period, taps = gather.size[1], gather.columns.period, max(1, gather.columns.taps)
    lengths = [len(range(phase, width, period)) for phase in range(min(period, width))]

    def cost(tile: tuple[int, int]) -> float:
        channels = Parts.of(gather.results, tile[0])
        columns = [size for length in lengths for size in Parts.of(length, tile[1]).sizes]
        # Besides its steps, a tile's loops take a little, and so does each change from one width to another.
        steps = sum(n * m * (taps * cycles(a, b) + 2) for a, n in channels.sizes for b, m in columns)
        return steps + 6 * len(list(channels)) * len(columns)

    return min(_candidates(gather.results, max(lengths), taps, registers), key=cost)


def _candidates(channels: int, columns: int, taps: int, registers: int) -> Iterator[tuple[int, int]]:
    for a in range(1, min(channels, registers) + 1):
        for b in range(1, min(columns, registers) + 1):
            if fits(a, b, registers) and (a * b * taps <= STATEMENTS or a == b == 1):
                yield a, b


def _tiles(reads: Reads, width: int) -> list[_Columns]:
    """Cut columns into tiles; neighbours that read alike are joined."""
    tiles: list[_Columns] = []
    for phase in range(min(reads.period, len(reads.places))):
        columns = range(phase, len(reads.places), reads.period)
        for part in Parts.of(len(columns), width):
            start = part.start * reads.shift
            seen = tuple(tuple((tap, source - start) for tap, source in reads.places[columns[place]]) for place in part)
            last = tiles[-1] if tiles else None
            if last and (last.phase, last.reads) == (phase, seen):
                tiles[-1] = _Columns(phase, range(last.starts.start, part.stop, len(part)), seen)
            else:
                tiles.append(_Columns(phase, range(part.start, part.stop, len(part)), seen))
    return tiles


def _columns(gather: _Gather, channels: int, tiles: _Columns, row_taps: str) -> list[str]:
    """Print the tiles of some columns, all channels and taps of the source."""
    reads, period = gather.columns, gather.columns.period
    sums = [[f"sum{i}_{j}" for j in range(len(tiles.reads))] for i in range(channels)]
    lines = _start(gather, sums)
    if tiles.products:
        lines.append(f"const vec *tile = first_source + {linear(('m', reads.shift))};")
        lines += _source_loops(gather, row_taps, _products(gather, sums, tiles.reads))
    for i, row in enumerate(sums):
        for j, each in enumerate(row):
            place = linear(("m", period), constant=i * gather.channel_step + tiles.phase + j * period)
            lines.append(f"to[{place}] = {_finished(gather, each)};")
    return loop("m", tiles.starts, lines)


def _products(gather: _Gather, sums: list[list[str]], reads: tuple[tuple[tuple[int, int], ...], ...]) -> list[str]:
    """Print the multiply-adds of one row of the kernel."""
    places = [dict(each) for each in reads]
    lines: list[str] = []
    for tap in sorted({tap for each in places for tap in each}):
        columns = [j for j, each in enumerate(places) if tap in each]
        weights = [f"splat(w[{i * gather.result_stride + tap}])" for i in range(len(sums))]
        sources = [f"s[{places[j][tap]}]" for j in columns]
        used = [[row[j] for j in columns] for row in sums]
        lines += [f"/* column {tap} of the kernel */", *outer_product(used, "w", weights, "s", sources)]
    return lines


def _any_column(gather: _Gather, channels: int, row_taps: str, columns: _Tables) -> list[str]:
    """Print one column at a time, its taps looked up as those of a row: for kernels too large to be resolved."""
    sums, reads = [[f"sum{i}"] for i in range(channels)], gather.columns
    places = [linear(("j", reads.tap_step), constant=i * gather.result_stride) for i in range(channels)]
    sources = [f"s[{linear(('j', reads.source_step))}]"]
    products = outer_product(sums, "w", [f"splat(w[{place}])" for place in places], "s", sources)
    taps = [f"for (int j = 0; j < {columns.taps}; j++) {{", *indented(products), "}"]
    lines = [
        *_start(gather, sums),
        f"const vec *tile = first_source + {columns.first_source};",
        *_source_loops(gather, row_taps, taps, columns.first_tap),
    ]
    for i, (each,) in enumerate(sums):
        lines.append(f"to[{linear(('column', 1), constant=i * gather.channel_step)}] = {_finished(gather, each)};")
    return loop("column", range(gather.size[1]), lines)


def _start(gather: _Gather, sums: list[list[str]]) -> list[str]:
    """Print the variables of the sums, and what they start from."""
    channel, lines = gather.result_channel, []
    for i, row in enumerate(sums):
        start = f"splat(biases[{linear((channel, 1), constant=i)}])" if gather.bias else "{0}"
        lines.append(f"vec {', '.join(f'{each} = {start}' for each in row)};")
    return lines


def _finished(gather: _Gather, total: str) -> str:
    return f"positive_part({total})" if gather.relu else total


def _source_loops(gather: _Gather, row_taps: str, body: list[str], first_tap: str = "") -> list[str]:
    """Print the loops over the channels of the source and the rows of the kernel."""
    channel, kernel_width = gather.source_channel, gather.geometry.kernel[1]
    row_step, tap_step = gather.rows.source_step * gather.source_size[1], gather.rows.tap_step * kernel_width
    weight = linear((channel, gather.source_stride), (first_tap, bool(first_tap)))
    inner = [
        f"const vec *s = tile + {linear((channel, prod(gather.source_size)))};",
        f"const float *w = first_weight + {weight};",
        f"for (int i = 0; i < {row_taps}; i++, s += {row_step}, w += {tap_step}) {{",
        *indented(body),
        "}",
    ]
    return loop(channel, range(gather.sources), inner)
