"""Matrix products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphnn.ops import dtypes
from graphnn.ops.broadcasting import Gradient, Value, broadcast_shapes, promoted
from graphnn.ops.context import apply
from graphnn.ops.errors import DTypeError, GraphError, ShapeError
from graphnn.ops.graph import describe_inputs
from graphnn.ops.node import Node, node_method
from graphnn.ops.op import Op
from graphnn.ops.source import caller
from graphnn.ops.spec import Dim, Shape, TensorSpec, product


@dataclass(frozen=True)
class MatMul(Op):
    """Matrix product over the last two axes; the leading ones broadcast (ONNX MatMul)."""

    input_names: ClassVar[tuple[str, ...]] = ("a", "b")

    @property
    def label(self) -> str:
        return "matmul"  # one word, as users write it

    def infer(self, a: TensorSpec, b: TensorSpec) -> TensorSpec:
        if a.dtype is not b.dtype:
            raise DTypeError("the inputs differ in element type", hint="convert one of them with .astype(...)")
        if a.dtype is dtypes.bool:
            raise DTypeError(
                "bool values can't be summed",
                expected="an integer or floating type",
                hint="convert them with .astype('int32')",
            )
        if min(a.rank, b.rank) < 2:
            raise ShapeError(
                "an input is no matrix",
                expected="two axes or more on both sides",
                hint="ops.matmul(a, b) also takes vectors",
            )
        require_contractible(a.shape, b.shape)
        leading = broadcast_shapes(a.shape[:-2], b.shape[:-2])
        return a.with_shape((*leading, a.shape[-2], b.shape[-1]))

    def gradient(self, node: Node, dy: Node) -> Gradient:
        a, b = node.inputs
        da = (dy @ swap_last_axes(b)).sum_to_size(a.shape)
        if b.rank == 2 < a.rank and sum(isinstance(extent, Dim) for extent in a.shape[:-1]) <= 1:
            # One product over all rows, instead of a product for each leading index and a sum over them.
            a, dy = _as_rows(a), _as_rows(dy)
        return da, (swap_last_axes(a) @ dy).sum_to_size(b.shape)

    def evaluate(self, out: TensorSpec, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.matmul(widened(a), widened(b)).astype(out.dtype.interface, copy=False)

    def flops(self, out: TensorSpec, *inputs: TensorSpec) -> int:
        return 2 * out.elements(1) * inputs[0].static_shape[-1]


def widened(x: np.ndarray) -> np.ndarray:
    """Return float16 values as float32, the type that sums of them are kept in; other types as they are."""
    return x.astype(np.float32) if x.dtype == np.float16 else x


def swap_last_axes(x: Node) -> Node:
    """Return the transposed matrices."""
    return x.transpose((*range(x.rank - 2), x.rank - 1, x.rank - 2))


def _as_rows(x: Node) -> Node:
    """Return one matrix of all rows, which are the last axis."""
    return x.reshape((product(x.shape[:-1]), x.shape[-1]))


def require_contractible(a: Shape, b: Shape) -> None:
    """Raise a ShapeError unless the last axis of `a` is as long as the last but one (or only one) of `b`."""
    inner = b[-2:][0]
    if a[-1] != inner:
        raise ShapeError(
            f"the sizes to be summed over differ: {a[-1]} in a, {inner} in b",
            expected="the last axis of a as long as the last but one of b (its only one, if b is a vector)",
            hint="transpose or reshape one of the inputs",
        )


@node_method
def matmul(a: Value, b: Value) -> Node:
    """Multiply matrices, vectors or stacks of matrices; the same as ``a @ b``.

    ::

        y[..., m, n] = sum over k of a[..., m, k] · b[..., k, n]

    A vector on the left counts as one row, on the right as one column, and its axis is dropped from the result.
    Element types are promoted; float16 and bfloat16 are summed in float32, integers exactly (modulo their range).

    Parameters
    ----------
    a : Node or array_like of shape (..., M, K) or (K,)
        Leading axes broadcast against those of `b`.
    b : Node or array_like of shape (..., K, N) or (K,)

    Returns
    -------
    Node of shape (..., M, N)
        Without M or N where `a` or `b` is a vector.

    Raises
    ------
    ShapeError
        If K differs, leading axes do not broadcast, or an input is a scalar.
    DTypeError
        If both are bool.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     x = gn.placeholder("x", (None, 2))
    ...     y = x @ [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    >>> y.spec
    float32 (N, 3)
    >>> gn.Executor(y, device="numpy", max_batch=1).run({x: [[1.0, 10.0]]})
    array([[41., 52., 63.]], dtype=float32)
    """
    a, b = promoted("matmul", a, b)
    if a.rank > 1 and b.rank > 1:
        return apply(MatMul(), a, b)
    try:
        if min(a.rank, b.rank) == 0:
            raise ShapeError("an input is a scalar", expected="one axis or more on both sides", hint="multiply with *")
        require_contractible(a.shape, b.shape)
    except GraphError as error:
        actual = describe_inputs(MatMul(), (a, b))
        raise error.locate(subject="matmul", actual=actual, where=str(caller())) from None
    rows = a if a.rank > 1 else a.reshape((1, *a.shape))
    columns = b if b.rank > 1 else b.reshape((*b.shape, 1))
    y = apply(MatMul(), rows, columns)
    kept_row = y.shape[-2:-1] if a.rank > 1 else ()
    kept_column = y.shape[-1:] if b.rank > 1 else ()
    return y.reshape((*y.shape[:-2], *kept_row, *kept_column))
