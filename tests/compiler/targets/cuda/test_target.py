"""The CUDA target as a whole: small graphs of all kinds against plain evaluation, and what users see of a plan."""

from __future__ import annotations

import re
import threading

import numpy as np
import pytest

import graphnn as gn
from cuda_devices import DEVICES, Build, check, drawn, kernels
from cuda_kernels import needs_emulator
from graphnn import nn, ops, optim
from graphnn.compiler.targets.c import expressions
from graphnn.compiler.targets.cuda import cupy_machine, lowering, reductions
from graphnn.compiler.targets.cuda.availability import GpuUnavailableError, NoDriverError
from graphnn.compiler.targets.cuda.concurrency import MOST_PIECES
from graphnn.ops.context import apply
from graphnn.ops.elementwise import Tanh
from graphnn.ops.errors import CompileError
from graphnn.ops.max_pool import MaxPool2dIndices

Nodes = tuple[list[gn.Node], list[gn.Node]]


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


def several_outputs_and_views() -> Nodes:
    y = ops.exp(gn.placeholder("x", (None, 4, 6)) * 0.3)
    views = [y.transpose(2, 0, 1), y[:, ::-1, ::2], y[:, 1:2, 3], y.reshape((-1, 24)), y.transpose(0, 2, 1)]
    return [y, *views, ops.broadcast_to(y[:, :1, :1], y.shape), y.transpose(0, 2, 1).reshape((-1, 24))], []


def views_of_feeds_and_variables() -> Nodes:
    x, w = gn.placeholder("x", (None, 6)), gn.variable("w", floats(4, 6))
    return [x, x[:, ::-2], x.T, w.T, w[::-1], ops.broadcast_to(w[1:2], (4, 6))], [ops.assign(w, w * 0.5)]


def slices_with_negative_steps() -> Nodes:
    y = ops.tanh(gn.placeholder("x", (None, 9)))
    return [
        y[:, ::-1] * y,
        y[:, 7:1:-2].sum(1),
        y[:, ::-3] @ floats(3, 2),
        ops.softmax(y[:, ::-1]),
        y[:, ::-1].sum(0),
    ], []


def concatenations() -> Nodes:
    x, i = gn.placeholder("x", (None, 9)), gn.placeholder("i", (None, 2), "int64")
    y = ops.exp(x * 0.1)
    joined = ops.concat([y, y[:, ::-1], x[:, ::4], x * 2], 1)
    return [
        joined,
        ops.concat([y, x], 0),
        ops.concat([i, i], 1),
        ops.softmax(ops.concat([y[:, :2].T, y[:, 1:3].T], 0).T),
    ], []


def scalars() -> Nodes:
    x, c = gn.placeholder("x", (None, 4)), gn.placeholder("c", ())
    steps, mean = gn.variable("steps", 0, trainable=False), gn.variable("mean", 0.5, trainable=False)
    size = ops.size(x, (0, 1))
    updates = [ops.assign(steps, steps + 1), ops.assign(mean, mean * 0.9 + x.mean() * 0.1)]
    return [x.mean(), steps * 2, size, x / size.astype("float32") + c, ops.broadcast_to(c * 2, (3,)), c], updates


def empty_shapes() -> Nodes:
    x, z = gn.placeholder("x", (None, 0)), gn.placeholder("z", (0, 3))
    w = gn.variable("w", np.zeros((0, 2), np.float32))
    fetches = [
        x.sum(1),
        x * 2,
        x.sum() + 1,
        z.sum(0),
        z @ floats(3, 2),
        ops.concat([x, x], 1),
        x @ w,
        z.reshape((3, 0)),
    ]
    return fetches, [ops.assign(w, w * 2)]


def batch_by_batch() -> Nodes:
    x = gn.placeholder("x", (None, 4))
    similar = x @ x.T
    return [similar, similar.T * 2, similar.sum(1), ops.softmax(similar), similar - x.sum(1), similar[:, None]], []


def sixteen_bits() -> Nodes:
    x, b = gn.placeholder("x", (None, 30), "float16"), gn.placeholder("b", (None, 8), "bfloat16")
    w = gn.variable("w", floats(30, 8).astype(np.float16))
    y = ops.tanh(x @ w) * 2 + 1
    fetches = [y, y.sum(0), ops.exp(x * 0.1).astype("float32"), x.sum(), b * 1.5, b.sum(1), ops.softmax(b), b[:, ::-1]]
    return [*fetches, x.astype("float64").mean(), ops.sort(b, 1), x < 0.5], [ops.assign(w, w - y.sum(0) * 0.01)]


def integers_and_flags() -> Nodes:
    i, u, f = (
        gn.placeholder("i", (None, 5), "int64"),
        gn.placeholder("u", (None, 5), "uint8"),
        gn.placeholder("f", (None, 5)),
    )
    flag = ops.equal(f > 0, i > 1)
    fetches = [i * 3 - 7, i.sum(0), i.max(), u.astype("int32").sum(1), u * 200, flag, flag.astype("float32").mean()]
    return [*fetches, ops.where(flag, f, i.astype("float32")), ops.argmax(f), (i * 2_000_000_000).sum()], []


def one_hot_rows() -> Nodes:
    labels, x = gn.placeholder("labels", (None, 3), "int32"), gn.placeholder("x", (None, 3, 5))
    rows = ops.one_hot(labels, 5)
    told = [x - rows, (x * rows).sum(2), (x * rows).sum((0, 1)), x[:, :, ::-1] * rows]
    return [*told, rows.transpose(2, 0, 1), ops.cumsum(rows, 2), x * ops.one_hot(labels[:, 2:], 5)], []


def rows_of_a_table() -> Nodes:
    table, i = gn.variable("table", floats(3, 4)), gn.placeholder("i", (None, 2), "int64")
    taken = ops.take(table, i)
    (slope,) = gn.gradients((taken * taken).mean(), [table])
    return [taken, slope], [ops.assign(table, table - slope)]


def reductions_of_few_and_many() -> Nodes:
    x, y = gn.placeholder("x", (None, 3, 5000)), gn.placeholder("y", (None, 700))
    many = [x.sum(), x.max((0, 2)), x.min(1), (x * x).sum(2), x.astype("float64").sum(), (x > 0).sum((0, 2))]
    some = [y.sum(0), y.sum(1), y.mean(), y.T.max(0), y[:, :7].sum(1), y.astype("int32").sum(1)]
    return [*many, *some, ops.relu(x.sum((0, 2)) * 0.01) + 1, x[:, :, ::-1].sum((0, 2)).reshape((3, 1)) * 2], []


def memory_used_again() -> Nodes:
    """Results over their inputs: of other types of the same size, and around steps on the host."""
    y = gn.placeholder("x", (None, 300))
    for _ in range(3):
        y = ops.softmax(ops.exp(y) * 1.5 + 1)
    whole = (y * 1000).astype("int32") * 3
    places = ops.argsort(whole.astype("float32"), 1)
    return [whole.astype("float32") * 2 - places.astype("float32"), ops.cumsum(y * 2, 1)], []


def swapped_variables() -> Nodes:
    a, b = gn.variable("a", floats(600)), gn.variable("b", floats(600) + 1)
    first, second = ops.assign(a, b), ops.assign(b, a)
    return [a, b, first, second, a[::-2]], [first, second]


def variables_made_of_each_other() -> Nodes:
    a, b, c = (gn.variable(name, floats(4, 4) + k) for k, name in enumerate("abc"))
    x, y = gn.variable("x", 1.0, trainable=False), gn.variable("y", 2.0, trainable=False)
    updates = [ops.assign(a, b * 0.5 + a), ops.assign(b, c.T - a), ops.assign(c, a @ b * 0.1)]
    return [a + b + c], [*updates, ops.assign(x, y + 1), ops.assign(y, x * 2)]


def variables_in_a_row() -> Nodes:
    a, b, c = (gn.variable(name, floats(600) + k) for k, name in enumerate("abc"))
    x = gn.placeholder("x", (600,))
    return [], [ops.assign(a, b * 2 + a), ops.assign(b, c * 2 + b), ops.assign(c, x + c)]


def variables_read_in_another_order() -> Nodes:
    names = ("turned", "reversed", "spread", "summed", "product", "moved", "velocity")
    turned, back, spread, summed, product, moved, velocity = (gn.variable(name, floats(40, 40)) for name in names)
    new = 0.9 * velocity + gn.placeholder("slope", (40, 40))
    updates = [
        ops.assign(turned, turned * 0.5 + turned.T),
        ops.assign(back, back[::-1] - back),
        ops.assign(spread, spread * 2 + spread[:1] - spread[:, :1]),
        ops.assign(summed, summed - summed.sum(0)),
        ops.assign(product, product @ product * 0.01),
        ops.assign(velocity, new),
        ops.assign(moved, moved - new - new.T),
    ]
    return [], updates


def variables_of_views() -> Nodes:
    turned, back, spread = (gn.variable(name, floats(30, 30)) for name in ("turned", "reversed", "spread"))
    shown = ops.broadcast_to(spread[3:4], (30, 30))
    return [], [ops.assign(turned, turned.T), ops.assign(back, back[::-1]), ops.assign(spread, shown)]


def dropout() -> Nodes:
    y = nn.Dropout(0.4)(gn.placeholder("x", (None, 33)))
    return [y, ops.uniform((5, 7)), ops.tanh(y).sum(0)], []


GRAPHS: dict[str, Build] = {
    build.__name__: build
    for build in (
        *(several_outputs_and_views, views_of_feeds_and_variables, slices_with_negative_steps, concatenations, scalars),
        *(empty_shapes, batch_by_batch, sixteen_bits, integers_and_flags, one_hot_rows, rows_of_a_table),
        *(reductions_of_few_and_many, memory_used_again, swapped_variables, variables_made_of_each_other),
        *(variables_in_a_row, variables_read_in_another_order, variables_of_views, dropout),
    )
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", GRAPHS)
def test_small_graph(name: str, device: str) -> None:
    check(GRAPHS[name], device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "name", ["several_outputs_and_views", "reductions_of_few_and_many", "one_hot_rows", "concatenations"]
)
def test_small_graph_with_wide_indices(name: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lowering, "LARGEST_INT", 0)
    executor = check(GRAPHS[name], device)
    assert "#define INDEX int\n" not in executor.source
    assert not re.search(r"(?<!\(INDEX\))\bn \* ", executor.source.split("/* kernel: ", 1)[1])  # which might not fit


@needs_emulator
def test_indices_are_as_wide_as_what_a_reduction_walks_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two short vectors give many terms that never lie in memory."""
    with gn.Graph():
        a, b = gn.placeholder("a", (100, 1)), gn.placeholder("b", (100,))
        total = (a * b).sum()
    for largest, index in ((100 * 100 - 1, "long long"), (100 * 100 + 1024, "int")):
        monkeypatch.setattr(lowering, "LARGEST_INT", largest)
        source = gn.Executor(total, device="cuda-emulator").source
        assert re.findall(r"#define INDEX (.*)", source) == [index]


@needs_emulator
@pytest.mark.parametrize(
    ("terms", "team", "parts"), [(8, 1, 1), (9, 32, 1), (1024, 32, 1), (1025, 256, 1), (9000, 256, 4)]
)
def test_reductions_are_shared(terms: int, team: int, parts: int) -> None:
    def build() -> Nodes:
        return [gn.placeholder("x", (2, terms)).sum(1)], []

    executor = check(build, "cuda-emulator", batches=(1,))
    assert reductions.Sharing.of(executor.plan.subgraph.fetches[0], 1) == reductions.Sharing(team, parts)
    assert executor.source.count("GN_KERNEL(THREADS) NAME") == (1 if parts == 1 else 2)


@pytest.mark.parametrize("device", DEVICES)
def test_dropout_has_the_same_bits_everywhere(device: str) -> None:
    found = []
    for each in (device, "numpy"):
        with gn.Graph(seed=9):
            x = gn.placeholder("x", (None, 33))
            executor = gn.Executor([nn.Dropout(0.4)(x), ops.uniform((5, 7))], training=True, max_batch=9, device=each)
        found.append([value for batch in (9, 4, 9) for value in executor.run({x: np.ones((batch, 33), np.float32)})])
    for value, wanted in zip(*found, strict=True):
        np.testing.assert_array_equal(value, wanted)
    assert (found[0][0] != found[0][4]).any()


@needs_emulator
def test_numpy_takes_over_where_there_is_no_kernel() -> None:
    executor = check(memory_used_again, "cuda-emulator")
    names = kernels(executor)
    assert names.count("argsort (host)") == 1
    assert 0 < names.index("argsort (host)") < len(names) - 1
    assert "argsort (host)" in str(executor.plan)


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

    assert kernels(check(build, "cuda-emulator")) == ["concat", "multiply"]


@needs_emulator
def test_nan_and_infinity_flow_as_in_numpy() -> None:
    with gn.Graph():
        x = gn.placeholder("x", (None, 3))
        shaped = [ops.relu(x), ops.maximum(x, 0.5), ops.clip(x, -1, 1), ops.sign(x), ops.softmax(x)]
        results = [*shaped, x.max(1), x.min(0), x.sum(0), ops.where(x < 1, x, 2), x * np.inf, x.T.max(0)]
    value = np.array([[np.nan, np.inf, -np.inf], [1, -np.inf, 2], [np.inf, np.nan, 0]], np.float32)
    with np.errstate(invalid="ignore"):
        expected = gn.Executor(results, max_batch=3, device="numpy").run({x: value})
    for wanted, actual in zip(
        expected, gn.Executor(results, max_batch=3, device="cuda-emulator").run({x: value}), strict=True
    ):
        np.testing.assert_allclose(actual, wanted, rtol=1e-6)


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
        executor = gn.Executor([x.T], max_batch=3, device="cuda-emulator")
    assert executor.source == ""
    assert executor.run({x: floats(2, 4)})[0].shape == (4, 2)


@needs_emulator
def test_plan_prints_steps_and_bytes() -> None:
    executor = check(rows_of_a_table, "cuda-emulator")
    text = str(executor.plan)
    assert "take_gradient" in text
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
