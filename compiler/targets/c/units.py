"""Which nodes compiled code can compute, and how: per block of examples, or flat over values without a batch.

A *batched* value has the batch as its first axis and nowhere else. Compiled code keeps it in batch lanes: a block of
`LANES` examples at a time, the examples of a block side by side in the innermost axis, so that every op on examples is
an op on vectors. A *static* value has no batch axis and stays row-major.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from graphnn.compiler.schedule.form import Group
from graphnn.compiler.targets.c.expressions import C_TYPES, has_expression
from graphnn.ops import dtypes
from graphnn.ops.avg_pool import AvgPool2d, AvgPool2dGradient
from graphnn.ops.conv import Conv2d, Conv2dDataGradient, Conv2dWeightGradient
from graphnn.ops.index import OneHot
from graphnn.ops.loss import CrossEntropy
from graphnn.ops.matmul import MatMul
from graphnn.ops.max_pool import MaxPool2d, MaxPool2dGather, MaxPool2dGradient, MaxPool2dIndices
from graphnn.ops.node import Node
from graphnn.ops.norm import LogSoftmax, Softmax
from graphnn.ops.op import Op
from graphnn.ops.reduce import Argmax, Max, Min, Size, Sum
from graphnn.ops.shape import BroadcastTo, Reshape, Transpose
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
    OneHot,
    MaxPool2d,
    MaxPool2dIndices,
    MaxPool2dGradient,
    MaxPool2dGather,
    AvgPool2d,
    AvgPool2dGradient,
)
"""Ops with a kernel of their own that work on each example alone."""


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
        Whoever reads it; a transposed matrix costs nothing where only matrix products read it.
    """
    match node.op:
        case Assign():
            return "flat" if is_static(node) else None
        case Size():
            return "flat"
        case Reshape():
            return _reshape_kind(node)
        case Transpose():
            return _transpose_kind(node, readers)
        case MatMul():
            return _product_kind(node)
        case Sum() | Max() | Min():
            return _reduction_kind(node)
        case Softmax() | LogSoftmax() | Argmax():
            return _line_kind(node, node.op.axis)
        case Conv2d() | Conv2dDataGradient():
            fits = is_batched(node) and is_static(node.inputs[1]) and node.dtype is dtypes.float32
            return "lanes" if fits else None
        case Conv2dWeightGradient():
            fits = all(is_batched(given) for given in node.inputs) and node.dtype is dtypes.float32
            return "batch-sum" if fits and is_static(node) else None
        case BroadcastTo():
            return _pointwise_kind(node)
    if isinstance(node.op, PER_EXAMPLE):
        fits = is_batched(node) and all(is_batched(given) for given in node.inputs)
        return "lanes" if fits and _pools_floats(node) else None
    return _pointwise_kind(node) if has_expression(node) else None


def _line_kind(node: Node, axis: int) -> Kind | None:
    """Return how a node is computed that looks at the numbers along an axis of its input."""
    given = node.inputs[0]
    fits = is_batched(node) and is_batched(given) and axis % given.rank != 0 and given.dtype is dtypes.float32
    return "lanes" if fits else None


def _pools_floats(node: Node) -> bool:
    floats = [spec.dtype for spec in (node, *node.inputs) if spec.dtype.is_floating]
    return all(dtype is dtypes.float32 for dtype in floats) and bool(floats or isinstance(node.op, OneHot))


def _reshape_kind(node: Node) -> Kind | None:
    given = node.inputs[0]
    both_batched = is_batched(node) and is_batched(given)
    return "alias" if both_batched or (is_static(node) and is_static(given)) else None


def _transpose_kind(node: Node, readers: Sequence[Node]) -> Kind | None:
    op = node.op
    assert isinstance(op, Transpose)
    usable = node.inputs[0].dtype is dtypes.float32 and op.axes == (1, 0)
    free = usable and bool(readers) and all(_turns_freely(node, reader) for reader in readers)
    return "alias" if free else None


def _turns_freely(node: Node, reader: Node) -> bool:
    """Whether a reader is a product that takes a transposed matrix as it lies in memory (see `factors`)."""
    if not isinstance(reader.op, MatMul) or _product_kind(reader) is None:
        return False
    turned = reader.inputs[1] if is_batched(reader.inputs[0]) else reader.inputs[0]
    return [given for given in reader.inputs if given is node] == [turned]


def _product_kind(node: Node) -> Kind | None:
    a, b = node.inputs
    if a.rank != 2 or b.rank != 2 or node.dtype is not dtypes.float32:
        return None
    if is_batched(a) and is_static(b):
        return "cooperative" if b.spec.nbytes(1) >= LARGE_WEIGHT_BYTES else "lanes"
    if isinstance(a.op, Transpose) and is_batched(a.inputs[0]) and is_batched(b) and is_static(node):
        return "cooperative"
    return None


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

    A group has at most one node that needs a loop of its own (a product, a reduction). It takes along what only it
    reads; the rest of the group, which works on its result, is a unit of elementwise ops.
    """
    nodes = [node for node in group.nodes if kinds[node] != "alias"]
    anchor = next((node for node in nodes if not is_pointwise(node)), None)
    parts = [nodes]
    if anchor is not None:
        before = _leading_to(anchor, nodes)
        parts = [[node for node in nodes if node in before], [node for node in nodes if node not in before]]
    return [Unit(kinds[part[-1]], tuple(part)) for part in parts if part]


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
    """Return the node whose memory a reshaped value is."""
    while isinstance(node.op, Reshape) and _reshape_kind(node) == "alias":
        node = node.inputs[0]
    return node


def factors(product: Node) -> tuple[Node, ...]:
    """Return what a matrix product reads: of one that is transposed for free, the matrix as it lies in memory."""
    a, b = product.inputs
    if not is_batched(a):
        return tuple(dict.fromkeys((a.inputs[0], b)))
    return a, b.inputs[0] if isinstance(b.op, Transpose) else b


def memory_read(node: Node) -> tuple[Node, ...]:
    """Return the nodes whose memory compiled code reads to compute a node."""
    inputs = factors(node) if isinstance(node.op, MatMul) else node.inputs
    return tuple(behind_alias(given) for given in inputs)
