"""Print the C of a convolution's gradient by the weight, a block of examples in the lanes at a time.

Each number of the gradient is a sum over positions and examples. A tile of them stays in registers while the loops run
over all positions; each lane sums its own examples. The lanes are added up once, when all blocks of a thread are done.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

from graphnn.compiler.targets.c.convolution_geometry import Axis, Conv2dGeometry
from graphnn.compiler.targets.c.register_tiles import (
    ALL_STATEMENTS,
    Parts,
    cycles,
    fits,
    outer_product,
    vector_registers,
)
from graphnn.compiler.targets.c.text import Table, function, indented, linear, loop


def weight_gradient_accumulator_size(geometry: Conv2dGeometry, lanes: int) -> int:
    """Return how many floats a thread's accumulator has. It starts at a multiple of the bytes of a vector."""
    return geometry.outputs * geometry.group_channels * prod(geometry.kernel) * lanes


def print_conv2d_weight_gradient(name: str, geometry: Conv2dGeometry, lanes: int) -> str:
    """Return C functions that compute the gradient by the weight of all blocks of examples that a thread is given.

    ::

        static void NAME(const float *x, const float *dy, float *sums, int valid)
        static void NAME_finish(const float *sums, float *dw)

    The first adds a block of which the first `valid` examples count to the accumulator, which starts from 0; the second
    writes the gradient of all blocks that were added. What the other lanes hold does not matter.

    Parameters
    ----------
    name : str
        Of the functions.
    geometry : Conv2dGeometry
        Of the forward convolution; x is (C, H, W, lanes), dy (O, OH, OW, lanes), dw (O, C / groups, KH, KW).
    lanes : int
        Examples of a block, the macro LANES of the unit.

    Examples
    --------
    >>> g = Conv2dGeometry(1, (8, 8), 2, (3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 1, (6, 6))
    >>> print_conv2d_weight_gradient("dw1", g, lanes=8).splitlines()[1]
    'static void dw1(const float *restrict x, const float *restrict dy, float *restrict sums, int valid)'
    """
    count = range(geometry.outputs * geometry.group_channels * prod(geometry.kernel))
    arguments = "const float *restrict x, const float *restrict dy, float *restrict sums, int valid"
    return "\n".join(
        [
            f"/* kernel: conv2d weight gradient {name}: {geometry} */",
            *function(f"{name}({arguments})", _add_block(geometry, vector_registers(lanes))),
            *function(
                f"{name}_finish(const float *restrict sums, float *restrict dw)",
                loop("i", count, ["dw[i] = sum_lanes(((const vec *)sums)[i]);"]),
            ),
        ]
    )


@dataclass(frozen=True)
class _Tile:
    """Numbers of the gradient that are summed at a time.

    Attributes
    ----------
    outputs, channels, taps : int
        Extents of the tile; the taps are neighbours in a row of the kernel.
    chains : int
        Neighbouring positions that are summed apart, where a tile is too small to hide the latency of its sums.
    """

    outputs: int
    channels: int
    taps: int
    chains: int = 1


@dataclass(frozen=True)
class _Taps:
    """Neighbouring taps in a row of the kernel, and where they lie inside the image.

    Attributes
    ----------
    taps : range
        Of the kernel.
    interior : range
        Positions at which all of them lie inside the image; the step is the number of chains.
    left, right
        The positions before and after those, at which some of the taps lie inside, and these taps.
    """

    taps: range
    interior: range
    left: tuple[tuple[int, tuple[int, ...]], ...]
    right: tuple[tuple[int, tuple[int, ...]], ...]

    @classmethod
    def of(cls, columns: Axis, taps: range, chains: int) -> _Taps:
        """Split the positions along the width."""
        seen = {tap: columns.seen(tap) for tap in taps}
        start = min(columns.positions, max(each.start for each in seen.values()))
        whole = max(0, min(each.stop for each in seen.values()) - start) // chains * chains
        used = {position: tuple(tap for tap in taps if position in seen[tap]) for position in range(columns.positions)}
        border = [(position, inside) for position, inside in used.items() if inside]
        left = tuple(each for each in border if each[0] < start)
        right = tuple(each for each in border if each[0] >= start + whole)
        return cls(taps, range(start, start + whole, chains), left, right)

    @property
    def products(self) -> int:
        """Multiply-adds that are printed for one channel and one output."""
        return sum(len(inside) for _, inside in (*self.left, *self.right)) + len(self.taps) * self.interior.step


def _add_block(geometry: Conv2dGeometry, registers: int) -> list[str]:
    """Print the loops over groups, tiles of channels and rows of the kernel."""
    rows, columns = geometry.axes
    tile = _best_tile(geometry, registers)
    parts = [_Taps.of(columns, taps, tile.chains) for taps in Parts.of(columns.kernel, tile.taps)]
    resolved = sum(each.products for each in parts) * tile.outputs * tile.channels <= ALL_STATEMENTS
    if not resolved:
        tile = _Tile(min(geometry.group_outputs, registers - 3), 1, 1)
    over_rows, row_tables = _range_of("row", "i", rows)
    over_columns, column_tables = _range_of("column", "j", columns)
    body: list[str] = []
    for outputs in Parts.of(geometry.group_outputs, tile.outputs).runs:
        for channels in Parts.of(geometry.group_channels, tile.channels).runs:
            if resolved:
                each = [_Sums(geometry, outputs.step, channels.step, part).text(over_rows) for part in parts]
                sums = [line for lines in each for line in lines]
            else:
                sums = _sums_of_any_tap(geometry, outputs.step, over_rows, over_columns)
            body += loop("o", outputs, loop("c", channels, loop("i", range(rows.kernel), sums)))
    weights = geometry.group_outputs * geometry.group_channels * prod(geometry.kernel)
    inputs = [
        f"const vec *images = (const vec *)x + group * {geometry.group_channels * prod(geometry.size)};",
        f"const vec *gradients = (const vec *)dy + group * {geometry.group_outputs * prod(geometry.positions)};",
        f"vec *totals = (vec *)sums + group * {weights};",
    ]
    return [
        *row_tables,
        *([] if resolved else column_tables),
        "const mask counted = first_lanes(valid);",
        *loop("group", range(geometry.groups), [*inputs, *body]),
    ]


def _range_of(position: str, tap: str, axis: Axis) -> tuple[str, list[str]]:
    """Return the head of the loop over the positions at which a tap lies inside the image, and its tables."""
    seen = [axis.seen(each) for each in range(axis.kernel)]
    first = Table(f"first_{position}", [each.start for each in seen])
    end = Table(f"end_{position}", [each.stop for each in seen])
    head = f"for (int {position} = {first.at(tap)}; {position} < {end.at(tap)}; {position}++) {{"
    return head, [*first.declaration, *end.declaration]


def _best_tile(geometry: Conv2dGeometry, registers: int) -> _Tile:
    """Return the tile that costs the fewest cycles."""
    height, width = geometry.positions

    def cost(tile: _Tile) -> float:
        total = 0.0
        for outputs, n in Parts.of(geometry.group_outputs, tile.outputs).sizes:
            for channels, m in Parts.of(geometry.group_channels, tile.channels).sizes:
                for taps, k in Parts.of(geometry.kernel[1], tile.taps).sizes:
                    # Each output and channel is read from another place; taps share what they read.
                    per_position = cycles(outputs, channels * taps, tile.chains) + 0.15 * (outputs + channels)
                    per_row = width * per_position + 4
                    # At the end each sum is added to the accumulator in memory.
                    total += n * m * k * (height * per_row + 2 * outputs * channels * taps * tile.chains)
        return total

    return min(_candidates(geometry, registers), key=cost)


def _candidates(geometry: Conv2dGeometry, registers: int) -> Iterator[_Tile]:
    limits = geometry.group_outputs, geometry.group_channels, geometry.kernel[1], geometry.positions[1]
    for outputs in range(1, min(limits[0], registers) + 1):
        for channels in range(1, min(limits[1], registers // outputs) + 1):
            for taps in range(1, min(limits[2], registers // (outputs * channels)) + 1):
                for chains in range(1, min(limits[3], registers // (outputs * channels * taps)) + 1):
                    if fits(outputs, channels * taps, registers, chains):
                        yield _Tile(outputs, channels, taps, chains)


@dataclass(frozen=True)
class _Sums:
    """A tile of sums over all positions."""

    geometry: Conv2dGeometry
    outputs: int
    channels: int
    part: _Taps

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Each channel with each tap."""
        return list(product(range(self.channels), self.part.taps))

    @property
    def chains(self) -> range:
        """The sums of each number of the gradient."""
        return range(self.part.interior.step if self.part.interior else 1)

    def text(self, over_rows: str) -> list[str]:
        """Print the sums of all positions and what becomes of them."""
        taps, interior = self.part.taps, self.part.interior
        names = [self._name(*each) for each in product(self.chains, range(self.outputs), self.pairs)]
        inner = [line for chain in self.chains for line in self._products(chain, taps, chain, "column")]
        positions = [
            *self._border(self.part.left),
            *(loop("column", interior, inner) if interior else []),
            *self._border(self.part.right),
        ]
        body = [
            f"vec {', '.join(f'{name} = {{0}}' for name in names)};",
            over_rows,
            *indented([*_pointers_of_row(self.geometry), *positions]),
            "}",
            f"vec *total = totals + {_of_weight(self.geometry)};",
            *self._added(),
        ]
        return [f"{{ /* columns {taps.start} to {taps[-1]} of the kernel */", *indented(body), "}"]

    def _name(self, chain: int, output: int, pair: tuple[int, int]) -> str:
        place = pair[0] * len(self.part.taps) + pair[1] - self.part.taps.start
        return f"sum{output}_{place}" + (f"_{chain}" if chain else "")

    def _border(self, border: Iterable[tuple[int, tuple[int, ...]]]) -> list[str]:
        return [line for position, taps in border for line in self._products(0, taps, position)]

    def _products(self, chain: int, taps: Iterable[int], position: int, column: str = "") -> list[str]:
        """Print the multiply-adds of a position, which is counted from a C variable if one is given."""
        columns, places, size = self.geometry.axes[1], prod(self.geometry.positions), prod(self.geometry.size)
        pairs = list(product(range(self.channels), taps))
        gradients = [
            f"d[{linear((column, bool(column)), constant=output * places + position)}]"
            for output in range(self.outputs)
        ]
        stride = columns.stride if column else 0
        offset = position * columns.stride - columns.before
        images = [
            f"s[{linear((column, stride), constant=channel * size + tap * columns.dilation + offset)}]"
            for channel, tap in pairs
        ]
        sums = [[self._name(chain, output, pair) for pair in pairs] for output in range(self.outputs)]
        return outer_product(sums, "g", gradients, "s", images)

    def _added(self) -> list[str]:
        """Print how the sums of the examples that count are added to the accumulator."""
        taps = prod(self.geometry.kernel)
        lines = []
        for output, pair in product(range(self.outputs), self.pairs):
            place = (output * self.geometry.group_channels + pair[0]) * taps + pair[1]
            total = " + ".join(self._name(chain, output, pair) for chain in self.chains)
            lines.append(f"total[{place}] += keep({total}, counted);")
        return lines


def _pointers_of_row(geometry: Conv2dGeometry) -> list[str]:
    """Print where the images and the gradients of a row of positions start."""
    rows, (height, width) = geometry.axes[0], geometry.size
    seen = linear(("row", rows.stride), ("i", rows.dilation), constant=-rows.before)
    gradients = linear(("o", prod(geometry.positions)), ("row", geometry.positions[1]))
    return [
        f"const vec *s = images + {linear(('c', height * width), (seen, width))};",
        f"const vec *d = gradients + {gradients};",
    ]


def _of_weight(geometry: Conv2dGeometry) -> str:
    taps = prod(geometry.kernel)
    return linear(("o", geometry.group_channels * taps), ("c", taps), ("i", geometry.kernel[1]))


def _sums_of_any_tap(geometry: Conv2dGeometry, outputs: int, over_rows: str, over_columns: str) -> list[str]:
    """Print one tap at a time, its positions looked up: for kernels too large to be resolved."""
    columns, places = geometry.axes[1], prod(geometry.positions)
    seen = linear(("column", columns.stride), ("j", columns.dilation), constant=-columns.before)
    sums = [[f"sum{output}"] for output in range(outputs)]
    gradients = [f"d[{linear(('column', 1), constant=output * places)}]" for output in range(outputs)]
    over_positions = [over_columns, *indented(outer_product(sums, "g", gradients, "s", [f"s[{seen}]"])), "}"]
    per_output = geometry.group_channels * prod(geometry.kernel)
    body = [
        f"vec {', '.join(f'{name} = {{0}}' for (name,) in sums)};",
        over_rows,
        *indented([*_pointers_of_row(geometry), *over_positions]),
        "}",
        f"vec *total = totals + {_of_weight(geometry)} + j;",
        *(f"total[{output * per_output}] += keep({name}, counted);" for output, (name,) in enumerate(sums)),
    ]
    return loop("j", range(columns.kernel), body)
