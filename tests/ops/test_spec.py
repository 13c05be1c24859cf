"""Dimensions, shapes and the specs made of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphnn.ops import Dim, TensorSpec, dtypes
from graphnn.ops.errors import DTypeError, ShapeError
from graphnn.ops.spec import Extent, as_shape, bind_extent, format_shape, product

MULTIPLES = st.integers(1, 1000)
BATCHES = st.integers(1, 500)


@given(MULTIPLES, MULTIPLES, BATCHES)
def test_arithmetic_of_dims_is_that_of_their_sizes(k: int, factor: int, batch: int) -> None:
    dim = Dim(k)
    assert (dim * factor).bind(batch) == (factor * dim).bind(batch) == k * batch * factor
    assert (dim + Dim(factor)).bind(batch) == (k + factor) * batch
    assert dim * factor // factor == dim
    assert dim * factor // dim == factor


def test_division_of_dims_is_exact_or_refused() -> None:
    assert Dim(784) // 28 == Dim(28)
    assert Dim(6) // Dim(2) == 3
    for divisor in (4, Dim(4), 0):
        with pytest.raises(ShapeError, match=r"6·N can't be divided by .* for every batch size"):
            Dim(6) // divisor


def test_a_batch_squared_is_refused() -> None:
    with pytest.raises(ShapeError, match="batch size squared"):
        Dim(1) * Dim(2)
    with pytest.raises(ShapeError, match="batch size squared"):
        product((Dim(1), 3, Dim(1)))


def test_a_number_added_to_the_batch_is_refused_unless_it_is_zero() -> None:
    assert Dim(3) + 0 == 0 + Dim(3) == Dim(3)
    assert sum([Dim(1), Dim(2)]) == Dim(3)
    with pytest.raises(ShapeError, match=r"N \+ 2 is not representable"):
        Dim(1) + 2


def test_dims_compare_by_their_multiple_and_differ_from_numbers() -> None:
    assert Dim(2) == Dim(2)
    assert hash(Dim(2)) == hash(Dim(2))
    assert Dim(2) != Dim(1)
    number: Any = 2
    assert Dim(2) != number
    assert (str(Dim(1)), str(Dim(16))) == ("N", "16·N")


@given(st.lists(st.integers(0, 9), max_size=5))
def test_product_of_numbers(sizes: list[int]) -> None:
    assert product(sizes) == int(np.prod(sizes, dtype=np.int64))


def test_product_with_the_batch() -> None:
    assert product((Dim(2), 3, 4)) == product((3, Dim(2), 4)) == Dim(24)
    assert product(()) == 1


@pytest.mark.parametrize(
    ("shape", "text"), [((), "()"), ((3,), "(3,)"), ((Dim(1), 2), "(N, 2)"), ((Dim(3),), "(3·N,)")]
)
def test_shapes_are_written_as_users_write_them(shape: tuple[Extent, ...], text: str) -> None:
    assert format_shape(shape) == text


def test_none_is_the_batch_in_front_only() -> None:
    assert as_shape((None, 3)) == (Dim(1), 3)
    assert as_shape((2, Dim(4))) == (2, Dim(4))
    with pytest.raises(ShapeError, match="axis 1 of a shape is None"):
        as_shape((3, None))


@pytest.mark.parametrize("extent", [-1, 1.0, "2", np.array([1, 2])], ids=repr)
def test_what_is_no_size_is_refused(extent: Any) -> None:
    with pytest.raises(ShapeError, match="axis 1 of a shape is"):
        as_shape((2, extent))


@pytest.mark.parametrize("shape", [3, None, 2.5], ids=repr)
def test_what_is_no_shape_is_refused(shape: Any) -> None:
    with pytest.raises(ShapeError, match=f"a shape is {shape}"):
        TensorSpec(shape, "float32")


def test_sizes_become_plain_integers() -> None:
    given: Any = np.int64(3)
    (size,) = as_shape((given,))
    assert type(size) is int


def test_spec_binds_the_batch() -> None:
    spec = TensorSpec((None, 2, 3), "float16")
    assert spec.has_batch
    assert spec.rank == 3
    assert spec.bind(5) == TensorSpec((5, 2, 3), "float16")
    assert spec.bind(5).static_shape == (5, 2, 3)
    assert not spec.bind(5).has_batch
    assert (spec.elements(5), spec.nbytes(5)) == (30, 60)
    assert bind_extent(7, 5) == 7
    with pytest.raises(ShapeError, match=r"\(N, 2, 3\) depends on the batch size"):
        spec.static_shape  # noqa: B018 - the property raises


def test_spec_without_a_batch_stays_itself() -> None:
    spec = TensorSpec((), "int64")
    assert spec.bind(5) is spec
    assert (spec.static_shape, spec.elements(5), spec.nbytes(5)) == ((), 1, 8)


def test_spec_changes_one_part() -> None:
    spec = TensorSpec((None, 2), "int32")
    assert spec.with_dtype("bool") == TensorSpec((None, 2), "bool")
    assert spec.with_shape((4,)) == TensorSpec((4,), "int32")
    assert repr(spec) == "int32 (N, 2)"


def test_specs_compare_by_value() -> None:
    assert TensorSpec([None, 2], np.float32) == TensorSpec((Dim(1), 2), dtypes.float32)
    assert len({TensorSpec((2,), "int32"), TensorSpec((2,), "int32"), TensorSpec((2,), "int64")}) == 2


def test_spec_refuses_an_unknown_type() -> None:
    with pytest.raises(DTypeError, match="no element type"):
        TensorSpec((2,), "float8")
