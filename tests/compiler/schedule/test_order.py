"""Order: creation decides, updates come right after their gradients, writes after reads; always the same."""

from __future__ import annotations

import numpy as np
import pytest

from compiler_checks import compiled
from graphnn import ops
from graphnn.compiler.gradients import gradients
from graphnn.compiler.schedule.form import Schedule, write_edges
from graphnn.compiler.schedule.fuse import fuse
from graphnn.compiler.schedule.order import order
from graphnn.compiler.subgraph import Subgraph
from graphnn.ops import Graph, Node, placeholder, variable
from graphnn.ops.state import Assign
from networks import lenet


def ordered(*fetches: Node, updates: tuple[Node, ...] = (), writes_last: bool = False) -> list[Node]:
    subgraph = Subgraph(fetches, updates)
    return list(order(subgraph, fuse(subgraph, separate_writes=writes_last), writes_last).nodes)


def test_what_could_run_runs_in_order_of_creation() -> None:
    with Graph():
        x = placeholder("x", (2,))
        a, b, c = ops.softmax(x), ops.log_softmax(x), ops.softmax(x * 2)
    assert ordered(c, b, a) == [a, b, c.inputs[0], c]


def test_reader_runs_before_the_write_though_created_later() -> None:
    with Graph():
        w, x = variable("w", np.ones(2, np.float32)), placeholder("x", (2,))
        update = ops.assign(w, x)
        reader = ops.softmax(w)
    nodes = ordered(reader, updates=(update,))
    assert nodes == [reader, update]


def test_reader_of_a_view_runs_before_the_write() -> None:
    with Graph():
        w, x = variable("w", np.ones((2, 2), np.float32)), placeholder("x", (2, 2))
        update = ops.assign(w, ops.exp(x))
        reader = ops.softmax(w.T[::-1])
    nodes = ordered(reader, updates=(update,))
    assert nodes.index(reader) < nodes.index(update)


def three_layers(layers: int = 3, scheduled: bool = False) -> tuple[list[Node], list[Node], Node]:
    """Return weights, updates by gradient descent with momentum, which may follow a schedule, and the loss."""
    with Graph():
        step = variable("step", 0.0, trainable=False)
        x = placeholder("x", (None, 8))
        weights = [variable(f"w{number}", np.eye(8, dtype=np.float32)) for number in range(layers)]
        y = x
        for weight in weights:
            y = ops.tanh(y @ weight)
        loss = y.mean()
        updates = []
        for weight, slope in zip(weights, gradients(loss, weights), strict=True):
            velocity = variable(f"{weight.name}.velocity", np.zeros((8, 8), np.float32), trainable=False)
            decay = ops.exp(ops.tanh(step) - 1) if scheduled else 0.9
            moved = velocity * decay + slope
            updates += [ops.assign(velocity, moved), ops.assign(weight, weight - moved * 0.1)]
    return weights, updates, loss


@pytest.mark.parametrize("scheduled", [False, True])
def test_update_runs_right_after_its_gradient(scheduled: bool) -> None:
    weights, updates, loss = three_layers(scheduled=scheduled)
    schedule = compiled([loss], updates, max_batch=4).schedule
    groups = [group.nodes for group in schedule.groups]
    written = [
        next(number for number, nodes in enumerate(groups) if any(is_write(node, weight) for node in nodes))
        for weight in weights
    ]
    slopes = [number for number, nodes in enumerate(groups) if any(is_weight_slope(node) for node in nodes)]
    assert len(slopes) == 3
    assert written == sorted(written, reverse=True), "the last layer's gradient comes first"
    turns = [place for pair in zip(slopes, written[::-1], strict=True) for place in pair]
    assert turns == sorted(turns), "a weight's gradient is computed before the update by the one before it"
    backward = [number for number, nodes in enumerate(groups) if any(is_data_slope(node) for node in nodes)]
    assert written[-1] < backward[-1], "the last layer is updated before the gradient has gone through all layers"


def is_write(node: Node, weight: Node) -> bool:
    return isinstance(node.op, Assign) and node.inputs[0] is weight


def is_weight_slope(node: Node) -> bool:
    return node.op.label == "matmul" and node.grad_of is not None and node.shape == (8, 8)


def is_data_slope(node: Node) -> bool:
    return node.op.label == "matmul" and node.grad_of is not None and node.spec.has_batch


def test_no_two_weight_gradients_are_alive_at_once() -> None:
    _, updates, loss = three_layers(6)
    plan = compiled([loss], updates, max_batch=2).plan
    slopes = [storage for storage in plan.storages if storage.kind == "arena" and storage.nbytes == 8 * 8 * 4]
    for step in range(len(plan.steps)):
        assert sum(storage.first <= step <= storage.last for storage in slopes) <= 2  # a gradient and its multiple


def test_writes_come_last_where_asked() -> None:
    _, updates, loss = three_layers()
    nodes = compiled([loss], updates, max_batch=4, writes_last=True).schedule.nodes
    first = next(place for place, node in enumerate(nodes) if isinstance(node.op, Assign))
    assert all(isinstance(node.op, Assign) for node in nodes[first:])
    assert len(nodes) - first == len(updates)


def test_writes_come_early_by_default() -> None:
    _, updates, loss = three_layers()
    nodes = compiled([loss], updates, max_batch=4).schedule.nodes
    first = next(place for place, node in enumerate(nodes) if isinstance(node.op, Assign))
    assert any(not isinstance(node.op, Assign) for node in nodes[first:])


def test_same_graph_gives_the_same_schedule_and_plan() -> None:
    def texts() -> tuple[str, str, str]:
        network = lenet(size=12)
        found = compiled([network.loss, network.logits], network.updates, max_batch=8)
        return str(found.schedule), str(found.plan), "\n".join(map(repr, found.plan.steps))

    assert texts() == texts()


def test_order_of_updates_given_does_not_matter() -> None:
    def schedule(reverse: bool) -> Schedule:
        _, updates, loss = three_layers()
        return compiled([loss], updates[::-1] if reverse else updates, max_batch=4).schedule

    assert str(schedule(reverse=False)) == str(schedule(reverse=True))


def test_every_read_precedes_its_write_in_lenet() -> None:
    network = lenet(size=12)
    schedule = compiled([network.loss], network.updates, max_batch=2).schedule
    position = {node: place for place, node in enumerate(schedule.nodes)}
    edges = list(write_edges(schedule.subgraph))
    assert len(edges) > len(network.updates)
    assert all(position[reader] < position[write] for reader, write in edges)
