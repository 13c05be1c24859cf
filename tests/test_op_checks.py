"""The checks of samples themselves: a wrong op does not pass them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from graphnn.ops import Node, TensorSpec
from graphnn.ops.broadcasting import Gradient
from graphnn.ops.elementwise import Tanh, tanh
from graphnn.ops.state import stop_gradient
from op_checks import (
    BuiltSample,
    assert_close,
    check_dtype,
    check_flops,
    check_gradient,
    check_second_gradient,
    check_specs,
    check_value,
)
from op_samples import BATCH, Input, OpSample

SAMPLE = OpSample("tanh", Tanh, (Input((None, 5)),), tanh, np.tanh)
LARGE = replace(SAMPLE, inputs=(Input((None, 50)),))


@pytest.mark.parametrize("sample", [SAMPLE, LARGE], ids=["each element", "random directions"])
def test_a_right_op_passes(sample: OpSample) -> None:
    check_value(sample)
    check_gradient(sample)
    check_second_gradient(sample)
    check_dtype(sample, "float16")
    check_specs(BuiltSample.of(sample), BATCH)
    check_flops(BuiltSample.of(sample))


@pytest.mark.parametrize("sample", [SAMPLE, LARGE], ids=["each element", "random directions"])
def test_a_gradient_off_by_a_thousandth_is_found(sample: OpSample, monkeypatch: pytest.MonkeyPatch) -> None:
    def gradient(self: Tanh, node: Node, dy: Node) -> Gradient:
        return (dy * (1 - node * node) * 1.001,)

    monkeypatch.setattr(Tanh, "gradient", gradient)
    with pytest.raises(AssertionError, match="gradient by input 0"):
        check_gradient(sample)


def test_a_gradient_that_hides_its_own_dependence_is_found_by_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    def gradient(self: Tanh, node: Node, dy: Node) -> Gradient:
        return (dy * (1 - stop_gradient(node * node)),)

    monkeypatch.setattr(Tanh, "gradient", gradient)
    check_gradient(SAMPLE)
    with pytest.raises(AssertionError, match="second gradient by input 0"):
        check_second_gradient(SAMPLE)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda x: np.tanh(x) * np.float32(1.001), "value"),
        (lambda x: np.tanh(x).T, "value: shape"),
        (lambda x: np.where(x > 0, np.nan, np.tanh(x)), "value"),
    ],
)
def test_a_wrong_value_is_found(wrong: object, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tanh, "evaluate", lambda self, out, x: wrong(x))  # type: ignore[operator]  # a function
    with pytest.raises(AssertionError, match=message):
        check_value(SAMPLE)


def test_a_wrong_shape_rule_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tanh, "infer", lambda self, x: TensorSpec((*x.shape[:-1], 7), x.dtype))
    with pytest.raises(AssertionError, match=r"shape \(3, 5\) at batch 3"):
        check_specs(BuiltSample.of(SAMPLE), BATCH)


def test_an_op_that_writes_to_its_input_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tanh, "evaluate", lambda self, out, x: np.tanh(x, out=x))
    with pytest.raises(ValueError, match="read-only"):
        check_specs(BuiltSample.of(SAMPLE), BATCH)


@pytest.mark.parametrize("count", [-1, 1.5, True, np.int64(3)], ids=repr)
def test_a_wrong_count_of_flops_is_found(count: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tanh, "flops", lambda self, out, x: count)
    with pytest.raises(AssertionError, match="flops is"):
        check_flops(BuiltSample.of(SAMPLE))


def test_a_loss_of_precision_in_one_type_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def coarse(self: Tanh, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        value: np.ndarray = np.tanh(x)
        return np.round(value, 1) if x.dtype == np.float16 else value

    monkeypatch.setattr(Tanh, "evaluate", coarse)
    check_dtype(SAMPLE, "float32")
    with pytest.raises(AssertionError, match="value"):
        check_dtype(SAMPLE, "float16")


def test_comparison_is_exact_for_integers_and_strict_about_infinities() -> None:
    with pytest.raises(AssertionError):
        assert_close(np.array([10**9]), np.array([10**9 + 1]), 1.0)
    with pytest.raises(AssertionError):
        assert_close(np.array([np.inf, 1.0]), np.array([-np.inf, 1.0]), 1.0)
    with pytest.raises(AssertionError):
        assert_close(np.array([np.nan]), np.array([0.0]), 1.0)
    assert_close(np.array([np.nan, np.inf, 1.0]), np.array([np.nan, np.inf, 1.0 + 1e-7]), 1e-6)


@pytest.mark.parametrize(
    ("sample", "advice"),
    [
        (OpSample("integers", Tanh, (Input((2,), "int32"),), lambda x: x + 1), "the result is int32"),
        (OpSample("constant", Tanh, (Input((2,), differentiable=False),), tanh), "no input is differentiable"),
    ],
    ids=str,
)
def test_a_sample_without_gradients_is_told_to_say_so(sample: OpSample, advice: str) -> None:
    with pytest.raises(AssertionError, match=f"{advice}.*set gradient=False"):
        check_gradient(sample)
