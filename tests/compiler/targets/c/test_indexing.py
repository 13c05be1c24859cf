"""Ops that pick, place and add by positions, compiled: tables, their gradients, elements, and what is left to NumPy."""

from __future__ import annotations

import ctypes
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import graphnn as gn
from compiled_graphs import (
    Cases,
    between,
    cases_of,
    check_cases,
    check_threads,
    check_under_sanitizers,
    compiled,
    normal,
)
from compiled_kernels import EXPORT, aligned, call, from_lanes, run_under_sanitizers, to_lanes
from graphnn import ops, optim
from graphnn.compiler.targets.c.build import Compiler
from graphnn.compiler.targets.c.indexing import print_indexing
from graphnn.compiler.targets.c.toolchain import find_compiler, unavailable_reason
from graphnn.compiler.targets.c.units import Unit
from graphnn.ops import Node, apply
from graphnn.ops.errors import FeedError, GraphError
from graphnn.ops.evaluation import evaluate_op
from graphnn.ops.index import TakeGradient
from graphnn.ops.loss import NegativeLogLikelihood

pytestmark = pytest.mark.skipif(find_compiler() is None, reason=f"no C compiler: {unavailable_reason()}")


def tables(cases: Cases) -> None:
    """Rows of tables by each example's own indices: rows shorter than a vector, of whole vectors, and some more."""
    shapes: list[tuple[int, ...]] = [(7, 41), (5, 16), (6, 3), (9,), (4, 2, 9), (1, 32), (70, 20)]
    for number, shape in enumerate(shapes):
        rows = shape[0]
        table = cases.given(shape, normal)
        places = [(), (3,), (2, 2), (5,)][number % 4]
        dtype = ["int32", "uint8", "int64"][number % 3]
        low = 0 if dtype == "uint8" else -rows
        indices = cases.given((None, *places), between(low, rows), dtype)
        cases.add(f"table {shape}", ops.take(table, indices), table)
    rare = cases.given((None, 4), between(2, 4), "int32")
    cases.add("rows without an index", ops.take(cases.given((50, 18), normal), rare), next(reversed(cases.draws)))
    for dtype in ("float64", "int32", "int64", "uint8", "bool"):
        indices = cases.given((None, 3), between(0, 6), "int32")
        cases.add(f"{dtype} table", ops.take(cases.given((6, 18), between(0, 2), dtype), indices))
        if dtype != "bool":
            dy = cases.given((None, 3, 18), between(0, 100), dtype)
            cases.add(f"{dtype} table's gradient", apply(TakeGradient(0, (6, 18)), dy, indices))


def entries(cases: Cases) -> None:
    """Whole entries of an axis, the same ones for all examples, and all of it without a batch."""
    x, matrix = cases.given((None, 5, 3), normal), cases.given((6, 4, 2), normal)
    chosen = cases.given((4,), between(-5, 5), "int32")
    square = cases.given((2, 2), between(0, 3), "uint8")
    cases.add("a middle axis", ops.take(x, chosen, 1), x)
    cases.add("the last axis, by a matrix", ops.take(x, square, 2), x)
    cases.add("known beforehand", ops.take(x, [3, 0, -1, 3], 1), x)
    cases.add("one place", ops.take(x, 2, 1), x)
    cases.add("without a batch", ops.take(matrix, square, 0), matrix)
    cases.add("without a batch, a middle axis", ops.take(matrix, [3, -4, 3], 1), matrix)


def elements(cases: Cases) -> None:
    x, matrix = cases.given((None, 4, 3), normal), cases.given((5, 4), normal)
    among = cases.given((None, 6, 3), between(-4, 4), "int64")
    fewer = cases.given((None, 2, 5), between(0, 3), "uint8")
    rows = cases.given((None, 3), between(-5, 5), "int32")
    cases.add("gather, a middle axis", ops.gather(x, 1, among), x)
    cases.add("gather, fewer places on another axis", ops.gather(x, 2, fewer), x)
    cases.add("gather, rows of a table", ops.gather(matrix, 0, rows))
    static = cases.given((3, 4), between(0, 5), "int32")
    cases.add("gather, without a batch", ops.gather(matrix, 0, static), matrix)
    for axis, index, shape in ((1, among, (None, 6, 3)), (2, fewer, (None, 2, 5))):
        src = cases.given(shape, normal)
        cases.add(f"scatter_add, axis {axis}", ops.scatter_add(x, axis, index, src), x, src)
    terms = cases.given((3, 4), normal)
    cases.add("scatter_add, without a batch", ops.scatter_add(matrix, 0, static, terms), matrix, terms)
    counted = cases.given((None, 6), between(0, 9), "int32")
    bins = cases.given((None, 6), between(0, 4), "int32")
    cases.add(
        "scatter_add of integers", ops.scatter_add(counted, 1, bins, cases.given((None, 6), between(0, 9), "int32"))
    )
    for labels, scores in (((None,), (None, 5)), ((None, 3), (None, 5, 3))):
        given = cases.given(scores, normal)
        cases.add(
            f"nll {labels}", ops.nll_loss(given, cases.given(labels, between(0, 5), "int64"), reduction="none"), given
        )
    cases.add("one_hot in double", ops.one_hot(bins, 4, "float64"))


all_cases = partial(cases_of, tables, entries, elements)


@pytest.mark.parametrize("lanes", [4, 16])
def test_values(lanes: int) -> None:
    cases = all_cases()
    check_cases(cases, compiled(cases, lanes, threads=2), lanes)


def check_with_sanitizers() -> None:
    cases = all_cases()
    check_cases(cases, compiled(cases, 8, threads=3, with_sanitizers=True), 8)


def test_nothing_is_read_or_written_out_of_bounds() -> None:
    check_under_sanitizers(__file__, "check_with_sanitizers")


def kernels() -> list[Node]:
    with gn.Graph():
        table = gn.placeholder("table", (5, 9))
        x, scores = gn.placeholder("x", (None, 4, 3)), gn.placeholder("scores", (None, 2, 4))
        indices, index = gn.placeholder("indices", (None, 2), "int64"), gn.placeholder("index", (None, 4, 3), "int32")
        return [
            ops.take(table, indices),
            ops.gather(x, 1, index),
            ops.scatter_add(x, 1, index, x),
            apply(NegativeLogLikelihood(), scores, indices),
        ]


def kernel_text() -> str:
    parts = ["#define LANES 8", '#include "support.h"']
    for number, node in enumerate(kernels()):
        given = [f"x{place}" for place in range(len(node.inputs))]
        parts.append(print_indexing(Unit("lanes", (node,)), f"kernel{number}", lanes=8, threads=1))
        parts.append(f"{EXPORT}void call{number}({', '.join(f'const void *{name}' for name in given)}, void *y)")
        parts.append(f"{{ kernel{number}({', '.join([*given, 'y'])}); }}")
    gradient = print_indexing(Unit("cooperative", (table_gradient(),)), "gradient", lanes=8, threads=2)
    parts += [gradient, f"{EXPORT}void call_gradient(const void *dy, const void *indices, void *y)"]
    parts.append("{ gradient(dy, 0, indices, 0, y, 3); }")
    return "\n".join(parts)


def table_gradient() -> Node:
    with gn.Graph():
        dy, indices = gn.placeholder("dy", (None, 2, 9)), gn.placeholder("indices", (None, 2), "int64")
        return apply(TakeGradient(0, (5, 9)), dy, indices)


def check_lanes_beyond(library: ctypes.CDLL) -> None:
    """Call kernels on blocks of three examples, and what is no index beyond them."""
    generator = np.random.default_rng(0)
    for beyond in (99, -99):
        for number, node in enumerate(kernels()):
            arrays = [
                generator.integers(0, 4, spec.static_shape).astype(str(spec.dtype))
                for spec in (given.spec.bind(3) for given in node.inputs)
            ]
            expected = evaluate_op(node.op, node.spec.bind(3), arrays, [given.spec.bind(3) for given in node.inputs])
            blocks = [
                to_lanes(array, 8, beyond) if given.spec.has_batch else aligned(array.shape) + array
                for given, array in zip(node.inputs, arrays, strict=True)
            ]
            result = aligned((*node.spec.bind(3).static_shape[1:], 8))
            call(library, f"call{number}", *blocks, result)
            np.testing.assert_array_equal(from_lanes(result, 3), expected)
        dy, indices = generator.integers(0, 4, (3, 2, 9)).astype(np.float32), generator.integers(-5, 5, (3, 2))
        table, total = aligned((5, 9), fill=7), np.zeros((5, 9))
        np.add.at(total, indices, dy)
        call(library, "call_gradient", to_lanes(dy, 8, np.nan), to_lanes(indices, 8, beyond), table)
        np.testing.assert_array_equal(table, total)


def test_lanes_beyond_the_batch_may_hold_what_is_no_index(compiler: Compiler, tmp_path: Path) -> None:
    run_under_sanitizers(compiler, {"indexing.c": kernel_text()}, tmp_path, __file__, "check_lanes_beyond")


def test_a_table_gradient_has_the_same_bits_for_any_number_of_threads() -> None:
    cases = Cases()
    with gn.Graph():
        for shape in ((3, 5), (40, 16), (200, 3), (90, 100)):
            table, indices = cases.given(shape, normal), cases.given((None, 7), between(0, shape[0]), "int32")
            y = ops.take(table, indices)
            (slope,) = gn.gradients((y * cases.given((None, 7, shape[1]), normal)).sum(), [table])
            cases.add(f"{shape}", slope)
    check_threads(cases, 8, (1, 2, 3, 5))


def text_model(device: str, padding: int | None = None) -> tuple[gn.Graph, gn.Executor]:
    with gn.Graph(seed=0) as graph:
        words, labels = gn.placeholder("words", (None, 12), "int32"), gn.placeholder("labels", (None,), "int32")
        places = gn.variable("places", np.linspace(-1, 1, 12 * 20, dtype=np.float32).reshape(12, 20))
        x = gn.nn.Embedding(100, 20, padding_idx=padding)(words) + ops.take(places, np.arange(12)[::-1].copy())
        loss = ops.cross_entropy(gn.nn.Linear(20, 10)(ops.tanh(x).mean(1)), labels)
        train = optim.SGD(0.5, momentum=0.9).minimize(loss)
    return graph, gn.Executor([loss], train, max_batch=40, device=device, threads=2 if device == "cpu" else None)


@pytest.mark.parametrize("padding", [None, 3])
def test_a_network_with_embeddings_trains_in_one_segment(padding: int | None) -> None:
    graph, native = text_model("cpu", padding)
    plain_graph, plain = text_model("numpy", padding)
    assert [step.kernel for step in native.plan.steps] == ["segment_0"]
    generator = np.random.default_rng(0)
    for batch in (40, 1, 17, 40):
        feed = {"words": generator.integers(-100, 100, (batch, 12)).astype(np.int32)}
        feed["labels"] = generator.integers(0, 10, batch).astype(np.int32)
        np.testing.assert_allclose(native.run(feed)[0], plain.run(feed)[0], rtol=1e-5)
    for name in graph.variables:
        np.testing.assert_allclose(graph.get_value(name), plain_graph.get_value(name), rtol=1e-4, atol=1e-6)


def test_a_wrong_index_is_refused_before_anything_changes() -> None:
    graph, executor = text_model("cpu")
    before = graph.get_value("embedding.weight").copy()
    words = np.zeros((3, 12), np.int32)
    for wrong in (100, -101):
        words[2, 11] = wrong
        with pytest.raises(FeedError, match="out of range"):
            executor.run({"words": words, "labels": np.zeros(3, np.int32)})
    np.testing.assert_array_equal(graph.get_value("embedding.weight"), before)


def test_numpy_picks_by_indices_that_only_the_run_knows() -> None:
    """It is the one that refuses wrong ones."""
    with gn.Graph() as graph:
        table = gn.variable("table", np.arange(12, dtype=np.float32).reshape(4, 3))
        indices, index = gn.placeholder("indices", (None, 2), "int32"), gn.placeholder("index", (None, 1), "int32")
        x = gn.placeholder("x", (None, 3))
        y = ops.take(table, indices + 1)
        chosen = ops.gather(x, 1, index * 2)
        spread = ops.scatter_add(x, 1, index * 2, x[:, :1])
        loss = y.sum() + chosen.sum() + spread.sum() + ops.nll_loss(x, index.reshape((-1,)) + 0)
        train = optim.SGD(1.0).minimize(loss)
        executor = gn.Executor([loss], train, max_batch=9)
    native = [node.op.label for step in executor.plan.steps if step.kernel.startswith("segment") for node in step.nodes]
    left = {"take", "take_gradient", "gather", "scatter_add", "negative_log_likelihood"}
    assert native
    assert not left & set(native)
    feed = {"x": np.ones((2, 3), np.float32), "index": np.zeros((2, 1), np.int32)}
    feed["indices"] = np.array([[0, 1], [2, 2]], np.int32)
    executor.run(feed)
    np.testing.assert_array_equal(graph.get_value("table")[:, 0], [0, 2, 5, 7])
    with pytest.raises(GraphError, match="out of range"):
        executor.run({**feed, "indices": np.full((2, 2), 3, np.int32)})
    np.testing.assert_array_equal(graph.get_value("table")[:, 0], [0, 2, 5, 7])


def test_an_axis_that_is_the_batch_is_left_to_numpy() -> None:
    with gn.Graph():
        x, index = gn.placeholder("x", (None, 3)), gn.placeholder("index", (None, 3), "int32")
        executor = gn.Executor([ops.gather(x, 0, index), ops.take(x, [0, -1], 0)], max_batch=4)
    assert not any(step.kernel.startswith("segment") for step in executor.plan.steps)
