from typing import Any

import numpy as np
import pytest

import graphnn as gn
from error_form import refused
from graphnn import optim


def clipped(values: list[Any], limit: float, dtype: str = "float32") -> list[np.ndarray]:
    with gn.Graph():
        gradients, norm = optim.clip_grad_norm([gn.constant(value, dtype) for value in values], limit)
    found: list[np.ndarray] = gn.Executor([norm, *gradients], device="numpy").run()
    return found


def test_short_gradients_stay_as_they_are() -> None:
    norm, a, b = clipped([[0.3, 0.0], 0.4], 1.0)

    np.testing.assert_allclose(norm, 0.5, rtol=1e-6)
    assert a.tolist() == [np.float32(0.3), 0]
    assert b == np.float32(0.4)


def test_gradients_of_0_stay_0() -> None:
    norm, a = clipped([[0.0, 0.0]], 1.0)

    assert norm == 0
    assert a.tolist() == [0, 0]


def test_squares_of_halves_do_not_overflow() -> None:
    norm, a = clipped([[300.0, 400.0]], 1.0, "float16")

    np.testing.assert_allclose(norm, 500, rtol=1e-3)
    np.testing.assert_allclose(a, [0.6, 0.8], rtol=1e-3)
    assert a.dtype == np.float16


def test_types_may_be_mixed() -> None:
    with gn.Graph():
        gradients, norm = optim.clip_grad_norm([gn.constant(3.0), gn.constant(4.0, "float64")], 1.0)

    assert [gradient.dtype.name for gradient in (*gradients, norm)] == ["float32", "float64", "float64"]


def test_a_norm_that_is_no_number_spoils_all() -> None:
    _, a, b = clipped([[np.inf, 1.0], [1.0]], 1.0)

    assert np.isnan(a[0])
    assert (a[1], b[0]) == (0, 0)


def test_norms_can_be_clipped_twice_in_a_graph() -> None:
    with gn.Graph():
        a = gn.constant([3.0])
        once, _ = optim.clip_grad_norm([a], 2.0)
        twice, _ = optim.clip_grad_norm(once, 1.0)

    np.testing.assert_allclose(gn.Executor(twice, device="numpy").run(), [[1.0]], rtol=1e-5)


def test_without_limits_nothing_is_added() -> None:
    with gn.Graph() as graph:
        w = gn.variable("w", 1.0)
        optim.SGD(0.1).minimize(w * w)

    assert not any(node.op.label in ("clip", "sqrt") for node in graph.nodes)


@pytest.mark.parametrize("clip", [optim.clip_grad_norm, optim.clip_grad_value])
def test_there_have_to_be_gradients_and_a_limit(clip: Any) -> None:
    with gn.Graph():
        gradient = gn.constant([3.0])
        with refused(gn.GraphError, "got no gradients", at="clip([], 1.0)"):
            clip([], 1.0)
        with refused(gn.GraphError, " is 0", at="clip([gradient], 0)", expected="above 0"):
            clip([gradient], 0)
