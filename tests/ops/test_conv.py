from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphnn.compiler.gradients import gradients
from graphnn.compiler.reference import evaluate
from graphnn.ops.context import apply
from graphnn.ops.conv import Conv2d, Conv2dDataGradient, Conv2dWeightGradient, conv2d
from graphnn.ops.errors import DTypeError, ShapeError
from graphnn.ops.graph import Graph
from graphnn.ops.spec import Dim, TensorSpec
from graphnn.ops.state import constant, placeholder
from graphnn.ops.window import Padding, Pair

N = Dim(1)
PLAIN: tuple[Pair, Padding, Pair, int] = ((1, 1), ((0, 0), (0, 0)), (1, 1), 1)
Shape = tuple[int | None, ...]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (N, 6, 26, 18)),
        ({"padding": 1}, (N, 6, 28, 20)),
        ({"padding": (1, 0)}, (N, 6, 28, 18)),
        ({"padding": [(1, 0), (2, 3)]}, (N, 6, 27, 23)),
        ({"padding": (1, (2, 3))}, (N, 6, 28, 23)),
        ({"padding": "same"}, (N, 6, 28, 20)),
        ({"padding": "valid"}, (N, 6, 26, 18)),
        ({"padding": "same", "dilation": (2, 3)}, (N, 6, 28, 20)),
        ({"stride": 2}, (N, 6, 13, 9)),
        ({"stride": np.int64(2), "padding": np.int32(1)}, (N, 6, 14, 10)),
        ({"stride": (1, 5), "dilation": (3, 1)}, (N, 6, 22, 4)),
    ],
)
def test_shapes(options: dict[str, Any], expected: tuple[Any, ...]) -> None:
    with Graph():
        y = conv2d(placeholder("x", (None, 4, 28, 20)), placeholder("weight", (6, 4, 3, 3)), **options)

    assert y.shape == expected


def test_examples_may_be_a_multiple_of_the_batch() -> None:
    with Graph():
        x = placeholder("x", (None, 4, 5, 5)).reshape((-1, 2, 5, 5))
        w = placeholder("w", (3, 2, 2, 2))
        y = conv2d(x, w)
        dx, dw = gradients(y, [x, w])

    assert y.shape == (Dim(2), 3, 4, 4)
    assert dx.shape == x.shape
    assert dw.shape == w.shape


@pytest.mark.parametrize(
    ("x", "weight", "options", "message"),
    [
        ((1, 5, 5), (2, 1, 3, 3), {}, "x has 3 axes"),
        ((None, 5), (2, 1, 3, 3), {}, "x has 2 axes"),
        ((2, 1, 5, 5), (2, 3, 3), {}, "the weight has 3 axes"),
        ((2, 1, 5, 5), (3, 3), {"padding": "same"}, "the weight has 2 axes"),
        ((2, 1, 5, 5), (None, 1, 3, 3), {}, "axis 0 of the weight depends on the batch"),
        ((2, 3, 5, 5), (2, 1, 3, 3), {}, "the weight is for 1 input channels, x has 3"),
        ((2, 4, 5, 5), (2, 4, 3, 3), {"groups": 2}, "the weight is for 8 input channels, x has 4"),
        ((2, 3, 5, 5), (2, 1, 3, 3), {"groups": 2}, "3 input channels can't be split into 2 groups"),
        ((2, 4, 5, 5), (3, 2, 3, 3), {"groups": 2}, "3 output channels can't be split into 2 groups"),
        ((2, 1, 5, 5), (2, 1, 3, 3), {"groups": 0}, "groups is 0"),
        ((2, 1, 5, 5), (2, 1, 3, 3), {"groups": -1}, "groups is -1"),
        ((2, 1, 5, 5), (2, 1, 6, 3), {}, "the kernel spans 6 elements of the height, the input has 5 and 0 of padding"),
        ((2, 1, 5, 5), (2, 1, 3, 9), {"padding": (0, (1, 2))}, "the kernel spans 9 elements of the width"),
        ((2, 1, 5, 5), (2, 1, 3, 3), {"dilation": (1, 3)}, "the kernel spans 7 elements of the width"),
        ((2, 1, 0, 5), (2, 1, 1, 1), {"padding": 1}, "the kernel spans 1 elements of the height, the input has 0"),
        ((2, 1, 5, 5), (2, 1, 0, 3), {}, "the kernel along the height is 0"),
        ((2, 1, 5, 5), (2, 1, 3, 3), {"stride": 0}, "the stride along the height is 0"),
        ((2, 1, 5, 5), (2, 1, 3, 3), {"stride": (1, -2)}, "the stride along the width is -2"),
        ((2, 1, 5, 5), (2, 1, 3, 3), {"dilation": (1, 0)}, "the dilation along the width is 0"),
        ((2, 1, 5, 5), (2, 1, 3, 3), {"padding": -1}, r"the padding along the height is \(-1, -1\)"),
        ((2, 1, 5, 5), (2, 1, 3, 3), {"padding": "same", "stride": (1, 2)}, r"padding 'same' with stride \(1, 2\)"),
        ((2, 1, 5, 5), (2, 1, 3, 3), {"padding": "full"}, "the padding is 'full'"),
        ((2, 1, 5, 5), (2, 1, 3, 3), {"padding": "ab"}, "the padding is 'ab'"),
        ((2, 1, 5, 5), (2, 1, 3, 3), {"padding": (1, 2, 3)}, r"the padding is \(1, 2, 3\)"),
        ((2, 1, 5, 5), (2, 1, 3, 3), {"padding": ((1, 2, 3), 1)}, r"the padding is \(\(1, 2, 3\), 1\)"),
        ((2, 1, 5, 5), (2, 1, 3, 3), {"padding": 0.5}, "the padding is 0.5"),
        ((2, 1, 5, 5), (2, 1, 3, 3), {"stride": 1.5}, "the stride is 1.5"),
        ((2, 1, 5, 5), (2, 1, 3, 3), {"stride": (1, 1, 1)}, r"the stride is \(1, 1, 1\)"),
        ((2, 1, 5, 5), (2, 1, 3, 3), {"dilation": ()}, r"the dilation is \(\)"),
    ],
)
def test_what_does_not_fit(x: Shape, weight: Shape, options: dict[str, Any], message: str) -> None:
    with Graph():
        images, kernel = placeholder("images", x), placeholder("kernel", weight)

        with pytest.raises(ShapeError, match=message) as caught:
            conv2d(images, kernel, **options)

    assert "conv2d" in caught.value.message
    assert "'images'" in caught.value.actual
    assert "'kernel'" in caught.value.actual
    assert "test_conv.py" in caught.value.where
    assert caught.value.expected
    assert caught.value.hint


def test_the_batch_has_to_be_the_axis_of_examples() -> None:
    with Graph():
        x, weight = placeholder("x", (None, 3, 5, 5)), placeholder("weight", (2, 3, 3, 3))

        with pytest.raises(ShapeError, match="axis 1 of x depends on the batch"):
            conv2d(x.transpose((1, 0, 2, 3)), weight)


@pytest.mark.parametrize("bias", [(4,), (1,), (3, 1), (None,), ()])
def test_a_bias_that_does_not_fit(bias: Shape) -> None:
    with Graph():
        x, weight = placeholder("x", (None, 2, 5, 5)), placeholder("weight", (3, 2, 3, 3))

        with pytest.raises(ShapeError, match="conv2d: the bias does not fit") as caught:
            conv2d(x, weight, placeholder("offset", bias))

    assert caught.value.expected == "bias float32 (3,)"
    assert "'offset'" in caught.value.actual
    assert "test_conv.py" in caught.value.where


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool"])
def test_integers_are_refused(dtype: str) -> None:
    with Graph():
        x, weight = placeholder("x", (None, 2, 5, 5), dtype), placeholder("weight", (3, 2, 3, 3))

        with pytest.raises(DTypeError, match="not of a floating type") as caught:
            conv2d(x, weight)

    assert "astype('float32')" in caught.value.hint


def test_types_that_differ() -> None:
    with Graph():
        x, weight = placeholder("x", (None, 2, 5, 5)), placeholder("weight", (3, 2, 3, 3))
        half, offset = placeholder("half", (None, 2, 5, 5), "float16"), placeholder("offset", (3,), "float64")

        with pytest.raises(DTypeError, match="the inputs differ in element type"):
            conv2d(half, weight)
        with pytest.raises(ShapeError, match="the bias does not fit"):
            conv2d(x, weight, offset)


def test_the_gradients_made_by_hand_check_their_inputs() -> None:
    with Graph():
        x, dy = placeholder("x", (None, 2, 5, 6)), placeholder("dy", (None, 3, 4, 4))
        weight = placeholder("weight", (3, 2, 2, 3))
        fixed, doubles = placeholder("fixed", (7, 3, 4, 4)), placeholder("doubles", (None, 3, 4, 4), "float64")

        assert apply(Conv2dDataGradient(*PLAIN, (5, 6)), dy, weight).shape == x.shape
        assert apply(Conv2dWeightGradient(*PLAIN, (2, 3)), x, dy).shape == weight.shape
        with pytest.raises(ShapeError, match="dy has the wrong shape") as caught:
            apply(Conv2dDataGradient(*PLAIN, (6, 6)), dy, weight)
        assert caught.value.expected == "dy (N, 3, 5, 4)"
        with pytest.raises(ShapeError, match="dy has the wrong shape"):
            apply(Conv2dWeightGradient(*PLAIN, (2, 2)), x, dy)
        with pytest.raises(ShapeError, match="dy has the wrong shape"):
            apply(Conv2dWeightGradient(*PLAIN, (2, 3)), x, fixed)
        with pytest.raises(ShapeError, match="dy has 2 axes"):
            apply(Conv2dDataGradient(*PLAIN, (5, 6)), placeholder("rows", (None, 3)), weight)
        with pytest.raises(ShapeError, match="groups is 0"):
            apply(Conv2dWeightGradient(*PLAIN[:3], 0, (2, 3)), x, dy)
        with pytest.raises(DTypeError, match="the inputs differ in element type"):
            apply(Conv2dDataGradient(*PLAIN, (5, 6)), doubles, weight)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_are_summed_in_float32(dtype: str) -> None:
    with Graph():  # a sum of ones stops at 2048 in float16 and at 256 in bfloat16
        x = constant(np.ones((1, 64, 8, 8), np.float32), dtype)
        w = constant(np.ones((1, 64, 8, 8), np.float32), dtype)
        many = constant(np.ones((1, 1, 90, 90), np.float32), dtype)
        dot = conv2d(x, w)
        dx = apply(Conv2dDataGradient(*PLAIN, (98, 98)), many, constant(np.ones((1, 1, 9, 9), np.float32), dtype))
        dw = apply(Conv2dWeightGradient(*PLAIN, (1, 1)), many, many)

    values = evaluate([dot, dx, dw], {})

    assert dot.dtype.name == dx.dtype.name == dw.dtype.name == dtype
    assert values[0] == 4096
    assert values[1].max() == 81
    assert abs(values[2] / 8100 - 1) < 2**-7


def test_no_images_give_no_results_and_a_zero_weight_gradient() -> None:
    with Graph():
        x, w = placeholder("x", (0, 2, 4, 5)), placeholder("w", (3, 2, 2, 2))
        y = conv2d(x, w)
        dx, dw = gradients(y, [x, w])

    values = evaluate([y, dx, dw], {x: np.zeros((0, 2, 4, 5), np.float32), w: np.ones((3, 2, 2, 2), np.float32)})

    assert values[0].shape == (0, 3, 3, 4)
    assert values[1].shape == (0, 2, 4, 5)
    np.testing.assert_array_equal(values[2], np.zeros((3, 2, 2, 2)))


def test_nan_reaches_only_the_windows_that_see_it() -> None:
    image = np.ones((1, 1, 4, 4), np.float32)
    image[0, 0, 0, 0] = np.nan
    with Graph():
        y = conv2d(constant(image), constant(np.ones((1, 1, 2, 2), np.float32)), padding=1)

    assert np.isnan(evaluate([y], {})[0][0, 0]).sum() == 4


def test_each_gradient_is_made_of_the_other_two_ops() -> None:
    attributes = ((2, 1), ((1, 0), (0, 2)), (1, 2), 2)
    forward = Conv2d(*attributes)
    data, weight = Conv2dDataGradient(*attributes, (5, 6)), Conv2dWeightGradient(*attributes, (3, 2))
    with Graph():
        x, w = placeholder("x", (None, 4, 5, 6)), placeholder("w", (2, 2, 3, 2))
        y = apply(forward, x, w)
        dy = placeholder("dy", y.shape)
        dx, dw = apply(data, dy, w), apply(weight, x, dy)

        for node, others in ((y, [data, weight]), (dx, [forward, weight]), (dw, [data, forward])):
            seed = placeholder(f"seed_of_{node.name}", node.shape)
            assert [part.op for part in gradients(node, node.inputs, grad_ys=seed)] == others


def test_third_derivatives_are_those_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    generator = np.random.default_rng(0)
    images, kernel = generator.standard_normal((2, 2, 5, 4)) / 4, generator.standard_normal((3, 2, 3, 2)) / 4
    with Graph():
        x, w = placeholder("x", (None, 2, 5, 4), "float64"), placeholder("w", (3, 2, 3, 2), "float64")
        value = conv2d(x, w, stride=2, padding=1) ** 3
        for _ in range(3):
            dx, dw = gradients(value, [x, w])
            value = dx.sum() * dw.sum()

    tensors = [torch.tensor(array, requires_grad=True) for array in (images, kernel)]
    expected = torch.nn.functional.conv2d(*tensors, None, 2, 1) ** 3
    for _ in range(3):
        expected_dx, expected_dw = torch.autograd.grad(expected.sum(), tensors, create_graph=True)
        expected = expected_dx.sum() * expected_dw.sum()
    np.testing.assert_allclose(evaluate([value], {x: images, w: kernel})[0], expected.detach().numpy(), rtol=1e-9)


sizes = st.integers(1, 7)
small = st.integers(1, 3)
pads = st.integers(0, 3)


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(sizes, sizes),
    kernel=st.tuples(small, small),
    stride=st.tuples(small, small),
    padding=st.tuples(st.tuples(pads, pads), st.tuples(pads, pads)),
    dilation=st.tuples(small, small),
    channels=st.tuples(small, small, small),
)
def test_the_three_ops_are_one_form(
    size: Pair,
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    channels: tuple[int, int, int],
) -> None:
    """``y · conv(x, w) = x · data_gradient(y, w) = w · weight_gradient(x, y)``, exactly so in integers."""
    groups, per_group, outputs = channels
    attributes = (stride, padding, dilation, groups)
    generator = np.random.default_rng(0)

    def integers(*shape: int) -> np.ndarray:
        return generator.integers(-4, 5, shape).astype(np.float64)

    x, w = integers(2, groups * per_group, *size), integers(groups * outputs, per_group, *kernel)
    forward = Conv2d(*attributes)
    try:
        out = forward.infer(TensorSpec(x.shape, "float64"), TensorSpec(w.shape, "float64"))
    except ShapeError:
        padded = [extent + sum(ends) for extent, ends in zip(size, padding, strict=True)]
        spans = [gap * (places - 1) + 1 for gap, places in zip(dilation, kernel, strict=True)]
        assert any(span > extent for span, extent in zip(spans, padded, strict=True))
        return
    y = integers(*out.static_shape)

    conv = np.sum(y * forward.evaluate(out, x, w))
    data = Conv2dDataGradient(*attributes, size)
    weight = Conv2dWeightGradient(*attributes, kernel)

    assert np.sum(x * data.evaluate(TensorSpec(x.shape, "float64"), y, w)) == conv
    assert np.sum(w * weight.evaluate(TensorSpec(w.shape, "float64"), x, y)) == conv


def test_flops_of_all_three_are_those_of_the_products() -> None:
    with Graph():
        x, w = placeholder("x", (None, 4, 9, 8)), placeholder("w", (6, 2, 3, 2))
        y = conv2d(x, w, stride=2, padding=1, groups=2)
        dx, dw = gradients(y, [x, w])

    for node in (y, dx, dw):
        specs = [given.spec.bind(10) for given in node.inputs]
        assert node.op.flops(node.spec.bind(10), *specs) == 2 * 10 * 6 * 5 * 5 * 2 * 3 * 2
