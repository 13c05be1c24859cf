"""Element types: names, promotion, and bfloat16 as bits."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphnn.ops import dtypes
from graphnn.ops.dtypes import (
    ALL,
    as_dtype,
    bfloat16,
    bfloat16_to_float32,
    float32_to_bfloat16,
    of_scalar,
    promote,
    promote_scalar,
    to_interface,
    to_storage,
)
from graphnn.ops.errors import DTypeError

PATTERNS = np.arange(2**16, dtype=np.uint16)


def test_members_are_found_by_name_and_numpy_type() -> None:
    for dtype in ALL:
        assert as_dtype(dtype.name) is as_dtype(dtype) is getattr(dtypes, dtype.name) is dtype
        if dtype is not bfloat16:
            assert as_dtype(dtype.storage) is as_dtype(dtype.storage.type) is dtype
            assert dtype.interface == dtype.storage


@pytest.mark.parametrize(("value", "name"), [(bool, "bool"), (int, "int64"), (float, "float64"), ("f4", "float32")])
def test_types_of_python(value: Any, name: str) -> None:
    assert as_dtype(value).name == name


@pytest.mark.parametrize(
    "value", ["float8", "uint16", np.uint16, "complex64", object, str, 3, None.__class__], ids=repr
)
def test_unknown_types_are_refused_with_the_list_of_all(value: Any) -> None:
    with pytest.raises(DTypeError, match="there is no element type") as caught:
        as_dtype(value)
    assert all(dtype.name in caught.value.expected for dtype in ALL)


def test_kinds_and_sizes() -> None:
    assert [dtype.name for dtype in ALL if dtype.is_floating] == ["float16", "bfloat16", "float32", "float64"]
    assert [dtype.itemsize for dtype in ALL] == [1, 1, 4, 8, 2, 2, 4, 8]
    assert repr(bfloat16) == "graphnn.dtypes.bfloat16"
    assert bfloat16.interface == np.float32


# Promotion.


def test_promotion_is_that_of_torch() -> None:
    torch = pytest.importorskip("torch")
    for a, b in itertools.product(ALL, ALL):
        expected = torch.promote_types(getattr(torch, a.name), getattr(torch, b.name))
        assert f"torch.{promote(a, b)}" == str(expected), (a, b)


def test_promotion_depends_neither_on_order_nor_on_grouping() -> None:
    for a, b, c in itertools.product(ALL, ALL, ALL):
        assert promote(a, b) is promote(b, a)
        assert promote(promote(a, b), c) is promote(a, promote(b, c)) is promote(a, b, c), (a, b, c)
        assert promote(a, a) is promote(a) is a


@pytest.mark.parametrize("number", [True, 3, 0.5, float("inf"), float("nan")])
def test_numbers_are_as_weak_as_in_torch(number: bool | int | float) -> None:
    torch = pytest.importorskip("torch")
    for dtype in ALL:
        expected = torch.result_type(torch.ones(1, dtype=getattr(torch, dtype.name)), number)
        assert f"torch.{promote_scalar(dtype, number)}" == str(expected), dtype


def test_numbers_alone() -> None:
    assert [of_scalar(number).name for number in (True, 3, 0.5)] == ["bool", "int64", "float32"]


# bfloat16.


def test_bfloat16_goes_there_and_back() -> None:
    values = bfloat16_to_float32(PATTERNS)
    back = float32_to_bfloat16(values)
    same = back == PATTERNS
    assert np.isnan(values[~same]).all()  # only signalling NaNs change, to quiet ones
    assert np.isnan(bfloat16_to_float32(back[~same])).all()


def test_bfloat16_is_that_of_torch() -> None:
    torch = pytest.importorskip("torch")
    generator = np.random.default_rng(0)
    bits = generator.integers(0, 2**32, 200_000, dtype=np.uint32)
    values = np.concatenate([bits.view(np.float32), np.array([0, -0.0, np.inf, -np.inf, 3.4e38, 1e-45], np.float32)])
    values = values[~np.isnan(values)]
    expected = torch.tensor(values).bfloat16().float().numpy()
    actual = bfloat16_to_float32(float32_to_bfloat16(values))
    np.testing.assert_array_equal(actual.view(np.uint32), expected.view(np.uint32))


@given(st.integers(0, 0x7F7E))
def test_bfloat16_rounds_to_the_nearer_neighbour_and_ties_to_even(pattern: int) -> None:
    below, above = bfloat16_to_float32(np.array([pattern, pattern + 1], np.uint16)).astype(np.float64)
    middle = (below + above) / 2
    quarter, three_quarters = (below + middle) / 2, (above + middle) / 2
    rounded = float32_to_bfloat16(np.array([quarter, middle, three_quarters], np.float32))
    assert rounded.tolist() == [pattern, pattern + pattern % 2, pattern + 1]


def test_bfloat16_overflows_to_infinity() -> None:
    largest = np.finfo(np.float32).max
    assert bfloat16_to_float32(float32_to_bfloat16(np.array([largest, -largest]))).tolist() == [np.inf, -np.inf]


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 3), (1, 1, 1)], ids=str)
def test_conversion_keeps_the_shape_and_gives_arrays(shape: tuple[int, ...]) -> None:
    stored = to_storage(np.ones(shape), bfloat16)
    assert stored.shape == shape
    assert stored.dtype == np.uint16
    shown = to_interface(stored, bfloat16)
    assert isinstance(shown, np.ndarray)
    assert shown.shape == shape
    assert shown.dtype == np.float32
    assert (shown == 1).all()


def test_conversion_takes_views() -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    for view in (values.T, values[:, ::2], values[::-1]):
        np.testing.assert_array_equal(to_interface(to_storage(view, bfloat16), bfloat16), view)


def test_other_types_are_stored_as_they_are() -> None:
    values = np.arange(3, dtype=np.int32)
    assert to_storage(values, dtypes.int32) is values
    assert to_interface(values, dtypes.int32) is values
    assert to_storage(values, dtypes.float16).dtype == np.float16


def test_conversion_of_nan_gives_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(to_interface(to_storage(np.array([np.nan, np.inf]), bfloat16), bfloat16)).tolist() == [
            True,
            False,
        ]
