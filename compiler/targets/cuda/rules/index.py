"""Ops on the GPU that pick, place and add by positions. Nothing is added from two sides: sums have a fixed order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from graphnn.compiler.plan.form import row_major_strides
from graphnn.compiler.targets.c.expressions import literal
from graphnn.compiler.targets.cuda.elements import computed_dtype, extent_text, loaded
from graphnn.compiler.targets.cuda.instance import Blocks, Instance
from graphnn.compiler.targets.cuda.rules import scans
from graphnn.compiler.targets.cuda.rules.macros import ONE, WARP, Lines, element, flat, power_of_two, working_type
from graphnn.ops import dtypes
from graphnn.ops.gather import Gather, ScatterAdd
from graphnn.ops.index import OneHot, Take, TakeGradient
from graphnn.ops.node import Node
from graphnn.ops.op import Op
from graphnn.ops.slicing import Pad, SliceGradient
from graphnn.ops.spans import Span
from graphnn.ops.spec import Dim, Extent, Shape, bind_extent, product

WARPS = 4
"""Warps of a block of index_add.cu."""

TILE = 1024
"""Elements that one of them makes."""

WIDEST_TILE = 128
LARGEST_GRID = 65535
"""Blocks along y; along x there may be 2³¹ - 1."""

FEW_COMPARISONS = 4096
"""Up to so many for each line, a thread for each element looks through all of the line's indices."""


def coordinates(shape: Shape, index: str = "(i)") -> list[str]:
    """Return the expressions of an element's place on each axis, from its row-major index.

    Examples
    --------
    >>> coordinates((Dim(1), 3, 4))
    ['(i) / 12', '(i) / 4 % 3', '(i) % 4']
    """
    expressions = []
    for axis, (size, stride) in enumerate(zip(shape, row_major_strides(shape), strict=True)):
        along = index if stride == 1 else f"{index} / {extent_text(stride)}"
        expressions.append(along if axis == 0 else f"{along} % {extent_text(size)}")
    return expressions


def _offset(places: Sequence[str], strides: Sequence[Extent]) -> str:
    terms = [f"({place}) * {extent_text(stride)}" for place, stride in zip(places, strides, strict=True) if stride != 0]
    return f"({' + '.join(terms) or '0'})"


# Whole entries of an axis.


def _one_hot(node: Node, max_batch: int) -> list[Instance]:
    op = node.op
    assert isinstance(op, OneHot)
    return [flat("one_hot.cu", {"DEPTH": str(op.depth), "VALUE": working_type(op.dtype)}, product(node.shape))]


def _take(node: Node, max_batch: int) -> list[Instance]:
    op = node.op
    assert isinstance(op, Take)
    x, indices = node.inputs
    lines = Lines.of(x.shape, op.axis)
    defines = {
        "PLACES": extent_text(product(indices.shape)),
        "ROWS": extent_text(lines.length),
        "INNER": extent_text(lines.inner),
        "VALUE": working_type(node.dtype),
        **element(node, 0),
    }
    return [flat("take.cu", defines, product(node.shape))]


def _take_gradient(node: Node, max_batch: int) -> list[Instance] | None:
    op = node.op
    assert isinstance(op, TakeGradient)
    if node.dtype is dtypes.bool:
        return None
    lines, places = Lines.of(op.shape, op.axis), product(node.inputs[1].shape)
    defines = {"START(i)": "0", "PLACE(j)": "x1[j]", "TERM(i)": loaded("x0[i]", node.dtype)}
    return _index_add(node, lines, places, shared_places=True, defines=defines)


def _index_add(
    node: Node, lines: Lines, places: Extent, *, shared_places: bool, defines: dict[str, str]
) -> list[Instance] | None:
    """Return the kernel that adds entries to those of an axis; None for sizes that no grid has."""
    inner = lines.inner
    columns = min(WIDEST_TILE, power_of_two(max(2, inner))) if isinstance(inner, int) else WIDEST_TILE
    columns = 1 if inner == 1 else columns
    rows = TILE // columns
    sizes = {"OUTER": (lines.outer, 1), "ROW_TILE": (lines.length, WARPS * rows), "COLUMN_TILE": (inner, columns)}
    tiles = _tiles(sizes)
    if tiles is None:
        return None
    places_of_blocks, grid = tiles
    macros = {
        **defines,
        **places_of_blocks,
        "ROWS": extent_text(lines.length),
        "INNER": extent_text(inner),
        "COUNT": extent_text(places),
        "PLACES_STEP": "0" if shared_places else extent_text(places),
        "TILE_ROWS": str(rows),
        "TILE_COLUMNS": str(columns),
        "VALUE": working_type(node.dtype),
        "THREADS": str(WARPS * WARP),
    }
    return [Instance("index_add.cu", macros, grid, WARPS * WARP)]


def _tiles(sizes: dict[str, tuple[Extent, int]]) -> tuple[dict[str, str], tuple[Blocks, Blocks, Blocks]] | None:
    """Lay a grid over sizes, each cut into pieces: the one that depends on the batch along x, all others along y."""
    static = {name: Blocks(size, each).count(0) for name, (size, each) in sizes.items() if isinstance(size, int)}
    by_batch = [name for name in sizes if name not in static]
    expressions, along, rest = {}, "(INDEX)blockIdx.y" if by_batch else "(INDEX)blockIdx.x", 1
    for name, count in static.items():
        expressions[name] = f"({along} / {rest} % {count})"
        rest *= count
    if not by_batch:
        return expressions, (Blocks(rest), ONE, ONE)
    (name,) = by_batch
    expressions[name] = "((INDEX)blockIdx.x)"
    return (expressions, (Blocks(*sizes[name]), Blocks(rest), ONE)) if rest <= LARGEST_GRID else None


# Element by element.


def _gather(node: Node, max_batch: int) -> list[Instance]:
    op = node.op
    assert isinstance(op, Gather)
    x, index = node.inputs
    steps = row_major_strides(x.shape)
    others = [0 if axis == op.axis else step for axis, step in enumerate(steps)]
    defines = {
        "ROWS": extent_text(x.shape[op.axis]),
        "STRIDE": extent_text(steps[op.axis]),
        "FIRST(i)": _offset(coordinates(index.shape), others),
        "VALUE": working_type(node.dtype),
        **element(node, 0),
    }
    return [flat("gather.cu", defines, product(node.shape))]


def _scatter_add(node: Node, max_batch: int) -> list[Instance] | None:
    op = node.op
    assert isinstance(op, ScatterAdd)
    x, index, _ = node.inputs
    axis, lines = op.axis, Lines.of(x.shape, op.axis)
    ends = [(bind_extent(part, max_batch), bind_extent(whole, max_batch)) for part, whole in _others(index, x, axis)]
    comparisons = bind_extent(lines.length, max_batch) * bind_extent(index.shape[axis], max_batch)
    if lines.inner == 1 and all(part == whole for part, whole in ends) and comparisons > FEW_COMPARISONS:
        terms = {f"{name}(i)": loaded(f"{given}[i]", node.dtype) for name, given in (("START", "x0"), ("TERM", "x2"))}
        defines = {**terms, "PLACE(j)": "x1[j]"}
        added = _index_add(node, lines, index.shape[axis], shared_places=False, defines=defines)
        if added is not None:
            return added
    places, steps = coordinates(x.shape), row_major_strides(index.shape)
    others = [0 if along == axis else step for along, step in enumerate(steps)]
    reached = [
        f"{place} < {extent_text(size)}"
        for along, (place, size, whole) in enumerate(zip(places, index.shape, x.shape, strict=True))
        if along != axis and size != whole
    ]
    defines = {
        "ROW(i)": places[axis],
        "ROWS": extent_text(x.shape[axis]),
        "REACHED(i)": f"({' && '.join(reached) or 'true'})",
        "FIRST(i)": _offset(places, others),
        "STRIDE": extent_text(steps[axis]),
        "COUNT": extent_text(index.shape[axis]),
        "VALUE": working_type(node.dtype),
        **element(node, 0),
        **element(node, 2),
    }
    return [flat("scatter_add.cu", defines, product(node.shape))]


def _others(index: Node, x: Node, axis: int) -> list[tuple[Extent, Extent]]:
    pairs = enumerate(zip(index.shape, x.shape, strict=True))
    return [pair for along, pair in pairs if along != axis]


# Parts of a larger value.


def _placed(node: Node, spans: Sequence[Span], fill: str) -> list[Instance]:
    """Return the kernel that puts the input at positions ``range(start, stop, step)`` of the result's axes."""
    given = node.inputs[0]
    inside, taken = [], []
    axes = zip(coordinates(node.shape), spans, given.shape, node.shape, strict=True)
    for place, (start, _, step), size, whole in axes:
        if isinstance(whole, Dim) or (start, step, size) == (0, 1, whole):
            taken.append(place)
            continue
        beyond = f"({place} - {start})" if step > 0 else f"({start} - ({place}))"
        number = f"{beyond} / {abs(step)}"
        inside += [f"{beyond} >= 0", f"{number} < {size}", f"{beyond} % {abs(step)} == 0"]
        taken.append(number)
    defines = {
        "IS_INSIDE(i)": f"({' && '.join(inside) or 'true'})",
        "FROM(i)": _offset(taken, row_major_strides(given.shape)),
        "FILL": fill,
        "VALUE": working_type(node.dtype),
        **element(node, 0),
    }
    return [flat("place.cu", defines, product(node.shape))]


def _pad(node: Node, max_batch: int) -> list[Instance]:
    op = node.op
    assert isinstance(op, Pad)
    fill = np.asarray(op.value).astype(node.dtype.interface).item()
    return _placed(node, [(before, 0, 1) for before, _ in op.padding], literal(fill, computed_dtype(node.dtype)))


def _slice_gradient(node: Node, max_batch: int) -> list[Instance]:
    op = node.op
    assert isinstance(op, SliceGradient)
    forward = op.forward
    return _placed(node, list(zip(forward.starts, forward.stops, forward.steps, strict=True)), "0")


RULES: dict[type[Op], Callable[[Node, int], list[Instance] | None]] = {
    OneHot: _one_hot,
    Take: _take,
    TakeGradient: _take_gradient,
    Gather: _gather,
    ScatterAdd: _scatter_add,
    Pad: _pad,
    SliceGradient: _slice_gradient,
    **scans.RULES,
}
