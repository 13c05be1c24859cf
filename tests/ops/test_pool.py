from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphnn.compiler.gradients import gradients
from graphnn.compiler.reference import evaluate
from graphnn.ops.avg_pool import AvgPool2dGradient, avg_pool2d, global_avg_pool2d
from graphnn.ops.context import apply
from graphnn.ops.errors import DTypeError, ShapeError
from graphnn.ops.graph import Graph
from graphnn.ops.max_pool import (
    MaxPool2dGather,
    MaxPool2dGradient,
    MaxPool2dIndices,
    global_max_pool2d,
    max_pool2d,
)
from graphnn.ops.node import Node
from graphnn.ops.spec import Dim
from graphnn.ops.state import constant, placeholder
from graphnn.ops.window import Padding, Pair

N = Dim(1)
BY_TWO: tuple[Pair, Pair, Padding, bool] = ((2, 2), (2, 2), ((0, 0), (0, 0)), False)
Shape = tuple[int | None, ...]
Pool = Callable[..., Node]


def images(rows: list[list[float]]) -> Node:
    return constant(np.array([[rows]], np.float32))


def indices(x: Node, kernel: Pair, **options: Any) -> np.ndarray:
    """Return the positions that the gradient of a max-pooling scatters to."""
    (dx,) = gradients(max_pool2d(x, kernel, **options), [x])
    assert isinstance(dx.op, MaxPool2dGradient)
    return evaluate([dx.inputs[1]], {})[0]


# Shapes and errors of both kinds.


@pytest.mark.parametrize("pool", [max_pool2d, avg_pool2d])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"kernel_size": 2}, (N, 3, 4, 5)),
        ({"kernel_size": 2, "ceil_mode": True}, (N, 3, 5, 5)),
        ({"kernel_size": (3, 2), "stride": 1}, (N, 3, 7, 9)),
        ({"kernel_size": 3, "stride": (2, 1), "padding": (1, 0)}, (N, 3, 5, 8)),
        ({"kernel_size": 3, "padding": ((1, 0), (0, 1))}, (N, 3, 3, 3)),
    ],
)
def test_shapes(pool: Pool, options: dict[str, Any], expected: tuple[Any, ...]) -> None:
    with Graph():
        assert pool(placeholder("x", (None, 3, 9, 10)), **options).shape == expected


@pytest.mark.parametrize("pool", [max_pool2d, avg_pool2d])
@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((3, 9, 9), {"kernel_size": 2}, "x has 3 axes"),
        ((None, 9), {"kernel_size": 2}, "x has 2 axes"),
        ((2, 1, 4, 4), {"kernel_size": 5}, "the kernel spans 5 elements of the height, the input has 4 and 0"),
        ((2, 1, 4, 4), {"kernel_size": (1, 7), "padding": (0, 1)}, "the kernel spans 7 elements of the width"),
        ((2, 1, 4, 4), {"kernel_size": 6, "stride": 2, "ceil_mode": True}, "the kernel spans 6 elements"),
        ((2, 1, 0, 4), {"kernel_size": 2, "padding": 1}, "the input has 0 and 2 of padding"),
        ((2, 1, 4, 4), {"kernel_size": 0}, "the kernel along the height is 0"),
        ((2, 1, 4, 4), {"kernel_size": 2, "stride": (2, 0)}, "the stride along the width is 0"),
        ((2, 1, 4, 4), {"kernel_size": 2, "padding": (0, -1)}, r"the padding along the width is \(-1, -1\)"),
        ((2, 1, 4, 4), {"kernel_size": 3, "padding": 2}, "a padding of 2 is too much for a kernel of 3"),
        ((2, 1, 4, 4), {"kernel_size": (4, 1), "padding": (2, 1)}, "a padding of 1 is too much for a kernel of 1"),
        ((2, 1, 4, 4), {"kernel_size": 2, "padding": ((0, 2), (0, 0))}, "a padding of 2 is too much"),
        ((2, 1, 4, 4), {"kernel_size": 2.0}, "the kernel_size is 2.0"),
        ((2, 1, 4, 4), {"kernel_size": 2, "stride": "2"}, "the stride is '2'"),
        ((2, 1, 4, 4), {"kernel_size": 2, "padding": "same"}, "the padding is 'same'"),
    ],
)
def test_what_does_not_fit(pool: Pool, shape: Shape, options: dict[str, Any], message: str) -> None:
    with Graph():
        x = placeholder("images", shape)

        with pytest.raises(ShapeError, match=message) as caught:
            pool(x, **options)

    assert pool.__name__ in caught.value.message
    assert "'images'" in caught.value.actual
    assert "test_pool.py" in caught.value.where
    assert caught.value.expected
    assert caught.value.hint


@pytest.mark.parametrize("pool", [max_pool2d, avg_pool2d])
def test_the_batch_has_to_be_the_axis_of_examples(pool: Pool) -> None:
    with Graph():
        x = placeholder("x", (None, 3, 5, 5))

        with pytest.raises(ShapeError, match="axis 1 of x depends on the batch"):
            pool(x.transpose((1, 0, 2, 3)), 2)


def test_dilation_belongs_to_the_span() -> None:
    with Graph():
        x = placeholder("x", (None, 1, 7, 7))

        assert max_pool2d(x, 3, 1, dilation=(2, 3)).shape == (N, 1, 3, 1)
        with pytest.raises(ShapeError, match="the kernel spans 9 elements of the height"):
            max_pool2d(x, 3, dilation=4)
        with pytest.raises(ShapeError, match="the dilation along the height is 0"):
            max_pool2d(x, 3, dilation=0)


def test_types() -> None:
    with Graph():
        bools, bytes_ = placeholder("bools", (None, 1, 4, 4), "bool"), placeholder("bytes", (None, 1, 4, 4), "uint8")

        assert max_pool2d(bytes_, 2).dtype is bytes_.dtype
        with pytest.raises(DTypeError, match="bool values have no largest one") as caught:
            max_pool2d(bools, 2)
        assert "astype('uint8')" in caught.value.hint
        with pytest.raises(DTypeError, match="bool values have no largest one"):
            apply(MaxPool2dIndices(*BY_TWO, (1, 1)), bools)
        with pytest.raises(DTypeError, match="not of a floating type") as caught:
            avg_pool2d(bytes_, 2)
        assert "astype('float32')" in caught.value.hint


# The rule for the number of windows, and the divisors of means.

sizes = st.integers(1, 12)
small = st.integers(1, 4)


@settings(max_examples=80, deadline=None)
@given(
    size=st.tuples(sizes, sizes),
    kernel=st.tuples(small, small),
    stride=st.tuples(small, small),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.tuples(small, small),
    ceil_mode=st.booleans(),
    counted=st.booleans(),
)
def test_any_attributes_do_what_pytorch_does(
    size: Pair,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    ceil_mode: bool,
    counted: bool,
) -> None:
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(0).standard_normal((1, 1, *size))
    functional = torch.nn.functional
    compare_with_torch(
        values,
        lambda x: max_pool2d(x, kernel, stride, padding, dilation, ceil_mode),
        lambda x: functional.max_pool2d(x, kernel, stride, padding, dilation, ceil_mode),
    )
    compare_with_torch(
        values,
        lambda x: avg_pool2d(x, kernel, stride, padding, ceil_mode, counted),
        lambda x: functional.avg_pool2d(x, kernel, stride, padding, ceil_mode, counted),
    )


def compare_with_torch(values: np.ndarray, ours: Callable[[Node], Node], theirs: Callable[[Any], Any]) -> None:
    import torch

    tensor = torch.tensor(values, requires_grad=True)
    with Graph():
        x = placeholder("x", values.shape, "float64")
        try:
            expected = theirs(tensor)
        except RuntimeError:
            with pytest.raises(ShapeError):
                ours(x)
            return
        y = ours(x)
        (dx,) = gradients(y, [x])
    actual, actual_dx = evaluate([y, dx], {x: values})
    np.testing.assert_allclose(actual, expected.detach().numpy(), rtol=1e-12)
    if np.isfinite(actual).all():  # for a window of padding alone PyTorch writes to a wild address
        (expected_dx,) = torch.autograd.grad(expected.sum(), tensor)
        np.testing.assert_allclose(actual_dx, expected_dx.numpy(), rtol=1e-12, atol=1e-12)


# The largest value.


def test_the_first_of_equals_wins() -> None:
    with Graph():
        x = images([[5, 5, 1, 7], [5, 5, 7, 7]])

        np.testing.assert_array_equal(indices(x, (2, 2)), [[[[0, 1]]]])


def test_nan_is_the_largest_and_the_first_one_wins() -> None:
    with Graph():
        x = images([[np.inf, 1, 2, np.inf], [np.nan, np.nan, 3, 4]])
        y = max_pool2d(x, 2)

        np.testing.assert_array_equal(indices(x, (2, 2)), [[[[2, 1]]]])
    np.testing.assert_array_equal(evaluate([y], {})[0], [[[[np.nan, np.inf]]]])


@pytest.mark.parametrize(("dtype", "lowest"), [("float32", -np.inf), ("int32", -(2**31)), ("uint8", 0)])
def test_padding_does_not_win_even_against_the_lowest_value(dtype: str, lowest: float) -> None:
    with Graph():
        x = constant(np.full((1, 1, 2, 2), lowest).astype(dtype))
        y = max_pool2d(x, 2, 2, padding=1)
        positions = apply(MaxPool2dIndices((2, 2), (2, 2), ((1, 1), (1, 1)), False, (1, 1)), x)

    values, found = evaluate([y, positions], {})
    np.testing.assert_array_equal(values, np.full((1, 1, 2, 2), lowest))
    np.testing.assert_array_equal(found, [[[[3, 2], [1, 0]]]])


def test_a_window_of_padding_alone_has_no_largest_value_and_no_gradient() -> None:
    with Graph():  # one row of the dilated window lies before the image, the other one after it
        x = images([[1, 2]])
        y = max_pool2d(x, (2, 1), 1, padding=(1, 0), dilation=(2, 1))
        (dx,) = gradients(y, [x])
        gathered = apply(MaxPool2dGather(*dx.op.attributes), x, dx.inputs[1])  # type: ignore[attr-defined]

    values = evaluate([y, dx, gathered], {})
    np.testing.assert_array_equal(values[0], [[[[-np.inf, -np.inf]]]])
    np.testing.assert_array_equal(values[1], [[[[0, 0]]]])
    np.testing.assert_array_equal(values[2], [[[[0, 0]]]])


def test_windows_that_overlap_add_their_gradients() -> None:
    with Graph():
        x = images([[1, 9, 2], [0, 3, 4]])
        (dx,) = gradients(max_pool2d(x, (1, 2), 1), [x], grad_ys=images([[10, 20], [30, 40]]))

    np.testing.assert_array_equal(evaluate([dx], {})[0], [[[[0, 30, 0], [0, 30, 40]]]])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_gradients_that_add_up_are_summed_in_float32(dtype: str) -> None:
    image = np.zeros((1, 1, 127, 127), np.float32)
    image[0, 0, 63, 63] = 1
    with Graph():  # a sum of ones stops at 2048 in float16 and at 256 in bfloat16
        x = constant(image, dtype)
        (dx,) = gradients(max_pool2d(x, 64, 1), [x])

    assert dx.dtype.name == dtype
    assert evaluate([dx], {})[0].max() == 4096


@pytest.mark.parametrize(("kernel", "dtype"), [((16, 16), "uint8"), ((1, 257), "int32")])
def test_positions_are_bytes_where_they_fit(kernel: Pair, dtype: str) -> None:
    image = np.zeros((1, 1, *kernel), np.float32)
    image[..., -1, -1] = 1
    with Graph():
        x = constant(image)
        found = indices(x, kernel)

    assert found.dtype == dtype
    assert found.item() == kernel[0] * kernel[1] - 1


def test_the_gradients_made_by_hand_check_their_inputs() -> None:
    with Graph():
        x, dy = placeholder("x", (None, 2, 4, 6)), placeholder("dy", (None, 2, 2, 3))
        positions, wide = placeholder("positions", dy.shape, "uint8"), placeholder("wide", dy.shape, "int32")
        few = placeholder("few", (None, 2, 2, 2), "uint8")
        scatter, gather = MaxPool2dGradient(*BY_TWO, (1, 1), (4, 6)), MaxPool2dGather(*BY_TWO, (1, 1))

        assert apply(scatter, dy, positions).shape == x.shape
        assert apply(gather, x, positions).shape == dy.shape
        for op, given_ in ((scatter, dy), (gather, x)):
            with pytest.raises(ShapeError, match="indices has the wrong shape"):
                apply(op, given_, few)
            with pytest.raises(DTypeError, match="the indices have the wrong element type") as caught:
                apply(op, given_, wide)
            assert caught.value.expected == "uint8"
            assert op.index_bounds(given_.spec, positions.spec) == {1: (0, 4)}
        with pytest.raises(ShapeError, match="dy has the wrong shape") as shape_error:
            apply(MaxPool2dGradient(*BY_TWO, (1, 1), (8, 6)), dy, positions)
        assert shape_error.value.expected == "dy (N, 2, 4, 3)"
        with pytest.raises(ShapeError, match="dy has the wrong shape"):
            apply(AvgPool2dGradient(*BY_TWO, True, (4, 8)), dy)
        with pytest.raises(DTypeError, match="not of a floating type"):
            apply(AvgPool2dGradient(*BY_TWO, True, (4, 6)), positions)


def test_positions_of_no_other_op_are_checked() -> None:
    with Graph():
        x = placeholder("x", (None, 2, 4, 6))
        y = max_pool2d(x, 2)

    assert y.op.index_bounds(x.spec) == {}


# The mean.


def test_what_counts_in_a_mean() -> None:
    with Graph():
        x = constant(np.ones((1, 1, 1, 4), np.float32))
        counted = avg_pool2d(x, (1, 3), (1, 2), padding=(0, 1), ceil_mode=True)
        uncounted = avg_pool2d(x, (1, 3), (1, 2), padding=(0, 1), ceil_mode=True, count_include_pad=False)

    values = evaluate([counted, uncounted], {})
    # Windows over places -1 … 1, 1 … 3 and 3 … 5, of which 5 lies beyond the padding.
    np.testing.assert_allclose(values[0], [[[[2 / 3, 1, 1 / 2]]]], rtol=1e-6)
    np.testing.assert_array_equal(values[1], [[[[1, 1, 1]]]])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_means_of_halves_are_computed_in_float32(dtype: str) -> None:
    with Graph():
        y = avg_pool2d(constant(np.full((1, 1, 64, 128), 3.0), dtype), (64, 128))

    assert y.dtype.name == dtype
    assert evaluate([y], {})[0].item() == 3  # the sum is 24576, the terms are 3


def test_nan_reaches_only_the_windows_that_see_it() -> None:
    with Graph():
        y = avg_pool2d(images([[np.nan, 1, 2, 3]]), (1, 2))

    np.testing.assert_array_equal(evaluate([y], {})[0], [[[[np.nan, 2.5]]]])


# The whole image.


@pytest.mark.parametrize("pool", [global_max_pool2d, global_avg_pool2d])
def test_global_pools_take_images(pool: Pool) -> None:
    with Graph():
        assert pool(placeholder("x", (None, 3, 4, 5))).shape == (N, 3, 1, 1)
        with pytest.raises(ShapeError, match=f"{pool.__name__}: x has 3 axes") as caught:
            pool(placeholder("image", (3, 4, 5)))

    assert "'image'" in caught.value.actual
    assert "test_pool.py" in caught.value.where


def test_global_pools_and_integers() -> None:
    with Graph():
        x = placeholder("x", (None, 3, 4, 5), "uint8")

        assert global_max_pool2d(x).dtype is x.dtype
        with pytest.raises(DTypeError, match="not of a floating type"):
            global_avg_pool2d(x)


def test_flops() -> None:
    with Graph():
        x = placeholder("x", (None, 3, 8, 9))
        y, mean = max_pool2d(x, (2, 3)), avg_pool2d(x, (2, 3))
        (dx,) = gradients(y, [x])
        (shared,) = gradients(mean, [x])
        gathered = apply(MaxPool2dGather(*y.op.attributes), x, dx.inputs[1])  # type: ignore[attr-defined]

    elements = 10 * 3 * 4 * 3
    counts = [
        node.op.flops(node.spec.bind(10), *(i.spec.bind(10) for i in node.inputs))
        for node in (y, dx.inputs[1], dx, gathered, mean, shared)
    ]
    assert counts == [6 * elements, 6 * elements, elements, 0, 6 * elements, 7 * elements]
