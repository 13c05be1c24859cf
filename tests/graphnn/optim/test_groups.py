from typing import Any

import numpy as np
import pytest

import graphnn as gn
from error_form import refused
from graphnn import optim


def two_weights() -> tuple[gn.Node, gn.Node, gn.Node]:
    w, bias = gn.variable("w", [[2.0, 4.0]]), gn.variable("bias", [1.0])
    return w, bias, (w * w).sum() + (bias * bias).sum()


@pytest.mark.parametrize("by", ["node", "nodes", "name", "names", "function"])
def test_a_group_holds_variables_names_or_what_a_function_says(by: str) -> None:
    with gn.Graph() as graph:
        w, bias, loss = two_weights()
        params = {
            "node": bias,
            "nodes": {bias},
            "name": "bias",
            "names": (name for name in ["bias", "of nothing"]),
            "function": lambda variable: variable.rank == 1,
        }[by]
        train = optim.SGD(0.25, groups=[{"params": params, "lr": 0.5}]).minimize(loss)
    gn.Executor([], updates=train, device="numpy").run()

    assert graph.get_value(w).tolist() == [[1, 2]]
    assert graph.get_value(bias).tolist() == [0]


def test_a_group_with_another_rate_has_it_as_a_node() -> None:
    with gn.Graph() as graph:
        _, _, loss = two_weights()
        groups: list[Any] = [
            {"params": ["bias"], "weight_decay": 0.1},
            {"params": ["w"], "lr": lambda step: 0.5**step},
        ]
        sgd = optim.SGD(0.25, groups=groups)
        train = sgd.minimize(loss)
    rates = gn.Executor([sgd.learning_rate, graph["sgd.learning_rate_2"]], updates=train, device="numpy")

    assert [tuple(map(float, rates.run())) for _ in range(2)] == [(0.25, 1.0), (0.25, 0.5)]
    assert "sgd.learning_rate_1" not in graph
    assert "sgd.step" in graph.variables


def test_another_optimiser_keeps_its_state_in_the_scope_of_the_outer_one() -> None:
    with gn.Graph() as graph:
        _, _, loss = two_weights()
        groups = [{"params": ["bias"], "optimizer": optim.Adam(optim.schedules.step(0.5, 2))}]
        optim.SGD(0.25, momentum=0.5, groups=groups).minimize(loss)

    state = [name for name in graph.variables if name not in ("w", "bias")]
    assert state == ["sgd.step", "sgd.momentum.w", "sgd.exp_avg.bias", "sgd.exp_avg_sq.bias"]
    assert "sgd.learning_rate_1" in graph


def test_a_group_of_variables_that_are_not_trained_changes_nothing() -> None:
    with gn.Graph() as graph:
        w, bias, loss = two_weights()
        sgd = optim.SGD(0.25, groups=[{"params": [bias], "optimizer": optim.Adam()}])
        train = sgd.minimize(loss, [w])
    gn.Executor([], updates=train, device="numpy").run()

    assert graph.get_value(w).tolist() == [[1, 2]]
    assert graph.get_value(bias).tolist() == [1]


def test_one_optimiser_of_groups_serves_two_graphs() -> None:
    sgd = optim.SGD(0.25, groups=[{"params": ["bias"], "lr": 0.5}])
    for _ in range(2):
        with gn.Graph() as graph:
            _, _, loss = two_weights()
            train = sgd.minimize(loss)
        gn.Executor([], updates=train, device="numpy").run()

        assert graph.get_value("bias").tolist() == [0]


def test_all_groups_are_clipped_together() -> None:
    with gn.Graph() as graph:
        w, bias, loss = two_weights()
        train = optim.SGD(1.0, clip_norm=1.0, groups=[{"params": ["bias"], "lr": 0.5}]).minimize(loss)
        norm = graph["sgd.gradient_norm"]
    (value,) = gn.Executor([norm], updates=train, device="numpy").run()

    length = np.sqrt(4.0**2 + 8.0**2 + 2.0**2)
    np.testing.assert_allclose(value, length, rtol=1e-6)
    np.testing.assert_allclose(graph.get_value(w), [[2 - 4 / length, 4 - 8 / length]], rtol=1e-6)
    np.testing.assert_allclose(graph.get_value(bias), [1 - 0.5 * 2 / length], rtol=1e-6)


def test_a_variable_is_in_one_group() -> None:
    with gn.Graph():
        _, _, loss = two_weights()
        sgd = optim.SGD(0.1, groups=[{"params": ["bias"], "lr": 1}, {"params": lambda variable: True, "lr": 2}])
        with pytest.raises(gn.GraphError, match=r"SGD: variable 'bias' is in 2 groups") as raised:
            sgd.minimize(loss)

    assert "test_groups.py" in raised.value.where


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ([], r"SGD: a group is \[\]"),
        ({"lr": 0.1}, r"SGD: a group is \{'lr': 0\.1\}"),
        ({"params": 3}, "SGD: the params of a group hold 3"),
        ({"params": [None]}, "SGD: the params of a group hold None"),
        ({"params": [], "rate": 0.1}, "SGD: a group has no option 'rate'"),
        ({"params": [], "clip_norm": 0.1}, "SGD: a group has no option 'clip_norm'"),
        ({"params": [], "groups": []}, "SGD: a group has no option 'groups'"),
        ({"params": [], "lr": -1}, "SGD: lr is -1"),
        ({"params": [], "optimizer": optim.SGD(1), "lr": 1}, "SGD: a group has an optimizer and other options"),
        ({"params": [], "optimizer": optim.SGD(1, clip_norm=1)}, r"SGD: the optimizer of a group is SGD\(lr=1"),
        ({"params": [], "optimizer": optim.SGD}, "SGD: the optimizer of a group is <class"),
    ],
)
def test_groups_are_checked(group: Any, message: str) -> None:
    with pytest.raises(gn.GraphError, match=message) as raised:
        optim.SGD(0.1, groups=[group])

    assert "test_groups.py" in raised.value.where


def test_muon_says_who_trains_vectors() -> None:
    with gn.Graph():
        _, _, loss = two_weights()
        with refused(gn.GraphError, "Muon: variable 'bias' of shape (1,) is no matrix", at="minimize", hint="AdamW()"):
            optim.Muon().minimize(loss)
