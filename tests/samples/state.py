"""Samples of constants and of the ops that hold back gradients or choose by training and evaluation."""

from __future__ import annotations

import numpy as np

from graphnn.ops import apply
from graphnn.ops.state import Constant, Identity, StopGradient, WhenTraining, constant, stop_gradient, when_training
from op_samples import Input, OpSample

TABLE = np.arange(6, dtype=np.float32).reshape(2, 3)

SAMPLES: list[OpSample] = [
    OpSample(
        "Constant, an array", Constant, (Input((None, 2, 3)),), lambda x: x * constant(TABLE), lambda x: x * TABLE
    ),
    OpSample(
        "Constant, an array in another order of memory",
        Constant,
        (Input((3, 2)),),
        lambda x: x * constant(TABLE.T),
        lambda x: np.stack([x[row] * (row, row + 3) for row in range(3)]),
    ),
    OpSample("Constant, a number", Constant, (Input((None, 2)),), lambda x: x + constant(2.5), lambda x: x + 2.5),
    OpSample(
        "Constant, arithmetic between constants",
        Constant,
        (Input((None, 3)),),
        lambda x: x * (constant([1.0, 2.0, 3.0]) * 2 - constant(1)),
        lambda x: x * np.array([1, 3, 5], np.float32),
    ),
    OpSample(
        "Constant, int32",
        Constant,
        (Input((None, 2), "int32"),),
        lambda x: x * constant([2, -3], "int32"),
        lambda x: np.stack([x[:, 0] * 2, x[:, 1] * -3], axis=1),
        gradient=False,
        second_gradient=False,
    ),
    OpSample(
        "Constant, bool",
        Constant,
        (Input((None, 2), "bool"),),
        lambda x: x * constant([True, False]),
        lambda x: np.stack([x[:, 0], np.zeros_like(x[:, 1])], axis=1),
        gradient=False,
        second_gradient=False,
    ),
    OpSample(
        "Constant, bfloat16",
        Constant,
        (Input((None, 2), "bfloat16"),),
        lambda x: x * constant([0.5, -2.0], "bfloat16"),
        lambda x: x * np.array([0.5, -2.0], np.float32),
        gradient=False,
        second_gradient=False,
    ),
    OpSample(
        "StopGradient, one factor of a product",
        StopGradient,
        (Input((None, 3)), Input((3,), differentiable=False)),
        lambda x, y: x * stop_gradient(y),
        lambda x, y: x * y,
        lambda x, y: x * y.detach(),
    ),
    OpSample(
        "StopGradient, int32",
        StopGradient,
        (Input((None, 3), "int32"),),
        stop_gradient,
        lambda x: x,
        gradient=False,
        second_gradient=False,
    ),
    OpSample(
        "WhenTraining, evaluation",
        WhenTraining,
        (Input((None, 3)), Input((None, 3))),
        lambda a, b: when_training(a * 2, b * b),
        lambda a, b: b * b,
    ),
    OpSample(
        "Identity", Identity, (Input((None, 3)),), lambda x: apply(Identity(), x * x), lambda x: x * x, lambda x: x * x
    ),
]
