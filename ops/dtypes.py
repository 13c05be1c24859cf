"""The element types of tensors, as members of this module, and how they mix.

Eight types: ``bool``, ``uint8``, ``int32``, ``int64``, ``float16``, ``bfloat16``, ``float32`` and ``float64``.
NumPy has no bfloat16: such tensors are stored as the upper 16 bits of a float32 in a ``uint16`` array, and are
fed and fetched as float32.
"""

from __future__ import annotations

import builtins
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from graphnn.ops.errors import DTypeError

Kind = Literal["bool", "integer", "floating"]


@dataclass(frozen=True, slots=True)
class DType:
    """One element type.

    Parameters
    ----------
    name : str
        The name that users write, such as ``"float32"``.
    kind : {"bool", "integer", "floating"}
        The category that decides promotion.
    storage : numpy.dtype
        The NumPy type of the array that holds the elements.

    Examples
    --------
    >>> float32.itemsize, float32.is_floating
    (4, True)
    >>> bfloat16.storage, bfloat16.interface
    (dtype('uint16'), dtype('float32'))
    """

    name: str
    kind: Kind
    storage: np.dtype

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.storage.itemsize

    @property
    def is_floating(self) -> builtins.bool:
        """Whether values are real numbers, so that gradients exist."""
        return self.kind == "floating"

    @property
    def interface(self) -> np.dtype:
        """NumPy type in which users feed and fetch the values."""
        return float32.storage if self is bfloat16 else self.storage

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"graphnn.dtypes.{self.name}"


bool = DType("bool", "bool", np.dtype(np.bool_))  # noqa: A001 - the contract names the member like the type
uint8 = DType("uint8", "integer", np.dtype(np.uint8))
int32 = DType("int32", "integer", np.dtype(np.int32))
int64 = DType("int64", "integer", np.dtype(np.int64))
float16 = DType("float16", "floating", np.dtype(np.float16))
bfloat16 = DType("bfloat16", "floating", np.dtype(np.uint16))
float32 = DType("float32", "floating", np.dtype(np.float32))
float64 = DType("float64", "floating", np.dtype(np.float64))

ALL = (bool, uint8, int32, int64, float16, bfloat16, float32, float64)
_BY_NAME = {dtype.name: dtype for dtype in ALL}
_BY_STORAGE = {dtype.storage: dtype for dtype in ALL if dtype is not bfloat16}
_KINDS: tuple[Kind, ...] = ("bool", "integer", "floating")

DTypeLike = DType | str | npt.DTypeLike
Scalar = int | float


def as_dtype(value: DTypeLike) -> DType:
    """Return the member that a name, a NumPy type or a Python type stands for.

    Parameters
    ----------
    value : DType, str, numpy.dtype or type
        ``"float32"``, ``np.float32``, ``float`` (float64, as in NumPy) and so on.

    Raises
    ------
    DTypeError
        If graphnn has no such element type.

    Examples
    --------
    >>> as_dtype("uint8"), as_dtype(np.float32)
    (graphnn.dtypes.uint8, graphnn.dtypes.float32)
    """
    if isinstance(value, DType):
        return value
    if isinstance(value, str) and value in _BY_NAME:
        return _BY_NAME[value]
    with suppress(KeyError, TypeError):
        if value is not None:  # NumPy takes None for float64
            return _BY_STORAGE[np.dtype(value)]
    raise DTypeError(
        f"there is no element type {value!r}",
        expected="one of " + ", ".join(_BY_NAME),
        actual=repr(value),
        hint="convert the data with .astype(...) to one of these types",
    )


def promote(*dtypes: DType) -> DType:
    """Return the type in which values of several types are combined, as PyTorch does.

    The highest category wins (bool < integer < floating); within it the wider type; float16 with bfloat16
    gives float32.

    Examples
    --------
    >>> promote(int32, float32), promote(float16, bfloat16), promote(int64, float16)
    (graphnn.dtypes.float32, graphnn.dtypes.float32, graphnn.dtypes.float16)
    """
    highest = max(_KINDS.index(dtype.kind) for dtype in dtypes)
    candidates = {dtype for dtype in dtypes if dtype.kind == _KINDS[highest]}
    if candidates == {float16, bfloat16}:
        return float32
    return max(candidates, key=ALL.index)


def promote_scalar(dtype: DType, scalar: Scalar) -> DType:
    """Return the type in which a tensor and a Python number are combined: the number is weak.

    Examples
    --------
    >>> promote_scalar(float16, 2), promote_scalar(int32, 0.5), promote_scalar(bool, 3)
    (graphnn.dtypes.float16, graphnn.dtypes.float32, graphnn.dtypes.int64)
    """
    natural = of_scalar(scalar)
    return dtype if _KINDS.index(natural.kind) <= _KINDS.index(dtype.kind) else natural


def of_scalar(scalar: Scalar) -> DType:
    """Return the type of a Python number on its own: bool, int64 or float32."""
    if isinstance(scalar, builtins.bool):
        return bool
    return int64 if isinstance(scalar, int) else float32


def bfloat16_to_float32(bits: np.ndarray) -> np.ndarray:
    """Return the float32 values of bfloat16 bit patterns.

    Examples
    --------
    >>> bfloat16_to_float32(np.array([0x3F80], np.uint16))
    array([1.], dtype=float32)
    """
    return np.asarray(bits.astype(np.uint32) << 16).view(np.float32)  # a scalar stays an array of rank 0


def float32_to_bfloat16(values: np.ndarray) -> np.ndarray:
    """Return the bfloat16 bit patterns nearest to float32 values, ties to even; NaN stays NaN.

    Examples
    --------
    >>> [hex(bits) for bits in float32_to_bfloat16(np.array([1.0, 1.00390625, np.nan], np.float32))]
    ['0x3f80', '0x3f80', '0x7fc0']
    """
    bits = np.asarray(values, np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    quiet_nan = (bits >> 16) | 0x40
    return np.where(np.isnan(values), quiet_nan, rounded).astype(np.uint16)


def to_storage(values: np.ndarray, dtype: DType) -> np.ndarray:
    """Return values in the NumPy type that plans and variables keep them in."""
    if dtype is bfloat16:
        return float32_to_bfloat16(values)
    return np.asarray(values, dtype.storage)


def to_interface(stored: np.ndarray, dtype: DType) -> np.ndarray:
    """Return stored values in the NumPy type that users see."""
    return bfloat16_to_float32(stored) if dtype is bfloat16 else stored
