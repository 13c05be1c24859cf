"""Print pooling, its gradients, and where each largest value stands: one pass over the windows, lanes innermost.

A window that lies inside the image is printed place by place. One that sticks out goes in a loop through those of its
places that are inside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

from graphnn.compiler.targets.c.expressions import C_TYPES, literal
from graphnn.compiler.targets.c.text import indented, linear
from graphnn.compiler.targets.c.units import example_shape
from graphnn.ops.avg_pool import AvgPool2d, AvgPool2dGradient
from graphnn.ops.max_pool import MaxPool2d, MaxPool2dGather, MaxPool2dGradient, MaxPool2dIndices
from graphnn.ops.node import Node
from graphnn.ops.op import Op
from graphnn.ops.pool import Pool2d
from graphnn.ops.window import Pair, Window, spatial

PRINTED_PLACES = 16
"""Up to so many places of a window are printed one by one."""


@dataclass(frozen=True)
class _Kept:
    """A number that is kept while the places of a window are gone through.

    Attributes
    ----------
    start : str
        Its value before the first place.
    first : str
        Its value after the first place, if that can be told without the value before; ``{at}`` is the place.
    apart : bool
        Whether it comes from or goes to memory as another type. That takes a loop of its own: in a loop over numbers of
        two widths, compilers use short vectors.
    """

    kind: str
    name: str
    start: str
    first: str = ""
    apart: bool = False

    @property
    def is_loaded(self) -> bool:
        """Whether a loop of its own sets it before the first place."""
        return self.apart and not self.first


@dataclass(frozen=True)
class _Pooling:
    """What is computed for each window, as C in which ``{name}`` stands for what is kept under that name.

    Attributes
    ----------
    image, windows : Node
        Whose examples are images, and hold a number for each window.
    pointers : list of str
        Declarations for channel `c`.
    kept : list of _Kept
        The numbers that are kept for a window.
    place : list of str
        Statements for a place: ``{number}`` in the window, ``{at}`` in the image.
    end : str
        Statement after the last place; ``{window}`` is the window's index.
    converted : str
        The same for a result whose type has another width.
    backwards : bool
        Whether the last window comes first.
    """

    op: Pool2d
    image: Node
    windows: Node
    pointers: list[str]
    kept: list[_Kept]
    place: list[str]
    end: str = ""
    converted: str = ""
    backwards: bool = False

    @property
    def size(self) -> Pair:
        """Height and width of the image."""
        return spatial((1, *example_shape(self.image)))

    @property
    def positions(self) -> Pair:
        """The number of windows along both axes."""
        return spatial((1, *example_shape(self.windows)))

    @property
    def is_printed(self) -> bool:
        """Whether windows inside the image are printed place by place."""
        return self.op.places <= PRINTED_PLACES

    def names(self, scalars: Sequence[_Kept] = ()) -> dict[str, str]:
        """Return what stands for the names in a loop over lanes, where some are a number and the others an array."""
        arrays = {kept.name: f"{kept.name}[lane]" for kept in self.kept}
        return {**arrays, **{kept.name: kept.name for kept in scalars}, "window": "window + lane"}

    def sticks_out(self, axis: int) -> list[str]:
        """Return C conditions under which a window sticks out of the image, none where none does."""
        window, start = self.op.windows[axis], ("top", "left")[axis]
        end = (self.positions[axis] - 1) * window.stride - window.padding[0] + window.span
        before = [f"{start} < 0"] if window.padding[0] else []
        return before + ([f"{start} + {window.span} > {self.size[axis]}"] if end > self.size[axis] else [])


def has_pooling_kernel(node: Node) -> bool:
    """Whether this module prints a node's kernel."""
    return type(node.op) in _POOLINGS


def print_pooling(node: Node) -> str:
    """Print the body of a kernel ``name(x0, …, y)`` over one block of examples."""
    pooling = _POOLINGS[type(node.op)](node)
    channels = example_shape(pooling.image)[0]
    rows, columns = pooling.op.windows
    lines = [
        f"for (int64_t c = 0; c < {channels}; c++) {{",
        *indented(pooling.pointers),
        f"    {_over_windows('i', pooling, 0)} {{",
        f"        const int64_t top = {_start('i', rows)};",
        f"        {_over_windows('j', pooling, 1)} {{",
        f"            const int64_t left = {_start('j', columns)};",
        f"            const int64_t window = ({linear(('i', pooling.positions[1]), ('j', 1))}) * LANES;",
        *indented(indented(indented(_window(pooling)))),
        "        }",
        "    }",
        "}",
    ]
    return "\n".join(indented(lines))


def _over_windows(index: str, pooling: _Pooling, axis: int) -> str:
    count = pooling.positions[axis]
    if pooling.backwards:
        return f"for (int64_t {index} = {count}; {index}-- > 0;)"
    return f"for (int64_t {index} = 0; {index} < {count}; {index}++)"


def _start(index: str, window: Window) -> str:
    return linear((index, window.stride), constant=-window.padding[0])


def _window(pooling: _Pooling) -> list[str]:
    conditions = pooling.sticks_out(0) + pooling.sticks_out(1)
    if not pooling.is_printed:
        return _inside_places(pooling)
    if not conditions:
        return _all_places(pooling)
    branches = [*indented(_inside_places(pooling)), "} else {", *indented(_all_places(pooling))]
    return [f"if ({' || '.join(conditions)}) {{", *branches, "}"]


def _all_places(pooling: _Pooling) -> list[str]:
    """Print a window inside the image: one loop over lanes."""
    rows, columns = pooling.op.windows
    width = pooling.size[1]
    corners = [
        linear(("corner", 1), ("LANES", p * rows.dilation * width + q * columns.dilation), ("lane", 1))
        for p, q in product(range(rows.kernel), range(columns.kernel))
    ]
    in_loop = [kept for kept in pooling.kept if not kept.apart]
    starts = [kept for kept in pooling.kept if not kept.is_loaded]
    body = [f"{kept.kind} {kept.name};" for kept in in_loop]
    body += [f"{{{kept.name}}} = {kept.first or kept.start};" for kept in starts]
    lines = [each.format(at=corners[0], **pooling.names(in_loop)) for each in body]
    has_first = any(kept.first for kept in pooling.kept)
    for number, at in enumerate(corners):
        if number or not has_first:
            lines += [each.format(number=number, at=at, **pooling.names(in_loop)) for each in pooling.place]
    lines += [pooling.end.format(**pooling.names(in_loop))] if pooling.end else []
    return [
        f"const int64_t corner = (top * {width} + left) * LANES;",
        *_divisor(pooling, whole=True),
        *_loaded(pooling),
        *_over_lanes(lines),
        *_over_lanes([pooling.converted.format(**pooling.names())] if pooling.converted else []),
    ]


def _inside_places(pooling: _Pooling) -> list[str]:
    """Print any window: a loop over its places inside the image, and in it one over lanes."""
    rows, columns = pooling.op.windows
    place = f"(top + {linear(('p', rows.dilation))}) * {pooling.size[1]} + left + {linear(('q', columns.dilation))}"
    in_array = [kept for kept in pooling.kept if not kept.apart]
    starts = [f"{{{kept.name}}} = {kept.start};" for kept in pooling.kept if not kept.is_loaded]
    names = pooling.names()
    return [
        *_bounds("p", "top", rows, pooling.size[0]),
        *_bounds("q", "left", columns, pooling.size[1]),
        *_divisor(pooling, whole=False),
        *(f"{kept.kind} {kept.name}[LANES];" for kept in in_array),
        *_loaded(pooling),
        *_over_lanes([each.format(**names) for each in starts]),
        "for (int64_t p = first_p; p < end_p; p++) {",
        "    for (int64_t q = first_q; q < end_q; q++) {",
        f"        const int number = (int)({linear(('p', columns.kernel), ('q', 1))});",
        f"        const int64_t at = ({place}) * LANES;",
        "        (void)number;",
        *indented(indented(_over_lanes([x.format(number="number", at="at + lane", **names) for x in pooling.place]))),
        "    }",
        "}",
        *_over_lanes([pooling.end.format(**names)] if pooling.end else []),
        *_over_lanes([pooling.converted.format(**names)] if pooling.converted else []),
    ]


def _over_lanes(lines: list[str]) -> list[str]:
    return ["for (int lane = 0; lane < LANES; lane++) {", *indented(lines), "}"] if lines else []


def _loaded(pooling: _Pooling) -> list[str]:
    """Print arrays of what is kept apart, and the loops that fill them."""
    names = pooling.names()
    lines = [f"{kept.kind} {kept.name}[LANES];" for kept in pooling.kept if kept.apart]
    for kept in pooling.kept:
        if kept.is_loaded:
            lines += _over_lanes([f"{{{kept.name}}} = {kept.start};".format(**names)])
    return lines


def _bounds(index: str, start: str, window: Window, size: int) -> list[str]:
    """Print which places along one axis are inside: the first one, and one past the last."""
    first = f"{start} < 0 ? ({window.dilation - 1} - {start}) / {window.dilation} : 0"
    end = f"({size - 1} - {start}) / {window.dilation} + 1"  # a window never starts behind the image
    return [
        f"const int64_t first_{index} = {first};",
        f"const int64_t end_{index} = {end} < {window.kernel} ? {end} : {window.kernel};",
    ]


def _divisor(pooling: _Pooling, whole: bool) -> list[str]:
    """Print by what a window's sum is divided: its places that count."""
    op = pooling.op
    if not isinstance(op, AvgPool2d | AvgPool2dGradient):
        return []
    if whole:
        return [f"const float divisor = {op.places};"]
    lines = []
    for window, start, name, size in zip(op.windows, ("top", "left"), ("rows", "columns"), pooling.size, strict=True):
        before, after = window.padding if op.count_include_pad else (0, 0)
        first = f"({start} > {-before} ? {start} : {-before})"
        end = f"({start} + {window.span} < {size + after} ? {start} + {window.span} : {size + after})"
        lines.append(f"const int64_t {name} = {end} - {first};")
    return [*lines, "const float divisor = (float)(rows * columns);"]


# What each op does.


def _areas(image: Node, windows: Node) -> tuple[int, int]:
    return math.prod(example_shape(image)[1:]), math.prod(example_shape(windows)[1:])


def _lowest(node: Node) -> str:
    if node.dtype.is_floating:
        return literal(-math.inf, node.dtype)
    return {"uint8": "0", "int32": "INT32_MIN"}.get(node.dtype.name, "INT64_MIN")


def _forward(
    node: Node,
    kept: list[_Kept],
    place: list[str],
    end: str = "",
    converted: str = "",
    pointers: Sequence[str] = (),
) -> _Pooling:
    """Return a pooling that reads images `x` and writes a number `y` for each window."""
    x, op = node.inputs[0], node.op
    assert isinstance(op, Pool2d)
    area, count = _areas(x, node)
    own = [
        f"const {C_TYPES[x.dtype]} *restrict image = x0 + c * {area} * LANES;",
        f"{C_TYPES[node.dtype]} *restrict to = y + c * {count} * LANES;",
    ]
    return _Pooling(op, x, node, [*own, *pointers], kept, place, end, converted)


def _backward(node: Node, kept: list[_Kept], value: str, others: list[str]) -> _Pooling:
    """Return a pooling that reads a number `dy` for each window and adds a value to images `dx`.

    Each place of the image adds what it gets from its first place in a window first, as NumPy does: the window that
    comes last.
    """
    dy, op = node.inputs[0], node.op
    assert isinstance(op, Pool2d)
    area, count = _areas(node, dy)
    pointers = [
        f"const float *restrict from = x0 + c * {count} * LANES;",
        f"float *restrict image = y + c * {area} * LANES;",
        *others,
    ]
    size, positions = spatial((1, *example_shape(node))), spatial((1, *example_shape(dy)))
    if not all(_covers(*each) for each in zip(op.windows, size, positions, strict=True)):
        pointers.append(f"memset(image, 0, {area} * LANES * sizeof *image);")
    overlap = any(window.span > window.stride for window in op.windows)
    place = [f"image[{{at}}] {'+=' if overlap else '='} {value};"]
    return _Pooling(op, node, dy, pointers, kept, place, backwards=overlap)


def _covers(window: Window, size: int, positions: int) -> bool:
    """Whether each element along an axis is in some window, if those don't overlap."""
    return (
        window.dilation == 1 and window.stride == window.kernel and window.reach(positions) - window.padding[0] >= size
    )


def _larger(kind: str) -> list[str]:
    """Print the larger one of `value` and what was best, NaN if either is.

    Two choices rather than one with `||`, of which gcc would make branches instead of vector instructions.
    """
    return [
        f"    const {kind} larger = value > {{best}} ? value : {{best}};",
        "    {best} = value != value ? value : larger;",
    ]


def _max_pool(node: Node) -> _Pooling:
    kind = C_TYPES[node.dtype]
    place = [
        "{{",
        f"    const {kind} value = image[{{at}}];",
        *_larger(kind),
        "}}",
    ]
    best = _Kept(kind, "best", _lowest(node), "image[{at}]")
    return _forward(node, [best], place, "to[{window}] = {best};")


def _max_pool_indices(node: Node) -> _Pooling:
    x = node.inputs[0]
    kind = C_TYPES[x.dtype]
    columns = node.op.kernel[1] if isinstance(node.op, Pool2d) else 1
    first_inside = f"(int)(first_p < end_p && first_q < end_q ? first_p * {columns} + first_q : 0)"
    kept = [_Kept(kind, "best", _lowest(x), "image[{at}]"), _Kept("int", "index", first_inside, "0", apart=True)]
    place = [
        "{{",
        f"    const {kind} value = image[{{at}}];",
        "    const int better = -((value > {best}) | ((value != value) & ({best} == {best})));",
        "    {index} ^= ({index} ^ {number}) & better;",
        *_larger(kind),
        "}}",
    ]
    return _forward(node, kept, place, converted=f"to[{{window}}] = ({C_TYPES[node.dtype]}){{index}};")


def _max_pool_gather(node: Node) -> _Pooling:
    count = _areas(node.inputs[0], node)[1]
    indices = f"const {C_TYPES[node.inputs[1].dtype]} *restrict indices = x1 + c * {count} * LANES;"
    kept = [_Kept("int", "index", "indices[{window}]", apart=True), _Kept("uint32_t", "picked", "0")]
    place = ["{picked} |= gn_bits_of(image[{at}]) & -(uint32_t)({index} == {number});"]
    return _forward(node, kept, place, "to[{window}] = gn_float_of({picked});", pointers=[indices])


def _max_pool_gradient(node: Node) -> _Pooling:
    count = _areas(node, node.inputs[0])[1]
    indices = f"const {C_TYPES[node.inputs[1].dtype]} *restrict indices = x1 + c * {count} * LANES;"
    kept = [
        _Kept("int", "index", "indices[{window}]", apart=True),
        _Kept("uint32_t", "bits", "gn_bits_of(from[{window}])"),
    ]
    return _backward(node, kept, "gn_float_of({bits} & -(uint32_t)({index} == {number}))", [indices])


def _avg_pool(node: Node) -> _Pooling:
    kept = [_Kept("float", "sum", "0", "image[{at}]")]
    return _forward(node, kept, ["{sum} += image[{at}];"], "to[{window}] = {sum} / divisor;")


def _avg_pool_gradient(node: Node) -> _Pooling:
    return _backward(node, [_Kept("float", "share", "from[{window}] / divisor")], "{share}", [])


_POOLINGS: dict[type[Op], Callable[[Node], _Pooling]] = {
    MaxPool2d: _max_pool,
    MaxPool2dIndices: _max_pool_indices,
    MaxPool2dGradient: _max_pool_gradient,
    MaxPool2dGather: _max_pool_gather,
    AvgPool2d: _avg_pool,
    AvgPool2dGradient: _avg_pool_gradient,
}
