from typing import Any

import numpy as np
import pytest

import graphnn as gn
from error_form import refused
from graphnn import nn, ops, optim
from graphnn.optim.curvature import (
    conjugate_gradients,
    elsewhere,
    gauss_newton_product,
    hessian_product,
)


def spd(size: int, seed: int = 0) -> np.ndarray:
    factor = np.random.default_rng(seed).standard_normal((size, size))
    return np.asarray(factor @ factor.T + np.eye(size))


def run(fetches: Any, updates: Any = ()) -> Any:
    return gn.Executor(fetches, updates, device="numpy").run()


# Conjugate gradients.


@pytest.mark.parametrize("size", [1, 2, 6])
def test_n_steps_solve_n_equations(size: int) -> None:
    matrix, right = spd(size), np.random.default_rng(1).standard_normal(size)
    with gn.Graph():
        a, b = gn.constant(matrix), gn.constant(right)
        (x,), (rest,) = conjugate_gradients(lambda p: [a @ p[0]], [b], size)
        (early,), (much,) = conjugate_gradients(lambda p: [a @ p[0]], [b], max(1, size // 2))

    found, residual, other, left = run([x, rest, early, much])

    np.testing.assert_allclose(found, np.linalg.solve(matrix, right), rtol=1e-8)
    np.testing.assert_allclose(residual, 0, atol=1e-8)
    np.testing.assert_allclose(left, right - matrix @ other, rtol=1e-8, atol=1e-10)


def test_a_vector_may_be_in_parts() -> None:
    matrix, right = spd(5), np.arange(1.0, 6.0)
    with gn.Graph():
        a, b = gn.constant(matrix), gn.constant(right)

        def product(p: Any) -> list[gn.Node]:
            whole = a @ ops.concat([p[0], p[1].reshape(3)])
            return [whole[:2], whole[2:].reshape(3, 1)]

        (first, second), _ = conjugate_gradients(product, [b[:2], b[2:].reshape(3, 1)], 5)

    found = np.concatenate([value.reshape(-1) for value in run([first, second])])
    np.testing.assert_allclose(found, np.linalg.solve(matrix, right), rtol=1e-8)


@pytest.mark.parametrize("right", [[0.0, 0.0], [2.0, 0.0]])
def test_steps_after_the_solution_change_nothing(right: list[float]) -> None:
    with gn.Graph():
        a, b = gn.constant([[2.0, 0.0], [0.0, 5.0]]), gn.constant(right)
        (x,), (rest,) = conjugate_gradients(lambda p: [a @ p[0]], [b], 7)

    found, residual = run([x, rest])

    assert found.tolist() == [right[0] / 2, 0]
    assert residual.tolist() == [0, 0]


def test_a_direction_without_curvature_ends_the_steps() -> None:
    with gn.Graph():
        a, b = gn.constant([[1.0, 0.0], [0.0, -1.0]]), gn.constant([2.0, 1.0])
        solutions = [conjugate_gradients(lambda p: [a @ p[0]], [b], count)[0][0] for count in (1, 2, 5)]
        (none,), _ = conjugate_gradients(lambda p: [a @ p[0]], [gn.constant([0.0, 1.0])], 3)

    first, second, fifth, nothing = run([*solutions, none])

    np.testing.assert_allclose(first, np.array([2, 1]) * 5 / 3, rtol=1e-6)
    assert first.tolist() == second.tolist() == fifth.tolist()
    assert nothing.tolist() == [0, 0]


# Curvature.


def small_network() -> tuple[list[gn.Node], gn.Node, gn.Node]:
    generator = np.random.default_rng(3)
    w, v = gn.variable("w", generator.standard_normal((3, 2))), gn.variable("v", generator.standard_normal((2, 2)))
    outputs = ops.tanh(gn.constant(generator.standard_normal((4, 3))) @ w) @ v
    return [w, v], outputs, ops.cross_entropy(outputs, gn.constant([0, 1, 1, 0]))


def matrix_of(product: Any, weights: list[gn.Node]) -> np.ndarray:
    """Return the matrix of a product, column by column."""
    sizes = [int(np.prod(weight.spec.static_shape)) for weight in weights]
    columns = []
    for unit in np.eye(sum(sizes)):
        parts = np.split(unit, np.cumsum(sizes)[:-1])
        vector = [gn.constant(part.reshape(w.spec.static_shape)) for part, w in zip(parts, weights, strict=True)]
        columns.append(np.concatenate([value.reshape(-1) for value in run(list(product(vector)))]))
    return np.array(columns).T


def test_the_hessian_is_the_gradients_change() -> None:
    with gn.Graph() as graph:
        weights, _, loss = small_network()
        found = matrix_of(hessian_product(loss, weights), weights)
        slopes = gn.Executor(list(gn.gradients(loss, weights)), device="numpy")
    expected = np.zeros_like(found)
    column = 0
    for weight in weights:
        start = graph.get_value(weight)
        for place in np.ndindex(start.shape):
            sides = []
            for step in (1e-5, -1e-5):
                moved = start.copy()
                moved[place] += step
                graph.set_value(weight, moved)
                sides.append(np.concatenate([value.reshape(-1) for value in slopes.run()]))
            expected[:, column] = (sides[0] - sides[1]) / 2e-5
            column += 1
        graph.set_value(weight, start)

    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_the_gauss_newton_matrix_is_that_of_its_factors() -> None:
    with gn.Graph():
        weights, outputs, loss = small_network()
        found = matrix_of(gauss_newton_product(loss, outputs, weights), weights)
        rows = [gn.gradients(outputs[i, k], weights) for i in range(4) for k in range(2)]
        probabilities = ops.softmax(outputs)
    jacobian = np.array([np.concatenate([value.reshape(-1) for value in run(list(row))]) for row in rows])
    middle = np.zeros((8, 8))
    for i, p in enumerate(run(probabilities)):
        middle[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = (np.diag(p) - np.outer(p, p)) / 4

    np.testing.assert_allclose(found, jacobian.T @ middle @ jacobian, atol=1e-12)
    assert np.linalg.eigvalsh(found).min() > -1e-12


def test_elsewhere_random_numbers_are_the_same() -> None:
    with gn.Graph(seed=0):
        w = gn.variable("w", np.ones(100, np.float32))
        y = ops.dropout(w * 3, 0.5)
        other = elsewhere(y, {w: w * 2})
    here, there = gn.Executor([y, other], device="numpy", training=True).run()

    assert 0 < np.count_nonzero(here) < 100
    np.testing.assert_array_equal(there, 2 * here)


def test_elsewhere_what_does_not_depend_on_the_values_is_not_copied() -> None:
    with gn.Graph() as graph:
        w, fixed = gn.variable("w", 2.0), ops.exp(gn.variable("v", 1.0))
        loss = ops.assign(gn.variable("kept", 0.0, trainable=False), w * fixed) + 1
        before = len(graph.nodes)
        other = elsewhere(loss, {w: fixed})

        assert elsewhere(fixed, {w: fixed}) is fixed
    assert [node.op.label for node in graph.nodes[before:]] == ["multiply", "add"]  # the assign is the user's
    np.testing.assert_allclose(run(other), np.exp(2) + 1, rtol=1e-6)


# The optimiser.


def quadratic(size: int = 6) -> tuple[gn.Node, gn.Node, np.ndarray]:
    matrix, right = spd(size), np.random.default_rng(4).standard_normal(size)
    w = gn.variable("w", np.zeros(size))
    loss = 0.5 * (w * (gn.constant(matrix) @ w)).sum() - (gn.constant(right) * w).sum()
    return w, loss, np.linalg.solve(matrix, right)


@pytest.mark.parametrize("adapt", [False, True])
def test_a_quadratic_loss_takes_one_step(adapt: bool) -> None:
    with gn.Graph() as graph:
        w, loss, lowest = quadratic()
        train = optim.HessianFree(iterations=6, damping=0.0, adapt_damping=adapt).minimize(loss)
    gn.Executor(loss, updates=train, device="numpy").run()

    np.testing.assert_allclose(graph.get_value(w), lowest, rtol=1e-6)


def test_a_damped_step_is_that_of_levenberg_and_marquardt() -> None:
    with gn.Graph() as graph:
        w, loss, _ = quadratic()
        train = optim.HessianFree(0.5, iterations=6, damping=2.0).minimize(loss)
        slope = run(gn.gradients(loss, [w])[0])
    gn.Executor(loss, updates=train, device="numpy").run()

    np.testing.assert_allclose(graph.get_value(w), -0.5 * np.linalg.solve(spd(6) + 2 * np.eye(6), slope), rtol=1e-6)


def test_the_damping_follows_the_models_success() -> None:
    with gn.Graph() as graph:
        w, loss, lowest = quadratic()
        train = optim.HessianFree(iterations=6).minimize(loss)
    executor = gn.Executor(loss, updates=train, device="numpy")

    for run_number in range(1, 9):
        executor.run()
        np.testing.assert_allclose(graph.get_value("hessianfree.damping"), (2 / 3) ** run_number, rtol=1e-12)
    np.testing.assert_allclose(graph.get_value(w), lowest, rtol=1e-3)


@pytest.mark.parametrize(
    ("start", "goes_on"), [(0.1, False), (2.0, True)], ids=["negative curvature", "positive curvature"]
)
def test_a_step_that_does_not_help_raises_the_damping(start: float, goes_on: bool) -> None:
    with gn.Graph() as graph:
        w = gn.variable("w", start, dtype="float64")
        loss = w**4 - 2 * w**2
        train = optim.HessianFree(iterations=1, damping=0.1).minimize(loss)
    executor = gn.Executor(loss, updates=train, device="numpy")
    executor.run()

    assert (float(graph.get_value(w)) != start) is goes_on
    assert (float(graph.get_value("hessianfree.damping")) < 0.1) is goes_on
    for _ in range(60):
        executor.run()
    np.testing.assert_allclose(graph.get_value(w), 1, rtol=1e-5)


def test_a_step_to_a_higher_loss_is_left_out() -> None:
    with gn.Graph() as graph:
        w = gn.variable("w", 3.0, dtype="float64")
        loss = ops.log(1 + w * w) - 0.1 * w  # nearly flat here: the model's lowest point is far off
        train = optim.HessianFree(50.0, iterations=1, damping=0.5).minimize(loss)
    executor = gn.Executor(loss, updates=train, device="numpy")
    before = float(executor.run())

    assert graph.get_value(w) == 3
    assert graph.get_value("hessianfree.damping") == 0.75
    for _ in range(30):
        executor.run()
    assert float(executor.run()) < before


def test_a_loss_that_becomes_nan_is_left_out() -> None:
    with gn.Graph() as graph:
        w = gn.variable("w", 0.5)
        loss = w - ops.log(w) * 1e-3
        train = optim.HessianFree(iterations=1, damping=0.0).minimize(loss)
    gn.Executor(loss, updates=train, device="numpy").run()

    assert graph.get_value(w) == np.float32(0.5)
    np.testing.assert_allclose(graph.get_value("hessianfree.damping"), 1e-12)


@pytest.mark.parametrize("curvature", ["hessian", "gauss-newton"])
def test_a_network_learns_what_gradient_descent_learns_slowly(curvature: str) -> None:
    generator = np.random.default_rng(5)
    points = generator.standard_normal((40, 2)).astype(np.float32)
    sides = (points[:, 0] * points[:, 1] > 0).astype(np.int32)
    losses = {}
    for name in ("sgd", curvature):
        with gn.Graph(seed=1):
            x, labels = gn.placeholder("x", (None, 2)), gn.placeholder("labels", (None,), "int32")
            logits = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))(x)
            loss = ops.cross_entropy(logits, labels)
            outputs = logits if curvature == "gauss-newton" else None
            optimiser = optim.SGD(0.5) if name == "sgd" else optim.HessianFree(iterations=20, outputs=outputs)
            train = optimiser.minimize(loss)
        executor = gn.Executor(loss, updates=train, device="numpy", max_batch=40)
        losses[name] = [float(executor.run({x: points, labels: sides})) for _ in range(30)]

    assert np.diff(losses[curvature]).max() <= 0
    assert losses[curvature][-1] < 0.02 < 0.3 < losses["sgd"][-1]


def test_a_schedule_scales_the_steps() -> None:
    with gn.Graph() as graph:
        w, loss, lowest = quadratic()
        optimiser = optim.HessianFree(lambda step: 0.5 + 0.5 * step, iterations=6, damping=0, adapt_damping=False)
        train = optimiser.minimize(loss)
    executor = gn.Executor(optimiser.learning_rate, updates=train, device="numpy")

    assert executor.run() == 0.5
    np.testing.assert_allclose(graph.get_value(w), 0.5 * lowest, rtol=1e-6)
    assert executor.run() == 1
    np.testing.assert_allclose(graph.get_value(w), lowest, rtol=1e-6)
    assert [name for name in graph.variables if name != "w"] == ["hessianfree.step"]


def test_updates_of_layers_come_with_it() -> None:
    with gn.Graph() as graph:
        x, w = gn.placeholder("x", (None,)), gn.variable("w", 1.0)
        mean = gn.variable("mean", 0.0, trainable=False)
        graph.add_update(ops.assign(mean, x.mean()))
        train = optim.HessianFree(iterations=1).minimize((w * x).mean() ** 2)

    assert [update.inputs[0].name for update in train] == ["w", "hessianfree.damping", "mean"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iterations": 0}, "HessianFree: iterations is 0"),
        ({"damping": -1.0}, r"HessianFree: damping is -1\.0"),
        ({"clip_norm": 1.0}, "HessianFree: it has no clip_norm"),
        ({"weight_decay": 0.1}, "HessianFree: it has no weight_decay"),
        ({"groups": [{"params": ["w"]}]}, "HessianFree: it has no groups"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(gn.GraphError, match=message) as raised:
        optim.HessianFree(**options)

    assert "test_hessian_free.py" in raised.value.where


def test_gradients_alone_are_not_enough() -> None:
    with gn.Graph():
        w = gn.variable("w", 1.0)
        with refused(gn.GraphError, "gradients alone do not tell", at="apply_gradients", hint="minimize(loss)"):
            optim.HessianFree().apply_gradients([(w, w)])
        outer = optim.SGD(0.1, groups=[{"params": [w], "optimizer": optim.HessianFree()}])
        with refused(gn.GraphError, "gradients alone do not tell", at="outer.minimize", hint="minimize(loss)"):
            outer.minimize(w * w)
