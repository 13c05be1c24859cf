"""Dropout."""

from __future__ import annotations

from graphnn.nn.layer import Layer
from graphnn.ops.errors import GraphError
from graphnn.ops.node import Node
from graphnn.ops.random import dropout
from graphnn.ops.source import caller


class Dropout(Layer):
    """Zero each element with probability p in training plans; do nothing in evaluation plans. See `ops.dropout`.

    Parameters
    ----------
    p : float
        Probability of an element to be dropped.
    name : str, optional
        Scope to use instead of the attribute's name or the key.

    Raises
    ------
    GraphError
        If p is not from 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> with gn.Graph(seed=0):
    ...     y = gn.nn.Dropout(0.5)(gn.constant([1.0, 2.0]))
    >>> gn.Executor(y, training=False, device="numpy").run()
    array([1., 2.], dtype=float32)
    """

    shown = ("p",)

    def __init__(self, p: float = 0.5, *, name: str | None = None) -> None:
        super().__init__(name=name)
        if not 0 <= p <= 1:
            raise GraphError(f"Dropout: p is {p}", expected="a probability from 0 to 1", where=str(caller()))
        self.p = p

    def forward(self, x: Node) -> Node:
        """Return the input, in training plans with elements dropped and the others divided by 1 - p."""
        return dropout(x, self.p)
