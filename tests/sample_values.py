"""What samples of elementwise ops are fed with, and references that go element by element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Values = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def positive(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return numbers well above 0."""
    return generator.uniform(0.5, 2.0, shape)


def away_from_zero(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return numbers of both signs, none near the kink or pole at 0."""
    return generator.choice([-1.0, 1.0], shape) * generator.uniform(0.3, 2.0, shape)


def few_values(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return -1, 0 and 1, so that many elements of two inputs are equal."""
    return generator.integers(-1, 2, shape)


def signed(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return integers of both signs."""
    return generator.integers(-9, 10, shape)


def these(*values: float) -> Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]:
    """Return a maker of exactly these values."""
    return lambda generator, shape: np.broadcast_to(np.array(values), shape).copy()


def each(function: Callable[..., Any]) -> Callable[..., np.ndarray]:
    """Return the reference that applies a function of Python numbers to one element after the other."""

    def reference(*arrays: np.ndarray) -> np.ndarray:
        spread = np.broadcast_arrays(*arrays)
        results = [
            function(*(value.item() for value in values)) for values in zip(*(a.flat for a in spread), strict=True)
        ]
        return np.array(results).reshape(spread[0].shape)

    return reference


def torch_function(name: str) -> Callable[..., object]:
    """Return a function of PyTorch by name, looked up only when it is called: PyTorch is not always there."""

    def call(*tensors: Any) -> object:
        import torch

        return getattr(torch, name)(*tensors)

    return call
