"""Small graphs of all kinds on the CUDA target against plain evaluation."""

from __future__ import annotations

import re

import numpy as np
import pytest

import graphnn as gn
from cuda_devices import DEVICES, NO_MACHINE, Build, check
from cuda_kernels import needs_emulator
from graphnn import nn, ops
from graphnn.compiler.pipeline import Options, compile_graph
from graphnn.compiler.targets.cuda import lowering, reductions
from graphnn.compiler.targets.cuda.target import CudaTarget

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
    largest = ops.argmax(x, 2)
    tripled = largest * 3  # over the indices, unless somebody still reads them
    computed = ops.softmax(x) * ops.one_hot(largest, 5)
    return [
        *told,
        rows.transpose(2, 0, 1),
        ops.cumsum(rows, 2),
        x * ops.one_hot(labels[:, 2:], 5),
        tripled,
        computed,
    ], []


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
    square = ops.softmax(gn.placeholder("square", (40, 40)))
    return [whole.astype("float32") * 2 - places.astype("float32"), ops.cumsum(y * 2, 1), square + square.T], []


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


def test_indices_are_wide_from_two_to_the_31_on() -> None:
    with gn.Graph():
        y = ops.exp(gn.placeholder("x", (None, 1024)))
    for max_batch, index in ((2**21 - 2, "int"), (2**21, "long long")):
        target = CudaTarget(NO_MACHINE)
        plan = compile_graph([y], [], Options(target, max_batch, training=False)).plan
        assert re.findall(r"#define INDEX (.*)", target.source(plan)) == [index]


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
