"""Joining axes into one."""

from __future__ import annotations

from graphnn.nn.layer import Layer
from graphnn.ops.node import Node
from graphnn.ops.shape import flatten


class Flatten(Layer):
    """Join axes into one, by default all but the batch.

    Parameters
    ----------
    start_axis, end_axis : int
        The first and the last axis to join.
    name : str, optional
        Scope to use instead of the attribute's name or the key.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     gn.nn.Flatten()(gn.placeholder("x", (None, 16, 5, 5))).shape
    (N, 400)
    """

    shown = ("start_axis", "end_axis")

    def __init__(self, start_axis: int = 1, end_axis: int = -1, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.start_axis = start_axis
        self.end_axis = end_axis

    def forward(self, x: Node) -> Node:
        """Return the input with its axes joined."""
        return flatten(x, self.start_axis, self.end_axis)
