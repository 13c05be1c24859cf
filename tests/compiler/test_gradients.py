"""Gradients as nodes: which there are, what they hold, how they are named, and that no graph is too deep."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from graphnn import ops
from graphnn.compiler.gradients import gradients
from graphnn.compiler.reference import evaluate
from graphnn.ops import Graph, Node, constant, placeholder, variable
from graphnn.ops.errors import DTypeError, GraphError, ShapeError
from graphnn.ops.state import Variable

Array = np.ndarray


def slopes(
    build: Callable[..., Node | Sequence[Node]], *points: float | Array, allow_unused: bool = False
) -> list[Array]:
    """Return the gradients of what `build` makes by each of its float64 inputs, at points."""
    arrays = [np.asarray(point, np.float64) for point in points]
    with Graph():
        xs = [placeholder(f"x{number}", array.shape, "float64") for number, array in enumerate(arrays)]
        found = gradients(build(*xs), xs, allow_unused=allow_unused)
    return evaluate(found, dict(zip(xs, arrays, strict=True)))


# Values.


def test_chain_rule() -> None:
    (slope,) = slopes(lambda x: ops.exp(ops.tanh(x * 3)), 0.2)
    inner = np.tanh(0.6)
    np.testing.assert_allclose(slope, np.exp(inner) * (1 - inner**2) * 3, rtol=1e-14)


def test_parts_of_a_shared_node_add_up() -> None:
    def build(x: Node) -> Node:
        shared = x * x
        return shared * shared + shared + x

    (slope,) = slopes(build, 1.5)
    np.testing.assert_allclose(slope, 4 * 1.5**3 + 2 * 1.5 + 1, rtol=1e-14)


def test_node_used_twice_by_one_op_counts_twice() -> None:
    assert slopes(lambda x: x * x * x, 2.0) == [12.0]
    assert slopes(lambda x: ops.concat([x, x * 3, x]), np.ones(2))[0].tolist() == [5, 5]


def test_several_ys_add_up() -> None:
    assert slopes(lambda x, y: [x * y, x + 2 * y], 3.0, 5.0) == [6.0, 5.0]


def test_y_given_twice_counts_twice() -> None:
    def build(x: Node) -> list[Node]:
        y = x * 3
        return [y, y]

    assert slopes(build, 1.0) == [6.0]


def test_one_y_that_depends_on_another() -> None:
    def build(x: Node) -> list[Node]:
        y = x * x
        return [y, y * 4]

    assert slopes(build, 3.0) == [30.0]


def test_gradient_by_itself_is_one() -> None:
    with Graph():
        x = placeholder("x", (None, 2))
        (slope,) = gradients(x, [x])
    np.testing.assert_array_equal(evaluate([slope], {x: np.zeros((3, 2), np.float32)})[0], np.ones((3, 2)))


def test_gradient_by_a_node_in_between_and_by_its_input() -> None:
    with Graph():
        x = placeholder("x", (), "float64")
        middle = x * x
        by_middle, by_x = gradients(ops.exp(middle), [middle, x])
    values = evaluate([by_middle, by_x], {x: np.array(0.5)})
    np.testing.assert_allclose(values, [np.exp(0.25), np.exp(0.25)], rtol=1e-14)


def test_x_given_twice_and_given_alone() -> None:
    with Graph():
        x = placeholder("x", (), "float64")
        first, second = gradients(x * 3, [x, x])
        (alone,) = gradients(x * 3, x)
    assert first is second
    assert evaluate([first, alone], {x: np.array(1.0)}) == [3.0, 3.0]


def test_gradient_of_what_is_no_scalar_is_that_of_its_sum() -> None:
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(slopes(lambda x: x * x, x)[0], 2 * x)
    np.testing.assert_array_equal(slopes(lambda x: x * x, x), slopes(lambda x: (x * x).sum(), x))


def test_grad_ys_weigh_each_y() -> None:
    with Graph():
        x = placeholder("x", (2,), "float64")
        weight = placeholder("weight", (2,), "float64")
        (slope,) = gradients([x * x, x], [x], grad_ys=[weight, constant([10.0, 20.0])])
    values = evaluate([slope], {x: np.array([1.0, 2.0]), weight: np.array([3.0, -1.0])})
    np.testing.assert_array_equal(values[0], [2 * 3 + 10, -4 + 20])


def test_gradient_with_weights_is_differentiable_by_them() -> None:
    with Graph():
        x, weight = placeholder("x", (2,), "float64"), placeholder("weight", (2,), "float64")
        (slope,) = gradients(x**3, [x], grad_ys=weight)
        (by_weight,) = gradients(slope, [weight])
    value = evaluate([by_weight], {x: np.array([1.0, 2.0]), weight: np.ones(2)})[0]
    np.testing.assert_array_equal(value, [3.0, 12.0])


def test_grad_y_is_converted_to_the_type_of_y() -> None:
    with Graph():
        x = placeholder("x", (2,), "float32")
        (slope,) = gradients(x * 2, [x], grad_ys=constant([1, 2]))
    assert slope.dtype.name == "float32"
    assert evaluate([slope], {x: np.zeros(2, np.float32)})[0].tolist() == [2, 4]


def test_element_type_is_that_of_each_x() -> None:
    with Graph():
        half, double = placeholder("half", (2,), "float16"), placeholder("double", (2,), "float64")
        found = gradients((half * double).sum(), [half, double])
    assert [slope.dtype.name for slope in found] == ["float16", "float64"]


def test_branches_through_the_batch() -> None:
    with Graph():
        x = placeholder("x", (None, 2), "float64")
        (slope,) = gradients((x.mean(0) * x).sum(), [x])
    values = np.array([[1.0, 2.0], [3.0, 6.0]])
    np.testing.assert_allclose(
        evaluate([slope], {x: values})[0], values.mean(0) + values.sum(0) / 2 * np.ones((2, 1)), rtol=1e-14
    )


# No gradient.


def test_disconnected_x_is_refused_by_name() -> None:
    with Graph():
        x, other = placeholder("x", ()), placeholder("other", ())
        y = x * 2
        with pytest.raises(GraphError, match="'multiply' does not depend on 'other'") as caught:
            gradients(y, [x, other])
    assert "test_gradients.py" in caught.value.where
    assert "allow_unused=True" in caught.value.hint


def test_disconnected_x_gets_zeros_on_request() -> None:
    with Graph():
        x, other = placeholder("x", (None, 2)), placeholder("other", (3, 1), "float64")
        found = gradients(x * 2, [x, other], allow_unused=True)
    assert found[1].spec == other.spec
    values = evaluate(found, {x: np.zeros((2, 2), np.float32)})
    np.testing.assert_array_equal(values[1], np.zeros((3, 1)))


def test_gradients_of_y_by_what_depends_on_y_are_refused() -> None:
    with Graph():
        x = placeholder("x", ())
        y = x * 2
        z = y * 3
        with pytest.raises(GraphError, match="does not depend on"):
            gradients(y, [z])


@pytest.mark.parametrize(
    "cut",
    [
        ops.stop_gradient,
        lambda x: x.astype("int32").astype("float64"),
        lambda x: (x > 0).astype("float64"),
        lambda x: ops.one_hot(x.argmax(0), 2, "float64"),
        ops.sign,
    ],
)
def test_nothing_flows_through(cut: Callable[[Node], Node]) -> None:
    np.testing.assert_array_equal(slopes(lambda x: cut(x) * 5, np.array([1.5, -2.0]), allow_unused=True)[0], [0, 0])
    np.testing.assert_array_equal(slopes(lambda x: cut(x) * 5 + x, np.array([1.5, -2.0]))[0], [1, 1])
    with pytest.raises(GraphError, match="does not depend on"):
        slopes(lambda x: cut(x) * 5, np.array([1.5, -2.0]))


def test_stopped_factor_counts_as_a_constant() -> None:
    np.testing.assert_array_equal(slopes(lambda x: x * ops.stop_gradient(x), np.array([2.0, 3.0]))[0], [2, 3])


@pytest.mark.parametrize("position", ["x", "y"])
def test_integers_have_no_gradient(position: str) -> None:
    with Graph():
        x = placeholder("x", (2,), "int32" if position == "x" else "float32")
        y = x.astype("float32") * 2 if position == "x" else (x * 2).astype("int64")
        with pytest.raises(DTypeError, match=f"gradients: '{(x if position == 'x' else y).name}' is not of a floating"):
            gradients(y, [x])


def test_op_without_a_gradient_says_so() -> None:
    with Graph():
        w = variable("w", [1.0])
        new = ops.assign(w, w * 2)
        with pytest.raises(GraphError, match="assign 'assign' has no gradient") as caught:
            gradients(new * 3, [w])
    assert "stop_gradient" in caught.value.hint


def test_nothing_to_differentiate() -> None:
    with Graph():
        x = placeholder("x", ())
        with pytest.raises(GraphError, match="needs a y"):
            gradients([], [x])
        assert gradients(x, []) == ()


def test_wrong_grad_ys() -> None:
    with Graph():
        x = placeholder("x", (None, 2))
        with pytest.raises(GraphError, match="2 grad_ys for 1 ys"):
            gradients(x, [x], grad_ys=[x, x])
        with pytest.raises(ShapeError, match="grad_y of 'x' has another shape") as caught:
            gradients(x, [x], grad_ys=[constant([1.0, 2.0])])
    assert (caught.value.expected, caught.value.actual) == ("(N, 2)", "(2,)")


# Higher orders.


def test_derivatives_up_to_the_fourth() -> None:
    with Graph():
        x = placeholder("x", (), "float64")
        orders = [x**4]
        for _ in range(4):
            orders += gradients(orders[-1], [x])
    values = evaluate(orders, {x: np.array(2.0)})
    np.testing.assert_allclose(values, [16, 32, 48, 48, 24], rtol=1e-14)


def network(x: Node, weights: Sequence[Node]) -> Node:
    """Return the loss of a small network in which all weights meet."""
    for weight in weights[:-1]:
        x = ops.tanh(x @ weight)
    return ops.softmax(x @ weights[-1])[:, 0].mean() + (weights[0] ** 2).sum() * 0.1


def test_hessian_times_a_vector_is_the_change_of_the_gradient() -> None:
    generator = np.random.default_rng(0)
    shapes = [(4, 5), (5, 3), (3, 2)]
    with Graph():
        x = placeholder("x", (None, 4), "float64")
        weights = [placeholder(f"w{number}", shape, "float64") for number, shape in enumerate(shapes)]
        vectors = [constant(generator.standard_normal(shape)) for shape in shapes]
        slope = gradients(network(x, weights), weights)
        product = gradients(slope, weights, grad_ys=vectors)
    feeds = {node: generator.standard_normal(shape) for node, shape in zip(weights, shapes, strict=True)}
    feeds[x] = generator.standard_normal((6, 4))
    directions = evaluate(vectors, {})
    step = 1e-5

    def slope_at(distance: float) -> list[Array]:
        moved = {node: feeds[node] + distance * v for node, v in zip(weights, directions, strict=True)}
        return evaluate(slope, feeds | moved)

    for exact, above, below in zip(evaluate(product, feeds), slope_at(step), slope_at(-step), strict=True):
        np.testing.assert_allclose(exact, (above - below) / (2 * step), rtol=1e-6, atol=1e-9)


# The nodes.


def test_gradient_nodes_know_whose_gradient_they_are() -> None:
    with Graph() as graph:
        x = placeholder("x", (2,))
        before = len(graph.nodes)
        with graph.scope("layer"):
            inner = ops.exp(x)
        y = inner.sum()
        outside = len(graph.nodes)
        (slope,) = gradients(y, [x])
    made = graph.nodes[outside:]
    assert all(node.grad_of is None for node in graph.nodes[:outside])
    assert {node.grad_of for node in made} <= {inner, y, x}
    assert None not in {node.grad_of for node in made}
    assert slope in made
    assert slope.grad_of is inner
    assert slope.source == inner.source
    assert slope.name.startswith("gradient.layer.")
    assert all(node.name.startswith("gradient.") for node in made)
    assert before == 1


def test_second_gradients_are_gradients_of_gradient_nodes() -> None:
    with Graph():
        x = placeholder("x", ())
        (slope,) = gradients(ops.exp(x), [x])
        (curvature,) = gradients(slope, [x])
    assert curvature.grad_of is not None
    assert slope.grad_of is not None


def test_scope_of_the_user_does_not_matter_and_is_left_alone() -> None:
    with Graph() as graph:
        x = placeholder("x", ())
        y = ops.exp(x)
        with graph.scope("training"):
            (slope,) = gradients(y, [x])
            after = x + 1
    assert slope.name.startswith("gradient.")
    assert "training" not in slope.name
    assert after.name == "training.add"
    assert after.grad_of is None


def test_gradients_are_built_outside_of_the_block_too() -> None:
    with Graph() as graph:
        x = placeholder("x", (None, 2))
        w = variable("w", np.ones((2, 3), np.float32))
        y = ops.relu(x @ w).mean()
    with Graph() as other:
        (slope,) = gradients(y, [w])
        placeholder("here", ())
    assert slope.graph is graph
    assert [node.name for node in other.nodes] == ["here"]
    np.testing.assert_allclose(
        evaluate([slope], {x: np.ones((4, 2), np.float32)})[0], np.full((2, 3), 1 / 3), rtol=1e-6
    )


def test_an_error_leaves_the_graph_usable() -> None:
    with Graph() as graph:
        w = variable("w", [1.0])
        with pytest.raises(GraphError):
            gradients(ops.assign(w, w * 2) * 3, [w])
        node = w + 1
    assert node.grad_of is None
    assert node.name == "add"
    assert isinstance(graph["w"].op, Variable)


def test_same_graph_gives_the_same_nodes() -> None:
    def build() -> list[str]:
        with Graph() as graph:
            x = placeholder("x", (None, 4))
            weights = [variable(f"w{number}", np.ones((4, 4), np.float32)) for number in range(3)]
            gradients(network(x, weights), weights)
        return [f"{node!r} of {[given.name for given in node.inputs]}" for node in graph.nodes]

    assert build() == build()


# Deep graphs.


def test_deep_chain() -> None:
    depth = 3000
    with Graph() as graph:
        x = y = placeholder("x", (), "float64")
        for _ in range(depth):
            y = ops.tanh(y) + x
        built = len(graph.nodes)
        (slope,) = gradients(y, [x])
    assert len(graph.nodes) - built < 10 * depth
    expected, value = 1.0, 0.3
    for _ in range(depth):
        expected = (1 - np.tanh(value) ** 2) * expected + 1
        value = np.tanh(value) + 0.3
    np.testing.assert_allclose(evaluate([slope], {x: np.array(0.3)})[0], expected, rtol=1e-9)


def test_sum_of_many_uses() -> None:
    with Graph():
        x = placeholder("x", (), "float64")
        uses = [x * float(number) for number in range(1000)]
        (slope,) = gradients(uses, [x])
    assert evaluate([slope], {x: np.array(1.0)}) == [sum(range(1000))]
