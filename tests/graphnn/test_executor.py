"""What an executor takes, what it gives back, and how each mistake is answered."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphnn as gn
from error_form import refused
from graphnn import CompileError, GraphError, ops

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def executor(fetches: Any, updates: Any = (), max_batch: int | None = 8, **options: Any) -> gn.Executor:
    """Stand here for the user's own line, which errors name."""
    return gn.Executor(fetches, updates, device="numpy", max_batch=max_batch, **options)


class Model(NamedTuple):
    """One node of each kind that can be fetched."""

    graph: gn.Graph
    x: gn.Node
    w: gn.Node
    constant: gn.Node
    y: gn.Node
    step: gn.Node


@pytest.fixture
def model() -> Model:
    with gn.Graph() as graph:
        x = gn.placeholder("x", (None, 3))
        w = gn.variable("w", [1.0, 2.0, 3.0])
        constant = gn.constant([4.0, 5.0])
        return Model(graph, x, w, constant, x * w, ops.assign(w, w * 10))


# Forms of fetches.


def test_a_node_gives_an_array(model: Model) -> None:
    result = executor(model.y).run({model.x: X})
    assert type(result) is np.ndarray
    np.testing.assert_array_equal(result, X * [1, 2, 3])


def test_a_list_gives_a_list_and_a_tuple_a_tuple(model: Model) -> None:
    for form in (list, tuple):
        result = executor(form([model.y, model.w])).run({model.x: X})
        assert type(result) is form
        np.testing.assert_array_equal(result[0], X * [1, 2, 3])
        np.testing.assert_array_equal(result[1], [1, 2, 3])


def test_a_dict_gives_a_dict_in_its_order(model: Model) -> None:
    result = executor({"second": model.w, 1: model.y, model.x: model.x}).run({model.x: X})
    assert list(result) == ["second", 1, model.x]
    np.testing.assert_array_equal(result["second"], [1, 2, 3])
    np.testing.assert_array_equal(result[model.x], X)


def test_the_form_is_taken_once(model: Model) -> None:
    nodes, named = [model.y], {"y": model.y}
    from_list, from_dict = executor(nodes), executor(named)
    nodes.append(model.w)
    named["w"] = model.w
    assert len(from_list.run({model.x: X})) == 1
    assert list(from_dict.run({model.x: X})) == ["y"]


def test_duplicates_are_arrays_of_their_own(model: Model) -> None:
    a, b = executor([model.y, model.y]).run({model.x: X})
    a[:] = -1
    np.testing.assert_array_equal(b, X * [1, 2, 3])


def test_nothing_fetched_but_updates(model: Model) -> None:
    empty: list[tuple[Any, Any]] = [([], []), ((), ()), ({}, {})]
    for form, expected in empty:
        before = model.graph.get_value(model.w)
        assert executor(form, model.step, max_batch=None).run() == expected
        np.testing.assert_array_equal(model.graph.get_value(model.w), before * 10)


def test_sources_can_be_fetched(model: Model) -> None:
    x, w, constant = executor([model.x, model.w, model.constant]).run({model.x: X})
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(w, [1, 2, 3])
    np.testing.assert_array_equal(constant, [4, 5])


def test_an_assign_can_be_fetched(model: Model) -> None:
    new, old = executor([model.step, model.w], max_batch=None).run()
    np.testing.assert_array_equal(new, [10, 20, 30])
    np.testing.assert_array_equal(old, [1, 2, 3])
    np.testing.assert_array_equal(model.graph.get_value(model.w), new)


VIEWS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "reshape": (lambda x: x.reshape(-1, 1), lambda a: a.reshape(-1, 1)),
    "transpose": (lambda x: x.T, lambda a: a.T),
    "slice": (lambda x: x[:, ::-2], lambda a: a[:, ::-2]),
    "broadcast": (lambda x: x[:, :1].broadcast_to(x.shape), lambda a: np.repeat(a[:, :1], 3, 1)),
    "transposed slice": (lambda x: x[:, 1:].T[0], lambda a: a[:, 1]),
    "stopped gradient": (ops.stop_gradient, lambda a: a),
}


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("source", ["placeholder", "computed"])
def test_views_can_be_fetched(name: str, source: str) -> None:
    build, expected = VIEWS[name]
    with gn.Graph():
        x = gn.placeholder("x", (None, 3))
        run = executor(build(x if source == "placeholder" else x + 0.5)).run
    result = run({x: X})
    wanted = expected(X if source == "placeholder" else X + 0.5)
    np.testing.assert_array_equal(result, wanted)
    assert result.flags.c_contiguous
    result[...] = -1  # writable, and nobody's memory but the caller's
    np.testing.assert_array_equal(run({x: X}), wanted)


def test_views_of_variables_and_constants_can_be_fetched(model: Model) -> None:
    with model.graph:
        views = [model.w[::-1], model.w.reshape(3, 1), model.constant[1:], model.constant.broadcast_to((2, 2))]
    run = executor(views, max_batch=None).run
    for _ in range(2):
        results = run()
        for result, expected in zip(results, ([3, 2, 1], [[1], [2], [3]], [5], [[4, 5], [4, 5]]), strict=True):
            np.testing.assert_array_equal(result, expected)
            result[...] = -1
    np.testing.assert_array_equal(model.graph.get_value(model.w), [1, 2, 3])


def test_results_are_fresh_copies(model: Model) -> None:
    run = executor([model.x, model.y, model.w, model.constant]).run
    first = run({model.x: X})
    kept = [array.copy() for array in first]
    run({model.x: X + 1})
    for array, before in zip(first, kept, strict=True):
        np.testing.assert_array_equal(array, before)
        array[...] = -1
    for array, before in zip(run({model.x: X}), kept, strict=True):
        np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("dtype", gn.dtypes.ALL, ids=str)
def test_results_have_the_type_that_users_see(dtype: gn.dtypes.DType) -> None:
    with gn.Graph():
        x = gn.placeholder("x", (None,), dtype)
        results = executor([x, x[:, None], x.reshape(1, -1).T]).run({x: np.ones(2, dtype.interface)})
    assert [result.dtype for result in results] == [dtype.interface] * 3


def test_scalars_are_arrays_of_rank_0(model: Model) -> None:
    result = executor(model.y.sum()).run({model.x: X})
    assert type(result) is np.ndarray
    assert result.shape == ()


def test_without_feeds_a_run_needs_no_argument(model: Model) -> None:
    run = executor(model.w * 2, max_batch=None).run
    for result in (run(), run({}), run(None)):
        np.testing.assert_array_equal(result, [2, 4, 6])


# Mistakes with fetches and updates.


@pytest.mark.parametrize("fetches", ["y", None, 3, {1, 2}, np.ones(2)], ids=repr)
def test_fetches_that_are_no_form(fetches: Any) -> None:
    with refused(GraphError, "can't be fetched", at="gn.Executor(fetches", expected="a node, a list or a dict"):
        executor(fetches)


@pytest.mark.parametrize("wrap", [lambda y: [y.name], lambda y: [[y]], lambda y: {"y": y.name}, lambda _: (None,)])
def test_fetches_that_are_no_nodes(model: Model, wrap: Callable[[gn.Node], Any]) -> None:
    with refused(GraphError, "can't be fetched: it is no node", at="gn.Executor(fetches", hint="graph[name]"):
        executor(wrap(model.y))


@pytest.mark.parametrize("fetches", [[], (), {}])
def test_nothing_to_do(fetches: Any) -> None:
    with refused(GraphError, "something to fetch or to update", at="gn.Executor(fetches"):
        gn.Executor(fetches, device="numpy", max_batch=8)


def test_updates_are_assigns(model: Model) -> None:
    wrong: list[Any] = [model.y, [model.step, model.y], None, "abc", {"step": model.step}, [None], 3]
    for updates in wrong:
        with refused(GraphError, "is no update", at="gn.Executor(model.y, updates=", hint="among the fetches"):
            gn.Executor(model.y, updates=updates, device="numpy", max_batch=8)


def test_updates_may_be_any_iterable_of_assigns(model: Model) -> None:
    for number, updates in enumerate((model.step, [model.step], (model.step,), iter([model.step, model.step])), 1):
        executor([], updates, max_batch=None).run()
        assert model.graph.get_value(model.w)[0] == 10**number


def test_two_assigns_to_one_variable(model: Model) -> None:
    with model.graph:
        second = ops.assign(model.w, model.w + 1)
        reader = second * 2
    for fetches, updates in (([], [model.step, second]), ([second], [model.step]), ([reader], [model.step])):
        with refused(
            GraphError, "two assigns write variable 'w'", at="second = ops.assign", actual="", hint="assign once"
        ):
            executor(fetches, updates)


def test_nodes_of_two_graphs(model: Model) -> None:
    with gn.Graph():
        other = gn.constant(1.0, name="other")
        count = gn.variable("count", 1.0)
        step = ops.assign(count, 2.0)
    for fetches, updates in (([model.y, other], []), ([model.y], [step])):
        with refused(GraphError, "belong to two graphs", at="gn.Executor(fetches", hint="one executor per graph"):
            gn.Executor(fetches, updates, device="numpy", max_batch=8)


def test_executors_of_two_graphs_do_not_disturb_each_other() -> None:
    runs = []
    for factor in (2.0, 3.0):
        with gn.Graph():
            x = gn.placeholder("x", (None,))
            w = gn.variable("w", factor)
            runs.append((executor(x * w, ops.assign(w, w + 10.0)).run, factor))
    for _ in range(2):
        for run, factor in runs:
            np.testing.assert_array_equal(run({"x": [1.0]}), [factor])
        runs = [(run, factor + 10) for run, factor in runs]


# Mistakes in the graph that show when it is built or compiled.


def test_gradients_take_nodes(model: Model) -> None:
    loss = (model.y * model.y).sum()
    single = gn.gradients(loss, model.w)
    np.testing.assert_array_equal(executor(single).run({model.x: X})[0], 2 * (X**2).sum(0) * [1, 2, 3])
    wrong: list[tuple[Any, Any, Any]] = [(loss, ["w"], None), (loss, "w", None), (3.0, [model.w], None)]
    wrong += [(loss, [model.w], 1.0), (loss, [None], None), (None, [model.w], None)]
    for y, xs, grad_ys in wrong:
        with refused(GraphError, "gradients takes nodes, not", at="gn.gradients(y", hint="graph[name]"):
            gn.gradients(y, xs, grad_ys)
    with refused(GraphError, "gradients needs a y", at="gn.gradients([]"):
        gn.gradients([], [model.w])
    with refused(GraphError, "gradients got 2 grad_ys for 1 ys", at="gn.gradients(loss", expected="one for each y"):
        gn.gradients(loss, [model.w], [loss, loss])


def test_comparison_with_a_number_is_identity_and_can_not_be_fetched(model: Model) -> None:
    y: Any = model.y
    compared: Any = y == 1
    with refused(GraphError, "False can't be fetched", at="gn.Executor(fetches", actual="bool"):
        executor([compared])


def test_python_puts_nodes_together(model: Model) -> None:
    total: Any = sum([model.y, model.x, model.y])
    np.testing.assert_array_equal(executor(total).run({model.x: X}), X * [3, 5, 7])
    assert model.y in [model.x, model.y]
    assert f"{model.w}" == "<variable 'w': float32 (3,)>"
    with pytest.raises(TypeError, match="has no truth value"):
        max(model.y, 0)


# Options.


@pytest.mark.parametrize("device", ["gpu", "CPU", "", None, ["cpu"], 0])
def test_unknown_devices(model: Model, device: Any) -> None:
    with refused(CompileError, "there is no device", at="gn.Executor(model.y", expected="'numpy'", hint="doctor"):
        gn.Executor(model.y, device=device, max_batch=8)


@pytest.mark.parametrize("max_batch", [0, -1, 2.0, "8", True, np.float32(3)])
def test_max_batch_is_a_positive_integer(model: Model, max_batch: Any) -> None:
    with refused(GraphError, f"max_batch is {max_batch!r}", at="gn.Executor(model.y", expected="an integer of 1"):
        gn.Executor(model.y, device="numpy", max_batch=max_batch)


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2"])
def test_threads_are_a_positive_integer(model: Model, threads: Any) -> None:
    with refused(GraphError, f"threads is {threads!r}", at="gn.Executor(fetches", expected="an integer of 1 or more"):
        executor(model.y, threads=threads)
    assert executor(model.y, threads=2).threads == 2


def test_max_batch_may_be_an_integer_of_numpy(model: Model) -> None:
    size: Any = np.int64(4)
    assert executor(model.y, max_batch=size).plan.max_batch == 4


def test_max_batch_is_needed_where_anything_depends_on_the_batch(model: Model) -> None:
    with refused(
        GraphError, "needs max_batch, since 'x' has a batch axis", at="gn.Executor(model.y", hint="max_batch=100"
    ):
        gn.Executor(model.y, device="numpy")
    with model.graph:
        noise = ops.uniform((None, 2))
    with refused(GraphError, "needs max_batch", at="gn.Executor(noise", actual="random_uniform"):
        gn.Executor(noise, device="numpy")


def test_max_batch_is_not_needed_elsewhere(model: Model) -> None:
    np.testing.assert_array_equal(gn.Executor(model.w, device="numpy").run(), [1, 2, 3])


@pytest.mark.parametrize("max_batch", [10**14, 10**18, 10**30])
def test_more_memory_than_there_is(model: Model, max_batch: int) -> None:
    with refused(
        CompileError,
        "more memory than this machine gives",
        at="gn.Executor(model.y",
        actual=f"at max_batch = {max_batch:,}",
        hint="smaller max_batch",
    ):
        gn.Executor(model.y, device="numpy", max_batch=max_batch)


def test_the_default_device_is_there(model: Model) -> None:
    np.testing.assert_array_equal(gn.Executor(model.y, max_batch=2).run({model.x: X}), X * [1, 2, 3])


# The graph around an executor.


def test_an_executor_may_be_made_and_run_while_the_graph_is_open() -> None:
    with gn.Graph():
        x = gn.placeholder("x", (None,))
        early = executor(x + 1)
        np.testing.assert_array_equal(early.run({x: [1.0]}), [2])
        later = executor(x + 2)
    np.testing.assert_array_equal(early.run({x: [1.0]}), [2])
    np.testing.assert_array_equal(later.run({x: [1.0]}), [3])


def test_compiling_adds_nothing_to_the_graph(model: Model) -> None:
    with model.graph:
        drawn = ops.dropout(model.y * 1 + 0)
    count = len(model.graph.nodes)
    executor([drawn, model.w], [model.step], training=True).run({model.x: X})
    assert len(model.graph.nodes) == count


def test_an_executor_outlives_the_name_of_its_graph() -> None:
    def build() -> gn.Executor:
        with gn.Graph():
            return executor(gn.placeholder("x", (None,)) * gn.variable("w", 3.0))

    np.testing.assert_array_equal(build().run({"x": [2.0]}), [6])


def test_executors_print(model: Model) -> None:
    text = repr(executor([model.y, model.w]))
    assert text == f"<Executor of {model.y.name}, w on numpy: 1 steps>"


def test_graphs_and_what_hangs_on_them_are_not_pickled(model: Model) -> None:
    for thing in (model.graph, model.y, executor(model.y), {"model": model.y}):
        with refused(GraphError, "can't be copied or pickled", at="pickle.dumps(thing)", hint="set_value"):
            pickle.dumps(thing)


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy])
def test_graphs_are_not_copied(model: Model, way: Callable[[Any], Any]) -> None:
    with pytest.raises(GraphError, match="can't be copied or pickled"):
        way(model.graph)


def test_what_hangs_on_a_graph_is_not_copied_deeply(model: Model) -> None:
    for thing in (model.y, executor(model.y), [model.y]):
        with pytest.raises(GraphError, match="can't be copied or pickled"):
            copy.deepcopy(thing)
