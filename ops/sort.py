"""Order along an axis: sort, argsort, topk.

The order is a node of its own, positions as int64, and values are gathered by it: that gives them their gradient, and
two results without an op that has two. NaN counts as the largest number, as in `max` and `argmax`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphnn.ops import dtypes
from graphnn.ops.broadcasting import Gradient
from graphnn.ops.context import apply
from graphnn.ops.errors import ShapeError
from graphnn.ops.gather import gather
from graphnn.ops.node import Node
from graphnn.ops.op import Op
from graphnn.ops.shape import located, normalize_axis
from graphnn.ops.spans import is_integer
from graphnn.ops.spec import Dim, TensorSpec


@dataclass(frozen=True)
class Order(Op):
    """Base of the ops that give positions along an axis in the order of the values there."""

    axis: int

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (None,)

    def flops(self, out: TensorSpec, x: TensorSpec) -> int:
        return x.elements(1) * x.static_shape[self.axis].bit_length()  # n · log n comparisons

    def positions(self, x: np.ndarray, descending: bool) -> np.ndarray:
        """Return all positions in order, equal values in the order in which they stand."""
        if not descending:
            return np.argsort(x, self.axis, kind="stable")
        backwards = np.argsort(np.flip(x, self.axis), self.axis, kind="stable")
        return x.shape[self.axis] - 1 - np.flip(backwards, self.axis)


@dataclass(frozen=True)
class Argsort(Order):
    """Positions of the values along an axis in ascending or descending order, as int64 (PyTorch argsort, stable)."""

    descending: bool

    def infer(self, x: TensorSpec) -> TensorSpec:
        return x.with_dtype(dtypes.int64)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return self.positions(x, self.descending)


@dataclass(frozen=True)
class TopkIndices(Order):
    """Positions of the k largest or smallest values along an axis, best first, as int64 (ONNX TopK)."""

    k: int
    largest: bool

    def infer(self, x: TensorSpec) -> TensorSpec:
        size = x.shape[self.axis]
        if isinstance(size, Dim):
            raise ShapeError(
                f"axis {self.axis} is the batch, whose size {size} differs from run to run",
                expected="an axis of fixed size",
                hint="ops.sort orders a batch as a whole",
            )
        if not is_integer(self.k) or not 1 <= self.k <= size:
            raise ShapeError(
                f"k is {self.k}",
                expected=f"an integer from 1 to {size}, the size of axis {self.axis}",
                hint="choose a smaller k, or another axis",
            )
        return TensorSpec((*x.shape[: self.axis], self.k, *x.shape[self.axis + 1 :]), dtypes.int64)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return self.positions(x, self.largest).take(range(self.k), self.axis)


# The functions that users call.


def argsort(x: Node, axis: int = -1, descending: bool = False) -> Node:
    """Return the positions along an axis in the order of the values, as int64; equal values keep their order.

    Parameters
    ----------
    x : Node
        Of any shape but a scalar's. NaN counts as the largest number.
    axis : int
        Negative ones are counted from the last. It may be the batch.
    descending : bool
        Whether the largest comes first.

    Raises
    ------
    ShapeError
        If the axis does not exist.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     x = gn.constant([3.0, 1.0, 2.0, 1.0])
    ...     order = [gn.ops.argsort(x), gn.ops.argsort(x, descending=True)]
    >>> gn.Executor(order, device="numpy").run()
    [array([1, 3, 2, 0]), array([0, 2, 1, 3])]
    """
    with located("argsort", x):
        position = normalize_axis(axis, x.rank)
    return apply(Argsort(position, descending), x)


def sort(x: Node, axis: int = -1, descending: bool = False) -> Node:
    """Order the values along an axis; the gradient goes back to where each one came from.

    Parameters and errors are those of `argsort`, whose result ``gather(x, axis, argsort(x, axis))`` picks by.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     y = gn.ops.sort(gn.constant([3.0, float("nan"), 1.0, 2.0]))
    >>> gn.Executor(y, device="numpy").run()
    array([ 1.,  2.,  3., nan], dtype=float32)
    """
    with located("sort", x):
        position = normalize_axis(axis, x.rank)
    return gather(x, position, apply(Argsort(position, descending), x))


def topk(x: Node, k: int, axis: int = -1, largest: bool = True) -> tuple[Node, Node]:
    """Return the k largest (or smallest) values along an axis, best first, and their positions.

    Parameters
    ----------
    x : Node
        Of any shape but a scalar's. NaN counts as the largest number.
    k : int
        How many, at least 1.
    axis : int
        Negative ones are counted from the last. Its size must not depend on the batch.
    largest : bool
        Whether to return the largest values or the smallest ones.

    Returns
    -------
    values, indices : Node
        Both with size k on the axis; the indices are int64, of equal values the first ones.

    Raises
    ------
    ShapeError
        If the axis does not exist or is the batch, or has fewer than k places.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     values, indices = gn.ops.topk(gn.constant([[1.0, 5.0, 3.0]]), 2)
    >>> gn.Executor([values, indices], device="numpy").run()
    [array([[5., 3.]], dtype=float32), array([[1, 2]])]
    """
    with located("topk", x):
        position = normalize_axis(axis, x.rank)
        indices = apply(TopkIndices(position, k, largest), x)
    return gather(x, position, indices), indices
