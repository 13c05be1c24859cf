"""Layers: modules from one node to one node."""

from __future__ import annotations

from typing import Any

from graphnn.nn.module import Module
from graphnn.ops.errors import GraphError, ShapeError
from graphnn.ops.node import Node
from graphnn.ops.source import caller


class Layer(Module):
    """Base of the modules that take one node and give one.

    Parameters
    ----------
    name : str, optional
        Scope to use instead of the attribute's name or the key.

    Examples
    --------
    >>> import graphnn as gn
    >>> class Double(gn.nn.Layer):
    ...     def forward(self, x):
    ...         return 2 * x
    >>> with gn.Graph():
    ...     Double()(gn.placeholder("x", (None, 3)))
    <multiply 'double.multiply': float32 (N, 3)>
    """

    def forward(self, x: Node) -> Node:
        """Add the layer's nodes and return the last."""
        return super().forward(x)

    def __call__(self, x: Node) -> Node:
        """Enter the layer's scope and return what `forward` returns."""
        if not isinstance(x, Node):
            raise _no_node(self, x)
        return super().__call__(x)

    def _shape_error(self, x: Node, expected: str, hint: str) -> ShapeError:
        """Return the error for an input of the wrong shape."""
        return ShapeError(
            f"{self._label} can't take this input",
            expected=expected,
            actual=f"{x.spec} ({x.name!r})",
            where=str(caller()),
            hint=hint,
        )


def _no_node(layer: Layer, value: Any) -> GraphError:
    return GraphError(
        f"{type(layer).__name__} takes a node",
        actual=type(value).__name__,
        where=str(caller()),
        hint="feed arrays through gn.placeholder(name, shape, dtype), or fix them with gn.constant(array)",
    )
