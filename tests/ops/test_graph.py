"""The graph under construction: names, scopes and sources of nodes, random streams, updates."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from graphnn.compiler.gradients import gradients
from graphnn.ops import Graph, Node, current_graph, dtypes
from graphnn.ops.elementwise import Add, exp, maximum, relu
from graphnn.ops.errors import GraphError, ShapeError
from graphnn.ops.state import assign, constant, placeholder, variable


def line() -> int:
    """Return the number of the line that calls this."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


# Which graph is open.


def test_nodes_go_to_the_innermost_open_graph() -> None:
    with Graph() as outer:
        a = constant(1)
        with Graph() as inner:
            assert current_graph() is inner
            b = constant(2)
        assert current_graph() is outer
        c = constant(3)
    assert outer.nodes == (a, c)
    assert inner.nodes == (b,)


def test_a_graph_may_be_opened_again() -> None:
    with Graph() as graph:
        a = constant(1)
    with graph:
        b = constant(2)
        with graph:
            c = constant(3)
    assert graph.nodes == (a, b, c)


def test_an_error_inside_closes_the_graph() -> None:
    with pytest.raises(ZeroDivisionError), Graph():
        1 / 0  # noqa: B018 - for its error
    with pytest.raises(GraphError, match="no graph is open here"):
        constant(1)


@pytest.mark.parametrize("make", [lambda: constant(1), lambda: placeholder("x", (2,)), lambda: variable("w", 1.0)])
def test_without_an_open_graph(make: Callable[[], Node]) -> None:
    with pytest.raises(GraphError, match="no graph is open here") as caught:
        make()
    assert "test_graph.py" in caught.value.where
    assert "with gn.Graph() as graph:" in caught.value.hint


def test_nodes_may_be_combined_after_their_graph_was_closed() -> None:
    with Graph() as graph:
        x = placeholder("x", (2,))
    y = exp(x + 1) * np.ones(2, np.float32)
    assert y.graph is graph
    with Graph() as other:
        assert (x * 2).graph is graph
    assert not other.nodes


def test_each_thread_opens_its_own_graph() -> None:
    problems: list[str] = []

    def build() -> None:
        try:
            constant(1)
        except GraphError as error:
            problems.append(error.message)

    with Graph() as graph:
        thread = threading.Thread(target=build)
        thread.start()
        thread.join()
    assert problems == ["no graph is open here"]
    assert not graph.nodes


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seed_is_a_word(seed: int) -> None:
    with pytest.raises(GraphError, match=f"the seed is {seed}"):
        Graph(seed)


# Names.


def test_nodes_are_named_after_their_op_with_a_running_number() -> None:
    with Graph() as graph:
        x = placeholder("x", (2,))
        names = [(x + x).name, (x + x).name, (x * x).name, (x + x).name]
    assert names == ["add", "add_1", "multiply", "add_2"]
    assert [graph[name].name for name in names] == names
    assert [node.index for node in graph.nodes] == list(range(5))


def test_a_name_in_use_is_stepped_over() -> None:
    with Graph():
        x = placeholder("add", (2,))
        placeholder("add_2", (2,))
        assert [(x + x).name for _ in range(3)] == ["add_1", "add_3", "add_4"]


def test_a_taken_name_is_refused_with_the_place_of_its_first_use() -> None:
    with Graph() as graph:
        placeholder("x", (2,))
        first = line() - 1
        with pytest.raises(GraphError, match="the name 'x' is taken") as caught:
            variable("x", 1.0)
        second = line() - 1
        assert f"test_graph.py:{first}: " in caught.value.actual
        assert f"test_graph.py:{second}: " in caught.value.where
        assert len(graph.nodes) == 1
        with graph.scope("part"):
            assert variable("x", 1.0).name == "part.x"


def test_scopes_prefix_names() -> None:
    with Graph() as graph, graph.scope("block") as outer, graph.scope("layer") as inner:
        w = variable("weight", 1.0)
        y = w + 1
        assert graph.scoped("bias") == "block.layer.bias"
    assert (outer, inner) == ("block", "block.layer")
    assert (w.name, y.name, w.scope) == ("block.layer.weight", "block.layer.add", "block.layer")
    assert (graph.scoped("bias"), constant_in(graph).scope) == ("bias", "")


def constant_in(graph: Graph) -> Node:
    with graph:
        return constant(1)


def test_a_scope_ends_with_an_error_inside() -> None:
    with Graph() as graph:
        with pytest.raises(ZeroDivisionError), graph.scope("layer"):
            1 / 0  # noqa: B018 - for its error
        assert constant(1).name == "constant"


def test_numbers_run_anew_in_each_scope() -> None:
    with Graph() as graph:
        names = []
        for scope in ("a", "b"):
            with graph.scope(scope):
                names += [constant(1).name, constant(2).name]
    assert names == ["a.constant", "a.constant_1", "b.constant", "b.constant_1"]


def test_unique_scope_counts_the_scopes_that_hold_nodes() -> None:
    with Graph() as graph:
        names = []
        for _ in range(3):
            names.append(graph.unique_scope("conv"))
            with graph.scope(names[-1]):
                constant(1)
        assert names == ["conv", "conv_1", "conv_2"]
        assert graph.unique_scope("con") == "con"  # a shorter name is another scope
        with graph.scope("conv"):
            assert graph.unique_scope("conv") == "conv"


def test_an_unknown_name_is_answered_with_similar_ones() -> None:
    with Graph() as graph:
        with graph.scope("conv1"):
            variable("weight", 1.0)
        with pytest.raises(GraphError, match="no node named 'weight'") as caught:
            graph["weight"]
    assert "'conv1.weight'" in caught.value.expected
    assert "conv1.weight" in graph
    assert "weight" not in graph


def test_graphs_and_nodes_print() -> None:
    with Graph() as graph:
        x = placeholder("x", (None, 3))
        variable("w", 1.0)
    assert repr(graph) == "<Graph: 2 nodes, 1 variables>"
    assert repr(x) == "<placeholder 'x': float32 (N, 3)>"
    assert (x.rank, x.dtype) == (2, dtypes.float32)


# Sources.


def test_source_is_the_users_line() -> None:
    with Graph():
        x = placeholder("x", (2,))
        assert x.source.line == line() - 1
        y = x + 1
        here = line() - 1
    assert Path(y.source.file) == Path(__file__)
    assert str(y.source) == f"{y.source.file}:{here}: y = x + 1"


def test_source_of_all_that_a_library_function_makes_is_the_line_that_called_it() -> None:
    with Graph() as graph:
        x = placeholder("x", (None, 4))
        count = len(graph.nodes)
        x.variance(axis=-1)
        here = line() - 1
    made = graph.nodes[count:]
    assert len(made) > 3
    assert {node.source.line for node in made} == {here}
    assert {node.source.file for node in made} == {__file__}


def double(x: Node) -> Node:
    return x * 2


def test_source_in_a_users_own_function_is_inside_it() -> None:
    with Graph():
        y = double(placeholder("x", (2,)))
    assert str(y.source).endswith("return x * 2")


def test_source_in_a_comprehension_and_a_lambda() -> None:
    with Graph():
        x = placeholder("x", (2,))
        ys = [x + number for number in range(2)]
        ys.append((lambda: x + 3)())
        here = line()
    assert [y.source.line for y in ys] == [here - 2, here - 2, here - 1]


def test_source_of_code_without_a_file() -> None:
    with Graph():
        x = placeholder("x", (2,))
        y = eval("x + 1", {"x": x})
    assert str(y.source) == "<string>:1"


def test_source_of_a_gradient_is_that_of_its_forward_node() -> None:
    with Graph() as graph:
        x = placeholder("x", (2,))
        y = exp(x)
        here = line() - 1
        count = len(graph.nodes)
        (dx,) = gradients(y, [x])
    for node in graph.nodes[count:]:
        assert node.grad_of in (x, y)
        assert node.grad_of is not None
        assert node.source == node.grad_of.source
    assert (dx.grad_of, dx.source.line) == (y, here)
    assert dx.name.startswith("gradient.")


def test_nodes_after_a_gradient_are_the_users_again() -> None:
    with Graph() as graph:
        x = placeholder("x", (2,))
        y = exp(x)
        with pytest.raises(ZeroDivisionError), graph.gradient_of(y):
            1 / 0  # noqa: B018 - for its error
        z = x + 1
    assert (z.grad_of, z.name) == (None, "add")


def test_users_nodes_stand_for_themselves() -> None:
    with Graph():
        x = placeholder("x", (2,))
    assert x.origin == ()
    assert x.users_nodes == (x,)


# Errors of ops.


def test_an_error_of_an_op_adds_no_node() -> None:
    with Graph() as graph:
        a, b = placeholder("a", (2,)), placeholder("b", (3,))
        with pytest.raises(ShapeError):
            graph.add(Add(), (a, b), name="total")
        assert graph.nodes == (a, b)
        assert graph.add(Add(), (a, a), name="total").name == "total"


def test_two_graphs_do_not_mix() -> None:
    with Graph():
        a = placeholder("a", (2,))
    with Graph():
        b = placeholder("b", (2,))
        mixes: list[Callable[[], Node]] = [lambda: a + b, lambda: b * a, lambda: maximum(a, b)]
        for mix in mixes:
            with pytest.raises(GraphError, match="mixes nodes of two graphs") as caught:
                mix()
            assert "belongs to another graph, made at" in caught.value.actual
            assert "test_graph.py" in caught.value.where


# Random numbers' places.


def test_streams_are_fixed_by_scope_and_ordinal() -> None:
    def streams() -> list[int]:
        graph = Graph()
        found = [graph.next_stream(), graph.next_stream()]
        with graph.scope("a"):
            found.append(graph.next_stream())
            with graph.scope("b"):
                found.append(graph.next_stream())
        with graph.scope("c"):
            found.append(graph.next_stream())
        return [*found, graph.next_stream()]

    assert streams() == streams()
    assert len(set(streams())) == 6
    assert all(0 <= stream < 2**32 for stream in streams())


def test_streams_differ_even_where_their_hashes_collide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphnn.ops.graph.zlib.crc32", lambda text: 2**32 - 1)
    graph = Graph()
    assert [graph.next_stream() for _ in range(3)] == [2**32 - 1, 0, 1]


def test_initial_values_depend_on_seed_and_name_alone() -> None:
    def draw(seed: int, name: str) -> float:
        return Graph(seed).generator(name).random()

    assert draw(0, "w") == draw(0, "w")
    assert len({draw(0, "w"), draw(1, "w"), draw(0, "v")}) == 3


# Updates.


def test_updates_are_kept_in_order() -> None:
    with Graph() as graph:
        a, b = variable("a", 1.0), variable("b", 1.0)
        steps = [assign(a, b), assign(b, relu(a))]
        for step in steps:
            graph.add_update(step)
    assert graph.updates == tuple(steps)
    with pytest.raises(TypeError):
        graph.variables["c"] = a  # type: ignore[index]  # read-only
