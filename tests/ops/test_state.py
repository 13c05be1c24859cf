"""Placeholders, variables, constants, assigns and the store behind them."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from graphnn.compiler.gradients import gradients
from graphnn.compiler.reference import evaluate
from graphnn.ops import Dim, Graph, TensorSpec, apply, dtypes
from graphnn.ops.errors import DTypeError, FeedError, GraphError, ShapeError
from graphnn.ops.evaluation import evaluate_op
from graphnn.ops.state import (
    Constant,
    Identity,
    Placeholder,
    Variable,
    assign,
    constant,
    placeholder,
    stop_gradient,
    variable,
    when_training,
)
from graphnn.ops.store import VariableStore

# Placeholders.


def test_placeholder_has_the_batch_in_front() -> None:
    with Graph():
        x = placeholder("images", (None, 1, 28, 28), "uint8")
    assert x.spec == TensorSpec((Dim(1), 1, 28, 28), "uint8")
    assert isinstance(x.op, Placeholder)
    assert x.name == "images"


@pytest.mark.parametrize(
    ("shape", "dtype", "error", "message"),
    [
        ((2, None), "float32", ShapeError, "placeholder 'x': axis 1 of a shape is None"),
        ((2, -1), "float32", ShapeError, "placeholder 'x': axis 1 of a shape is -1"),
        ((2.5,), "float32", ShapeError, "placeholder 'x': axis 0 of a shape is 2.5"),
        ((2,), "complex64", DTypeError, "placeholder 'x': there is no element type 'complex64'"),
    ],
)
def test_placeholder_errors_name_it_and_the_line(shape: Any, dtype: str, error: type[GraphError], message: str) -> None:
    with Graph() as graph:
        with pytest.raises(error) as caught:
            placeholder("x", shape, dtype)
        assert str(caught.value).startswith(message)
        assert "test_state.py" in caught.value.where
        assert not graph.nodes


def test_placeholder_must_be_fed() -> None:
    with Graph():
        x = placeholder("x", (2,))
    with pytest.raises(FeedError, match="placeholder 'x' is not fed"):
        evaluate([x], {})


def test_what_comes_from_outside_is_not_computed() -> None:
    with Graph():
        for node in (placeholder("x", (2,)), variable("w", [1.0])):
            with pytest.raises(GraphError, match="comes from outside"):
                evaluate_op(node.op, node.spec, [], [])


# Constants.


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (True, "bool"),
        ([True, False], "bool"),
        (3, "int64"),
        ([1, 2], "int64"),
        (0.5, "float32"),
        ([1, 0.5], "float32"),
        ([], "float32"),
        (np.float64(1), "float64"),
        (np.arange(3, dtype=np.int32), "int32"),
        (np.zeros(2, np.float16), "float16"),
    ],
    ids=repr,
)
def test_constant_chooses_its_element_type(value: Any, dtype: str) -> None:
    with Graph():
        node = constant(value)
    assert node.spec == TensorSpec(np.shape(value), dtype)
    np.testing.assert_array_equal(evaluate([node], {})[0], value)


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
@pytest.mark.parametrize("value", [1, [0, 1, 1]], ids=repr)
def test_constant_of_a_given_type(value: Any, dtype: dtypes.DType) -> None:
    with Graph():
        node = constant(value, dtype)
    (result,) = evaluate([node], {})
    assert (node.dtype, result.dtype) == (dtype, dtype.interface)
    np.testing.assert_array_equal(result, value)


def test_constant_copies_its_array_and_keeps_it_read_only() -> None:
    array = np.ones(3, np.float32)
    with Graph():
        node = constant(array)
    array[:] = 7
    np.testing.assert_array_equal(evaluate([node], {})[0], [1, 1, 1])
    assert isinstance(node.op, Constant)
    with pytest.raises(ValueError, match="read-only"):
        node.op.value[0] = 2


def test_constants_compare_by_their_values_and_types() -> None:
    with Graph():
        one, same = constant([1.0, 2.0]).op, constant(np.array([1.0, 2.0], np.float32)).op
        others = [constant([1.0, 3.0]).op, constant([[1.0, 2.0]]).op, constant([1.0, 2.0], "float64").op]
    assert one == same
    assert hash(one) == hash(same)
    assert all(one != other for other in others)


@pytest.mark.parametrize("value", [np.zeros(2, np.complex64), "text", None, [None], np.uint64(1)], ids=repr)
def test_constant_refuses_what_has_no_element_type(value: Any) -> None:
    with Graph(), pytest.raises(DTypeError, match="constant: there is no element type") as caught:
        constant(value)
    assert "test_state.py" in caught.value.where


@pytest.mark.parametrize("value", ["text", None, 1j], ids=repr)
def test_constant_refuses_to_make_numbers_of_something_else(value: Any) -> None:
    with Graph(), pytest.raises(DTypeError, match="constant: the values are no numbers"):
        constant(value, "float32")


@pytest.mark.parametrize(("value", "dtype"), [(256, "uint8"), ([0, -1], "uint8"), (2**31, "int32"), (2**63, "int64")])
def test_constant_refuses_integers_that_do_not_fit(value: Any, dtype: str) -> None:
    with Graph(), pytest.raises(DTypeError, match=f"does not fit {dtype}"):
        constant(value, dtype)


def test_constant_takes_the_bounds_of_its_type() -> None:
    with Graph():
        np.testing.assert_array_equal(evaluate([constant([0, 255], "uint8")], {})[0], [0, 255])
        np.testing.assert_array_equal(
            evaluate([constant([-(2**31), 2**31 - 1], "int32")], {})[0], [-(2**31), 2**31 - 1]
        )


# Variables.


def test_variable_starts_with_a_copy_of_its_initial_value() -> None:
    initial = np.ones((2, 3), np.float32)
    with Graph() as graph:
        w = variable("w", initial)
    initial[:] = 5
    np.testing.assert_array_equal(graph.get_value(w), np.ones((2, 3)))
    np.testing.assert_array_equal(evaluate([w * 2], {})[0], np.full((2, 3), 2))
    assert graph.variables == {"w": w}
    assert isinstance(w.op, Variable)
    assert w.op.trainable


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
def test_variable_of_every_type_is_read_and_written(dtype: dtypes.DType) -> None:
    with Graph() as graph:
        for name, initial in (("vector", [0, 1]), ("scalar", 1)):
            w = variable(name, initial, dtype=dtype)
            assert graph.get_value(w).dtype == dtype.interface
            np.testing.assert_array_equal(graph.get_value(w), initial)
            zeros = np.zeros(w.spec.static_shape, dtype.interface)
            graph.set_value(w, zeros)
            np.testing.assert_array_equal(graph.get_value(name), zeros)
            assert graph.get_value(w).shape == np.shape(initial)


def test_variable_reads_give_copies() -> None:
    with Graph() as graph:
        w = variable("w", [1.0, 2.0])
    graph.get_value(w)[0] = 9
    evaluate([w], {})[0][0] = 9
    np.testing.assert_array_equal(graph.get_value(w), [1, 2])


def test_variable_errors_name_it() -> None:
    with Graph(), pytest.raises(DTypeError, match="variable 'w': a value does not fit uint8"):
        variable("w", [300], dtype="uint8")


def test_set_value_checks_before_it_writes() -> None:
    with Graph() as graph:
        w = variable("w", np.zeros((2, 3), np.float32))
        i = variable("i", np.zeros(2, np.int64))
    with pytest.raises(ShapeError, match="variable 'w' can't take this value") as caught:
        graph.set_value(w, np.ones((3, 2), np.float32))
    assert (caught.value.expected, caught.value.actual) == ("(2, 3)", "(3, 2)")
    with pytest.raises(DTypeError, match="variable 'i' can't take this value") as refused:
        graph.set_value(i, np.ones(2, np.float32))
    assert "astype('int64')" in refused.value.hint
    assert graph.get_value(w).sum() == graph.get_value(i).sum() == 0
    assert graph.store.version("w") == graph.store.version("i") == 0


def test_set_value_takes_numbers_lists_and_other_types_of_the_kind() -> None:
    with Graph() as graph:
        w, count = variable("w", [0.0, 0.0]), variable("count", 0)
    graph.set_value("w", [1, 2])
    graph.set_value(w, np.array([3, 4], np.float64))
    graph.set_value(count, 7)
    assert (graph.get_value(w).tolist(), int(graph.get_value(count))) == ([3, 4], 7)
    assert graph.store.version("w") == 2


def test_only_variables_of_the_graph_have_values() -> None:
    with Graph() as graph:
        x = placeholder("x", (2,))
    with Graph():
        foreign = variable("w", 1.0)
    for node in (x, "x", foreign):
        with pytest.raises(GraphError, match="is no variable of this graph"):
            graph.get_value(node)
    with pytest.raises(GraphError, match="no node named 'y'"):
        graph.get_value("y")


def test_variables_of_equal_specs_are_different_nodes() -> None:
    with Graph() as graph:
        a, b = variable("a", 1.0), variable("b", 2.0)
    np.testing.assert_array_equal(evaluate([a + b], {})[0], 3)
    assert list(graph.variables) == ["a", "b"]


# Assign.


def test_assign_gives_the_new_value_and_changes_nothing_by_itself() -> None:
    with Graph() as graph:
        w = variable("w", [1.0, 2.0])
        step = assign(w, w * 10)
    new, old = evaluate([step, w], {})
    assert (new.tolist(), old.tolist()) == ([10, 20], [1, 2])
    assert graph.get_value(w).tolist() == [1, 2]


def test_assign_needs_a_variable_and_a_fitting_value() -> None:
    with Graph():
        x, w = placeholder("x", (2,)), variable("w", [1.0, 2.0])
        with pytest.raises(GraphError, match="assign needs a variable, not <placeholder 'x'"):
            assign(x, w)
        with pytest.raises(ShapeError, match="does not have the variable's shape") as wrong_shape:
            assign(w, w.reshape(1, 2))
        assert "variable float32 (2,) ('w')" in wrong_shape.value.actual
        with pytest.raises(DTypeError, match="does not have the variable's element type"):
            assign(w, x.astype("float64"))


def test_assign_has_no_gradient() -> None:
    with Graph():
        w, x = variable("w", [1.0]), placeholder("x", (1,))
        with pytest.raises(GraphError, match="assign 'assign' has no gradient"):
            gradients(assign(w, x), [x])


def test_add_update_takes_assigns_only() -> None:
    with Graph() as graph:
        w = variable("w", 1.0)
        step = assign(w, w + 1)
        graph.add_update(step)
        with pytest.raises(GraphError, match="is no assign"):
            graph.add_update(w)
    assert graph.updates == (step,)


# Training and evaluation.


def test_when_training_chooses_value_and_gradient() -> None:
    with Graph():
        x = placeholder("x", (2,))
        y = when_training(x * 2, x * x)
        (dx,) = gradients(y, [x])
    feeds = {x: np.array([3, 4], np.float32)}
    assert [v.tolist() for v in evaluate([y, dx], feeds, training=True)] == [[6, 8], [2, 2]]
    assert [v.tolist() for v in evaluate([y, dx], feeds, training=False)] == [[9, 16], [6, 8]]


def test_when_training_needs_equal_branches() -> None:
    with Graph():
        x = placeholder("x", (2,))
        for other in (x.astype("float64"), x.reshape(1, 2)):
            with pytest.raises(ShapeError, match="the two branches differ"):
                when_training(x, other)


def test_when_training_has_no_value_of_its_own() -> None:
    with Graph():
        node = when_training(constant(1.0), constant(2.0))
    one = np.ones((), np.float32)
    with pytest.raises(GraphError, match="until training or evaluation is chosen"):
        evaluate_op(node.op, node.spec, [one, one], [node.spec, node.spec])


# Gradients held back.


def test_stop_gradient_is_the_value_without_its_gradient() -> None:
    with Graph():
        x = placeholder("x", (2,))
        (dx,) = gradients(x * stop_gradient(x), [x])
        with pytest.raises(GraphError, match="does not depend on 'x'"):
            gradients(stop_gradient(x), [x])
    assert evaluate([dx], {x: np.array([3, 4], np.float32)})[0].tolist() == [3, 4]


def test_identity_gives_a_value_of_its_own() -> None:
    with Graph():
        copy = apply(Identity(), placeholder("x", (2,)))
    x = np.ones(2, np.float32)
    result = evaluate_op(copy.op, copy.spec, [x], [copy.spec])
    assert not np.shares_memory(result, x)


# The store.


def test_store_writes_in_place_and_counts() -> None:
    store = VariableStore()
    store.add("w", np.zeros(2, np.float32))
    array = store.array("w")
    assert store.version("w") == 0
    store.write("w", np.array([1, 2]))
    assert array.tolist() == [1, 2]
    array[0] = 5
    store.counter(["w"]).count += 1
    assert store.version("w") == 2
    assert store.read("w").tolist() == [5, 2]
    assert not np.shares_memory(store.read("w"), array)


def test_store_waits_for_who_holds_the_lock() -> None:
    store = VariableStore()
    store.add("w", np.zeros(1))
    seen: list[Any] = []
    with store.lock:
        reader = threading.Thread(target=lambda: seen.append(store.read("w").item()))
        reader.start()
        reader.join(timeout=0.05)
        assert reader.is_alive()
        store.write("w", np.ones(1))  # whoever holds the lock may take it again
    reader.join(timeout=10)
    assert seen == [1.0]


def test_random_step_is_made_once_and_outside_scopes() -> None:
    with Graph() as graph, graph.scope("layer"):
        step = graph.random_step
        placeholder("x", (1,))
    assert graph.random_step is step
    assert step.name == "random_step"
    assert step.dtype is dtypes.int64
    assert isinstance(step.op, Variable)
    assert not step.op.trainable
    assert "layer.x" in graph
