"""The CUDA target as a whole: what runs where, what may fail, and what users see of a plan."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import graphnn as gn
from cuda_devices import DEVICES, NO_MACHINE, check, drawn, kernels
from cuda_kernels import needs_emulator
from graphnn import nn, ops, optim
from graphnn.compiler.pipeline import Options, compile_graph
from graphnn.compiler.targets.c import expressions
from graphnn.compiler.targets.cuda import cupy_machine
from graphnn.compiler.targets.cuda.availability import GpuUnavailableError, NoDriverError
from graphnn.compiler.targets.cuda.concurrency import MOST_PIECES
from graphnn.compiler.targets.cuda.loaded import BOUND_SIZES
from graphnn.compiler.targets.cuda.target import CudaTarget
from graphnn.ops.context import apply
from graphnn.ops.elementwise import Tanh
from graphnn.ops.errors import CompileError
from graphnn.ops.max_pool import MaxPool2d, MaxPool2dIndices
from random_graphs import random_graph

Nodes = tuple[list[gn.Node], list[gn.Node]]


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


def sorting() -> Nodes:
    x = gn.placeholder("x", (None, 9))
    return [ops.softmax(ops.argsort(ops.exp(x), 1).astype("float32")), x[:, ::-1].sum(0)], []


@needs_emulator
def test_numpy_takes_over_where_there_is_no_kernel() -> None:
    executor = check(sorting, "cuda-emulator")
    names = kernels(executor)
    assert names.count("argsort (host)") == 1
    assert 0 < names.index("argsort (host)") < len(names) - 1
    assert "argsort (host)" in str(executor.plan)


@needs_emulator
def test_every_step_of_numpy_is_marked() -> None:
    def build() -> Nodes:
        empty, x = gn.variable("empty", np.zeros((0, 3), np.float32)), gn.placeholder("x", (None, 3))
        kept = gn.variable("kept", np.ones((2, 0), np.float32))
        return [ops.concat([empty, gn.constant(floats(2, 3))], 0).sum() + x], [ops.assign(kept, kept * 2)]

    assert [name for name in kernels(check(build, "cuda-emulator")) if "(host)" in name] == [
        "concat (host)",
        "multiply (host)",
        "copy (host)",
    ]


@pytest.mark.parametrize("device", DEVICES)
def test_more_batch_sizes_than_are_kept(device: str) -> None:
    check(sorting, device, batches=[*range(BOUND_SIZES + 4, 0, -1), 9, 3, 9], verify=False)


@pytest.mark.parametrize("seed", range(8))
def test_the_same_graph_gives_the_same_text(seed: int) -> None:
    texts = set()
    for _ in range(3):
        found = random_graph(seed)
        target = CudaTarget(NO_MACHINE)
        options = Options(target, max_batch=5, training=bool(found.updates))
        texts.add(target.source(compile_graph(found.fetches, found.updates, options).plan))
    assert len(texts) == 1


@pytest.mark.parametrize("device", DEVICES)
def test_long_step(device: str) -> None:
    def build() -> Nodes:
        x = gn.placeholder("x", (3,))
        return [sum((ops.softmax(x * float(k)) for k in range(1, 300)), start=x * 0)], []

    assert len(check(build, device, batches=(1,), verify=False).plan.steps) > MOST_PIECES


@needs_emulator
def test_concatenation_of_more_than_a_kernel_has_parameters_for() -> None:
    def build() -> Nodes:
        x = gn.placeholder("x", (None, 500))
        return [ops.concat([x[:, k : k + 1] for k in reversed(range(500))], 1) * 2], []

    names = [step.kernel for step in check(build, "cuda-emulator").plan.steps]
    assert names == ["concat (host)", "k1_multiply"]


# Indices that only a run knows.


def doubled_indices() -> tuple[gn.Graph, list[gn.Node], list[gn.Node]]:
    with gn.Graph() as graph:
        i, x = gn.placeholder("i", (None,), "int64"), gn.placeholder("x", (None, 4))
        table = gn.variable("table", floats(5, 4))
        count, total = gn.variable("count", 0, trainable=False), gn.variable("total", np.zeros(4, np.float32), False)
        updates = [ops.assign(count, count + 1), ops.assign(total, total + x.sum(0))]
        return graph, [ops.take(table, i * 2)], updates


@pytest.mark.parametrize("device", DEVICES)
def test_a_run_with_a_bad_index_writes_nothing(device: str) -> None:
    graph, fetches, updates = doubled_indices()
    executor = gn.Executor(fetches, updates, max_batch=4, device=device)
    names = kernels(executor)
    assert "take (host)" in names
    assert [number for number, name in enumerate(names) if "assign" in name] == [len(names) - 1]
    x = np.ones((2, 4), np.float32)
    with pytest.raises(gn.GraphError, match="take 'take' got an index out of range"):
        executor.run({"i": np.array([0, 3]), "x": x})
    assert graph.get_value("count") == 0
    np.testing.assert_array_equal(executor.run({"i": np.array([0, 2]), "x": x})[0], floats(5, 4)[[0, 4]])
    assert graph.get_value("count") == 1
    np.testing.assert_array_equal(graph.get_value("total"), [2, 2, 2, 2])


@needs_emulator
def test_a_pool_is_not_assigned_before_its_positions_are_used() -> None:
    with gn.Graph() as graph:
        x = gn.placeholder("x", (1, 1, 4, 4))
        pooled = gn.variable("pooled", np.zeros((1, 1, 2, 2), np.float32))
        values = ops.max_pool2d(x, 2)
        assert isinstance(values.op, MaxPool2d)
        places = apply(MaxPool2dIndices(*values.op.attributes), x)
        taken = ops.take(gn.variable("table", np.ones(2, np.float32)), places + 0)
        executor = gn.Executor([taken], [ops.assign(pooled, values)], device="cuda-emulator")
    with pytest.raises(gn.GraphError, match="index out of range"):
        executor.run({x: np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)})
    assert not graph.get_value(pooled).any()


# What users see.


@needs_emulator
def test_source_is_one_text_that_names_nodes_and_lines() -> None:
    def build() -> Nodes:
        x = gn.placeholder("x", (None, 4))
        with x.graph.scope("layer*/"):  # which must not end a comment
            y = ops.tanh(x @ floats(4, 3))
        return [y], []

    source = check(build, "cuda-emulator").source
    assert "#include" not in source.split("/* kernel: ", 1)[1]
    assert "/* kernel: k0_matmul_tanh - matmul + tanh */" in source
    assert "layer* /" in source
    assert "test_target.py:" in source
    assert "#define GN_KERNEL" in source


@needs_emulator
def test_a_plan_without_steps_has_no_source() -> None:
    with gn.Graph():
        x = gn.placeholder("x", (None, 4))
        w = gn.variable("w", floats(3))
        executor = gn.Executor([x.T, w[::-1]], max_batch=3, device="cuda-emulator")
    assert executor.source == ""
    for value, wanted in zip(executor.run({x: floats(2, 4)}), [floats(2, 4).T, floats(3)[::-1]], strict=True):
        np.testing.assert_array_equal(value, wanted)


@needs_emulator
def test_plan_prints_steps_and_bytes() -> None:
    executor = check(sorting, "cuda-emulator")
    text = str(executor.plan)
    for name in kernels(executor):
        assert name in text
    assert f"{executor.plan.arena_bytes:,}" in text
    assert executor.plan.arena_bytes >= executor.plan.lower_bound_bytes > 0


@pytest.mark.parametrize("device", DEVICES)
def test_a_profile_times_each_step_and_changes_nothing(device: str) -> None:
    values = []
    for profiled in (False, True):
        with gn.Graph(seed=1) as graph:
            x = gn.placeholder("x", (None, 6))
            y = nn.Dropout(0.5)(nn.Linear(6, 3)(x))
            loss = ops.cumsum(y, 1).mean()
            executor = gn.Executor(loss, optim.Adam(0.01).minimize(loss), max_batch=5, device=device)
        for batch in (5, 2):
            if profiled:
                profile = executor.profile(drawn(graph, 4), repeats=2)
                assert [row.kernel for row in profile.rows] == [step.kernel for step in executor.plan.steps]
                assert all(row.seconds > 0 for row in profile.rows)
            executor.run(drawn(graph, batch))
        values.append({name: graph.get_value(name) for name in graph.variables})
    for name, value in values[0].items():
        np.testing.assert_array_equal(value, values[1][name])


@needs_emulator
def test_verify_names_a_target_that_computes_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(expressions._TABLE, Tanh, lambda *_: "0.5f")
    with gn.Graph() as graph:
        x, w = gn.placeholder("x", (None, 4)), gn.variable("w", np.ones(4, np.float32))
        executor = gn.Executor(
            [x * 2], [ops.assign(w, ops.tanh(x).sum(0))], max_batch=3, device="cuda-emulator", verify=True
        )
    with pytest.raises(CompileError, match="target cuda-emulator changed"):
        executor.run({x: np.zeros((2, 4), np.float32)})
    np.testing.assert_array_equal(graph.get_value(w), np.ones(4))


@needs_emulator
def test_threads_may_run_one_plan() -> None:
    with gn.Graph() as graph:
        x, total = gn.placeholder("x", (None, 50)), gn.variable("total", np.zeros(50, np.float32))
        executor = gn.Executor([x.sum(0)], [ops.assign(total, total + x.sum(0))], max_batch=4, device="cuda-emulator")
    wrong: list[int] = []

    def work(number: int) -> None:
        for batch in (1, 4, 2, 3):
            (value,) = executor.run({x: np.full((batch, 50), number, np.float32)})
            if (value != batch * number).any():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    np.testing.assert_array_equal(graph.get_value(total), np.full(50, 10 * (0 + 1 + 2 + 3)))


def test_unknown_device_lists_the_names() -> None:
    with gn.Graph():
        x = gn.placeholder("x", (2,))
    with pytest.raises(CompileError) as caught:
        gn.Executor(x * 2, device="cuda:0")
    assert str(caught.value).startswith("there is no device 'cuda:0'")
    assert caught.value.expected == "'cpu' or 'numpy' or 'cuda' or 'cuda-emulator'"


def test_without_a_gpu_the_error_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_driver(index: int) -> None:
        raise NoDriverError("there is no NVIDIA driver", hint="install one")

    monkeypatch.setattr(cupy_machine, "require_gpu", no_driver)
    monkeypatch.setattr(cupy_machine, "_started", cupy_machine._started.__wrapped__)
    with gn.Graph():
        x = gn.placeholder("x", (2,))
    with pytest.raises(GpuUnavailableError, match="no NVIDIA driver"):
        gn.Executor(x * 2, device="cuda")
