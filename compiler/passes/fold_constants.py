"""Compute at compile time what no run can change.

Before: ops whose inputs are all constants.
After: one constant each, unless its bytes would outgrow the inputs': a large broadcast stays a free view. What
gives NaN or infinity stays as it is.
"""

from __future__ import annotations

import numpy as np

from graphnn.compiler.subgraph import Subgraph, replacement, with_inputs
from graphnn.ops.dtypes import to_interface
from graphnn.ops.evaluation import evaluate_op
from graphnn.ops.node import Node
from graphnn.ops.state import Constant

SMALL = 4096
"""Bytes up to which a folded constant may be larger than what it is computed from."""


def fold_constants(subgraph: Subgraph) -> Subgraph:
    """Return the subgraph with constant expressions evaluated."""
    return subgraph.rewrite(_fold)


def _fold(node: Node, inputs: tuple[Node, ...]) -> Node:
    foldable = inputs and not node.op.is_stateful and not node.spec.has_batch
    if not foldable or not all(isinstance(given.op, Constant) for given in inputs):
        return with_inputs(node, inputs)
    if node.spec.nbytes(1) > max(SMALL, sum(given.spec.nbytes(1) for given in inputs)):
        return with_inputs(node, inputs)
    values = [given.op.value for given in inputs if isinstance(given.op, Constant)]
    try:
        result = evaluate_op(node.op, node.spec, values, [given.spec for given in inputs])
    except IndexError:  # an index out of range: the run reports it with the node's name
        return with_inputs(node, inputs)
    if node.dtype.is_floating and not np.isfinite(to_interface(result, node.dtype)).all():
        return with_inputs(node, inputs)  # a step of the run, for `check_numerics` to find
    return replacement(node, Constant.of(result, node.spec), ())
