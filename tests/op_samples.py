"""The one table that every test of ops reads: for each op, inputs that show all it can do.

A sample builds a small graph from its inputs. Tests take from it the value (against `reference`, an independent
meaning in NumPy), the gradient (against finite differences in float64), the second gradient, PyTorch's opinion,
element types, and every target's result. A new op adds samples to the file of its family in tests/samples/.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from graphnn.ops import Node, Op

BATCH = 3
"""The batch size in which samples with a batch axis run, unless a test says otherwise."""


@dataclass(frozen=True)
class Input:
    """One input of a sample.

    Parameters
    ----------
    shape : tuple
        May begin with None, the batch.
    dtype : str
        Element type; tests of gradients replace "float32" by "float64".
    values : callable
        From (generator, shape) to values; by default normal numbers, away from kinks where `build` has any.
    differentiable : bool
        Whether a gradient by this input is checked (floating inputs only).
    """

    shape: tuple[int | None, ...]
    dtype: str = "float32"
    values: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray] | None = None
    differentiable: bool = True

    def draw(self, generator: np.random.Generator, batch: int = BATCH, dtype: str | None = None) -> np.ndarray:
        """Return an array for this input."""
        shape = tuple(batch if size is None else size for size in self.shape)
        if self.values is not None:
            values = self.values(generator, shape)
        elif self.dtype == "bool":
            values = generator.random(shape) < 0.5
        elif self.dtype.startswith(("int", "uint")):
            values = generator.integers(0, 7, shape)
        else:
            values = generator.standard_normal(shape)
        name = dtype or self.dtype
        return np.asarray(values).astype("float32" if name == "bfloat16" else name)


@dataclass(frozen=True)
class OpSample:
    """One use of an op.

    Parameters
    ----------
    name : str
        Unique, in words: ``"conv2d, stride 2, two groups"``.
    op : type
        The op class that it shows (each class of graphnn.ops has at least one sample).
    inputs : tuple of Input
        What the placeholders are.
    build : callable
        From the placeholders' nodes to the result's node.
    reference : callable, optional
        From the inputs' arrays to the value, written without graphnn's code (loops are welcome).
    torch : callable, optional
        From torch tensors to the value in PyTorch.
    gradient, second_gradient : bool
        Whether first and second derivatives exist and are checked.
    tolerance : float
        Relative tolerance of float32 values.
    """

    name: str
    op: type[Op]
    inputs: tuple[Input, ...]
    build: Callable[..., Node]
    reference: Callable[..., np.ndarray] | None = None
    torch: Callable[..., object] | None = None
    gradient: bool = True
    second_gradient: bool = True
    tolerance: float = 1e-5

    def draw(self, seed: int = 0, batch: int = BATCH, dtype: str | None = None) -> list[np.ndarray]:
        """Return arrays for all inputs; `dtype` replaces float32."""
        generator = np.random.default_rng(seed)
        return [given.draw(generator, batch, dtype if given.dtype == "float32" else None) for given in self.inputs]

    def __str__(self) -> str:
        return self.name


FAMILIES = (
    *("logical", "special", "trigonometry", "rounding", "activation", "scan", "aggregation"),
    *("arithmetic", "elementwise", "comparison", "reduce", "shape", "slicing", "index"),
    *("matmul", "conv", "pool", "norm", "loss", "elementwise_loss", "random", "state"),
    *("split", "rearrange", "gather", "sort", "diagonal", "einsum", "conv_transpose", "conv1d"),
)


def all_samples() -> list[OpSample]:
    """Return the samples of all families; their names are unique."""
    found = [sample for family in FAMILIES for sample in importlib.import_module(f"samples.{family}").SAMPLES]
    names = [sample.name for sample in found]
    assert len(names) == len(set(names)), "two samples share a name"
    return found
