"""Initial values of variables: functions from a random generator and a shape to an array.

Each function here returns such a function, for the `weight_init` and `bias_init` of layers; `zeros` and `ones` are
such functions themselves, and so is anything of the user's own with the same two parameters.

In a weight the first axis counts the outputs, the second the inputs, and the rest (height and width of a kernel)
what multiplies both: ``fan_in = shape[1] · rest`` and ``fan_out = shape[0] · rest``, as in PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from graphnn.ops.errors import GraphError, ShapeError
from graphnn.ops.source import caller

Initializer = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
FanMode = Literal["fan_in", "fan_out"]


def zeros(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return zeros.

    Examples
    --------
    >>> import graphnn as gn
    >>> layer = gn.nn.Linear(3, 4, bias_init=gn.nn.init.zeros)
    """
    return np.zeros(shape, np.float32)


def ones(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return ones.

    Examples
    --------
    >>> import graphnn as gn
    >>> layer = gn.nn.Linear(3, 4, bias_init=gn.nn.init.ones)
    """
    return np.ones(shape, np.float32)


def constant(value: float) -> Initializer:
    """Fill with one number.

    Examples
    --------
    >>> constant(0.1)(np.random.default_rng(0), (2,))
    array([0.1, 0.1], dtype=float32)
    """
    return lambda generator, shape: np.full(shape, value, np.float32)


def uniform(low: float = 0.0, high: float = 1.0) -> Initializer:
    """Draw from the uniform distribution over [low, high].

    Raises
    ------
    GraphError
        If low > high.

    Examples
    --------
    >>> uniform(-0.5, 0.5)(np.random.default_rng(0), (2, 3)).shape
    (2, 3)
    """
    if not low <= high:
        raise GraphError(
            "init.uniform: this is no interval",
            expected="low <= high",
            actual=f"low = {low}, high = {high}",
            where=str(caller()),
        )
    return lambda generator, shape: generator.uniform(low, high, shape).astype(np.float32)


def normal(mean: float = 0.0, std: float = 1.0) -> Initializer:
    """Draw from the normal distribution.

    Raises
    ------
    GraphError
        If std < 0.

    Examples
    --------
    >>> normal(std=0.02)(np.random.default_rng(0), (2, 3)).dtype
    dtype('float32')
    """
    if not std >= 0:
        raise GraphError(
            "init.normal: there is no such distribution",
            expected="std of 0 or more",
            actual=f"std = {std}",
            where=str(caller()),
        )
    return lambda generator, shape: generator.normal(mean, std, shape).astype(np.float32)


def kaiming_uniform(a: float = 0.0, mode: FanMode = "fan_in") -> Initializer:
    """Draw uniformly from ±sqrt(6 / ((1 + a²) · fan)), which keeps the variance through leaky ReLUs (He et al., 2015).

    Parameters
    ----------
    a : float
        Slope of the activation for negative numbers, 0 for ReLU. Layers use sqrt(5) by default, as PyTorch does,
        which gives ±1 / sqrt(fan_in).
    mode : {"fan_in", "fan_out"}
        Whether to keep the variance on the way forward or on the way back.

    Raises
    ------
    GraphError
        For another mode; ShapeError when a variable of fewer than two axes is made.

    Examples
    --------
    >>> import graphnn as gn
    >>> layer = gn.nn.Linear(3, 4, weight_init=gn.nn.init.kaiming_uniform())
    """
    fan = _fan(mode)
    return _scaled_uniform(lambda shape: 2 / ((1 + a * a) * fan(shape)))


def kaiming_normal(a: float = 0.0, mode: FanMode = "fan_in") -> Initializer:
    """Draw from the normal distribution of standard deviation sqrt(2 / ((1 + a²) · fan)).

    Parameters and errors are those of `kaiming_uniform`.

    Examples
    --------
    >>> import graphnn as gn
    >>> layer = gn.nn.Linear(3, 4, weight_init=gn.nn.init.kaiming_normal())
    """
    fan = _fan(mode)
    return _scaled_normal(lambda shape: 2 / ((1 + a * a) * fan(shape)))


def xavier_uniform(gain: float = 1.0) -> Initializer:
    """Draw uniformly from ±gain · sqrt(6 / (fan_in + fan_out)), for sigmoid and tanh (Glorot and Bengio, 2010).

    Raises
    ------
    ShapeError
        When a variable of fewer than two axes is made.

    Examples
    --------
    >>> import graphnn as gn
    >>> layer = gn.nn.Linear(3, 4, weight_init=gn.nn.init.xavier_uniform())
    """
    return _scaled_uniform(lambda shape: 2 * gain * gain / sum(fans(shape)))


def xavier_normal(gain: float = 1.0) -> Initializer:
    """Draw from the normal distribution of standard deviation gain · sqrt(2 / (fan_in + fan_out)).

    Raises
    ------
    ShapeError
        When a variable of fewer than two axes is made.

    Examples
    --------
    >>> import graphnn as gn
    >>> layer = gn.nn.Linear(3, 4, weight_init=gn.nn.init.xavier_normal())
    """
    return _scaled_normal(lambda shape: 2 * gain * gain / sum(fans(shape)))


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return fan_in and fan_out of a weight.

    Raises
    ------
    ShapeError
        If it has fewer than two axes.

    Examples
    --------
    >>> fans((16, 6, 5, 5))
    (150, 400)
    """
    if len(shape) < 2:
        raise ShapeError(
            "this initialiser needs the numbers of inputs and outputs",
            expected="a shape of two axes or more: outputs, inputs, …",
            actual=str(shape),
            where=str(caller()),
            hint="init.uniform, init.normal and init.zeros take any shape",
        )
    rest = math.prod(shape[2:])
    return shape[1] * rest, shape[0] * rest


def _fan(mode: str) -> Callable[[tuple[int, ...]], int]:
    if mode not in ("fan_in", "fan_out"):
        raise GraphError(f"there is no mode {mode!r}", expected="'fan_in' or 'fan_out'", where=str(caller()))
    position = 0 if mode == "fan_in" else 1
    return lambda shape: fans(shape)[position]


def _scaled_uniform(variance: Callable[[tuple[int, ...]], float]) -> Initializer:
    def draw(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        bound = math.sqrt(3 * variance(shape))
        return uniform(-bound, bound)(generator, shape)

    return draw


def _scaled_normal(variance: Callable[[tuple[int, ...]], float]) -> Initializer:
    return lambda generator, shape: normal(0.0, math.sqrt(variance(shape)))(generator, shape)
