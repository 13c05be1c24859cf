"""Dense layers."""

from __future__ import annotations

import math

from graphnn.nn import init
from graphnn.nn.arguments import at_least_one
from graphnn.nn.init import Initializer
from graphnn.nn.layer import Layer
from graphnn.ops.node import Node
from graphnn.ops.spec import product


class Linear(Layer):
    """Multiply by a weight and add a bias: ``y = x @ weight.T + bias``.

    Parameters
    ----------
    in_features, out_features : int
        Sizes of the last axis of the input and of the output.
    bias : bool
        Whether to add a bias.
    weight_init, bias_init : callable, optional
        Initial values, see `graphnn.nn.init`. By default PyTorch's: both uniform in ±1 / sqrt(in_features).
    name : str, optional
        Scope to use instead of the attribute's name or the key.

    Variables
    ---------
    weight : (out_features, in_features)
    bias : (out_features,)

    Raises
    ------
    ShapeError
        At the call, if the input's last axis is not of size `in_features`.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph(seed=0) as graph:
    ...     y = gn.nn.Linear(3, 4)(gn.placeholder("x", (None, 3)))
    >>> y.shape, graph["linear.weight"].shape
    ((N, 4), (4, 3))
    """

    shown = ("in_features", "out_features", "bias")

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        weight_init: Initializer | None = None,
        bias_init: Initializer | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.in_features = at_least_one("Linear", "in_features", in_features)
        self.out_features = at_least_one("Linear", "out_features", out_features)
        self.bias = bias
        bound = 1 / math.sqrt(self.in_features)
        self.weight_init = weight_init or init.kaiming_uniform(a=math.sqrt(5))
        self.bias_init = bias_init or init.uniform(-bound, bound)

    def forward(self, x: Node) -> Node:
        """Return ``x @ weight.T + bias``, of the input's shape with `out_features` in the last axis."""
        if x.rank == 0 or x.shape[-1] != self.in_features:
            raise self._shape_error(x, f"in_features = {self.in_features} as the size of the last axis", self._hint(x))
        y = x @ self.variable("weight", (self.out_features, self.in_features), self.weight_init).T
        return y + self.variable("bias", (self.out_features,), self.bias_init) if self.bias else y

    def _hint(self, x: Node) -> str:
        if x.rank > 2 and product(x.shape[1:]) == self.in_features:
            return "flatten the input first, with nn.Flatten() or .flatten(1)"
        return f"nn.Linear({x.shape[-1] if x.rank else 1}, {self.out_features}) would take it"
