from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from error_form import refused
from graphnn.compiler.gradients import gradients
from graphnn.compiler.reference import evaluate
from graphnn.ops import Dim, Graph, Node, conv2d, conv_transpose2d, placeholder
from graphnn.ops.errors import DTypeError, ShapeError

N = Dim(1)


def build(x: tuple[int | None, ...], weight: tuple[int, ...], **options: Any) -> Node:
    with Graph():
        return conv_transpose2d(placeholder("x", x), placeholder("weight", weight), **options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (N, 3, 6, 8)),
        ({"stride": 2}, (N, 3, 9, 13)),
        ({"stride": 2, "padding": 1, "output_padding": (1, 0)}, (N, 3, 8, 11)),
        ({"padding": ((1, 0), (2, 3))}, (N, 3, 5, 3)),
        ({"dilation": (3, 2)}, (N, 3, 10, 10)),
        ({"groups": 2}, (N, 6, 6, 8)),
    ],
)
def test_shapes(options: dict[str, Any], expected: tuple[Any, ...]) -> None:
    assert build((None, 4, 4, 6), (4, 3, 3, 3), **options).shape == expected


def test_it_is_the_gradient_of_the_convolution_of_these_attributes() -> None:
    attributes: dict[str, Any] = {"stride": (2, 3), "padding": ((1, 0), (2, 1)), "dilation": (1, 2), "groups": 2}
    with Graph():
        x, weight = placeholder("x", (2, 4, 9, 10)), placeholder("weight", (6, 2, 3, 2))
        y = conv2d(x, weight, **attributes)
        dy = placeholder("dy", y.shape)
        (dx,) = gradients(y, [x], grad_ys=[dy])
        sizes = conv_transpose2d(dy, weight, **attributes).spec.static_shape[2:]
        transposed = conv_transpose2d(dy, weight, output_padding=(9 - sizes[0], 10 - sizes[1]), **attributes)
    assert sizes == (8, 9)
    generator = np.random.default_rng(0)
    feeds = {node: generator.standard_normal(node.spec.static_shape).astype(np.float32) for node in (x, weight, dy)}
    wanted, actual = evaluate([dx, transposed], feeds)
    np.testing.assert_array_equal(actual, wanted)


@pytest.mark.parametrize(
    ("x", "weight", "options", "message"),
    [
        ((None, 2, 4), (2, 3, 3, 3), {}, "x has 3 axes"),
        ((None, 2, 4, 4), (2, 3, 3), {}, "the weight has 3 axes"),
        ((None, 2, 4, 4), (3, 2, 3, 3), {}, "the weight is for 3 input channels, x has 2"),
        ((None, 3, 4, 4), (3, 2, 3, 3), {"groups": 2}, "3 input channels can't be split into 2 groups"),
        ((None, 3, 4, 4), (3, 2, 3, 3), {"groups": 0}, "3 input channels can't be split into 0 groups"),
        ((None, 2, 4, 4), (2, 3, 3, 3), {"output_padding": 1}, "the output padding along the height is 1"),
        (
            (None, 2, 4, 4),
            (2, 3, 3, 3),
            {"stride": (2, 3), "output_padding": (1, 3)},
            "the output padding along the width is 3",
        ),
        ((None, 2, 4, 4), (2, 3, 3, 3), {"stride": 2, "output_padding": -1}, "along the height is -1"),
        ((None, 2, 1, 4), (2, 3, 2, 2), {"padding": 1}, "a padding of (1, 1) along the height leaves nothing of 2"),
        ((None, 2, 4, 4), (2, 3, 3, 3), {"stride": 0}, "the stride along the height is 0"),
        ((None, 2, 4, 4), (2, 3, 3, 3), {"padding": -1}, "the padding along the height is (-1, -1)"),
        ((None, 2, 4, 4), (2, 3, 3, 3), {"padding": "same"}, "the padding is 'same'"),
        ((None, 2, 4, 4), (2, 3, 3, 3), {"dilation": 0}, "the dilation along the height is 0"),
    ],
)
def test_what_does_not_fit(x: Any, weight: Any, options: dict[str, Any], message: str) -> None:
    with Graph():
        images, kernel = placeholder("x", x), placeholder("weight", weight)
        with refused(ShapeError, message, at="conv_transpose2d(images", actual="x float32"):
            conv_transpose2d(images, kernel, **options)


def test_a_bias_is_for_the_output_channels() -> None:
    with Graph():
        x, weight, bias = placeholder("x", (None, 2, 4, 4)), placeholder("w", (2, 3, 3, 3)), placeholder("b", (2,))
        with refused(ShapeError, "the bias does not fit", at="conv_transpose2d(x, weight, bias)", expected="(3,)"):
            conv_transpose2d(x, weight, bias)


def test_integers_are_refused() -> None:
    with Graph():
        x, weight = placeholder("x", (None, 2, 4, 4), "int32"), placeholder("weight", (2, 3, 3, 3), "int32")
        with refused(DTypeError, "conv_transpose2d: an input is not of a floating type", at="2d(x, weight)"):
            conv_transpose2d(x, weight)
        with pytest.raises(DTypeError, match="conv_transpose2d: the inputs differ in element type"):
            conv_transpose2d(x.astype("float32"), weight.astype("float64"))
