"""Activations as layers, for containers; in a `forward`, ``ops.relu(x)`` does the same."""

from __future__ import annotations

from graphnn.nn.layer import Layer
from graphnn.ops.activation import Approximation, elu, gelu, leaky_relu, silu, softplus
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


class GELU(Layer):
    """Gaussian error linear unit, ``x · Φ(x)``; see `ops.gelu`.

    Parameters
    ----------
    approximate : {"none", "tanh"}
        "tanh" takes the approximation by tanh.
    name : str, optional
        Scope to use instead of the attribute's name or the key.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     gn.nn.GELU()(gn.placeholder("x", (None, 3))).shape
    (N, 3)
    """

    shown = ("approximate",)

    def __init__(self, approximate: Approximation = "none", *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.approximate = approximate

    def forward(self, x: Node) -> Node:
        """Return ``x · Φ(x)``."""
        return gelu(x, self.approximate)


class SiLU(Layer):
    """Sigmoid linear unit, ``x · sigmoid(x)``; see `ops.silu`.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     gn.nn.SiLU()(gn.placeholder("x", (None, 3)))
    <multiply 'silu.multiply': float32 (N, 3)>
    """

    def forward(self, x: Node) -> Node:
        """Return ``x · sigmoid(x)``."""
        return silu(x)


class Softplus(Layer):
    """Smooth relative of ReLU, ``log(1 + e ** (beta · x)) / beta``; see `ops.softplus`.

    Parameters
    ----------
    beta : float
        The larger, the nearer to ReLU.
    name : str, optional
        Scope to use instead of the attribute's name or the key.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     gn.nn.Softplus()(gn.placeholder("x", (None, 3)))
    <softplus 'softplus.softplus': float32 (N, 3)>
    """

    shown = ("beta",)

    def __init__(self, beta: float = 1.0, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.beta = beta

    def forward(self, x: Node) -> Node:
        """Return ``log(1 + e ** (beta · x)) / beta``."""
        return softplus(x, self.beta)


class LeakyReLU(Layer):
    """``x`` above 0, ``negative_slope · x`` elsewhere; see `ops.leaky_relu`.

    Parameters
    ----------
    negative_slope : float
        The slope below 0.
    name : str, optional
        Scope to use instead of the attribute's name or the key.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     gn.nn.LeakyReLU(0.1)(gn.placeholder("x", (None, 3))).shape
    (N, 3)
    """

    shown = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.negative_slope = negative_slope

    def forward(self, x: Node) -> Node:
        """Return ``x`` above 0, ``negative_slope · x`` elsewhere."""
        return leaky_relu(x, self.negative_slope)


class ELU(Layer):
    """Exponential linear unit: ``x`` above 0, ``alpha · (e ** x - 1)`` elsewhere; see `ops.elu`.

    Parameters
    ----------
    alpha : float
        What large negative numbers become, with its sign turned.
    name : str, optional
        Scope to use instead of the attribute's name or the key.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     gn.nn.ELU()(gn.placeholder("x", (None, 3))).shape
    (N, 3)
    """

    shown = ("alpha",)

    def __init__(self, alpha: float = 1.0, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.alpha = alpha

    def forward(self, x: Node) -> Node:
        """Return ``x`` above 0, ``alpha · (e ** x - 1)`` elsewhere."""
        return elu(x, self.alpha)
