"""What a loss is computed from."""

from __future__ import annotations

from graphnn.compiler.subgraph import topological
from graphnn.ops.node import Node
from graphnn.ops.state import Placeholder, StopGradient, Variable


def differentiable_ancestors(loss: Node) -> set[Node]:
    """Return the nodes from which values of a floating type lead to the loss, not stopped by `ops.stop_gradient`."""
    found: set[Node] = set()
    stack = [loss]
    while stack:
        node = stack.pop()
        if node.dtype.is_floating and node not in found:
            found.add(node)
            stack.extend(() if isinstance(node.op, StopGradient) else node.inputs)
    return found


def updates_of(loss: Node) -> list[Node]:
    """Return the assigns registered in the graph that belong to the loss; `Optimizer.minimize` says which do.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph() as graph:
    ...     x = gn.placeholder("x", (None, 2))
    ...     mean = gn.variable("mean", [0.0, 0.0], trainable=False)
    ...     graph.add_update(gn.ops.assign(mean, 0.9 * mean + 0.1 * x.mean(0)))
    ...     other = gn.placeholder("other", ())
    >>> [update.name for update in updates_of((x * x).sum())], updates_of(other * other)
    (['assign'], [])
    """
    updates = loss.graph.updates
    written = {update.inputs[0] for update in updates}
    known = _sources(loss) | written
    return [update for update in updates if _sources(update) <= known]


def _sources(node: Node) -> set[Node]:
    return {given for given in topological([node]) if isinstance(given.op, Placeholder | Variable)}
