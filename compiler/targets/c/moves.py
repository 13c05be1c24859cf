"""Print kernels that move elements and compute nothing: slices, borders, joins, axes in another order.

Each is a list of moves, loops over constant strides that write every element of the result once: from an input, or the
border's value. Of batched values whole vectors are moved, the examples of a block side by side in the innermost loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from graphnn.compiler.targets.c.expressions import C_TYPES, literal
from graphnn.compiler.targets.c.loops import PARALLEL_FROM
from graphnn.compiler.targets.c.text import indented, linear, row_major
from graphnn.compiler.targets.c.units import example_shape, is_batched
from graphnn.ops.node import Node
from graphnn.ops.op import Op
from graphnn.ops.shape import Transpose
from graphnn.ops.slicing import Concat, Pad, Slice, SliceGradient

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Walk:
    """Positions in memory: a first one, and how far apart the next ones are on each axis."""

    start: int
    steps: Shape


@dataclass(frozen=True)
class Move:
    """Elements of the result, and where they come from.

    Attributes
    ----------
    shape : tuple of int
        Lengths of the loops, outermost first.
    to : Walk
        Their places in the result.
    source : int, optional
        The number of the input that they are read from; without one they are the border.
    origin : Walk, optional
        Their places in the input.
    """

    shape: Shape
    to: Walk
    source: int | None = None
    origin: Walk | None = None

    @property
    def walks(self) -> tuple[Walk, ...]:
        """Where it goes and, unless it is the border, where it comes from."""
        return (self.to,) if self.origin is None else (self.to, self.origin)

    def over_lanes(self, lanes: int) -> Move:
        """Return the same move of vectors instead of single elements."""
        wide = (Walk(walk.start * lanes, (*(step * lanes for step in walk.steps), 1)) for walk in self.walks)
        return Move((*self.shape, lanes), next(wide), self.source, next(wide, None))

    def joined(self) -> Move:
        """Return the same move with neighbouring axes joined where all walks go through them in one stride."""
        shape: list[int] = []
        columns: list[Shape] = []
        for length, column in zip(self.shape, zip(*(walk.steps for walk in self.walks), strict=True), strict=True):
            if length == 1:
                continue
            if columns and columns[-1] == tuple(step * length for step in column):
                shape[-1] *= length
                columns[-1] = column
            else:
                shape.append(length)
                columns.append(column)
        walks = (Walk(walk.start, tuple(column[place] for column in columns)) for place, walk in enumerate(self.walks))
        return Move(tuple(shape), next(walks), self.source, next(walks, None))


def print_move(node: Node, name: str, lanes: int) -> str:
    """Print the kernel of a node: ``name(x0, …, y)`` over one block, or ``name(x0, …, y, n)`` without a batch."""
    kind = C_TYPES[node.dtype]
    parameters = [f"const {kind} *restrict x{place}" for place in range(len(node.inputs))]
    parameters.append(f"{kind} *restrict y")
    moves = list(_RULES[type(node.op)](node.op, node))
    if is_batched(node):
        moves = [move.over_lanes(lanes) for move in moves]
        pragmas = [""] * len(moves)
    else:
        parameters.append("int64_t n")
        pragmas = [
            "#pragma omp for schedule(static) nowait"
            if math.prod(move.shape) >= PARALLEL_FROM
            else "#pragma omp single nowait"
            for move in moves
        ]
    border = literal(node.op.value if isinstance(node.op, Pad) else 0, node.dtype)
    body: list[str] = []
    for move, pragma in zip(moves, pragmas, strict=True):
        body += [pragma] if pragma else []
        body += _loops(move.joined(), border)
    return "\n".join([f"static void {name}({', '.join(parameters)})", "{", *indented(body), "}"])


def _loops(move: Move, border: str) -> list[str]:
    variables = [f"i{axis}" for axis in range(len(move.shape))]

    def at(walk: Walk) -> str:
        return linear(*zip(variables, walk.steps, strict=True), constant=walk.start)

    value = border if move.origin is None else f"x{move.source}[{at(move.origin)}]"
    lines = [f"y[{at(move.to)}] = {value};"]
    for place, (variable, length) in enumerate(zip(reversed(variables), reversed(move.shape), strict=True)):
        head = f"for (int64_t {variable} = 0; {variable} < {length}; {variable}++) {{"
        # Unrolled early, the loop around a vector's would be vectorised instead, at the price of shuffles.
        pragma = ["#pragma GCC unroll 1"] if not place and len(variables) > 1 else []
        lines = [*pragma, head, *indented(lines), "}"]
    return lines


# Which elements go where.


def _whole(shape: Shape) -> Walk:
    return Walk(0, row_major(shape))


def _cut(shape: Shape, starts: Iterable[int], steps: Iterable[int]) -> Walk:
    """Return the places of the positions ``start, start + step, …`` of each axis."""
    strides = row_major(shape)
    start = sum(first * stride for first, stride in zip(starts, strides, strict=True))
    return Walk(start, tuple(step * stride for step, stride in zip(steps, strides, strict=True)))


def _slice(op: Slice, node: Node) -> Iterator[Move]:
    shape, first = example_shape(node), is_batched(node)
    yield Move(shape, _whole(shape), 0, _cut(example_shape(node.inputs[0]), op.starts[first:], op.steps[first:]))


def _slice_gradient(op: SliceGradient, node: Node) -> Iterator[Move]:
    first = is_batched(node)
    return _within_border(node, op.forward.starts[first:], op.forward.steps[first:])


def _pad(op: Pad, node: Node) -> Iterator[Move]:
    starts = [before for before, _ in op.padding[is_batched(node) :]]
    return _within_border(node, starts, [1] * len(starts))


def _within_border(node: Node, starts: Sequence[int], steps: Sequence[int]) -> Iterator[Move]:
    """Yield the input to the positions ``start, start + step, …`` of each axis, and the border to all others."""
    shape, taken = example_shape(node), example_shape(node.inputs[0])
    inside = _cut(shape, starts, steps)
    yield Move(taken, inside, 0, _whole(taken))
    strides = row_major(shape)
    start = 0
    for axis, stride in enumerate(strides):  # inside on the axes before, left out on this one, anywhere on the others
        for first, lengths, paces in _left_out(shape[axis], starts[axis], taken[axis], steps[axis]):
            across = tuple(pace * stride for pace in paces)
            to = Walk(start + first * stride, (*inside.steps[:axis], *across, *strides[axis + 1 :]))
            yield Move((*taken[:axis], *lengths, *shape[axis + 1 :]), to)
        start += starts[axis] * stride


def _left_out(size: int, start: int, count: int, step: int) -> Iterator[tuple[int, Shape, Shape]]:
    """Yield the positions of an axis that ``start, start + step, …`` leaves out: a first one, lengths and steps."""
    low, high = sorted((start, start + (count - 1) * step))
    gap = abs(step)
    if low:
        yield 0, (low,), (1,)
    if count > 1 and gap > 1:
        yield low + 1, (count - 1, gap - 1), (gap, 1)
    if high + 1 < size:
        yield high + 1, (size - high - 1,), (1,)


def _concat(op: Concat, node: Node) -> Iterator[Move]:
    shape = example_shape(node)
    strides, axis = row_major(shape), op.axis - is_batched(node)
    start = 0
    for place, given in enumerate(node.inputs):
        part = example_shape(given)
        yield Move(part, Walk(start * strides[axis], strides), place, _whole(part))
        start += part[axis]


def _transpose(op: Transpose, node: Node) -> Iterator[Move]:
    shape, first = example_shape(node), is_batched(node)
    strides = row_major(example_shape(node.inputs[0]))
    yield Move(shape, _whole(shape), 0, Walk(0, tuple(strides[axis - first] for axis in op.axes[first:])))


_RULES: dict[type[Op], Callable[[Any, Node], Iterator[Move]]] = {
    Slice: _slice,
    SliceGradient: _slice_gradient,
    Pad: _pad,
    Concat: _concat,
    Transpose: _transpose,
}
