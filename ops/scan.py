"""Running sums and products along an axis, and the linear recurrence that their gradients need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphnn.ops import dtypes
from graphnn.ops.broadcasting import Gradient, cast, require_floating, require_one_dtype
from graphnn.ops.context import apply
from graphnn.ops.errors import ShapeError
from graphnn.ops.node import Node, node_method
from graphnn.ops.op import Op
from graphnn.ops.shape import located, normalize_axis
from graphnn.ops.spec import TensorSpec


@dataclass(frozen=True)
class Scan(Op):
    """Base of the ops that go along an axis, from its end if `reverse`, and give a value for each place."""

    axis: int
    reverse: bool

    def infer(self, x: TensorSpec) -> TensorSpec:
        return x if x.dtype.is_floating else x.with_dtype(dtypes.int64)

    def flops(self, out: TensorSpec, *inputs: TensorSpec) -> int:
        return out.elements(1)

    def in_order(self, array: np.ndarray) -> np.ndarray:
        """Return a view whose first axis is the scanned one, in the order of the scan."""
        first = np.moveaxis(array, self.axis, 0)
        return first[::-1] if self.reverse else first


def _accumulator(out: TensorSpec, x: np.ndarray) -> np.dtype:
    return np.dtype(np.float32) if x.dtype == np.float16 else out.dtype.interface


@dataclass(frozen=True)
class Cumsum(Scan):
    """Sum of the elements up to each one, itself included unless `exclusive` (ONNX CumSum); of integers as int64."""

    exclusive: bool = False

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (apply(Cumsum(self.axis, not self.reverse, self.exclusive), dy),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        sums = np.zeros(x.shape, _accumulator(out, x))
        source, target = self.in_order(x), self.in_order(sums)
        if self.exclusive:
            source, target = source[:-1], target[1:]
        np.cumsum(source, 0, sums.dtype, out=target)
        return sums


@dataclass(frozen=True)
class Cumprod(Scan):
    """Product of the elements before each one (ONNX CumProd, exclusive); of integers as int64."""

    def gradient(self, node: Node, dy: Node) -> Gradient:
        x = node.inputs[0]
        return (node * apply(LinearRecurrence(self.axis, not self.reverse), x, dy),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        products = np.ones(x.shape, _accumulator(out, x))
        np.cumprod(self.in_order(x)[:-1], 0, products.dtype, out=self.in_order(products)[1:])
        return products


@dataclass(frozen=True)
class LinearRecurrence(Scan):
    """``h[0] = 0, h[i + 1] = a[i] · h[i] + b[i]`` along an axis: sums of products of neighbours, without a division.

    It is what the derivatives of running products consist of; its own gradient is the same recurrence from the other
    end, so that all further derivatives are right where elements are 0.
    """

    input_names: ClassVar[tuple[str, ...]] = ("a", "b")

    def infer(self, a: TensorSpec, b: TensorSpec) -> TensorSpec:  # type: ignore[override]
        require_one_dtype(a, b)
        require_floating(a, b)
        if a.shape != b.shape:
            raise ShapeError("the inputs differ in shape", expected="equal shapes")
        return a

    def gradient(self, node: Node, dy: Node) -> Gradient:
        db = apply(LinearRecurrence(self.axis, not self.reverse), node.inputs[0], dy)
        return db * node, db

    def evaluate(self, out: TensorSpec, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        result = np.zeros(a.shape, _accumulator(out, a))
        factors, terms, h = (self.in_order(array) for array in (a, b, result))
        for i in range(len(h) - 1):
            h[i + 1] = factors[i] * h[i] + terms[i]
        return result

    def flops(self, out: TensorSpec, *inputs: TensorSpec) -> int:
        return 2 * out.elements(1)


# The functions that users call.


@node_method
def cumsum(x: Node, axis: int, exclusive: bool = False, reverse: bool = False) -> Node:
    """Sum of the elements up to each one along an axis: ``y[i] = x[0] + … + x[i]``.

    Parameters
    ----------
    x : Node
        Of any shape but a scalar's. Sums of integers and bool are int64; those of the 16-bit types are accumulated in
        float32.
    axis : int
        Negative ones are counted from the last. It may be the batch.
    exclusive : bool
        Whether the element itself is left out, so that the first sum is 0.
    reverse : bool
        Whether the sums start from the axis' end.

    Raises
    ------
    ShapeError
        If the axis does not exist.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     x = gn.constant([1.0, 2.0, 3.0])
    ...     sums = [x.cumsum(0), gn.ops.cumsum(x, 0, exclusive=True), gn.ops.cumsum(x, 0, reverse=True)]
    >>> gn.Executor(sums, device="numpy").run({})[1:]
    [array([0., 1., 3.], dtype=float32), array([6., 5., 3.], dtype=float32)]
    """
    with located("cumsum", x):
        position = normalize_axis(axis, x.rank)
    return apply(Cumsum(position, reverse, exclusive), x)


@node_method
def cumprod(x: Node, axis: int, exclusive: bool = False, reverse: bool = False) -> Node:
    """Product of the elements up to each one along an axis: ``y[i] = x[0] · … · x[i]``; in all else as `cumsum`.

    The gradient is right where elements are 0: nothing is divided.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     y = gn.ops.cumprod(gn.constant([2.0, 3.0, 4.0]), 0)
    >>> gn.Executor(y, device="numpy").run({})
    array([ 2.,  6., 24.], dtype=float32)
    """
    with located("cumprod", x):
        position = normalize_axis(axis, x.rank)
    wide = cast(x, dtypes.float32) if x.dtype.is_floating and x.dtype.itemsize == 2 else x
    before = apply(Cumprod(position, reverse), wide)
    return cast(before if exclusive else before * wide, x.dtype if x.dtype.is_floating else dtypes.int64)
