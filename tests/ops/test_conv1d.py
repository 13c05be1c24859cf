from __future__ import annotations

from typing import Any

import pytest

from error_form import refused
from graphnn.ops import Dim, Graph, avg_pool1d, conv1d, max_pool1d, placeholder
from graphnn.ops.errors import ShapeError

N = Dim(1)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (N, 4, 8)),
        ({"stride": 2}, (N, 4, 4)),
        ({"padding": 1}, (N, 4, 10)),
        ({"padding": (4, 0), "dilation": 2}, (N, 4, 10)),
        ({"padding": "same"}, (N, 4, 10)),
        ({"padding": "valid"}, (N, 4, 8)),
    ],
)
def test_shapes_of_convolutions(options: dict[str, Any], expected: tuple[Any, ...]) -> None:
    with Graph():
        assert conv1d(placeholder("x", (None, 2, 10)), placeholder("weight", (4, 2, 3)), **options).shape == expected


@pytest.mark.parametrize("pool", [max_pool1d, avg_pool1d])
@pytest.mark.parametrize(
    ("options", "length"), [({}, 3), ({"ceil_mode": True}, 4), ({"stride": 1, "padding": (1, 0)}, 9)]
)
def test_shapes_of_pools(pool: Any, options: dict[str, Any], length: int) -> None:
    with Graph():
        assert pool(placeholder("x", (None, 2, 10)), 3, **options).shape == (N, 2, length)


@pytest.mark.parametrize(("shape", "hint"), [((None, 10), ".expand_dims(1)"), ((None, 2, 1, 10), "reshape x first")])
def test_sequences_have_three_axes(shape: Any, hint: str) -> None:
    with Graph():
        x, weight = placeholder("x", shape), placeholder("weight", (4, 2, 3))
        with refused(ShapeError, f"conv1d: x has {len(shape)} axes", at="conv1d(x, weight)", hint=hint):
            conv1d(x, weight)
        with refused(ShapeError, f"max_pool1d: x has {len(shape)} axes", at="max_pool1d(x, 2)", hint=hint):
            max_pool1d(x, 2)
        with refused(ShapeError, f"avg_pool1d: x has {len(shape)} axes", at="avg_pool1d(x, 2)", hint=hint):
            avg_pool1d(x, 2)


def test_the_weight_has_three_axes() -> None:
    with Graph():
        x, weight = placeholder("x", (None, 2, 10)), placeholder("weight", (4, 2, 3, 1))
        with refused(ShapeError, "conv1d: weight has 4 axes", at="conv1d(x, weight)", hint="reshape weight first"):
            conv1d(x, weight)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": (2,)}, "conv1d: the stride is (2,)"),
        ({"dilation": 1.5}, "conv1d: the dilation is 1.5"),
        ({"padding": (1, 2, 3)}, "conv1d: the padding is (1, 2, 3)"),
        ({"padding": 0.5}, "conv1d: the padding is 0.5"),
    ],
)
def test_numbers_are_for_one_axis(options: dict[str, Any], message: str) -> None:
    with Graph():
        x, weight = placeholder("x", (None, 2, 10)), placeholder("weight", (4, 2, 3))
        with refused(ShapeError, message, at="conv1d(x, weight, **options)", actual="x float32 (N, 2, 10)"):
            conv1d(x, weight, **options)


def test_kernels_longer_than_the_sequence_are_refused_by_name() -> None:
    with Graph():
        x, weight = placeholder("x", (None, 2, 4)), placeholder("weight", (4, 2, 5))
        with pytest.raises(ShapeError, match=r"conv1d: .*the kernel spans 5 elements of the width, the input has 4"):
            conv1d(x, weight)
        with pytest.raises(ShapeError, match=r"max_pool1d: .*the kernel spans 5 elements of the width"):
            max_pool1d(x, 5)
        with pytest.raises(ShapeError, match=r"avg_pool1d: .*the kernel spans 5 elements of the width"):
            avg_pool1d(x, 5)
