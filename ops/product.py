"""Product over axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphnn.ops import dtypes
from graphnn.ops.broadcasting import Gradient, cast
from graphnn.ops.context import apply
from graphnn.ops.node import Axes, Node, node_method
from graphnn.ops.op import Op
from graphnn.ops.reduce import reduced_shape
from graphnn.ops.scan import Cumprod
from graphnn.ops.shape import expand_dims, located, normalize_axes
from graphnn.ops.spec import TensorSpec


@dataclass(frozen=True)
class Prod(Op):
    """Product along an axis (ONNX ReduceProd): of integers and bool as int64, of halves multiplied in float32."""

    axis: int
    keepdims: bool

    def infer(self, x: TensorSpec) -> TensorSpec:
        dtype = x.dtype if x.dtype.is_floating else dtypes.int64
        return TensorSpec(reduced_shape(x.shape, (self.axis,), self.keepdims), dtype)

    def gradient(self, node: Node, dy: Node) -> Gradient:
        x = node.inputs[0]
        # All elements but one: those before it times those after it. Dividing by the one fails where it is 0.
        others = apply(Cumprod(self.axis, False), x) * apply(Cumprod(self.axis, True), x)
        return (others * (dy if self.keepdims else expand_dims(dy, self.axis)),)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        accumulator = np.float32 if x.dtype == np.float16 else out.dtype.interface
        return np.asarray(np.prod(x, self.axis, accumulator, keepdims=self.keepdims))

    def flops(self, out: TensorSpec, x: TensorSpec) -> int:
        return x.elements(1)


@node_method
def prod(x: Node, axes: Axes = None, keepdims: bool = False) -> Node:
    """Product over axes: ``y = Π x``. Its gradient is right where elements are 0.

    Parameters
    ----------
    x : Node
        Of any shape. Products of integers and bool are int64; those of the 16-bit types are computed in float32.
    axes, keepdims
        As in `sum`.

    Raises
    ------
    ShapeError
        If an axis does not exist or occurs twice.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     x = gn.constant([2.0, 0.0, 3.0])
    ...     (dx,) = gn.gradients(gn.ops.prod(x), [x])
    >>> gn.Executor(dx, device="numpy").run({})
    array([0., 6., 0.], dtype=float32)
    """
    with located("prod", x):
        reduced = normalize_axes(axes, x.rank)
    result = x.dtype if x.dtype.is_floating else dtypes.int64
    y = cast(x, dtypes.float32 if result.itemsize == 2 else result)
    for axis in reversed(reduced):
        y = apply(Prod(axis, keepdims), y)
    return cast(y, result)
