"""What all elementwise ops share: broadcasting, one element type for all inputs, conversion between types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from graphnn.ops import dtypes
from graphnn.ops.context import apply
from graphnn.ops.dtypes import DType, DTypeLike, Scalar, as_dtype, promote, promote_scalar
from graphnn.ops.errors import DTypeError, GraphError, ShapeError
from graphnn.ops.node import Node, node_method
from graphnn.ops.op import Op
from graphnn.ops.source import caller
from graphnn.ops.spec import Extent, Shape, TensorSpec
from graphnn.ops.state import constant

Gradient = tuple[Node | None, ...]
Value = Node | np.ndarray | np.generic | float | list[Any]


def broadcast_shapes(*shapes: Shape) -> Shape:
    """Return the shape that several shapes broadcast to by NumPy's rule, or raise a ShapeError.

    Examples
    --------
    >>> from graphnn.ops.spec import Dim
    >>> broadcast_shapes((Dim(1), 3), (3,), (1, 1))
    (N, 3)
    """
    rank = max(len(shape) for shape in shapes)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(_broadcast_extents(extents, axis - rank) for axis, extents in enumerate(zip(*padded, strict=True)))


def _broadcast_extents(extents: tuple[Extent, ...], axis: int) -> Extent:
    sizes = list(dict.fromkeys(extent for extent in extents if extent != 1))
    if len(sizes) > 1:
        raise ShapeError(
            f"the shapes do not broadcast: axis {axis} has sizes {' and '.join(map(str, sizes))}",
            expected="equal sizes, or 1, on each axis counted from the last",
            hint="reshape or expand_dims one of the inputs",
        )
    return sizes[0] if sizes else 1


def require_one_dtype(*specs: TensorSpec) -> DType:
    """Return the inputs' element type, or raise a DTypeError where they differ."""
    if len({spec.dtype for spec in specs}) > 1:
        raise DTypeError("the inputs differ in element type", hint="convert one of them with .astype(...)")
    return specs[0].dtype


def require_floating(*specs: TensorSpec) -> None:
    """Raise a DTypeError unless all inputs are of floating types."""
    if any(not spec.dtype.is_floating for spec in specs):
        raise DTypeError(
            "the input is not of a floating type" if len(specs) == 1 else "an input is not of a floating type",
            expected="float16, bfloat16, float32 or float64",
            hint="convert it with .astype('float32')",
        )


@dataclass(frozen=True)
class Elementwise(Op):
    """Base of the ops whose result has the broadcast shape of the inputs and, here, their element type."""

    floating_only: ClassVar[bool] = False
    """Whether the op is defined on real numbers alone."""

    numbers_only: ClassVar[bool] = False
    """Whether the op has no meaning for bool."""

    def infer(self, *inputs: TensorSpec) -> TensorSpec:
        return TensorSpec(broadcast_shapes(*(spec.shape for spec in inputs)), self.common_dtype(*inputs))

    def common_dtype(self, *inputs: TensorSpec) -> DType:
        """Return the inputs' one element type, or raise a DTypeError."""
        dtype = require_one_dtype(*inputs)
        if self.floating_only:
            require_floating(*inputs)
        if self.numbers_only and dtype is dtypes.bool:
            raise DTypeError("it has no meaning for bool", hint="convert it with .astype('int32')")
        return dtype

    def flops(self, out: TensorSpec, *inputs: TensorSpec) -> int:
        return out.elements(1)


@dataclass(frozen=True)
class Binary(Elementwise):
    """Base of the ops of two inputs."""

    input_names: ClassVar[tuple[str, ...]] = ("a", "b")


@dataclass(frozen=True)
class Cast(Op):
    """Convert to another element type (ONNX Cast): real to integer truncates, anything but 0 is True."""

    dtype: DType

    def infer(self, x: TensorSpec) -> TensorSpec:
        return x.with_dtype(self.dtype)

    def gradient(self, node: Node, dy: Node) -> Gradient:
        x = node.inputs[0]
        return (cast(dy, x.dtype) if x.dtype.is_floating else None,)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return x.astype(out.dtype.interface)


@node_method
def cast(x: Node, dtype: DTypeLike) -> Node:
    """Convert the elements to another type; nothing is added where they have it already."""
    target = as_dtype(dtype)
    return x if x.dtype is target else apply(Cast(target), x)


def promoted(label: str, *values: Value) -> tuple[Node, ...]:
    """Return values as nodes of one element type: arrays become constants; numbers, NumPy's too, are weak."""
    nodes = [value for value in values if isinstance(value, Node)]
    if not nodes:
        raise GraphError(
            f"{label} has no node among its inputs",
            actual=", ".join(type(value).__name__ for value in values),
            where=str(caller()),
            hint="wrap a value in gn.constant(...)",
        )
    with nodes[0].graph:
        operands = [_operand(label, value) for value in values]
        dtype = promote(*(operand.dtype for operand in operands if isinstance(operand, Node)))
        for operand in operands:
            if not isinstance(operand, Node):
                dtype = promote_scalar(dtype, operand)
        return tuple(cast(v, dtype) if isinstance(v, Node) else constant(v, dtype) for v in operands)


def _operand(label: str, value: Value) -> Node | Scalar:
    if isinstance(value, np.generic):  # np.sqrt(64) should not turn a float32 graph into float64
        value = value.item()
    if isinstance(value, Node | int | float):
        return value
    if isinstance(value, np.ndarray | list | tuple):
        return constant(value)
    raise DTypeError(
        f"{label} can't take {value!r}",
        expected="a node, an array, a list or a number",
        actual=type(value).__name__,
        where=str(caller()),
        hint="convert it with np.asarray(...)",
    )
