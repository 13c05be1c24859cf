"""Optimisers beside their formulas written down in NumPy, where PyTorch has none to compare with; and in C."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from graphnn import nn, ops, optim
from graphnn.compiler.targets.c.toolchain import find_compiler, unavailable_reason

STEPS = 10


def lion(w: np.ndarray, gradients: np.ndarray, rate: float, beta1: float, beta2: float, decay: float) -> np.ndarray:
    mean = np.zeros_like(w)
    for gradient in gradients:
        w = w - rate * (np.sign(beta1 * mean + (1 - beta1) * gradient) + decay * w)
        mean = beta2 * mean + (1 - beta2) * gradient
    return w


@pytest.mark.parametrize("options", [(1e-4, 0.9, 0.99, 0.0), (0.03, 0.5, 0.8, 0.3)])
def test_lion_on_given_gradients(options: tuple[float, float, float, float]) -> None:
    rate, beta1, beta2, decay = options
    generator = np.random.default_rng(0)
    start, gradients = generator.standard_normal((3, 4)), generator.standard_normal((STEPS, 3, 4))
    with gn.Graph() as graph:
        w, given = gn.variable("w", start), gn.placeholder("given", (3, 4), "float64")
        train = optim.Lion(rate, (beta1, beta2), weight_decay=decay).minimize((w * given).sum())
    executor = gn.Executor([], updates=train, device="numpy")
    for gradient in gradients:
        executor.run({given: gradient})

    np.testing.assert_allclose(graph.get_value(w), lion(start, gradients, *options), rtol=1e-12)


@pytest.mark.parametrize("shape", [(4, 3, 2, 2), (16, 3, 1, 1), (6, 4)], ids=str)
def test_orthogonalized_rows_or_columns_are_orthogonal(shape: tuple[int, ...]) -> None:
    with gn.Graph():
        matrix = gn.constant(np.random.default_rng(1).standard_normal(shape)).flatten(1)
        exact = optim.muon.orthogonalized(matrix, 40, (1.5, -0.5, 0.0))
        rough = optim.muon.orthogonalized(matrix)
    value, found, near = gn.Executor([matrix, exact, rough], device="numpy").run()

    left, _, right = np.linalg.svd(value, full_matrices=False)
    np.testing.assert_allclose(found, left @ right, atol=1e-6)
    singular = np.linalg.svd(near, compute_uv=False)
    assert 0.6 < singular.min() <= singular.max() < 1.3


def test_muon_takes_the_weight_of_a_convolution_as_a_matrix() -> None:
    generator = np.random.default_rng(2)
    start, gradient = generator.standard_normal((2, 16, 3, 2, 2))
    results = []
    for shape in ((16, 3, 2, 2), (16, 12)):
        with gn.Graph() as graph:
            w = gn.variable("w", start.reshape(shape))
            train = optim.Muon(0.1).minimize((w * gn.constant(gradient.reshape(shape))).sum())
        gn.Executor([], updates=train, device="numpy").run()
        assert graph["muon.momentum.w"].shape == shape
        results.append(graph.get_value(w).reshape(-1))

    np.testing.assert_allclose(results[0], results[1], rtol=1e-12)


def test_muon_of_a_gradient_of_0_only_shrinks() -> None:
    with gn.Graph() as graph:
        w = gn.variable("w", np.ones((2, 3)))
        train = optim.Muon(0.5, weight_decay=0.1).minimize((w * 0).sum())
    gn.Executor([], updates=train, device="numpy").run()

    np.testing.assert_allclose(graph.get_value(w), 0.95, rtol=1e-12)


ELEMENTWISE: dict[str, Callable[[], optim.Optimizer]] = {
    "adamw, clipped, a group": lambda: optim.AdamW(
        0.01, clip_norm=0.5, clip_value=0.1, groups=[{"params": lambda w: w.rank < 2, "weight_decay": 0, "lr": 0.02}]
    ),
    "rmsprop": lambda: optim.RMSprop(0.01, momentum=0.9, centered=True, weight_decay=0.1),
    "adagrad": lambda: optim.Adagrad(optim.schedules.step(0.1, 2), lr_decay=0.1),
    "lion": lambda: optim.Lion(0.01, weight_decay=0.1),
}


@pytest.mark.skipif(find_compiler() is None, reason=f"no C compiler: {unavailable_reason()}")
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_training_step_is_one_piece_of_c(name: str) -> None:
    runs: dict[str, Any] = {}
    for device in ("cpu", "numpy"):
        with gn.Graph(seed=0) as graph:
            x, labels = gn.placeholder("x", (None, 5)), gn.placeholder("labels", (None,), "int32")
            logits = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))(x)
            loss = ops.cross_entropy(logits, labels, label_smoothing=0.1, ignore_index=-100)
            average = optim.WeightAverage(0.5)
            train = average.follow(ELEMENTWISE[name]().minimize(loss))
        executor = gn.Executor(loss, updates=train, device=device, max_batch=20, threads=1)
        generator = np.random.default_rng(3)
        for _ in range(4):
            rows, classes = generator.standard_normal((20, 5)), generator.integers(0, 3, 20)
            classes[:3] = -100
            executor.run({x: rows.astype(np.float32), labels: classes.astype(np.int32)})
        runs[device] = {key: graph.get_value(key) for key in graph.variables}
        assert device == "numpy" or len(executor.plan.steps) == 1

    for key, value in runs["numpy"].items():
        np.testing.assert_allclose(runs["cpu"][key], value, rtol=1e-4, atol=1e-5, err_msg=key)
