"""Powers with a fixed exponent, as composites: they need no derivative or kernel of their own."""

from __future__ import annotations

from graphnn.ops.elementwise import divide, multiply, sqrt
from graphnn.ops.node import Node


def square(x: Node) -> Node:
    """``x · x``."""
    return multiply(x, x)


def reciprocal(x: Node) -> Node:
    """``1 / x``; integers become float32 first."""
    return divide(1, x)


def rsqrt(x: Node) -> Node:
    """``1 / sqrt(x)``; integers become float32 first."""
    return divide(1, sqrt(x))
