"""Activations as layers, for containers; in a `forward`, ``ops.relu(x)`` does the same."""

from __future__ import annotations

from graphnn.nn.layer import Layer
from graphnn.ops.elementwise import relu, sigmoid, tanh
from graphnn.ops.node import Node


class ReLU(Layer):
    """``max(x, 0)``.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     gn.nn.ReLU()(gn.placeholder("x", (None, 3)))
    <relu 'relu.relu': float32 (N, 3)>
    """

    def forward(self, x: Node) -> Node:
        """Return ``max(x, 0)``."""
        return relu(x)


class Sigmoid(Layer):
    """``1 / (1 + e ** -x)``.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     gn.nn.Sigmoid()(gn.placeholder("x", (None, 3)))
    <sigmoid 'sigmoid.sigmoid': float32 (N, 3)>
    """

    def forward(self, x: Node) -> Node:
        """Return ``1 / (1 + e ** -x)``."""
        return sigmoid(x)


class Tanh(Layer):
    """Hyperbolic tangent.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     gn.nn.Tanh()(gn.placeholder("x", (None, 3)))
    <tanh 'tanh.tanh': float32 (N, 3)>
    """

    def forward(self, x: Node) -> Node:
        """Return the hyperbolic tangent."""
        return tanh(x)
