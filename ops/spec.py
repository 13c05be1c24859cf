"""Shapes and element types of values, with one symbolic size: the batch.

A dimension is an integer or ``k·N``, where N is the number of examples in a run. Nothing else is representable on
purpose: one plan then serves every batch size, and no general algebra is needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from graphnn.ops.dtypes import DType, DTypeLike, as_dtype
from graphnn.ops.errors import ShapeError


@dataclass(frozen=True, slots=True)
class Dim:
    """A dimension of ``multiple`` times the batch size N.

    Examples
    --------
    >>> Dim(1), Dim(1) * 784, (Dim(1) * 784) // 28, Dim(6) // Dim(2)
    (N, 784·N, 28·N, 3)
    >>> Dim(2).bind(50)
    100
    """

    multiple: int = 1

    def bind(self, batch: int) -> int:
        """Return the size in a run over `batch` examples."""
        return self.multiple * batch

    def __mul__(self, other: Extent) -> Dim:
        if isinstance(other, Dim):
            raise ShapeError(
                "a dimension of batch size squared is not representable",
                expected="integers or multiples of the batch size N",
                hint="keep the two batch axes apart instead of reshaping them into one",
            )
        return Dim(self.multiple * other)

    __rmul__ = __mul__

    def __floordiv__(self, other: Extent) -> Extent:
        """Divide exactly; what does not divide is a ShapeError."""
        divisor = other.multiple if isinstance(other, Dim) else other
        if divisor == 0 or self.multiple % divisor:
            raise ShapeError(f"a dimension of {self} can't be divided by {other} for every batch size")
        quotient = self.multiple // divisor
        return quotient if isinstance(other, Dim) else Dim(quotient)

    def __add__(self, other: Extent) -> Dim:
        if isinstance(other, Dim):
            return Dim(self.multiple + other.multiple)
        if other == 0:
            return self
        raise ShapeError(
            f"a dimension of {self} + {other} is not representable",
            expected="integers or multiples of the batch size N",
            hint="pad or concatenate along another axis, or before feeding",
        )

    __radd__ = __add__

    def __repr__(self) -> str:
        return "N" if self.multiple == 1 else f"{self.multiple}·N"


Extent = int | Dim
Shape = tuple[Extent, ...]


def bind_extent(extent: Extent, batch: int) -> int:
    """Return a dimension's size in a run over `batch` examples."""
    return extent.bind(batch) if isinstance(extent, Dim) else extent


def product(extents: Iterable[Extent]) -> Extent:
    """Return the product of dimensions, at most one of which may depend on the batch.

    Examples
    --------
    >>> product((Dim(1), 28, 28)), product(())
    (784·N, 1)
    """
    result: Extent = 1
    for extent in extents:
        result = result * extent
    return result


def format_shape(shape: Sequence[Extent]) -> str:
    """Return a shape as users write it, such as ``(N, 1, 28, 28)``."""
    inner = ", ".join(str(extent) for extent in shape)
    return f"({inner},)" if len(shape) == 1 else f"({inner})"


@dataclass(frozen=True, slots=True, init=False)
class TensorSpec:
    """The shape and element type of a value.

    Parameters
    ----------
    shape : sequence of int, Dim or None
        ``None`` may stand first and means the batch size N.
    dtype : DType or whatever `graphnn.dtypes.as_dtype` takes

    Raises
    ------
    ShapeError
        If ``None`` stands anywhere but first, or a size is negative or no integer.

    Examples
    --------
    >>> spec = TensorSpec((None, 1, 28, 28), "uint8")
    >>> spec
    uint8 (N, 1, 28, 28)
    >>> spec.bind(100), spec.nbytes(100)
    (uint8 (100, 1, 28, 28), 78400)
    """

    shape: Shape
    dtype: DType

    def __init__(self, shape: Iterable[Extent | None], dtype: DTypeLike) -> None:
        object.__setattr__(self, "shape", as_shape(shape))
        object.__setattr__(self, "dtype", as_dtype(dtype))

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def static_shape(self) -> tuple[int, ...]:
        """The shape as integers; after `bind` there is one, before it a batch dimension is a ShapeError."""
        if self.has_batch:
            raise ShapeError(f"the shape {format_shape(self.shape)} depends on the batch size", hint="bind(n) it first")
        return tuple(bind_extent(extent, 0) for extent in self.shape)

    @property
    def has_batch(self) -> bool:
        """Whether any dimension depends on the batch."""
        return any(isinstance(extent, Dim) for extent in self.shape)

    def bind(self, batch: int) -> TensorSpec:
        """Return the same with N replaced by a number."""
        return TensorSpec((bind_extent(extent, batch) for extent in self.shape), self.dtype) if self.has_batch else self

    def elements(self, batch: int) -> int:
        """Number of elements in a run over `batch` examples."""
        return math.prod(bind_extent(extent, batch) for extent in self.shape)

    def nbytes(self, batch: int) -> int:
        """Bytes of the elements in a run over `batch` examples."""
        return self.elements(batch) * self.dtype.itemsize

    def with_shape(self, shape: Iterable[Extent | None]) -> TensorSpec:
        """Return the same element type with another shape."""
        return TensorSpec(shape, self.dtype)

    def with_dtype(self, dtype: DTypeLike) -> TensorSpec:
        """Return the same shape with another element type."""
        return TensorSpec(self.shape, dtype)

    def __repr__(self) -> str:
        return f"{self.dtype} {format_shape(self.shape)}"


def as_shape(shape: Iterable[Extent | None]) -> Shape:
    """Return a shape whose leading ``None`` is the batch Dim, or raise a ShapeError."""
    try:
        extents = tuple(shape)
    except TypeError:
        raise ShapeError(f"a shape is {shape!r}", expected="a tuple of integers", hint=f"write ({shape!r},)") from None
    return tuple(_as_extent(axis, extent) for axis, extent in enumerate(extents))


def _as_extent(axis: int, extent: Extent | None) -> Extent:
    if extent is None and axis == 0:
        return Dim(1)
    if isinstance(extent, Dim):
        return extent
    if extent is None:
        raise ShapeError(
            f"axis {axis} of a shape is None",
            expected="None (the batch size) in axis 0 only",
            hint="give this axis a number",
        )
    try:
        size = extent.__index__()
    except (AttributeError, TypeError):  # an array has the method but refuses
        raise ShapeError(f"axis {axis} of a shape is {extent!r}", expected="an integer, or None in axis 0") from None
    if size < 0:
        raise ShapeError(f"axis {axis} of a shape is {size}", expected="a size of 0 or more")
    return size
