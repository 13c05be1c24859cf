from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from graphnn.compiler.gradients import gradients
from graphnn.compiler.reference import evaluate
from graphnn.ops import Graph, Node, constant, log_softmax, placeholder, softmax
from graphnn.ops.errors import DTypeError, ShapeError
from graphnn.ops.norm import Softmax

FUNCTIONS = (softmax, log_softmax)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    "row",
    [
        [-np.inf, -np.inf, -np.inf],
        [0.0, np.nan, 1.0],
        [0.0, np.inf, 1.0],
        [np.inf, np.inf, -np.inf],
        [-np.inf, 2.0, 1.0],
        [3e38, -3e38, 3e38],
        [-3e38, -3e38, -3e38],
        [1e-45, 0.0, -1e-45],
    ],
    ids=str,
)
def test_special_values_and_their_gradient_are_those_of_pytorch(
    function: Callable[..., Node], row: list[float]
) -> None:
    torch = pytest.importorskip("torch")
    values = np.array(row, np.float32)
    with Graph():
        x = placeholder("x", (3,))
        weight = constant([1.0, -2.0, 3.0])
        y = function(x)
        (dx,) = gradients(y, [x], grad_ys=weight)

    tensor = torch.tensor(values, requires_grad=True)
    expected = getattr(tensor, function.__name__)(-1)
    (expected_dx,) = torch.autograd.grad(expected, tensor, torch.tensor([1.0, -2.0, 3.0]))

    actual, actual_dx = evaluate([y, dx], {x: values})
    np.testing.assert_allclose(actual, expected.detach().numpy(), rtol=1e-6)
    np.testing.assert_allclose(actual_dx, expected_dx.numpy(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("shape", [(2, 0), (0, 3)])
def test_empty_axes_give_empty_results(function: Callable[..., Node], shape: tuple[int, ...]) -> None:
    with Graph():
        y = function(constant(np.zeros(shape, np.float32)))

    assert evaluate([y], {})[0].shape == shape


def test_halves_are_summed_in_float32() -> None:
    with Graph():  # the sum of 4096 ones stops at 2048 in float16
        x = constant(np.zeros((4096, 2), np.float16))
        y, z = softmax(x, 0), log_softmax(x, 0)

    probabilities, logarithms = evaluate([y, z], {})

    np.testing.assert_array_equal(probabilities, np.float16(1 / 4096))
    np.testing.assert_array_equal(logarithms, np.float16(-np.log(4096)))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_negative_axis_is_the_same_op(function: Callable[..., Node]) -> None:
    with Graph():
        x = placeholder("x", (None, 2, 3))

        assert function(x, -2).op == function(x, 1).op
        assert function(x, -2).op != function(x, 2).op
        assert function(x).spec == x.spec


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(("shape", "axis"), [((2, 3), 2), ((2, 3), -3), ((), -1), ((), 0)])
def test_an_axis_that_does_not_exist(function: Callable[..., Node], shape: tuple[int, ...], axis: int) -> None:
    with Graph():
        x = placeholder("x", shape)

        with pytest.raises(ShapeError, match=f"{function.__name__}: there is no axis {axis}") as caught:
            function(x, axis)

    assert "'x'" in caught.value.actual
    assert "test_norm.py" in caught.value.where


def test_an_op_made_by_hand_checks_its_axis() -> None:
    with Graph() as graph:
        x = placeholder("x", (2, 3))

        with pytest.raises(ShapeError, match="softmax 'softmax': there is no axis 2"):
            graph.add(Softmax(2), [x])


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64"])
def test_integers_are_refused(function: Callable[..., Node], dtype: str) -> None:
    with Graph():
        x = placeholder("x", (2, 3), dtype)

        with pytest.raises(DTypeError, match="not of a floating type") as caught:
            function(x)

    assert "astype('float32')" in caught.value.hint


def test_the_logarithm_stays_finite_where_probabilities_vanish() -> None:
    with Graph():
        x = constant([0.0, -1000.0])
        y, z = softmax(x), log_softmax(x)

    probabilities, logarithms = evaluate([y, z], {})

    np.testing.assert_array_equal(probabilities, [1.0, 0.0])
    np.testing.assert_array_equal(logarithms, [0.0, -1000.0])
