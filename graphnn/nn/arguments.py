"""Checks of the numbers that layers are made with."""

from __future__ import annotations

from operator import index

from graphnn.ops.errors import GraphError
from graphnn.ops.source import caller


def at_least_one(layer: str, name: str, value: int) -> int:
    """Return a size, or raise a GraphError that names the layer and the argument.

    Examples
    --------
    >>> at_least_one("Linear", "in_features", 784)
    784
    """
    try:
        size = index(value)
    except TypeError:
        size = 0
    if size < 1:
        raise GraphError(f"{layer}: {name} is {value!r}", expected="an integer of 1 or more", where=str(caller()))
    return size
