"""Values from outside, as users write them, taken as numbers of an element type, or refused."""

from __future__ import annotations

import numpy as np

from graphnn.ops.dtypes import DType, to_interface, to_storage
from graphnn.ops.errors import DTypeError, GraphError

_KIND_ORDER = {"b": 0, "i": 1, "u": 1, "f": 2}
"""NumPy's letters for the kinds of numbers, in the order in which one holds the other."""


def as_numbers(value: object, dtype: DType) -> np.ndarray:
    """Return numbers as an array in the NumPy type in which users feed an element type.

    Parameters
    ----------
    value : array_like
        Of the kind of `dtype` or a lower one (bool < integer < floating).
    dtype : DType
        The element type.

    Raises
    ------
    GraphError
        If the value makes no array; DTypeError if it is of a higher kind or holds a number that does not fit the type.

    Examples
    --------
    >>> from graphnn.ops import dtypes
    >>> as_numbers([1, 2], dtypes.uint8)
    array([1, 2], dtype=uint8)
    """
    array = as_array(value)
    if array.size and _KIND_ORDER.get(array.dtype.kind, 0) > _KIND_ORDER[dtype.interface.kind]:
        raise DTypeError(
            "the values are of another kind",
            expected=str(dtype),
            actual=str(array.dtype),
            hint=f"convert them with .astype({str(dtype.interface)!r}) if that is meant",
        )
    check_numbers(array, dtype)
    return array.astype(dtype.interface, copy=False)


def as_array(value: object) -> np.ndarray:
    """Return values as an array of whatever type NumPy finds for them, or raise a GraphError."""
    try:
        return np.asarray(value)
    except (ValueError, RuntimeError) as error:  # rows of different lengths; tensors that refuse
        raise GraphError(
            "the values make no array",
            expected="an array, a number, or lists of equal length",
            actual=str(error),
            hint="build a NumPy array of the values first",
        ) from None


def check_numbers(array: np.ndarray, dtype: DType) -> None:
    """Refuse what NumPy would turn into other numbers without a word."""
    if array.dtype.kind not in "biuf" and not all(isinstance(item, int) for item in array.flat):  # ints above 2**64
        raise DTypeError(
            "the values are no numbers",
            expected=f"numbers for {dtype}",
            actual=str(array.dtype),
            hint="convert the data to numbers first",
        )
    if array.size and array.dtype != dtype.interface:
        if dtype.kind == "integer":
            _check_integers(array, dtype)
        elif dtype.is_floating and array.dtype.kind != "b":
            _check_range(array, dtype)


def _check_integers(array: np.ndarray, dtype: DType) -> None:
    if array.dtype.kind == "f":
        broken = ~np.isfinite(array) | (array != np.floor(array))
        if broken.any():
            raise DTypeError(
                f"a value does not fit {dtype}",
                expected="whole numbers",
                actual=str(array[broken].flat[0]),
                hint="round the values first, or choose a floating type",
            )
    bounds = np.iinfo(dtype.storage)
    low, high = array.min(), array.max()
    if int(low) < bounds.min or int(high) > bounds.max:
        raise DTypeError(
            f"a value does not fit {dtype}",
            expected=f"{bounds.min} … {bounds.max}",
            actual=f"{low} … {high}",
            hint="choose a wider element type, or cast the node that it is combined with",
        )


def _check_range(array: np.ndarray, dtype: DType) -> None:
    try:
        wide = array.astype(np.float64)
    except OverflowError:  # a Python integer above all floats
        wide, narrow = np.zeros(()), np.full((), np.inf)
    else:
        with np.errstate(over="ignore"):
            narrow = to_interface(to_storage(wide, dtype), dtype)
    if not np.array_equal(np.isfinite(wide), np.isfinite(narrow)):
        raise DTypeError(
            f"a value does not fit {dtype}",
            expected="numbers within its range",
            actual=f"{array.min()} … {array.max()}",
            hint="choose a wider element type",
        )
