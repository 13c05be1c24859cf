from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from graphnn import nn, ops, optim


def regression() -> tuple[gn.Node, gn.Node]:
    x = gn.placeholder("x", (None, 3))
    return x, (nn.Sequential({"fc1": nn.Linear(3, 4), "relu": nn.ReLU(), "fc2": nn.Linear(4, 1)})(x) ** 2).mean()


def test_all_trainable_variables_are_found_in_order_of_creation() -> None:
    with gn.Graph() as graph:
        _, loss = regression()
        unused = gn.variable("unused", [1.0])
        train = optim.SGD(0.1).minimize(loss)

    names = ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
    assert [assign.inputs[0].name for assign in train] == names
    assert unused.name in graph.variables


def test_state_is_named_after_optimiser_and_variable() -> None:
    with gn.Graph() as graph:
        _, loss = regression()
        bias = [graph["fc1.bias"]]
        optim.SGD(0.1).minimize(loss, bias)
        optim.SGD(optim.schedules.constant(0.1), momentum=0.9).minimize(loss, bias)
        optim.Adam().minimize(loss, bias)
        optim.Adam(optim.schedules.cosine(0.1, 5)).minimize(loss, bias)
        optim.AdamW().minimize(loss, bias)
        optim.RMSprop(momentum=0.9, centered=True).minimize(loss, bias)
        optim.RMSprop().minimize(loss, bias)
        optim.Adagrad(initial_accumulator_value=0.0).minimize(loss, bias)
        optim.Adagrad(lr_decay=0.1).minimize(loss, bias)
        optim.Lion().minimize(loss, bias)
        optim.Muon().minimize(loss, [graph["fc1.weight"]])

    state = [node for name, node in graph.variables.items() if not name.startswith("fc")]
    assert [(node.name, str(node.spec)) for node in state] == [
        ("sgd_1.step", "int64 ()"),
        ("sgd_1.momentum.fc1.bias", "float32 (4,)"),
        ("adam.step", "int64 ()"),
        ("adam.exp_avg.fc1.bias", "float32 (4,)"),
        ("adam.exp_avg_sq.fc1.bias", "float32 (4,)"),
        ("adam_1.step", "int64 ()"),
        ("adam_1.exp_avg.fc1.bias", "float32 (4,)"),
        ("adam_1.exp_avg_sq.fc1.bias", "float32 (4,)"),
        ("adamw.step", "int64 ()"),
        ("adamw.exp_avg.fc1.bias", "float32 (4,)"),
        ("adamw.exp_avg_sq.fc1.bias", "float32 (4,)"),
        ("rmsprop.square_avg.fc1.bias", "float32 (4,)"),
        ("rmsprop.grad_avg.fc1.bias", "float32 (4,)"),
        ("rmsprop.momentum.fc1.bias", "float32 (4,)"),
        ("rmsprop_1.square_avg.fc1.bias", "float32 (4,)"),
        ("adagrad.sum.fc1.bias", "float32 (4,)"),
        ("adagrad_1.step", "int64 ()"),
        ("adagrad_1.sum.fc1.bias", "float32 (4,)"),
        ("lion.exp_avg.fc1.bias", "float32 (4,)"),
        ("muon.momentum.fc1.weight", "float32 (4, 3)"),
    ]
    for node in state:
        assert not node.op.trainable  # type: ignore[attr-defined]
        assert not graph.get_value(node).any()


def test_the_learning_rate_is_a_node_and_the_step_counts_runs() -> None:
    with gn.Graph() as graph:
        x, loss = regression()
        adam = optim.Adam(lambda step: 0.5**step)
        train = adam.minimize(loss)
        fixed = optim.SGD(0.1)
        fixed.minimize(loss)

        assert adam.learning_rate is graph["adam.learning_rate"]
        assert fixed.learning_rate is graph["sgd.learning_rate"]
    executor = gn.Executor([adam.learning_rate, fixed.learning_rate], updates=train, device="numpy", max_batch=1)
    found = [tuple(map(float, executor.run({x: np.ones((1, 3), np.float32)}))) for _ in range(3)]

    assert found == [(1.0, 0.1), (0.5, 0.1), (0.25, 0.1)]
    assert graph.get_value("adam.step") == 3


def test_the_learning_rate_waits_for_minimize() -> None:
    with pytest.raises(
        gn.GraphError, match=r"SGD has no learning rate in a graph yet(.|\n)*call minimize\(loss\) first"
    ):
        _ = optim.SGD(0.1).learning_rate


def test_fetches_show_values_from_before_the_step() -> None:
    with gn.Graph() as graph:
        w = gn.variable("w", [1.0, 2.0])
        train = optim.SGD(0.5).minimize((w * w).sum())
    executor = gn.Executor(w, updates=train, device="numpy")

    assert executor.run().tolist() == [1, 2]
    assert executor.run().tolist() == [0, 0]
    assert graph.get_value(w).tolist() == [0, 0]


def test_chosen_variables_are_changed_alone_even_if_not_trainable() -> None:
    with gn.Graph() as graph:
        a, b = gn.variable("a", 1.0), gn.variable("b", 1.0, trainable=False)
        train = optim.SGD(0.5).minimize(a * b, variables=[b])
    gn.Executor(a, updates=train, device="numpy").run()

    assert (float(graph.get_value(a)), float(graph.get_value(b))) == (1.0, 0.5)


def test_what_stop_gradient_hides_is_left_out() -> None:
    with gn.Graph():
        frozen, trained = gn.variable("frozen", 1.0), gn.variable("trained", 1.0)
        train = optim.SGD(0.1, weight_decay=0.1).minimize(ops.stop_gradient(frozen) * trained)

    assert [assign.inputs[0].name for assign in train] == ["trained"]


def test_gradients_can_be_changed_before_they_are_applied() -> None:
    with gn.Graph() as graph:
        w = gn.variable("w", [3.0, 4.0])
        (gradient,) = gn.gradients((w * w).sum() / 2, [w])
        norm = ops.sqrt((gradient * gradient).sum())
        train = optim.SGD(1.0).apply_gradients([(gradient / norm, w)])
    gn.Executor(norm, updates=train, device="numpy").run()

    np.testing.assert_allclose(graph.get_value(w), [3 - 0.6, 4 - 0.8], rtol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: optim.SGD(0.1, momentum=0.9, weight_decay=0.1, clip_norm=1.0),
        lambda: optim.Adam(0.1),
        lambda: optim.AdamW(0.1),
        lambda: optim.RMSprop(0.1, momentum=0.5, centered=True),
        lambda: optim.Adagrad(0.1),
        lambda: optim.Lion(0.1, clip_value=1.0),
        lambda: optim.HessianFree(),
    ],
)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_state_and_steps_keep_the_variables_type(make: Callable[[], optim.Optimizer], dtype: str) -> None:
    with gn.Graph() as graph:
        w = gn.variable("w", [1.0, -2.0], dtype=dtype)
        train = make().minimize((w * w).sum())
    gn.Executor(w, updates=train, device="numpy").run()

    scalars = ("step", "damping")
    assert {node.dtype.name for name, node in graph.variables.items() if not name.endswith(scalars)} == {dtype}
    assert (np.abs(graph.get_value(w)) < [1, 2]).all()


def test_the_loss_is_a_floating_scalar() -> None:
    with gn.Graph():
        w = gn.variable("w", [1.0, 2.0])
        with pytest.raises(gn.ShapeError, match=r"SGD\.minimize: the loss 'multiply' is no scalar(.|\n)*\.mean\(\)"):
            optim.SGD(0.1).minimize(w * w)
        with pytest.raises(gn.DTypeError, match=r"the loss 'sum' is not of a floating type\n.*int64 \(\)"):
            optim.SGD(0.1).minimize(gn.constant([1, 2]).sum())
        with pytest.raises(gn.GraphError, match=r"SGD\.minimize takes a node"):
            optim.SGD(0.1).minimize([w.sum()])  # type: ignore[arg-type]


def test_something_has_to_be_trainable() -> None:
    with gn.Graph():
        x = gn.placeholder("x", ())
        gn.variable("elsewhere", 1.0)
        with pytest.raises(gn.GraphError, match=r"nothing to train: 'x' depends on no trainable variable"):
            optim.SGD(0.1).minimize(x)
        fixed = gn.variable("fixed", 1.0, trainable=False)
        with pytest.raises(gn.GraphError, match=r"it depends on 'fixed', which is not trainable"):
            optim.SGD(0.1).minimize(x * fixed)
        with pytest.raises(gn.GraphError, match=r"no variables were given"):
            optim.SGD(0.1).minimize(x * fixed, variables=[])


def test_chosen_variables_have_to_matter() -> None:
    with gn.Graph():
        w, hidden, unused = gn.variable("w", 1.0), gn.variable("hidden", 1.0), gn.variable("unused", 1.0)
        loss = w * ops.stop_gradient(hidden)
        for other in (unused, hidden):
            with pytest.raises(
                gn.GraphError, match=rf"Adam: the loss 'multiply' does not depend on variable '{other.name}'"
            ) as raised:
                optim.Adam().minimize(loss, [w, other])
            assert "test_optimizer.py" in raised.value.where
        with pytest.raises(gn.GraphError, match=r"Adam: <multiply .* is no variable"):
            optim.Adam().minimize(loss, [loss])


def test_gradients_have_to_fit() -> None:
    with gn.Graph():
        w = gn.variable("w", [1.0, 2.0])
        sgd = optim.SGD(0.1)
        with pytest.raises(gn.ShapeError, match=r"gradient 'sum' does not fit variable 'w'\n.*\(2,\)\n.*\(\)"):
            sgd.apply_gradients([(w.sum(), w)])
        with pytest.raises(gn.DTypeError, match=r"gradient 'cast' does not fit variable 'w'\n.*float32.*\n.*float64"):
            sgd.apply_gradients([(w.astype("float64"), w)])
        with pytest.raises(gn.GraphError, match=r"variable 'w' occurs twice"):
            sgd.apply_gradients([(w, w), (w, w)])
        with pytest.raises(gn.GraphError, match=r"there are no gradients to apply"):
            sgd.apply_gradients([])
        with pytest.raises(gn.GraphError, match=r"is no variable"):
            sgd.apply_gradients([(w * 1, w * 1)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.SGD(-0.1), r"SGD: lr is -0\.1"),
        (lambda: optim.SGD(float("nan")), "SGD: lr is nan"),
        (lambda: optim.SGD("0.1"), r"SGD: lr is '0\.1'"),  # type: ignore[arg-type]
        (lambda: optim.SGD(0.1, momentum=-1), "SGD: momentum is -1"),
        (lambda: optim.SGD(0.1, weight_decay=-1), "SGD: weight_decay is -1"),
        (lambda: optim.SGD(0.1, nesterov=True), "SGD: nesterov without momentum"),
        (lambda: optim.Adam(-1), "Adam: lr is -1"),
        (lambda: optim.Adam(betas=(0.9, 1.0)), r"Adam: betas are \(0\.9, 1\.0\)"),
        (lambda: optim.Adam(betas=(-0.1, 0.9)), "Adam: betas are"),
        (lambda: optim.Adam(eps=-1e-8), "Adam: eps is -1e-08"),
        (lambda: optim.AdamW(weight_decay=-1), "AdamW: weight_decay is -1"),
        (lambda: optim.SGD(0.1, clip_norm=0), "SGD: clip_norm is 0"),
        (lambda: optim.SGD(0.1, clip_value=-1), "SGD: clip_value is -1"),
        (lambda: optim.RMSprop(alpha=1.0), r"RMSprop: alpha is 1\.0"),
        (lambda: optim.RMSprop(eps=-1.0), r"RMSprop: eps is -1\.0"),
        (lambda: optim.RMSprop(momentum=-1), "RMSprop: momentum is -1"),
        (lambda: optim.Adagrad(lr_decay=-1), "Adagrad: lr_decay is -1"),
        (lambda: optim.Adagrad(initial_accumulator_value=-1), "Adagrad: initial_accumulator_value is -1"),
        (lambda: optim.Adagrad(eps=-1), "Adagrad: eps is -1"),
        (lambda: optim.Lion(betas=(1.0, 0.9)), r"Lion: betas are \(1\.0, 0\.9\)"),
        (lambda: optim.Muon(momentum=1.0), r"Muon: momentum is 1\.0"),
        (lambda: optim.Muon(eps=0), "Muon: eps is 0"),
        (lambda: optim.Muon(ns_steps=0), "Muon: ns_steps is 0"),
        (lambda: optim.Muon(ns_coefficients=(1, 2)), r"Muon: ns_coefficients is \(1, 2\)"),  # type: ignore[arg-type]
        (lambda: optim.Muon(adjust_lr_fn="none"), "Muon: adjust_lr_fn is none"),  # type: ignore[arg-type]
    ],
)
def test_arguments_are_checked(make: Any, message: str) -> None:
    with pytest.raises(gn.GraphError, match=message) as raised:
        make()

    assert "test_optimizer.py" in raised.value.where


def test_a_subclass_needs_its_formula() -> None:
    with gn.Graph():
        w = gn.variable("w", 1.0)
        with pytest.raises(NotImplementedError, match=r"Optimizer has no assigns"):
            optim.Optimizer(0.1).minimize(w * w)
