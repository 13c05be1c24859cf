"""Build: values share memory only where nothing is lost, kernels get arrays that they can work with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from compiler_checks import check_plan, compiled, run_plan, steps_of
from graphnn import ops
from graphnn.compiler.gradients import gradients
from graphnn.compiler.plan.build import ALIGNMENT
from graphnn.compiler.plan.form import Plan, Storage
from graphnn.compiler.reference import evaluate
from graphnn.ops import Dim, Graph, Node, constant, placeholder, variable
from networks import lenet

Array = np.ndarray


def feed(node: Node, batch: int = 3) -> dict[Node, Array]:
    shape = node.spec.bind(batch).static_shape
    count = int(np.prod(shape))
    return {node: np.linspace(-1, 1, count).reshape(shape).astype(node.dtype.interface)}


def arena(plan: Plan) -> list[Storage]:
    return [storage for storage in plan.storages if storage.kind == "arena"]


# In place.


def test_chain_needs_one_storage() -> None:
    with Graph():
        x = placeholder("x", (None, 16))
        y = ops.tanh(ops.exp(ops.tanh(x) * 2) - 1)
    plan = check_plan([y], feed(x), max_batch=4)
    assert len(arena(plan)) == 1
    assert plan.arena_bytes == plan.lower_bound_bytes == 4 * 16 * 4


HAZARDS: dict[str, Callable[[Node], list[Node]]] = {
    "x + x.T": lambda y: [y + y.T],
    "x.T + x": lambda y: [y.T + y],
    "x * x": lambda y: [y * y],
    "x - x reversed": lambda y: [y - y[::-1]],
    "x reversed twice": lambda y: [y[::-1] * y[:, ::-1]],
    "x + a row of x": lambda y: [y + y[:1]],
    "x + a column of x": lambda y: [y + y[:, 1:2]],
    "x + its transposed transpose": lambda y: [y + y.T.reshape((9,)).reshape((3, 3))],
    "x + broadcast of its first element": lambda y: [y + y[0, 0].broadcast_to((3, 3))],
    "choice by itself": lambda y: [ops.where(y > y.T, y, y.T)],
    "choice with two equal branches": lambda y: [ops.where(y > 1, y, y)],
    "choice between x and its reverse": lambda y: [ops.where(y > 1, y[::-1], y)],
    "used later": lambda y: [(lambda z: ops.exp(z) * z)(ops.tanh(y))],
    "used later through a view": lambda y: [(lambda z: (ops.exp(z), z.T.sum(0))[1] + ops.exp(z).sum(0))(ops.tanh(y))],
    "view kept while the value dies": lambda y: [(lambda z: ops.exp(z) + z.T)(ops.tanh(y))],
    "fetched, then used": lambda y: [y, ops.exp(y)],
    "fetched through a view, then used": lambda y: [y.T, ops.exp(y)],
    "used, then fetched": lambda y: [ops.exp(y), y],
    "fetched chain": lambda y: [y, y * 2, ops.exp(y * 2), ops.tanh(ops.exp(y * 2))],
    "product with itself": lambda y: [y @ y],
    "product with its transpose": lambda y: [y @ y.T, y.T @ y],
    "softmax over a value that is used later": lambda y: [ops.softmax(y) - y],
    "softmax along the first axis": lambda y: [ops.softmax(y, 0), ops.log_softmax(y.T, 0)],
    "reduction and value": lambda y: [y / y.sum(1, keepdims=True)],
    "sizes differ in bytes": lambda y: [(y > 1).astype("float32") + y, y.astype("float64") + y],
    "view of a dead value": lambda y: [ops.exp(y.T.reshape((9,))[2:7])],
    "slice into a slice": lambda y: [ops.exp(y)[1:] + ops.exp(y)[:2]],
}


@pytest.mark.parametrize("name", HAZARDS)
def test_reuse_loses_nothing(name: str) -> None:
    with Graph():
        x = placeholder("x", (3, 3))
        roots = HAZARDS[name](ops.exp(x))
    check_plan(roots, feed(x))


@pytest.mark.parametrize("name", HAZARDS)
def test_reuse_of_variables_loses_nothing(name: str) -> None:
    with Graph():
        x, w = placeholder("x", (3, 3)), variable("w", np.arange(9, dtype=np.float32).reshape(3, 3) / 10)
        roots = HAZARDS[name](w)
        updates = [ops.assign(w, w - ops.exp(x) * 0.1)]
    check_plan(roots, feed(x), updates)
    check_plan(roots, feed(x), updates, writes_last=True)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", "float16", "bfloat16", "float64"])
def test_reuse_in_all_element_types(dtype: str) -> None:
    with Graph():
        x = placeholder("x", (3, 3), dtype)
        y = x + x.T
        flag = ops.equal(y, y.T)
        chosen = ops.where(flag, y, y[::-1])
    values = np.array([[0, 1, 1], [0, 1, 0], [1, 1, 0]]).astype(x.dtype.interface)
    plan = compiled([chosen, flag], max_batch=1).plan
    for actual, expected in zip(run_plan(plan, {x: values}), evaluate([chosen, flag], {x: values}), strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_conditions_may_share_memory_with_the_choice() -> None:
    with Graph():
        x = placeholder("x", (3, 3), "bool")
        y = ops.equal(x, x.T)
        roots = [ops.where(y, y, x), ops.where(y, x, y), ops.where(y.T, y, x), ops.where(y, y, y)]
    values = np.array([[0, 1, 1], [0, 1, 0], [1, 1, 0]], np.bool_)
    for count in range(1, 5):
        plan = compiled(roots[:count]).plan
        expected = evaluate(roots[:count], {x: values})
        np.testing.assert_array_equal(run_plan(plan, {x: values}), expected)


def test_feeds_variables_and_constants_are_never_overwritten() -> None:
    with Graph() as graph:
        x, w, c = placeholder("x", (4,)), variable("w", np.ones(4)), constant(np.full(4, 2.0))
        roots = [ops.exp(x), ops.exp(w), ops.exp(c * x.astype("float64"))]
    values = np.ones(4, np.float32)
    for _ in range(2):
        check_plan(roots, {x: values})
    np.testing.assert_array_equal(graph.get_value(w), np.ones(4))
    np.testing.assert_array_equal(values, np.ones(4))


def test_view_of_a_large_value_keeps_all_of_it() -> None:
    with Graph():
        x = placeholder("x", (None, 64))
        y = ops.exp(x)
        first = y[:, :1]
        late = ops.softmax(ops.tanh(x * 2) @ np.ones((64, 8), np.float32)).sum() + first
    check_plan([late], feed(x), max_batch=4)


# Arrays that kernels can work with.


def test_transposed_weights_of_convolutions() -> None:
    with Graph():
        x = placeholder("x", (None, 2, 5, 5))
        w = variable("w", np.random.default_rng(0).standard_normal((3, 3, 4, 2)).astype(np.float32))
        weight = w.transpose(2, 3, 0, 1)
        y = ops.conv2d(x, weight, padding=1)
        slopes = gradients((y * y).sum(), [x, w])
    plan = check_plan([y, *slopes], feed(x), [ops.assign(w, w - slopes[1] * 1e-3)], max_batch=4)
    assert "identity transpose.dense" in steps_of(plan)


def test_images_in_other_orders_of_memory() -> None:
    with Graph():
        channels_last = placeholder("x", (None, 6, 6, 2))
        x = channels_last.transpose(0, 3, 1, 2)[:, ::-1]
        weight = variable("w", np.random.default_rng(0).standard_normal((3, 2, 3, 3)).astype(np.float32))
        y = ops.conv2d(x, weight, padding=1)
        roots = [y, ops.max_pool2d(x, 2), ops.avg_pool2d(x, 2, padding=1), ops.max_pool2d(y[:, :, ::-1, 1:], 2)]
        slopes = gradients(sum_of_squares(roots), [channels_last, weight])
    check_plan([*roots, *slopes], feed(channels_last), max_batch=4)


def sum_of_squares(nodes: list[Node]) -> Node:
    total = (nodes[0] ** 2).sum()
    for node in nodes[1:]:
        total = total + (node * node).sum()
    return total


def test_gradients_that_arrive_broadcast() -> None:
    with Graph():
        x = placeholder("x", (None, 2, 4, 4))
        weight = variable("w", np.random.default_rng(0).standard_normal((3, 2, 3, 3)).astype(np.float32))
        y = ops.conv2d(x, weight)
        slopes = gradients(y, [x, weight])  # of the sum: dy is a broadcast 1
    check_plan(list(slopes), feed(x), max_batch=4)


STRIDED: dict[str, Callable[[Node], Node]] = {
    "transposed": lambda y: y.transpose(2, 1, 0),
    "reversed": lambda y: y[:, ::-1, ::-1],
    "sliced": lambda y: y[:, 1:3, ::2],
    "broadcast": lambda y: y[:, :1].broadcast_to((4, 5, 6)),
    "batch last": lambda y: y.transpose(1, 2, 0),
}
READERS: dict[str, Callable[[Node], Node]] = {
    "exp": ops.exp,
    "relu": ops.relu,
    "clip": lambda y: ops.clip(y, -0.5, 0.5),
    "sigmoid": ops.sigmoid,
    "power": lambda y: ops.abs(y) ** 1.5,
    "where": lambda y: ops.where(y > 0, y, y * 2),
    "cast": lambda y: y.astype("float64"),
    "softmax": ops.softmax,
    "log_softmax along the first axis": lambda y: ops.log_softmax(y, 0),
    "sum": lambda y: y.sum((0, 2)),
    "max": lambda y: y.max(1, keepdims=True),
    "argmax": lambda y: y.argmax(1),
    "matmul on the left": lambda y: y @ np.ones((int(str(y.shape[-1])), 3), np.float32),
    "matmul with itself": lambda y: y @ y.transpose(0, 2, 1),
    "pad": lambda y: ops.pad(y, 1),
    "reshape": lambda y: y.reshape((-1,)),
    "take": lambda y: ops.take(y, [0, -1, 1], axis=1),
    "concat": lambda y: ops.concat([y, y * 2, y], 1),
    "slice": lambda y: y[1:, ::-1] * 2,
    "one_hot": lambda y: ops.one_hot(y.astype("int32"), 3),
    "cross_entropy": lambda y: ops.cross_entropy(
        y.transpose(0, 2, 1), y[:, :, 0].astype("int32") * 0, reduction="none"
    ),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("view", STRIDED)
def test_kernels_read_views(view: str, reader: str) -> None:
    with Graph():
        x = placeholder("x", (4, 5, 6))
        shown = STRIDED[view](x)
        computed = STRIDED[view](ops.tanh(x))
        roots = [READERS[reader](shown), READERS[reader](computed)]
    check_plan(roots, feed(x))


# Batch sizes.


@pytest.mark.parametrize("batch", [1, 2, 3, 7])
def test_one_plan_serves_all_batch_sizes(batch: int) -> None:
    with Graph():
        x = placeholder("x", (None, 6))
        rows = x.reshape((-1, 2))
        joined = ops.concat([ops.exp(rows), ops.tanh(rows)], 0)
        across = ops.concat([x.T, ops.exp(x.T)], 0)
        square = x @ x.T
        roots = [joined, across, square, joined.reshape((2, Dim(3), 2))[1], square.sum(0), x.mean(0), x.T[1:3]]
    check_plan([*roots, *(root * 2 for root in roots)], feed(x, batch), max_batch=7)


def test_sizes_are_those_of_the_largest_batch() -> None:
    with Graph():
        x = placeholder("x", (None, 6))
        plan = compiled([ops.exp(x), x.sum(0)], max_batch=10).plan
    assert plan.max_batch == 10
    assert {storage.node.name: storage.nbytes for storage in plan.storages} == {"x": 240, "exp": 240, "sum": 24}


# What a plan says of itself.


def test_kinds_of_storages() -> None:
    with Graph():
        x, w, c = placeholder("x", (2,)), variable("w", [1.0, 2.0]), constant([3.0, 4.0])
        plan = compiled([ops.softmax(x * w) + c], [ops.assign(w, x)]).plan
    kinds = {storage.node.name: storage.kind for storage in plan.storages if not storage.is_workspace}
    assert (kinds["x"], kinds["w"], kinds["constant"], kinds["multiply"]) == ("feed", "variable", "constant", "arena")
    assert [storage.node.name for storage in plan.storages if storage.is_workspace] == ["softmax"]
    assert plan.written_variables == ("w",)
    assert set(plan.feeds) == {x}


def test_storages_lie_aligned_in_the_arena() -> None:
    network = lenet(size=12)
    plan = compiled([network.loss], network.updates, max_batch=3).plan
    assert all(storage.offset % ALIGNMENT == 0 for storage in arena(plan))
    assert max(storage.offset + storage.nbytes for storage in arena(plan)) <= plan.arena_bytes


def test_storages_that_live_at_once_lie_apart() -> None:
    network = lenet(size=12)
    plan = compiled([network.loss, network.logits], network.updates, max_batch=3).plan
    members = arena(plan)
    for one in members:
        for other in members:
            if one.index < other.index and one.first <= other.last and other.first <= one.last:
                apart = one.offset + one.nbytes <= other.offset or other.offset + other.nbytes <= one.offset
                assert apart, (one, other)


def test_lifetimes_reach_from_the_first_to_the_last_use() -> None:
    network = lenet(size=12)
    plan = compiled([network.loss, network.logits], network.updates, max_batch=3).plan
    for storage in arena(plan):
        uses = [
            number
            for number, step in enumerate(plan.steps)
            if storage.index in {*(view.storage for view in (*step.reads, *step.writes)), *step.workspaces}
        ]
        fetched = storage.index in {view.storage for view in plan.fetches}
        assert (storage.first, storage.last) == (uses[0], len(plan.steps) - 1 if fetched else uses[-1])
        assert not storage.is_workspace or storage.first == storage.last


def test_lower_bound_is_the_largest_sum_of_live_bytes() -> None:
    network = lenet(size=12)
    plan = compiled([network.loss, network.logits], network.updates, max_batch=3).plan
    alive = [[s.nbytes for s in arena(plan) if s.first <= step <= s.last] for step in range(len(plan.steps))]
    assert plan.lower_bound_bytes == max(sum(-(-size // ALIGNMENT) * ALIGNMENT for size in sizes) for sizes in alive)
    assert plan.lower_bound_bytes <= plan.arena_bytes <= 1.05 * plan.lower_bound_bytes


def test_arithmetic_is_that_of_all_nodes() -> None:
    with Graph():
        x, w = placeholder("x", (None, 4)), variable("w", np.ones((4, 3), np.float32))
        y = ops.exp(x @ w)
        plan = compiled([y, y.T], max_batch=10).plan
    assert plan.flops == 2 * 10 * 4 * 3 + 10 * 3


def test_plans_without_steps() -> None:
    with Graph():
        x, w = placeholder("x", (None, 4)), variable("w", np.ones(4, np.float32))
        roots = [x, w, x.T, w.broadcast_to((None, 4)), constant(1.0)]
    plan = check_plan(roots, feed(x), max_batch=4)
    assert plan.steps == ()
    assert plan.arena_bytes == plan.lower_bound_bytes == plan.flops == 0


def test_empty_values() -> None:
    with Graph():
        x = placeholder("x", (None, 0))
        w = variable("w", np.zeros((0, 3), np.float32))
        y = x @ w
        roots = [ops.exp(x), y, y.sum(), ops.concat([x, ops.exp(x)], 1), x.sum(1), (x @ w).T]
        updates = [ops.assign(w, w * 2 + y.sum())]
    check_plan(roots, feed(x), updates, max_batch=4)


def test_long_chains_are_planned() -> None:
    with Graph():
        x = y = placeholder("x", (4,))
        for _ in range(1500):
            y = ops.tanh(y)
        view = y
        for _ in range(500):
            view = view[::-1]
        root = view * y
    plan = check_plan([root], feed(x))
    assert plan.arena_bytes <= 2 * ALIGNMENT
