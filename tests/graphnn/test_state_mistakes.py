"""Values, names and seeds that variables, assigns and graphs can't take, and those that they can."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphnn as gn
from error_form import refused
from graphnn import DTypeError, GraphError, ShapeError, ops


@pytest.mark.parametrize(
    ("dtype", "value", "kind", "message"),
    [
        ("int64", [1.5, 2.5], DTypeError, "the values are of another kind"),
        ("int64", np.array([1.0, 2.0]), DTypeError, "the values are of another kind"),
        ("int64", [float("nan")] * 2, DTypeError, "the values are of another kind"),
        ("uint8", [300, -1], DTypeError, "a value does not fit uint8"),
        ("int32", np.array([2**40, 0]), DTypeError, "a value does not fit int32"),
        ("bool", [2, 0], DTypeError, "the values are of another kind"),
        ("float32", [1e300, 0.0], DTypeError, "a value does not fit float32"),
        ("float16", np.array([1e5, 0.0]), DTypeError, "a value does not fit float16"),
        ("float32", ["1", "2"], DTypeError, "the values are no numbers"),
        ("float32", [None, None], DTypeError, "the values are no numbers"),
        ("float32", [1j, 2], DTypeError, "the values are no numbers"),
        ("float32", [[1], [2, 3]], GraphError, "the values make no array"),
        ("float32", 0.0, ShapeError, "the value does not have the variable's shape"),
        ("float32", [1.0], ShapeError, "the value does not have the variable's shape"),
        ("float32", [[1.0, 2.0]], ShapeError, "the value does not have the variable's shape"),
    ],
)  # fmt: skip
def test_set_value_never_changes_a_number_silently(
    dtype: str, value: Any, kind: type[GraphError], message: str
) -> None:
    with gn.Graph() as graph:
        w = gn.variable("w", np.zeros(2), dtype=dtype)
    with refused(kind, f"variable 'w' can't take this value: {message}", at="graph.set_value(w, value)"):
        graph.set_value(w, value)
    np.testing.assert_array_equal(graph.get_value(w), [0, 0])
    assert graph.store.version("w") == 0


def test_set_value_takes_numbers_that_fit() -> None:
    with gn.Graph() as graph:
        small = gn.variable("small", [0, 0], dtype="uint8")
        real = gn.variable("real", [0.0, 0.0])
        half = gn.variable("half", [0.0, 0.0], dtype="bfloat16")
    graph.set_value(small, np.array([255, 0], np.int64))
    np.testing.assert_array_equal(graph.get_value(small), [255, 0])
    graph.set_value(real, np.array([1, 2], np.int32))
    graph.set_value("real", [np.nan, np.inf])
    np.testing.assert_array_equal(graph.get_value(real), [np.nan, np.inf])
    graph.set_value(half, np.array([1.0, 1.0 + 2**-9]))
    np.testing.assert_array_equal(graph.get_value(half), [1, 1])


@pytest.mark.parametrize("name", ["value", "weight"])
def test_unknown_variables(name: str) -> None:
    with gn.Graph() as graph, graph.scope("conv1"):
        gn.variable("weight", 1.0)
    with refused(GraphError, f"no node named {name!r}", at="graph.get_value(name)", hint="lists all names"):
        graph.get_value(name)


@pytest.mark.parametrize("thing", [5, None, np.zeros(2), ["w"]], ids=repr)
def test_what_is_no_variable(thing: Any) -> None:
    with gn.Graph() as graph:
        w = gn.variable("w", 1.0)
        doubled = w * 2
    for wrong in (thing, doubled):
        with refused(GraphError, "is no variable of this graph", at="graph.set_value(wrong", hint="graph.variables"):
            graph.set_value(wrong, 1.0)
        with refused(GraphError, "is no variable of this graph", at="graph.get_value(wrong"):
            graph.get_value(wrong)


@pytest.mark.parametrize("thing", [5, None, "assign"], ids=repr)
def test_what_is_no_assign(thing: Any) -> None:
    with gn.Graph():
        foreign = ops.assign(gn.variable("w", 1.0), 2.0)
    with gn.Graph() as graph:
        for wrong in (thing, foreign):
            with refused(GraphError, "is no assign of this graph", at="graph.add_update(wrong)"):
                graph.add_update(wrong)
    assert graph.updates == ()


def test_assign_takes_a_variable_and_a_value_that_fits() -> None:
    with gn.Graph() as graph:
        count, x = gn.variable("count", 0), gn.placeholder("x", ())
        wrong: list[Any] = ["count", x, 5, None]
        for target in wrong:
            with refused(GraphError, "assign needs a variable", at="ops.assign(target", hint="gn.variable"):
                ops.assign(target, 1)
        with refused(DTypeError, "a value does not fit int64", at="ops.assign(count, 0.5)", actual="0.5"):
            ops.assign(count, 0.5)
        with refused(DTypeError, "element type", at="ops.assign(count, x)", hint="astype('int64')"):
            ops.assign(count, x)
        with refused(ShapeError, "does not have the variable's shape", at="ops.assign(count, [1, 2])"):
            ops.assign(count, [1, 2])
    assert graph.get_value(count) == 0


def test_variables_of_two_graphs_do_not_mix() -> None:
    with gn.Graph():
        a = gn.variable("a", 1.0)
    with gn.Graph() as graph:
        b = gn.variable("b", 1.0)
        with refused(GraphError, "mixes nodes of two graphs", at="ops.assign(b, a)"):
            ops.assign(b, a)
    with refused(GraphError, "is no variable of this graph", at="graph.get_value(a)"):
        graph.get_value(a)


@pytest.mark.parametrize(
    ("initial", "options", "message"),
    [
        ("text", {}, "there is no element type"),
        (None, {}, "there is no element type"),
        ([[1], [1, 2]], {}, "the values make no array"),
        (1e300, {}, "a value does not fit float32"),
        (1.5, {"dtype": "int64"}, "a value does not fit int64"),
        (float("nan"), {"dtype": "int32"}, "a value does not fit int32"),
        (float("inf"), {"dtype": "int32"}, "a value does not fit int32"),
        (2.0**63, {"dtype": "int64"}, "a value does not fit int64"),
        ([1.0], {"dtype": "float33"}, "there is no element type 'float33'"),
        ([1.0], {"trainable": "float64"}, "trainable is 'float64'"),
    ],
)  # fmt: skip
def test_initial_values_that_can_not_be(initial: Any, options: dict[str, Any], message: str) -> None:
    with gn.Graph() as graph:
        with refused(type_of(message), f"variable 'w': {message}", at='gn.variable("w", initial'):
            gn.variable("w", initial, **options)
        assert not graph.nodes
        gn.variable("w", 1.0)  # the name is free


def type_of(message: str) -> type[GraphError]:
    return GraphError if "no array" in message or "trainable" in message else DTypeError


@pytest.mark.parametrize(
    ("initial", "dtype"),
    [
        (1, "int64"), (1.0, "float32"), ([1, 2.5], "float32"), (True, "bool"), ([], "float32"),
        (np.zeros(3), "float64"), (np.float16(1), "float16"), (float("nan"), "float32"), (np.ones((2, 0)), "float64"),
    ],
    ids=repr,
)  # fmt: skip
def test_initial_values_choose_the_type(initial: Any, dtype: str) -> None:
    with gn.Graph() as graph:
        w = gn.variable("w", initial)
    assert (w.dtype.name, w.shape) == (dtype, np.shape(initial))
    np.testing.assert_array_equal(graph.get_value(w), initial)


@pytest.mark.parametrize("name", [None, 5, "", ("w",)])
def test_names_are_texts(name: Any) -> None:
    with gn.Graph() as graph:
        if name is not None:  # the first argument of ops that name themselves
            with refused(GraphError, "a name is", at="gn.variable(name", expected="a text"):
                gn.variable(name, 1.0)
        with refused(GraphError, "a name is", at="graph.scope(name)", expected="a text"):
            graph.scope(name)


@pytest.mark.parametrize("seed", ["0", None, 0.5, True, -1, 2**32])
def test_seeds_are_words(seed: Any) -> None:
    with refused(GraphError, f"the seed is {seed!r}", at="gn.Graph(seed", expected="an integer from 0"):
        gn.Graph(seed)
