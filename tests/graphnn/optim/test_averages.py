from typing import Any

import numpy as np
import pytest

import graphnn as gn
from error_form import refused
from graphnn import ops, optim


def trained(decay: float | None = 0.5, dtype: str = "float32") -> tuple[gn.Graph, optim.WeightAverage, gn.Executor]:
    """Return a graph in which w halves in each run: 8, 4, 2, 1."""
    with gn.Graph() as graph:
        w = gn.variable("w", [8.0, -8.0], dtype=dtype)
        average = optim.WeightAverage(decay)
        train = average.follow(optim.SGD(0.25).minimize((w * w).sum()))
    return graph, average, gn.Executor(w, train, device="numpy")


@pytest.mark.parametrize(("decay", "expected"), [(0.5, 2.0), (None, 7 / 3), (0.0, 1.0), (1.0, 4.0)])
def test_the_first_weights_are_taken_whole(decay: float | None, expected: float) -> None:
    graph, average, executor = trained(decay)
    name = average.averages[graph["w"]].name

    assert name == "weightaverage.average.w"
    assert graph.get_value(name).tolist() == [8, -8]
    executor.run()
    assert graph.get_value(name).tolist() == [4, -4]
    executor.run()
    executor.run()
    np.testing.assert_allclose(graph.get_value(name), [expected, -expected], rtol=1e-6)
    assert graph.get_value("weightaverage.count") == 3


def test_a_decay_keeps_its_digits() -> None:
    graph, _, executor = trained(0.999, "float64")
    for _ in range(2):
        executor.run()

    np.testing.assert_allclose(graph.get_value("weightaverage.average.w"), [4 - 0.002, 0.002 - 4], rtol=1e-15)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_an_average_has_the_type_of_its_weight(dtype: str) -> None:
    graph, average, executor = trained(0.5, dtype)
    for _ in range(2):
        executor.run()

    assert average.averages[graph["w"]].dtype.name == dtype
    assert graph.get_value("weightaverage.average.w").tolist() == [3, -3]


def test_weights_are_swapped_for_a_while() -> None:
    graph, average, executor = trained()
    for _ in range(2):
        executor.run()
    versions = graph.store.version("w")

    with average.swapped():
        assert graph.get_value("w").tolist() == [3, -3]
        assert graph.store.version("w") > versions  # packed copies of the weight are made anew
    assert graph.get_value("w").tolist() == [2, -2]
    assert graph.get_value("weightaverage.average.w").tolist() == [3, -3]

    with pytest.raises(ValueError, match="inside"), average.swapped():
        raise ValueError("inside")
    assert graph.get_value("w").tolist() == [2, -2]


def test_averages_can_be_applied_for_good() -> None:
    graph, average, executor = trained()
    for _ in range(2):
        executor.run()

    average.apply()

    assert graph.get_value("w").tolist() == graph.get_value("weightaverage.average.w").tolist() == [3, -3]


def test_only_trained_weights_are_averaged() -> None:
    with gn.Graph() as graph:
        x, w = gn.placeholder("x", (None,)), gn.variable("w", 1.0)
        mean, count = gn.variable("mean", 0.0, trainable=False), gn.variable("count", 0)
        graph.add_update(ops.assign(mean, x.mean()))
        graph.add_update(ops.assign(count, count + 1))
        train = optim.Adam().minimize((w * x).mean())
        average = optim.WeightAverage()
        updates = average.follow(train)

    assert list(average.averages) == [w]
    assert updates[: len(train)] == train
    assert len(updates) == len(train) + 2


def test_what_cannot_be_averaged() -> None:
    with gn.Graph():
        w, count = gn.variable("w", 1.0), gn.variable("count", 0)
        average = optim.WeightAverage()
        for updates in ([], [w], [ops.assign(count, count + 1)]):
            with refused(gn.GraphError, "WeightAverage.follow: no weights", at="follow(updates)", expected="minimize"):
                average.follow(updates)
        with refused(gn.GraphError, "WeightAverage has no averages yet", at="apply()", hint="follow"):
            average.apply()
        train = optim.SGD(0.1).minimize(w * w)
        average.follow(train)
        with refused(gn.GraphError, "there are averages already", at="average.follow(train)"):
            average.follow(train)


@pytest.mark.parametrize("decay", [-0.1, 1.5, float("nan")])
def test_a_decay_is_a_share(decay: Any) -> None:
    with refused(gn.GraphError, f"WeightAverage: decay is {decay}", at="WeightAverage(decay)", expected="from 0 to 1"):
        optim.WeightAverage(decay)
