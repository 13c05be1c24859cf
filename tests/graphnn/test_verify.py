"""`verify=True`: good graphs pass, and a pass or a kernel that changes a number is named before it does harm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from error_form import refused
from graphnn import CompileError, GraphError, ops
from graphnn.compiler import pipeline
from graphnn.compiler.subgraph import Subgraph, replacement, with_inputs
from graphnn.compiler.targets.numpy import kernels  # noqa: F401 - fills KERNELS
from graphnn.compiler.targets.numpy.registry import KERNELS, Run
from graphnn.ops.broadcasting import Binary
from graphnn.ops.conv import Conv2dWeightGradient
from graphnn.ops.elementwise import Add, Multiply
from graphnn.ops.node import Node
from graphnn.ops.op import Op
from graphnn.ops.state import Constant
from networks import executor, lenet
from random_graphs import random_graph


def verified(fetches: Any, updates: Any = (), max_batch: int = 8, **options: Any) -> gn.Executor:
    return executor(fetches, updates, max_batch, verify=True, **options)


# Good graphs.


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int32"])
def test_good_graphs_pass(dtype: str) -> None:
    with gn.Graph():
        x = gn.placeholder("x", (None, 3), dtype)
        y = -(-((x + 0) * 1 * gn.constant([1, 2, 3], dtype) ** 2)).T.T.reshape(-1, 3) - (-x)
        run = verified([y, y.sum(0), x]).run
    fed = np.arange(6).reshape(2, 3).astype(gn.dtypes.as_dtype(dtype).interface)
    for _ in range(2):
        np.testing.assert_array_equal(run({x: fed})[0], fed * [2, 5, 10])


def test_a_training_step_passes_and_counts_once() -> None:
    network, plain = lenet(size=16), lenet(size=16)
    check = verified([network.loss], network.updates)
    usual = gn.Executor([plain.loss], plain.updates, device="numpy", max_batch=8)
    for seed, batch in enumerate((5, 8, 1)):
        np.testing.assert_array_equal(check.run(network.feed(batch, seed)), usual.run(plain.feed(batch, seed)))
    for name, value in plain.values().items():
        np.testing.assert_array_equal(network.values()[name], value, err_msg=name)
    assert network.graph.store.version("conv1.weight") == 3


def test_random_numbers_pass_and_their_step_counts_once() -> None:
    with gn.Graph(seed=1) as graph:
        x = gn.placeholder("x", (None, 4))
        w = gn.variable("w", 1.0)
        y = (ops.dropout(x, 0.5) + ops.normal((None, 4))) * w
        run = verified(y, ops.assign(w, w + 1.0)).run
    fed = np.ones((3, 4), np.float32)
    first = run({x: fed})
    assert graph.get_value("random_step") == 1
    graph.set_value("random_step", 0)
    graph.set_value(w, 1.0)
    np.testing.assert_array_equal(run({x: fed}), first)


def test_the_batch_may_come_from_a_placeholder_that_the_plan_does_not_read() -> None:
    with gn.Graph():
        examples = gn.placeholder("examples", (None,))
        noise = ops.uniform((None, 2))
        assert verified(noise).run({examples: [0.0] * 5}).shape == (5, 2)


@pytest.mark.parametrize("seed", range(5))
def test_random_graphs_pass(seed: int) -> None:
    made = random_graph(seed)
    verified(made.fetches, made.updates, max_batch=64).run(made.feeds)


def test_special_values_pass() -> None:
    with gn.Graph():
        x = gn.placeholder("x", (None,))
        run = verified([ops.log(x), x * 2, x.max(), 1 / x]).run
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, -1.0], np.float32)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(run({x: special})[3], 1 / special)


def test_graphs_without_steps_pass() -> None:
    with gn.Graph():
        w = gn.variable("w", [1.0, 2.0])
        x = gn.placeholder("x", (None,))
        for fetches in ([w], [x], [w[::-1], x]):
            verified(fetches).run({x: [1.0]})


# Passes that change a number.


def doubled_constants(subgraph: Subgraph) -> Subgraph:
    def double(node: Node, inputs: tuple[Node, ...]) -> Node:
        if isinstance(node.op, Constant) and node.dtype.is_floating:
            return replacement(node, Constant.of(node.op.value * 2, node.spec), ())
        return with_inputs(node, inputs)

    return subgraph.rewrite(double)


def swapped_operands(subgraph: Subgraph) -> Subgraph:
    """Right for sums and products, wrong for differences."""
    return subgraph.rewrite(lambda node, inputs: with_inputs(node, inputs[:: -1 if is_binary(node) else 1]))


def is_binary(node: Node) -> bool:
    return isinstance(node.op, Binary)


def sums_for_products(subgraph: Subgraph) -> Subgraph:
    def add(node: Node, inputs: tuple[Node, ...]) -> Node:
        return replacement(node, Add(), inputs) if isinstance(node.op, Multiply) else with_inputs(node, inputs)

    return subgraph.rewrite(add)


def lost_updates(subgraph: Subgraph) -> Subgraph:
    return Subgraph(subgraph.fetches, ())


@pytest.mark.parametrize("place", range(len(pipeline.PASSES) + 1))
def test_a_pass_that_changes_a_number_is_named(monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    passes = [*pipeline.PASSES[:place], doubled_constants, *pipeline.PASSES[place:]]
    monkeypatch.setattr(pipeline, "PASSES", tuple(passes))
    with gn.Graph() as graph:
        x = gn.placeholder("x", (None,))
        count = gn.variable("count", 1.0)
        y = (x * 3.0).sum()
        run = verified(y, ops.assign(count, count + 1.0)).run
    with refused(
        CompileError,
        "pass doubled_constants changed fetch 0",
        at="y = (x * 3.0).sum()",
        actual="a difference of 3",
        hint="please report it",
    ):
        run({x: [1.0]})
    assert graph.get_value(count) == 1


@pytest.mark.parametrize("wrong", [swapped_operands, sums_for_products], ids=lambda wrong: wrong.__name__)
def test_a_pass_that_spoils_an_update_is_named(monkeypatch: pytest.MonkeyPatch, wrong: pipeline.Pass) -> None:
    monkeypatch.setattr(pipeline, "PASSES", (*pipeline.PASSES[:2], wrong, *pipeline.PASSES[2:]))
    with gn.Graph() as graph:
        x = gn.placeholder("x", (3,))
        w = gn.variable("w", [1.0, 2.0, 3.0])
        step = ops.assign(w, w - x * 0.5 if wrong is sums_for_products else x - 5.0)
        run = verified(x, step).run
    with refused(CompileError, f"pass {wrong.__name__} changed the new value of w", at="step = ops.assign(w"):
        run({x: [1.0, 1.0, 1.0]})
    np.testing.assert_array_equal(graph.get_value(w), [1, 2, 3])


def test_a_pass_that_loses_an_update_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "PASSES", (*pipeline.PASSES, lost_updates))
    with gn.Graph():
        w = gn.variable("w", 1.0)
        step = ops.assign(w, w + 1.0)
        with pytest.raises(CompileError, match="after lost_updates"):
            verified(w, step)


def test_without_verify_a_wrong_pass_is_not_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other tests would mean nothing if the wrong pass did no harm."""
    monkeypatch.setattr(pipeline, "PASSES", (*pipeline.PASSES, doubled_constants))
    with gn.Graph():
        x = gn.placeholder("x", (None,))
        assert gn.Executor(x * 3.0, device="numpy", max_batch=1).run({x: [1.0]}) == 6


# Kernels that give a wrong number.


def break_kernel(monkeypatch: pytest.MonkeyPatch, op: type[Op]) -> None:
    """Let the NumPy kernel of an op add 1 to all it computes."""
    right = KERNELS[op]

    def bind(op: Op, out: np.ndarray, inputs: Sequence[np.ndarray], workspaces: Sequence[np.ndarray]) -> Run:
        compute = right.bind(op, out, inputs, workspaces)

        def run() -> None:
            compute()
            np.add(out, 1, out=out)

        return run

    monkeypatch.setitem(KERNELS, op, replace(right, bind=bind))


def test_a_kernel_that_gives_a_wrong_fetch_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    break_kernel(monkeypatch, Multiply)
    with gn.Graph() as graph:
        x = gn.placeholder("x", (None,))
        count = gn.variable("count", 1.0)
        y = x * 3.0
        run = verified({"x": x, "y": y}, ops.assign(count, count + 1.0)).run
    for _ in range(2):  # the executor stays unverified
        with refused(
            CompileError, "target numpy changed fetch 1 ('multiply')", at="y = x * 3.0", actual="a difference of 1"
        ):
            run({x: [1.0]})
        assert graph.get_value(count) == 1


def test_a_kernel_that_spoils_an_update_is_named_and_nothing_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss of the first step is right: only the new weights show the fault."""
    break_kernel(monkeypatch, Conv2dWeightGradient)
    network = lenet(size=16)
    before = network.values()
    with pytest.raises(CompileError, match=r"target numpy changed the new value of conv\d.weight"):
        verified([network.loss], network.updates).run(network.feed(8))
    for name, value in network.values().items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


# Together with other errors.


def test_errors_of_the_run_itself_come_through() -> None:
    with gn.Graph() as graph:
        x = gn.placeholder("x", (None,))
        index = gn.placeholder("index", (), "int64")
        count = gn.variable("count", 1.0)
        picked = ops.take(gn.constant([1.0, 2.0, 3.0]), ops.clip(index * 2, -100, 100))
        y = ops.log(x) * picked
        run = verified(y, ops.assign(count, count + 1.0), check_numerics=True).run
    with refused(GraphError, "take 'take' got an index out of range", at="picked = ops.take("):
        run({x: [1.0], index: 50})
    with refused(gn.NumericsError, "log 'log' gave NaN", at="y = ops.log(x)"):
        run({x: [-1.0], index: 0})
    assert graph.get_value(count) == 1
    assert run({x: [1.0], index: 0}) == 0
    assert graph.get_value(count) == 2
