"""Keep a variable's old value where it is needed after the variable was written.

Before: ``assign(a, b)`` with ``assign(b, a)``, or a fetch of a variable that the same run assigns.
After: these read an `Identity` of the old value, so that every write can follow all reads of its variable.
"""

from __future__ import annotations

from graphnn.compiler.subgraph import Subgraph, replacement, with_inputs
from graphnn.ops.node import Node
from graphnn.ops.state import Assign, Identity, Variable


def snapshot_reads(subgraph: Subgraph) -> Subgraph:
    """Return the subgraph with the copies that a free order of writes needs."""
    written = {update.inputs[0] for update in subgraph.updates}
    copies: dict[Node, Node] = {}

    def copied(value: Node) -> Node:
        if variable_behind(value) not in written:
            return value
        if value not in copies:
            copies[value] = replacement(value, Identity(), (value,), name=f"{value.name}.old")
        return copies[value]

    def protect(node: Node, inputs: tuple[Node, ...]) -> Node:
        if isinstance(node.op, Assign):
            return with_inputs(node, (inputs[0], copied(inputs[1])))
        return with_inputs(node, inputs)

    rewritten = subgraph.rewrite(protect)
    return Subgraph(tuple(copied(node) for node in rewritten.fetches), rewritten.updates)


def variable_behind(node: Node) -> Node | None:
    """Return the variable whose memory the node shows, directly or through views; None for any other node."""
    while node.op.is_view:
        node = node.inputs[0]
    return node if isinstance(node.op, Variable) else None
