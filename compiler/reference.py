"""The meaning of a graph: every node evaluated by its op's plain NumPy, one after another.

Nothing is planned, fused or reused here. Every plan is held against this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from graphnn.compiler.subgraph import inputs_in_mode, topological
from graphnn.ops.dtypes import to_interface, to_storage
from graphnn.ops.errors import FeedError
from graphnn.ops.evaluation import evaluate_op
from graphnn.ops.node import Node
from graphnn.ops.spec import Dim
from graphnn.ops.state import Assign, Placeholder, Variable, WhenTraining


def evaluate(
    fetches: Sequence[Node], feeds: Mapping[Node, np.ndarray], training: bool = False, batch: int | None = None
) -> list[np.ndarray]:
    """Return the values of nodes. No variable is changed; an assign has the value that it would store.

    Parameters
    ----------
    fetches : sequence of Node
        Whose values to compute.
    feeds : mapping of Node to array
        A value for each placeholder that they depend on; the batch size is read off them.
    training : bool
        Which branch of `ops.when_training` to take.
    batch : int, optional
        The batch size, where the feeds do not tell it.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     x = gn.placeholder("x", (None, 2))
    ...     y = x + 1
    >>> evaluate([y], {x: np.zeros((1, 2), np.float32)})
    [array([[1., 1.]], dtype=float32)]
    """
    batch = batch_of(feeds) if batch is None else batch
    values: dict[Node, np.ndarray] = {}
    needed = inputs_in_mode(training)
    for node in topological(fetches, needed):
        values[node] = _value(node, [values[given] for given in needed(node)], feeds, batch, training)
    return [to_interface(values[node], node.dtype).copy() for node in fetches]


def batch_of(feeds: Mapping[Node, np.ndarray]) -> int:
    """Return the batch size that feeds agree on, or 1 where none has a batch axis."""
    for node, value in feeds.items():
        for extent, size in zip(node.shape, np.shape(value), strict=True):
            if isinstance(extent, Dim):
                return int(size) // extent.multiple
    return 1


def _value(
    node: Node, inputs: list[np.ndarray], feeds: Mapping[Node, np.ndarray], batch: int, training: bool
) -> np.ndarray:
    match node.op:
        case Placeholder():
            if node not in feeds:
                raise FeedError(f"placeholder {node.name!r} is not fed", where=str(node.source))
            return to_storage(feeds[node], node.dtype)
        case Variable():
            return node.graph.store.read(node.name)
        case WhenTraining():
            return inputs[0]
        case Assign():
            return inputs[1]
    return evaluate_op(node.op, node.spec.bind(batch), inputs, [given.spec for given in node.inputs])
