"""Modules applied one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from graphnn.nn.layer import Layer
from graphnn.nn.module import Module
from graphnn.ops.errors import GraphError
from graphnn.ops.node import Node
from graphnn.ops.source import caller


class Sequential(Layer):
    """Apply modules one after the other.

    Parameters
    ----------
    *layers : Module, or one mapping of str to Module
        Keys are the names of the modules' scopes; without a mapping they are ``"0"``, ``"1"`` and so on.
    name : str, optional
        Scope to use instead of the attribute's name or the key. A Sequential that is no part of another module and
        has no name has no scope: the names of its variables begin with its keys.

    Raises
    ------
    GraphError
        If a layer is no module, or a key can't be the name of a scope.

    Examples
    --------
    >>> import graphnn as gn
    >>> from graphnn import nn
    >>> model = nn.Sequential({"fc1": nn.Linear(784, 100), "relu": nn.ReLU(), "fc2": nn.Linear(100, 10)})
    >>> model["fc1"]
    Linear(in_features=784, out_features=100, bias=True)
    >>> with gn.Graph(seed=0) as graph:
    ...     logits = model(gn.placeholder("x", (None, 784)))
    >>> list(graph.variables)
    ['fc1.weight', 'fc1.bias', 'fc2.weight', 'fc2.bias']
    """

    def __init__(self, *layers: Module | Mapping[str, Module], name: str | None = None) -> None:
        super().__init__(name=name)
        given: Mapping[Any, Any]
        if len(layers) == 1 and isinstance(layers[0], Mapping):
            given = layers[0]
        else:
            given = {str(index): layer for index, layer in enumerate(layers)}
        for key, layer in given.items():
            _require_module(key, layer)
        self._layers: dict[str, Module] = dict(given)

    def forward(self, x: Node) -> Node:
        """Return what the last module makes of what the others made of the input."""
        for layer in self._layers.values():
            x = layer(x)
        return x

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the modules with their keys, in order."""
        yield from self._layers.items()

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._layers.values())

    def __getitem__(self, key: int | str) -> Module:
        return self._layers[key] if isinstance(key, str) else tuple(self)[key]


def _require_module(key: object, layer: object) -> None:
    if not isinstance(key, str) or not key or "." in key:
        raise GraphError(
            f"Sequential: {key!r} can't be a key",
            expected="a string without dots, since it becomes a part of variables' names",
            where=str(caller()),
        )
    if isinstance(layer, Module):
        return
    if isinstance(layer, type) and issubclass(layer, Module):
        hint = f"make one of the class: {layer.__name__}(...)"
    else:
        hint = "derive a class with forward(self, x) from nn.Layer"
    raise GraphError(f"Sequential: layer {key!r} is no module", actual=repr(layer), where=str(caller()), hint=hint)
