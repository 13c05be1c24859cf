"""Give each run that draws random numbers numbers of its own.

Before: random ops read the graph's ``random_step``.
After: the same, and an assign of ``random_step + 1`` is among the updates. A plan that draws nothing is unchanged.
"""

from __future__ import annotations

import numpy as np

from graphnn.compiler.subgraph import Subgraph, replacement
from graphnn.ops.elementwise import Add
from graphnn.ops.random import Random
from graphnn.ops.state import Assign, Constant, Variable


def advance_random_step(subgraph: Subgraph) -> Subgraph:
    """Return the subgraph with the counter's update, if any node draws."""
    drawing = [node for node in subgraph.nodes if isinstance(node.op, Random)]
    if not drawing:
        return subgraph
    updates = list(subgraph.updates)
    assigned = {update.inputs[0] for update in updates}
    for step in dict.fromkeys(given for node in drawing for given in node.inputs):
        if isinstance(step.op, Variable) and step not in assigned:
            one = replacement(step, Constant.of(np.ones((), np.int64)), (), name=f"{step.name}.one")
            following = replacement(step, Add(), (step, one), name=f"{step.name}.next")
            updates.append(replacement(step, Assign(), (step, following), name=f"{step.name}.advance"))
    return Subgraph(subgraph.fetches, tuple(updates))
