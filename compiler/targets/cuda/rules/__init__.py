"""What the CUDA target does with each op that is more than pointwise."""

from __future__ import annotations

from collections.abc import Callable

from graphnn.compiler.targets.cuda.instance import Instance
from graphnn.compiler.targets.cuda.rules import index, pooling, random, rows
from graphnn.compiler.targets.cuda.rules.products import PRODUCTS, can_multiply
from graphnn.ops.loss import CrossEntropy
from graphnn.ops.max_pool import MaxPool2d, MaxPool2dIndices
from graphnn.ops.node import Node
from graphnn.ops.norm import Softmax
from graphnn.ops.op import Op
from graphnn.ops.reduce import Max, Min, Sum
from graphnn.ops.slicing import Concat

Rule = Callable[[Node, int], list[Instance] | None]
"""From a node and the largest batch to the kernels that compute it one after the other, or None: NumPy has to."""

MOST_POINTERS = 400
"""Pointers that a kernel is given at most: all its parameters have to fit into 4 kB."""

RULES: dict[type[Op], Rule] = {**pooling.RULES, **rows.RULES, **random.RULES, **index.RULES}


def has_rule(node: Node, max_batch: int) -> bool:
    """Whether a node that is not pointwise can be computed by a CUDA kernel."""
    if isinstance(node.op, Sum | Max | Min):
        return True
    if isinstance(node.op, Concat):
        return len(node.inputs) < MOST_POINTERS
    if isinstance(node.op, PRODUCTS):
        return can_multiply(node)
    rule = RULES.get(type(node.op))
    return rule is not None and rule(node, max_batch) is not None


def paired(first: Node, second: Node) -> tuple[Node, Node] | None:
    """Return two nodes in the order in which `pair_kernels` takes them, or None if no kernel computes both."""
    for one, other in ((first, second), (second, first)):
        match one.op, other.op:
            case MaxPool2dIndices(), MaxPool2d():
                if one.op.attributes == other.op.attributes and one.inputs == other.inputs:
                    return one, other
            case Softmax(), CrossEntropy():
                if one.inputs[0] is other.inputs[0] and one.op.axis % one.rank == one.rank - 1:
                    return one, other
    return None


def pair_kernels(pair: tuple[Node, ...], max_batch: int) -> list[Instance]:
    """Return the kernels that compute two nodes at once: STORE takes the second's value, STORE1 the first's."""
    node = pair[-1]
    if isinstance(node.op, MaxPool2d):
        return pooling.values_and_positions(node, max_batch)
    return rows.losses_and_softmax(node, max_batch)
