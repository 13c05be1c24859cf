"""Which nodes compiled code can compute, and how: per block of examples, or flat over values without a batch.

A *batched* value has the batch as its first axis and nowhere else. Compiled code keeps it in batch lanes: a block of
`LANES` examples at a time, the examples of a block side by side in the innermost axis, so that every op on examples is
an op on vectors. A *static* value has no batch axis and stays row-major.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from graphnn.compiler.passes.snapshot_reads import variable_behind
from graphnn.compiler.schedule.form import Group
from graphnn.compiler.targets.c.expressions import C_TYPES, has_expression
from graphnn.ops import dtypes
from graphnn.ops.avg_pool import AvgPool2d, AvgPool2dGradient
from graphnn.ops.conv import Conv2d, Conv2dDataGradient, Conv2dWeightGradient
from graphnn.ops.gather import Gather, ScatterAdd
from graphnn.ops.index import OneHot, Take, TakeGradient
from graphnn.ops.loss import CrossEntropy, NegativeLogLikelihood
from graphnn.ops.matmul import MatMul
from graphnn.ops.max_pool import MaxPool2d, MaxPool2dGather, MaxPool2dGradient, MaxPool2dIndices
from graphnn.ops.node import Node
from graphnn.ops.norm import LogSoftmax, Softmax
from graphnn.ops.op import Op
from graphnn.ops.product import Prod
from graphnn.ops.random import Random
from graphnn.ops.reduce import Argmax, Max, Min, Size, Sum
from graphnn.ops.scan import Scan
from graphnn.ops.shape import BroadcastTo, Reshape, Transpose
from graphnn.ops.slicing import Concat, Pad, Slice, SliceGradient
from graphnn.ops.sort import Order
from graphnn.ops.spec import Dim
from graphnn.ops.state import Assign

Kind = Literal["lanes", "batch-sum", "flat", "cooperative", "alias"]
"""How a node is computed.

``lanes``: per block. ``batch-sum``: per block, added up. ``flat``: without a batch. ``cooperative``: for all blocks at
once, by all threads together. ``alias``: costs nothing.
"""

LARGE_WEIGHT_BYTES = 1 << 18
"""From here on a weight does not stay in a second-level cache while a block goes through its layers."""

PER_EXAMPLE: tuple[type[Op], ...] = (
    CrossEntropy,
    NegativeLogLikelihood,
    OneHot,
    MaxPool2d,
    MaxPool2dIndices,
    MaxPool2dGradient,
    MaxPool2dGather,
    AvgPool2d,
    AvgPool2dGradient,
)
"""Ops with a kernel of their own that work on each example alone."""

MOVES: tuple[type[Op], ...] = (Slice, SliceGradient, Pad, Concat, Transpose)
"""Ops that compute nothing: each element of the result is one of an input's, or a border's."""

LONGEST_ORDERED = 1024
"""Numbers of a line up to which compiled code orders it, by comparing each with each."""

LABELS = 6
"""Up to how many ops a unit names."""


@dataclass(frozen=True)
class Unit:
    """Nodes that one C function computes; the last one's value leaves it, and those of others if they are named.

    Attributes
    ----------
    nodes : tuple of Node
        Each after its inputs.
    also : tuple of Node
        Those besides the last one whose values leave the unit.
    """

    kind: Kind
    nodes: tuple[Node, ...]
    also: tuple[Node, ...] = ()

    @property
    def root(self) -> Node:
        """The last node, for which the unit stands."""
        return self.nodes[-1]

    @property
    def results(self) -> tuple[Node, ...]:
        """The nodes whose values leave the unit."""
        return (*self.also, self.root)

    @property
    def label(self) -> str:
        """What is computed, in the names of ops."""
        labels = [node.op.label for node in self.nodes]
        if len(labels) > LABELS:
            labels[LABELS - 1 :] = [f"{len(labels) - LABELS + 1} more"]
        return " + ".join(labels)

    @property
    def inputs(self) -> tuple[Node, ...]:
        """What the unit reads, each once, in order of first use."""
        if isinstance(self.root.op, Size):
            return ()  # the shape alone counts, which the run knows
        if isinstance(self.root.op, MatMul):
            return factors(self.root)
        inside = set(self.nodes)
        return tuple(dict.fromkeys(given for node in self.nodes for given in node.inputs if given not in inside))


def is_batched(node: Node) -> bool:
    """Whether a value has the batch as its first axis, nowhere else, and an element type that C knows."""
    shape = node.shape
    if not shape or shape[0] != Dim(1) or node.dtype not in C_TYPES:
        return False
    return not any(isinstance(extent, Dim) for extent in shape[1:]) and 0 not in shape


def is_static(node: Node) -> bool:
    """Whether a value has no batch axis, and an element type that C knows."""
    return not node.spec.has_batch and node.dtype in C_TYPES and 0 not in node.shape


def example_shape(node: Node) -> tuple[int, ...]:
    """Return the shape of one example of a batched value, or the whole shape of a static one."""
    spec = node.spec.with_shape(node.shape[1:]) if is_batched(node) else node.spec
    return spec.static_shape


def kind_of(node: Node, readers: Sequence[Node]) -> Kind | None:
    """Return how compiled code computes a node, or None where NumPy has to.

    Parameters
    ----------
    node : Node
        A computed node.
    readers : sequence of Node
        Whoever reads it, none if it is fetched; a transpose costs nothing where only matrix products read it.
    """
    match node.op:
        case Assign():
            return "flat" if is_static(node) else None
        case Size():
            return "flat"
        case Reshape():
            return _reshape_kind(node)
        case Transpose() | Slice() | SliceGradient() | Pad() | Concat():
            return _move_kind(node, readers)
        case MatMul():
            return _product_kind(node)
        case Sum() | Max() | Min():
            return _reduction_kind(node)
        case Softmax() | LogSoftmax() | Argmax() | Scan() | Prod() | Order():
            return _line_kind(node, node.op.axis)
        case Conv2d() | Conv2dDataGradient() | Conv2dWeightGradient():
            return _convolution_kind(node)
        case BroadcastTo() | Random():
            return _pointwise_kind(node)
    if isinstance(node.op, Take | TakeGradient | Gather | ScatterAdd):
        return _indexing_kind(node, node.op.axis)
    if isinstance(node.op, PER_EXAMPLE):
        return _example_kind(node)
    return _pointwise_kind(node) if has_expression(node) else None


def _convolution_kind(node: Node) -> Kind | None:
    first, second = node.inputs
    if node.dtype is not dtypes.float32 or not is_batched(first):
        return None
    if isinstance(node.op, Conv2dWeightGradient):
        return "batch-sum" if is_batched(second) and is_static(node) else None
    return "lanes" if is_static(second) and is_batched(node) else None


def _line_kind(node: Node, axis: int) -> Kind | None:
    """Return how a node is computed that looks at the numbers along an axis of its inputs."""
    given = node.inputs[0]
    kind = _kind_along((node, *node.inputs), axis % given.rank)
    match node.op:
        case Softmax() | LogSoftmax():
            return "lanes" if kind == "lanes" and given.dtype is dtypes.float32 else None
        case Argmax():
            return "lanes" if kind == "lanes" else None
        case Order() if kind is not None and example_shape(given)[axis - is_batched(given)] > LONGEST_ORDERED:
            return None
    return kind


def _kind_along(values: Sequence[Node], axis: int) -> Kind | None:
    """Return how a node is computed that works along an axis of all these values, in lanes or without a batch."""
    if all(map(is_static, values)):
        return "flat"
    return "lanes" if axis != 0 and all(map(is_batched, values)) else None


def _indexing_kind(node: Node, axis: int) -> Kind | None:
    """Return how a node is computed that picks, places or adds by the positions in its second input."""
    first, indices = node.inputs[:2]
    adds_entries = isinstance(node.op, TakeGradient)
    if adds_entries and node.dtype is dtypes.bool:
        return None
    if axis == 0 and is_batched(indices):  # each example's own rows of a table
        if adds_entries:
            return "cooperative" if is_batched(first) and is_static(node) else None
        return "lanes" if is_static(first) and is_batched(node) else None
    by_entries = isinstance(node.op, Take | TakeGradient) and is_static(indices)  # the same ones for all examples
    return _kind_along((node, first) if by_entries else (node, *node.inputs), axis)


def _example_kind(node: Node) -> Kind | None:
    """Return how a node is computed whose kernel works on each example alone, on float32 unless it is one-hot."""
    values = (node, *node.inputs)
    floats = [value.dtype for value in values if value.dtype.is_floating]
    has_type = isinstance(node.op, OneHot) or (bool(floats) and all(dtype is dtypes.float32 for dtype in floats))
    return "lanes" if has_type and all(map(is_batched, values)) else None


def _reshape_kind(node: Node) -> Kind | None:
    given = node.inputs[0]
    # Rows of all examples, (k·N, D), are only read by what sums over them, and by NumPy.
    both_batched = is_batched(given) and node.spec.has_batch
    return "alias" if both_batched or (is_static(node) and is_static(given)) else None


def _move_kind(node: Node, readers: Sequence[Node]) -> Kind | None:
    """Return how elements are moved: not at all where readers find them in the input's memory."""
    stays = _first_of_piece(node) is not None or _is_turned_freely(node, readers)
    return "alias" if stays else _copy_kind(node)


def _copy_kind(node: Node) -> Kind | None:
    """Return how elements are copied to other places, those of each example within it."""
    if all(map(is_batched, (node, *node.inputs))):
        return "lanes"
    return "flat" if all(map(is_static, (node, *node.inputs))) else None


def _first_of_piece(node: Node) -> int | None:
    """Return from which element of its input a slice is one piece of memory, or None.

    A slice of a variable is always copied, so that the variable can be written while its old values are in use.
    """
    given = node.inputs[0]
    if not isinstance(node.op, Slice) or _copy_kind(node) is None or variable_behind(given) is not None:
        return None
    batched = is_batched(node)
    shape, whole = example_shape(node), example_shape(given)
    cut = next((axis for axis, size in enumerate(shape) if size > 1), len(shape))
    if shape[cut + 1 :] != whole[cut + 1 :] or any(step != 1 for step in node.op.steps[cut + batched :]):
        return None
    starts = node.op.starts[batched:]
    return sum(start * math.prod(whole[axis + 1 :]) for axis, start in enumerate(starts))


def _is_turned_freely(node: Node, readers: Sequence[Node]) -> bool:
    """Whether a node is a transposed matrix that all who read it take as it lies in memory."""
    if not readers or not isinstance(node.op, Transpose):
        return False
    products = [reader for reader in readers if isinstance(reader.op, MatMul) and _product_kind(reader) is not None]
    return len(products) == len(readers) and all(node not in factors(each) for each in products)


def _product_kind(node: Node) -> Kind | None:
    a, b = node.inputs
    if node.dtype is not dtypes.float32:
        return None
    if node.rank == 2 and is_batched(a) and is_static(b):
        return "cooperative" if b.spec.nbytes(1) >= LARGE_WEIGHT_BYTES else "lanes"
    if node.rank > 2 and is_batched(node):
        return "lanes" if _lines_up(a, node) and _lines_up(b, node) else None
    if summed_rows(node) is not None:
        return "cooperative"
    return "flat" if is_static(a) and is_static(b) else None


def _reduction_kind(node: Node) -> Kind | None:
    op, given = node.op, node.inputs[0]
    assert isinstance(op, Sum | Max | Min)
    if is_batched(given):
        if 0 not in op.axes:
            return "lanes" if is_batched(node) else None
        return "batch-sum" if isinstance(op, Sum) and is_static(node) else None
    return "flat" if is_static(given) and is_static(node) else None


def _pointwise_kind(node: Node) -> Kind | None:
    if is_batched(node):
        return "lanes" if all(_lines_up(given, node) for given in node.inputs) else None
    if is_static(node) and all(is_static(given) for given in node.inputs):
        return "flat"
    return None


def _lines_up(given: Node, node: Node) -> bool:
    """Whether an input of a batched elementwise node is batched in the same axis, or has no batch at all."""
    if is_batched(given):
        return given.rank == node.rank
    return is_static(given) and (given.rank < node.rank or given.shape[0] == 1)


def units_of(group: Group, kinds: dict[Node, Kind]) -> list[Unit]:
    """Cut a group of the schedule into units, each of which is one function.

    A group has at most one node that needs a loop of its own (a product, a reduction), besides parts that are cut out
    of sources. It takes along what only it reads; the rest of the group, which works on its result, is a unit of
    elementwise ops.
    """
    nodes = [node for node in group.nodes if kinds[node] != "alias"]
    moved = [[node] for node in nodes if isinstance(node.op, MOVES)]
    nodes = [node for node in nodes if not isinstance(node.op, MOVES)]
    anchor = next((node for node in nodes if not is_pointwise(node)), None)
    parts = [nodes]
    if anchor is not None:
        before = _leading_to(anchor, nodes)
        parts = [[node for node in nodes if node in before], [node for node in nodes if node not in before]]
    return [Unit(kinds[part[-1]], tuple(part)) for part in (*moved, *parts) if part]


def is_pointwise(node: Node) -> bool:
    """Whether a node is computed element by element."""
    return has_expression(node) or isinstance(node.op, Assign | BroadcastTo)


def _leading_to(anchor: Node, nodes: list[Node]) -> set[Node]:
    inside = set(nodes)
    found, stack = set(), [anchor]
    while stack:
        node = stack.pop()
        if node in inside and node not in found:
            found.add(node)
            stack.extend(node.inputs)
    return found


def behind_alias(node: Node) -> Node:
    """Return the node whose memory a reshaped value is, or one that is cut out in one piece."""
    return memory_of(node)[0]


def memory_of(node: Node) -> tuple[Node, int]:
    """Return the node whose memory a value is, and from which element of it (with a batch: of each example) on."""
    first = 0
    while True:
        if isinstance(node.op, Slice):
            start = _first_of_piece(node)
        else:
            start = 0 if isinstance(node.op, Reshape) and _reshape_kind(node) == "alias" else None
        if start is None:
            return node, first
        node, first = node.inputs[0], first + start


def factors(product: Node) -> tuple[Node, ...]:
    """Return what a matrix product reads, each once: of what is transposed for free, the value as it lies in memory."""
    return tuple(dict.fromkeys(summed_rows(product) or map(read_in_place, product.inputs)))


def read_in_place(factor: Node) -> Node:
    """Return the value that a product reads for a factor: that before a transpose, unless it moves the batch."""
    if not isinstance(factor.op, Transpose):
        return factor
    keeps_batch = is_static(factor) or (is_batched(factor) and factor.op.axes[0] == 0)
    return factor.inputs[0] if keeps_batch else factor


def summed_rows(product: Node) -> tuple[Node, Node] | None:
    """Return the batched values over whose rows, those of all examples, a product sums; None for other products.

    It is ``transpose(a) @ b``, a weight's gradient, where `a` and `b` may be values with more axes, reshaped to rows.
    """
    turned, b = product.inputs
    if not (isinstance(turned.op, Transpose) and turned.op.axes == (1, 0) and is_static(product)):
        return None
    a, b = (_before_rows(given) for given in (turned.inputs[0], b))
    return (a, b) if is_batched(a) and is_batched(b) else None


def _before_rows(node: Node) -> Node:
    """Return the batched value of which a node is the rows, if it is one with several rows an example."""
    return node.inputs[0] if isinstance(node.op, Reshape) and not is_batched(node) else node


def memory_read(node: Node) -> tuple[Node, ...]:
    """Return the nodes whose memory compiled code reads to compute a node."""
    inputs = factors(node) if isinstance(node.op, MatMul) else node.inputs
    return tuple(behind_alias(given) for given in inputs)
