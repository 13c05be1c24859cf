"""`check_numerics=True`: the first step that gives NaN or infinity is named, and no variable changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphnn as gn
from error_form import refused
from graphnn import NumericsError, ops
from networks import executor, lenet

NAN, INF = float("nan"), float("inf")


def checked(fetches: Any, updates: Any = ()) -> gn.Executor:
    return executor(fetches, updates, check_numerics=True)


@pytest.mark.parametrize(("value", "kind"), [(-1.0, "NaN"), (0.0, "infinity"), (INF, "infinity"), (NAN, "NaN")])
def test_the_first_bad_step_is_named_with_the_users_line(value: float, kind: str) -> None:
    with gn.Graph():
        x = gn.placeholder("x", (None,))
        fine = ops.exp(x * 0.5 - 200)
        first = ops.log(x)
        later = ops.sqrt(first * fine) + 1
        run = checked([later, fine]).run
    run({x: [1.0, 2.0]})
    with refused(
        NumericsError,
        f"gave {kind}",
        at="first = ops.log(x)" if value <= 0 else "fine = ops.exp",
        expected="finite numbers",
        actual="float32 (N,)",
        hint="no variable was changed",
    ):
        run({x: [1.0, value]})
    assert np.isnan(gn.Executor(later, device="numpy", max_batch=8).run({x: [NAN]}))  # without the check it passes


def test_a_bad_number_anywhere_in_the_batch_counts() -> None:
    with gn.Graph():
        x = gn.placeholder("x", (None, 3))
        run = checked(x * 2).run
    for place in range(12):
        values = np.zeros(12, np.float32)
        values[place] = NAN
        with pytest.raises(NumericsError, match="multiply 'multiply' gave NaN"):
            run({x: values.reshape(4, 3)})
    run({x: np.zeros((4, 3), np.float32)})


def test_what_an_earlier_and_larger_batch_left_behind_does_not_count() -> None:
    with gn.Graph():
        x = gn.placeholder("x", (None, 3))
        run = checked(ops.relu(x * 2)).run
    with pytest.raises(NumericsError):
        run({x: np.full((8, 3), NAN, np.float32)})
    run({x: np.zeros((2, 3), np.float32)})


def test_what_could_be_computed_before_the_run_is_named_all_the_same() -> None:
    with gn.Graph():
        a = gn.constant([1.0, 0.0])
        first = 1 / a
        second = first - first
        third = second * gn.constant([0.0, 0.0])
    for fetched in (first, second, third):
        with refused(NumericsError, "gave infinity", at="first = 1 / a"):
            checked(fetched).run()


def test_constants_are_the_users_own_business() -> None:
    with gn.Graph():
        x = gn.placeholder("x", (2,))
        mask = gn.constant([-INF, 0.0])
        y = ops.maximum(x, mask)
        np.testing.assert_array_equal(checked([y, mask]).run({x: [1.0, -1.0]})[0], [1, 0])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_every_floating_type(dtype: str) -> None:
    with gn.Graph():
        x = gn.placeholder("x", (2,), dtype)
        run = checked(x * 2).run
    interface = gn.dtypes.as_dtype(dtype).interface
    run({x: np.array([1, 2], interface)})
    largest = {"float16": 65504.0, "bfloat16": 3.38e38, "float32": 3e38, "float64": 1.7e308}[dtype]
    for bad, kind in ((NAN, "NaN"), (largest, "infinity")):
        with pytest.raises(NumericsError, match=f"gave {kind}"):
            run({x: np.array([1, bad], interface)})


def test_integers_are_never_bad() -> None:
    with gn.Graph():
        x = gn.placeholder("x", (2,), "int32")
        total, flags = checked([x * x, x > 0]).run({x: [2**31 - 1, -(2**31)]})
    assert total.dtype == np.int32
    np.testing.assert_array_equal(flags, [True, False])


def test_a_bad_number_that_is_chosen_away_is_named_all_the_same() -> None:
    """The op that made it is where a gradient would become NaN."""
    with gn.Graph():
        x = gn.placeholder("x", (None,))
        y = ops.where(x > 0, ops.log(x), 0.0)
        plain = gn.Executor(y, device="numpy", max_batch=2)
        run = checked(y).run
    np.testing.assert_array_equal(plain.run({x: [1.0, -1.0]}), [0, 0])
    with refused(NumericsError, "log 'log' gave NaN", at="y = ops.where(x > 0, ops.log(x)"):
        run({x: [1.0, -1.0]})


def test_gradients_are_named_by_the_line_of_their_forward_node() -> None:
    with gn.Graph():
        w = gn.variable("w", [4.0, 0.0])
        root = ops.sqrt(w)
        loss = root.sum()
        (slope,) = gn.gradients(loss, [w])
        run = checked([loss, slope], ops.assign(w, w - slope)).run
    with refused(NumericsError, "gave infinity", at="root = ops.sqrt(w)"):
        run()


def test_bad_numbers_in_an_update_change_no_variable() -> None:
    with gn.Graph() as graph:
        a, b = gn.variable("a", [1.0, 2.0]), gn.variable("b", [1.0, 2.0])
        factor = gn.placeholder("factor", ())
        first = ops.assign(a, a + 1)
        second = ops.assign(b, b * factor)
        run = checked([], [first, second]).run
    run({factor: 2.0})
    for bad in (NAN, INF, 3e38):
        with refused(NumericsError, "multiply 'multiply' gave", at="second = ops.assign(b, b * factor)"):
            run({factor: bad})
        np.testing.assert_array_equal(graph.get_value(a), [2, 3])
        np.testing.assert_array_equal(graph.get_value(b), [2, 4])


@pytest.mark.parametrize("source", ["feed", "view of a feed", "constant", "other variable", "swapped"])
def test_bad_numbers_that_no_step_computes_are_not_stored(source: str) -> None:
    """An assign may store what was fed, or what another variable holds; there is no step whose result is bad."""
    with gn.Graph() as graph:
        a, b = gn.variable("a", [1.0, 2.0]), gn.variable("b", [3.0, 4.0])
        bad = gn.variable("bad", [5.0, NAN])
        x = gn.placeholder("x", (2,))
        values = {
            "feed": x,
            "view of a feed": x[::-1],
            "constant": gn.constant([NAN, 0.0]),
            "other variable": bad,
            "swapped": bad,
        }
        updates = [ops.assign(b, b + 1), ops.assign(a, values[source])]
        if source == "swapped":
            updates.append(ops.assign(bad, a))
        run = checked(b, updates).run
    with pytest.raises(NumericsError, match="gave NaN"):
        run({x: [NAN, 1.0]})
    np.testing.assert_array_equal(graph.get_value(a), [1, 2])
    np.testing.assert_array_equal(graph.get_value(b), [3, 4])
    np.testing.assert_array_equal(graph.get_value(bad), [5, NAN])


def test_the_check_changes_no_number() -> None:
    plain, watched = lenet(size=16), lenet(size=16)
    for network in (plain, watched):
        train = executor([network.loss], network.updates, check_numerics=network is watched)
        for seed in range(3):
            train.run(network.feed(8, seed))
    for name, value in plain.values().items():
        np.testing.assert_array_equal(watched.values()[name], value, err_msg=name)


def test_a_diverging_training_run_stops_at_its_last_finite_weights() -> None:
    network = lenet(size=16, rate=1e18)
    train = checked([network.loss], network.updates)
    for seed in range(20):
        before = network.values()
        try:
            train.run(network.feed(8, seed))
        except NumericsError as error:
            where = error.where
            break
    else:
        pytest.fail("the loss stayed finite")
    assert "networks.py" in where
    for name, value in network.values().items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
        assert np.isfinite(value).all()
