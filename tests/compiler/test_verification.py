"""Verification: the pass or the target that changed a number is named; rounding is no change."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphnn as gn
from graphnn import ops
from graphnn.compiler import pipeline
from graphnn.compiler.passes.merge_equal import merge_equal
from graphnn.compiler.subgraph import Subgraph, replacement, with_inputs
from graphnn.compiler.targets.numpy.registry import KERNELS, Kernel
from graphnn.compiler.verification import TOLERANCES, agree, verify_stages
from graphnn.ops import Graph, Node, Op, dtypes, placeholder, variable
from graphnn.ops.elementwise import Exp, Multiply, Tanh

# How close is close.


@pytest.mark.parametrize("name", TOLERANCES)
def test_tolerance_is_relative_to_the_largest_number(name: str) -> None:
    dtype = dtypes.as_dtype(name)
    expected = np.array([0.0, 1.0, -1000.0])
    for factor, equal in ((0.5, True), (4.0, False)):
        moved = expected + np.array([1, 0, 0]) * factor * TOLERANCES[name] * 1000
        assert agree(expected, moved, dtype) is equal, (name, factor)


@pytest.mark.parametrize(
    ("expected", "actual", "equal"),
    [
        ([np.nan, 1.0], [np.nan, 1.0], True),
        ([np.nan, 1.0], [1.0, np.nan], False),
        ([1.0, 1.0], [np.nan, 1.0], False),
        ([np.inf, -np.inf], [np.inf, -np.inf], True),
        ([np.inf, 1.0], [-np.inf, 1.0], False),
        ([np.inf, 1.0], [1e38, 1.0], False),
        ([0.0, 1.0], [-0.0, 1.0], True),
        ([], [], True),
        ([np.nan], [np.nan], True),
    ],
)
def test_special_values(expected: list[float], actual: list[float], equal: bool) -> None:
    assert agree(np.array(expected), np.array(actual), dtypes.float32) is equal


def test_integers_and_bool_must_be_equal() -> None:
    assert agree(np.array([1, 2]), np.array([1, 2]), dtypes.int64)
    assert not agree(np.array([10**9, 2]), np.array([10**9 + 1, 2]), dtypes.int32)
    assert not agree(np.array([True]), np.array([False]), dtypes.bool)


def test_rests_of_sums_that_cancel_are_equal() -> None:
    noise = np.array([1.5e-9, -7e-10, 0.0])
    assert agree(np.zeros(3), noise, dtypes.float32)
    assert agree(noise, -noise, dtypes.float32)
    assert not agree(np.zeros(3), np.array([1e-4, 0, 0]), dtypes.float32)
    assert not agree(np.zeros(3), noise, dtypes.float64)


# Passes.


def doubled(kind: type[Op]) -> Callable[[Subgraph], Subgraph]:
    """Return a pass that wrongly doubles all results of an op."""

    def wrong_pass(subgraph: Subgraph) -> Subgraph:
        def rule(node: Node, inputs: tuple[Node, ...]) -> Node:
            node = with_inputs(node, inputs)
            return replacement(node, ops.add(node, node).op, (node, node)) if isinstance(node.op, kind) else node

        return subgraph.rewrite(rule)

    return wrong_pass


def insert_pass(monkeypatch: pytest.MonkeyPatch, wrong_pass: Callable[[Subgraph], Subgraph]) -> None:
    monkeypatch.setattr(pipeline, "PASSES", (*pipeline.PASSES[:2], wrong_pass, *pipeline.PASSES[2:]))


def test_pass_that_changes_a_fetch_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    insert_pass(monkeypatch, doubled(Tanh))
    with Graph():
        x = placeholder("x", (2,))
        fetches = [ops.exp(x), ops.tanh(x)]
    executor = gn.Executor(fetches, device="numpy", verify=True)
    with pytest.raises(gn.CompileError, match=r"pass wrong_pass changed fetch 1 \('tanh'\)") as caught:
        executor.run({x: np.ones(2, np.float32)})
    assert "test_verification.py" in caught.value.where
    assert "a difference of 0.762" in caught.value.actual


def test_pass_that_changes_a_new_value_is_named_and_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    insert_pass(monkeypatch, doubled(Tanh))
    with Graph() as graph:
        x, w = placeholder("x", (2,)), variable("w", [3.0, 4.0])
        y = ops.exp(x)
        update = ops.assign(w, ops.tanh(x))
    executor = gn.Executor(y, updates=[update], device="numpy", verify=True)
    for _ in range(2):  # the second run is no better
        with pytest.raises(gn.CompileError, match="pass wrong_pass changed the new value of w"):
            executor.run({x: np.ones(2, np.float32)})
    assert graph.get_value(w).tolist() == [3, 4]


def test_pass_that_gives_nan_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong_pass(subgraph: Subgraph) -> Subgraph:
        root = subgraph.fetches[0]
        with root.graph:
            return Subgraph((ops.log(root - 100),))

    insert_pass(monkeypatch, wrong_pass)
    with Graph():
        x = placeholder("x", (2,))
        y = ops.exp(x)
    with pytest.raises(gn.CompileError, match="pass wrong_pass changed fetch 0"):
        gn.Executor(y, device="numpy", verify=True).run({x: np.ones(2, np.float32)})


def test_pass_that_loses_an_update_is_found_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(subgraph: Subgraph) -> Subgraph:
        return Subgraph(subgraph.fetches)

    insert_pass(monkeypatch, careless)
    with Graph():
        w = variable("w", [3.0, 4.0])
        update = ops.assign(w, w + 1)
    for verify in (True, False):
        with pytest.raises(gn.CompileError, match=r"after \w+: assign 'assign' is no longer carried out"):
            gn.Executor([], updates=[update], device="numpy", verify=verify)


def test_pass_that_breaks_the_form_is_named_when_the_executor_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(subgraph: Subgraph) -> Subgraph:
        return Subgraph(subgraph.fetches[:1])

    insert_pass(monkeypatch, careless)
    with Graph():
        x = placeholder("x", (2,))
        fetches = [ops.exp(x), ops.tanh(x)]
    with pytest.raises(gn.CompileError, match="after careless: the number of fetches changed"):
        gn.Executor(fetches, device="numpy", verify=True)


def test_without_verify_numbers_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    insert_pass(monkeypatch, doubled(Tanh))
    with Graph():
        x = placeholder("x", (2,))
        y = ops.tanh(x)
    value = gn.Executor(y, device="numpy").run({x: np.ones(2, np.float32)})
    np.testing.assert_allclose(value, 2 * np.tanh([1.0, 1.0]), rtol=1e-6)


def test_stages_are_compared_one_with_the_next() -> None:
    with Graph():
        x = placeholder("x", (2,))
        roots = [ops.exp(x), ops.exp(x) * 1, ops.exp(x) * 2, ops.exp(x) * 2]
    stages = [(name, Subgraph((root,))) for name, root in zip("abcd", roots, strict=True)]
    feeds = {x: np.ones(2, np.float32)}
    with pytest.raises(gn.CompileError, match="pass c changed fetch 0"):
        verify_stages(stages, feeds, training=False, batch=1)
    values = verify_stages([stages[0], stages[1]], feeds, training=False, batch=1)
    np.testing.assert_array_equal(values["fetch 0"][1], np.exp(np.ones(2, np.float32)))


def test_the_users_graph_is_the_first_stage() -> None:
    with Graph():
        a, b = placeholder("a", (2,)), placeholder("b", (2,))
        y = ops.when_training(a, b) * 1
    subgraph = Subgraph((y,))
    options = pipeline.Options(gn.Executor(a, device="numpy")._target, 1, training=True, verify=True)
    stages = pipeline.improve(subgraph, options)
    assert stages[0][1] is subgraph
    names = [name for name, _ in stages[1:]]
    assert names == [
        *("resolve_training", "prune", "advance_random_step", "simplify"),
        *("fold_constants", "simplify", "pool_first", "merge_equal", "snapshot_reads"),
    ]


# Targets.


def break_kernel(monkeypatch: pytest.MonkeyPatch, kind: type[Op]) -> None:
    """Let the kernel of an op add a tenth."""
    right = KERNELS[kind]

    def bind(*arguments: object) -> Callable[[], None]:
        run, out = right.bind(*arguments), arguments[1]  # type: ignore[arg-type]  # passed on
        assert isinstance(out, np.ndarray)

        def wrong() -> None:
            run()
            np.add(out, 0.1, out=out)

        return wrong

    monkeypatch.setitem(KERNELS, kind, Kernel(bind, right.workspaces, right.in_place, right.strided_output))


def test_target_that_differs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    break_kernel(monkeypatch, Tanh)
    with Graph():
        x = placeholder("x", (2,))
        fetches = [ops.exp(x), ops.tanh(x)]
    executor = gn.Executor(fetches, device="numpy", verify=True)
    with pytest.raises(gn.CompileError, match=r"target numpy changed fetch 1 \('tanh'\)"):
        executor.run({x: np.ones(2, np.float32)})


def test_target_that_writes_a_wrong_value_is_named_and_variables_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    break_kernel(monkeypatch, Multiply)
    with Graph() as graph:
        w = variable("w", [3.0, 4.0])
        count = variable("count", 0)
        updates = [ops.assign(w, w * 2), ops.assign(count, count + 1)]
    executor = gn.Executor([], updates=updates, device="numpy", verify=True)
    with pytest.raises(gn.CompileError, match="target numpy changed the new value of w"):
        executor.run()
    assert graph.get_value(w).tolist() == [3, 4]
    assert graph.get_value(count) == 0


def test_only_the_first_run_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    with Graph():
        x = placeholder("x", (None, 2))
        y = ops.exp(x)
    executor = gn.Executor(y, device="numpy", max_batch=2, verify=True)
    executor.run({x: np.ones((1, 2), np.float32)})
    break_kernel(monkeypatch, Exp)
    value = executor.run({x: np.zeros((2, 2), np.float32)})  # binds anew for 2 examples
    np.testing.assert_allclose(value, np.full((2, 2), 1.1), rtol=1e-6)


def test_gradient_that_is_nothing_but_rounding_is_no_fault() -> None:
    generator = np.random.default_rng(0)
    with Graph():
        x = placeholder("x", (None, 3, 8, 8))
        weight = variable("weight", generator.standard_normal((4, 3, 3, 3)).astype(np.float32))
        bias = variable("bias", np.zeros(4, np.float32))
        y = ops.conv2d(x, weight, bias, padding=1)
        mean, spread = y.mean((0, 2, 3), keepdims=True), y.variance((0, 2, 3), keepdims=True)
        loss = (ops.tanh((y - mean) / ops.sqrt(spread + 1e-5)) * generator.standard_normal((4, 8, 8))).mean()
        slopes = gn.gradients(loss, [weight, bias])
    executor = gn.Executor(list(slopes), device="numpy", max_batch=16, verify=True)
    by_weight, by_bias = executor.run({x: generator.standard_normal((16, 3, 8, 8)).astype(np.float32)})
    assert np.abs(by_bias).max() < 1e-6 < np.abs(by_weight).max()


def test_random_numbers_are_the_same_in_all_stages() -> None:
    with Graph(seed=5):
        x = placeholder("x", (None, 4))
        y = ops.dropout(x * 2) + ops.normal((None, 4))
    executor = gn.Executor(y, device="numpy", max_batch=3, training=True, verify=True)
    executor.run({x: np.ones((3, 4), np.float32)})


def test_passes_are_functions_of_the_subgraph() -> None:
    with Graph():
        x = placeholder("x", (2,))
        subgraph = Subgraph((ops.exp(x) + ops.exp(x),))
    before = subgraph.nodes
    merge_equal(subgraph)
    assert subgraph.nodes == before
