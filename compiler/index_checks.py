"""Find the indices that come straight from feeds, so that wrong ones are refused before a run changes anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphnn.compiler.subgraph import inputs_in_mode, topological
from graphnn.ops.broadcasting import Cast
from graphnn.ops.max_pool import MaxPool2dIndices
from graphnn.ops.node import Node
from graphnn.ops.reduce import Argmax
from graphnn.ops.shape import Reshape, Transpose
from graphnn.ops.spec import Extent
from graphnn.ops.state import Constant, Placeholder


@dataclass(frozen=True)
class IndexCheck:
    """The legal range, half-open, of a placeholder's values, and the node that needs it."""

    placeholder: Node
    low: Extent
    high: Extent
    reader: Node


def index_checks(roots: Sequence[Node], training: bool) -> tuple[list[IndexCheck], bool]:
    """Return the checks that feeds can be held to, and whether other indices remain that only a run can check."""
    checks: list[IndexCheck] = []
    open_ends = False
    for node in topological(roots, inputs_in_mode(training)):
        for place, (low, high) in node.op.index_bounds(*(given.spec for given in node.inputs)).items():
            origin = _origin(node.inputs[place])
            if isinstance(origin.op, Placeholder):
                checks.append(IndexCheck(origin, low, high, node))
            elif not _within(origin, low, high):
                open_ends = True
    return checks, open_ends


def _within(node: Node, low: Extent, high: Extent) -> bool:
    """Whether a node's values are known to be in range before any run."""
    match node.op:
        case Constant(value=values) if isinstance(low, int) and isinstance(high, int):
            return not values.size or (low <= int(values.min()) and int(values.max()) < high)
        case Argmax(axis=axis):
            return node.inputs[0].shape[axis] == high
        case MaxPool2dIndices():
            return high == node.op.places
    return False


def _origin(node: Node) -> Node:
    """Return the node whose values, rearranged or widened, these indices are."""
    while isinstance(node.op, Reshape | Transpose) or (
        isinstance(node.op, Cast)
        and node.inputs[0].dtype.kind == "integer"
        and node.dtype.kind == "integer"
        and node.dtype.itemsize >= node.inputs[0].dtype.itemsize
    ):
        node = node.inputs[0]
    return node
