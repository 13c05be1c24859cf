"""Matrix products of stacks: for many shapes, orders of axes and batch sizes, and in networks of one native segment."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import graphnn as gn
from compiled_graphs import Cases, check_cases, check_threads, check_under_sanitizers, compiled, normal
from compiled_kernels import (
    EXPORT,
    HEADERS,
    aligned,
    call,
    check_sums,
    from_lanes,
    of_one_sign,
    run_under_sanitizers,
    to_lanes,
)
from graphnn import ops, optim
from graphnn.compiler.reference import evaluate
from graphnn.compiler.targets.c.build import Compiler
from graphnn.compiler.targets.c.cache import load_library
from graphnn.compiler.targets.c.flat_products import ROWS, TERMS, print_flat_product
from graphnn.compiler.targets.c.products import Factor, Product, print_product
from graphnn.compiler.targets.c.toolchain import find_compiler, unavailable_reason
from graphnn.ops.spec import Dim
from sample_families import differs

pytestmark = pytest.mark.skipif(find_compiler() is None, reason=f"no C compiler: {unavailable_reason()}")
LANES = (4, 8, 16)
Shape = tuple[int | None, ...]


def positive(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return generator.uniform(0.5, 2, shape)


def add_products(cases: Cases, shapes: list[tuple[Shape, Shape]]) -> None:
    """Take in products of some shapes, and their gradients by both factors."""
    for a_shape, b_shape in shapes:
        a, b = cases.given(a_shape, normal), cases.given(b_shape, normal)
        cases.add(f"{a_shape} @ {b_shape}", a @ b, a, b)


def stacks() -> Cases:
    """Products of each example's own matrices, and of these with static ones."""
    cases = Cases()
    with gn.Graph():
        ones: list[tuple[Shape, Shape]] = [((None, 1, 1), (None, 1, 1)), ((None, 1, 1), (1, 1))]
        both_batched: list[tuple[Shape, Shape]] = [
            ((None, 7, 13), (None, 13, 11)),
            ((None, 17, 1), (None, 1, 3)),
            ((None, 1, 5), (None, 5, 1)),
        ]
        with_static: list[tuple[Shape, Shape]] = [
            ((None, 6, 7), (7, 9)),
            ((None, 2, 3, 5), (5, 4)),
            ((4, 3), (None, 3, 5)),
            ((None, 1, 3), (3, 8)),
        ]
        leading: list[tuple[Shape, Shape]] = [
            ((None, 2, 3, 4, 5), (None, 2, 3, 5, 2)),
            ((None, 1, 2, 4, 5), (None, 3, 1, 5, 2)),
            ((None, 1, 2, 3), (2, 3, 2)),
            ((2, 2, 3), (None, 1, 3, 2)),
            ((None, 4, 2), (1, 2, 3)),
        ]
        add_products(cases, [*ones, *both_batched, *with_static, *leading])
    return cases


def turned_stacks() -> Cases:
    """Factors whose axes are in another order, or that are a piece of a value."""
    cases = Cases()
    with gn.Graph():
        a, b, w = cases.given((None, 5, 7), normal), cases.given((None, 5, 3), normal), cases.given((4, 7), normal)
        cases.add("a.T @ b", a.transpose((0, 2, 1)) @ b, a, b)
        cases.add("a.T @ (a, b).T", a.transpose((0, 2, 1)) @ ops.concat([a, b], 2).transpose((0, 2, 1))[:, :5], a, b)
        cases.add("a @ a.T", a @ a.transpose((0, 2, 1)), a)
        cases.add("a @ w.T", a @ w.T, a, w)
        cases.add("w @ a.T", w @ a.transpose((0, 2, 1)), a, w)
        x, y = cases.given((None, 6, 2, 4), normal), cases.given((None, 3, 4, 2, 5), normal)
        heads = x.transpose((0, 2, 1, 3))
        cases.add("heads", heads @ x.transpose((0, 2, 3, 1)), x)
        cases.add("two leading axes turned", heads.reshape((-1, 2, 1, 6, 4)) @ y.transpose((0, 3, 1, 2, 4)), x, y)
        cases.add("a piece", a[:, 1:4] @ w.T + b[:, 2:5] @ np.ones((3, 4), np.float32), a, b, w)
        cases.add("a static stack", a.expand_dims(1) @ w.reshape((2, 2, 7)).transpose((1, 2, 0)), a, w)
        one = cases.given((None, 1, 3), normal)
        cases.add("of size 1", one.transpose((0, 2, 1)) @ one, one)
    return cases


def sums_over_rows() -> Cases:
    """Products that sum over the rows of all examples; what `log` gives beyond the batch is infinite."""
    cases = Cases()
    with gn.Graph():
        x, y = cases.given((None, 3, 8), positive), cases.given((None, 36), normal)
        rows = ops.log(x).reshape((-1, 4))
        cases.add("rows that are shaped anew", rows.T @ y.reshape((-1, 6)))
        cases.add("rows by themselves", rows.T @ rows)
        cases.add("wide rows", y.reshape((-1, 1)).T @ (y * 2).reshape((-1, 1)))
        cases.add("one row an example", x.reshape((-1, 24)).T @ y)
        deep = cases.given((None, 2, 2, 5), normal)
        weight = cases.given((5, 37), normal)
        cases.add("many columns", deep @ weight, deep, weight)
    return cases


def static_products() -> Cases:
    """Products without a batch, by one thread and by all."""
    cases = Cases()
    with gn.Graph():
        small: list[tuple[Shape, Shape]] = [((1, 1), (1, 1)), ((5, 7), (7, 3)), ((2, 1, 3, 4), (3, 4, 5))]
        large: list[tuple[Shape, Shape]] = [
            ((ROWS + 6, TERMS + 22), (TERMS + 22, 37)),
            ((3, 90, 20), (20, 50)),
            ((300, 120), (120, 1)),
            ((1, 300), (300, 110)),
        ]
        add_products(cases, [*small, *large])
        a, b = cases.given((33, 40), normal), cases.given((40, 29), normal)
        cases.add("a.T.T", b.T @ a.T, a, b)
        cases.add("a @ a.T", a @ a.T, a)
        cases.add("(a.T) @ a", a.T @ a, a)
        c = cases.given((4, 3, 5), normal)
        cases.add("turned stacks", c.transpose((1, 0, 2)) @ c.transpose((1, 2, 0)), c)
    return cases


GROUPS: dict[str, Callable[[], Cases]] = {
    "stacks": stacks,
    "turned stacks": turned_stacks,
    "sums over rows": sums_over_rows,
    "static products": static_products,
}


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("group", GROUPS)
def test_values_and_gradients(group: str, lanes: int) -> None:
    cases = GROUPS[group]()
    check_cases(cases, compiled(cases, lanes, threads=2), lanes)


@pytest.mark.parametrize("group", ["stacks", "turned stacks", "static products"])
def test_any_number_of_threads_gives_the_same_bits(group: str) -> None:
    cases = GROUPS[group]()
    if group != "static products":  # what sums over the batch adds up by threads
        cases.fetches = {name: value for name, value in cases.fetches.items() if value.spec.has_batch}
    check_threads(cases, 8, (1, 2, 3))


def test_sums_over_rows_have_the_same_bits_again() -> None:
    cases = sums_over_rows()
    feeds = cases.feeds(26)
    executor = compiled(cases, 8, threads=3)
    first, second = ({name: value.copy() for name, value in executor.run(feeds).items()} for _ in range(2))
    assert all(first[name].tobytes() == second[name].tobytes() for name in cases.fetches)


# What lies beyond the borders of a factor or a result, memory of an executor's own hides; so kernels are called alone.

ALONE = [
    Product((), rows, terms, columns, *factors)
    for rows, terms, columns in ((1, 1, 1), (5, 3, 10), (13, 150, 7), (70, 2, 3), (6, 4, 37))
    for factors in (
        (Factor(True, (), terms, 1), Factor(True, (), columns, 1)),
        (Factor(True, (), 1, rows), Factor(False, (), 1, terms)),
        (Factor(False, (), terms, 1), Factor(False, (), columns, 1)),
        (Factor(False, (), 1, rows), Factor(False, (), 1, terms)),
        (Factor(False, (), terms, 1), Factor(False, (), 1, terms)),
    )
]


def is_flat(shape: Product) -> bool:
    return not (shape.a.batched or shape.b.batched)


def print_alone(lanes: int) -> str:
    """Print all kernels, and functions that call them from outside."""
    parts = [f"#define LANES {lanes}", '#include "support.h"']
    for number, shape in enumerate(ALONE):
        flat = is_flat(shape)
        parts.append((print_flat_product if flat else print_product)(shape, f"k{number}", lanes))
        call_text = f"k{number}(a, b, y{', 1' if flat else ''});"
        parts.append(f"{EXPORT}void alone{number}(const float *a, const float *b, float *y) {{ {call_text} }}")
    return "\n".join(parts)


def stored(values: np.ndarray, factor: Factor, lanes: int) -> np.ndarray:
    """Return examples' matrices, or one matrix, as a factor lies in memory; NaN in one lane beyond the examples."""
    in_order = values if factor.by_column == 1 and factor.by_row != 1 else values.swapaxes(-1, -2)
    if factor.batched:
        return to_lanes(in_order, lanes, np.nan)
    memory = aligned(in_order.shape)
    memory[...] = in_order
    return memory


def check_alone(library: ctypes.CDLL, lanes: int) -> None:
    """Check each kernel on arrays that end where their memory ends."""
    for number, shape in enumerate(ALONE):
        flat, valid = is_flat(shape), lanes - 1
        sizes = (shape.rows, shape.terms), (shape.terms, shape.columns)
        factors = (shape.a, shape.b)
        a, b = (of_one_sign(*([valid] * each.batched), *size) for each, size in zip(factors, sizes, strict=True))
        memory = [stored(values, each, lanes) for values, each in zip((a, b), factors, strict=True)]
        result = aligned((shape.rows, shape.columns, *([] if flat else [lanes])), fill=7)
        call(library, f"alone{number}", *memory, result)
        check_sums(result if flat else from_lanes(result, valid), a.astype(np.float64) @ b.astype(np.float64))


def check_all_alone(library: ctypes.CDLL) -> None:
    """Check the library with sanitizers."""
    check_alone(library, 8)


@pytest.mark.parametrize("lanes", LANES)
def test_kernels_alone(compiler: Compiler, tmp_path: Path, lanes: int) -> None:
    check_alone(load_library({"alone.c": print_alone(lanes)}, HEADERS, compiler, folder=tmp_path), lanes)


def test_nothing_is_read_or_written_out_of_bounds(compiler: Compiler, tmp_path: Path) -> None:
    run_under_sanitizers(compiler, {"alone.c": print_alone(8)}, tmp_path, __file__, "check_all_alone")


def check_groups() -> None:
    """Check all graphs with sanitizers."""
    for group in GROUPS.values():
        cases = group()
        check_cases(cases, compiled(cases, lanes=8, threads=2), 8)


def test_graphs_under_sanitizers() -> None:
    check_under_sanitizers(__file__, "check_groups")


@pytest.mark.parametrize(("size", "pragma"), [(8, "single"), (100, "for")])
def test_threads_share_a_static_product_unless_it_is_small(size: int, pragma: str) -> None:
    matrix = Factor(False, (), size, 1)
    text = print_flat_product(Product((), size, size, size, matrix, matrix), "k", 8)
    assert [line.split()[2] for line in text.splitlines() if "#pragma omp" in line] == [pragma]


@pytest.mark.parametrize("batch", [131, 300])
def test_sums_over_the_rows_of_many_examples(batch: int) -> None:
    cases = sums_over_rows()
    executor = gn.Executor(cases.fetches, max_batch=300, device="cpu", threads=2)
    feeds = cases.feeds(batch)
    expected = evaluate(list(cases.fetches.values()), feeds)
    actual = executor.run(feeds)
    assert not [name for name, value in zip(cases.fetches, expected, strict=True) if differs(value, actual[name])]


def test_nan_stays_in_its_example_row_and_column() -> None:
    with gn.Graph():
        a, b = gn.placeholder("a", (None, 3, 5)), gn.placeholder("b", (None, 5, 4))
        executor = gn.Executor([a @ b], max_batch=20, device="cpu")
    left, right = np.ones((20, 3, 5), np.float32), np.ones((20, 5, 4), np.float32)
    left[9, 1, 4], right[17, 0, 2] = np.nan, np.nan
    expected = np.full((20, 3, 4), 5.0)
    expected[9, 1], expected[17, :, 2] = np.nan, np.nan
    np.testing.assert_array_equal(executor.run({a: left, b: right})[0], expected)


def kernels(executor: gn.Executor) -> list[str]:
    return [inner.kernel for step in executor.plan.steps for inner in step.inner]


def test_transposes_that_products_read_cost_nothing() -> None:
    cases = turned_stacks()
    moved = ("a.T @ (a, b).T", "two leading axes turned")
    fetches = {name: value for name, value in cases.fetches.items() if "gradient" not in name and name not in moved}
    executor = gn.Executor(fetches, max_batch=8, device="cpu")
    assert "matmul" in kernels(executor)
    assert "transpose" not in kernels(executor)


def test_what_a_product_reads_in_place_may_also_be_fetched() -> None:
    with gn.Graph():
        x, w = gn.placeholder("x", (None, 3, 5)), gn.placeholder("w", (4, 5))
        doubled, weight = x * 2, w + 1
        fetches = [
            doubled @ weight.T,
            weight.T,
            doubled.transpose((0, 2, 1)),
            doubled.transpose((0, 2, 1)) @ x,
            doubled.reshape((-1, 5)),
            doubled.reshape((-1, 5)).T,
            doubled.reshape((-1, 5)).T @ x.reshape((-1, 5)),
            ops.relu(doubled.reshape((-1, 5))),
        ]
        executor = gn.Executor(fetches, max_batch=9, device="cpu", verify=True)
    generator = np.random.default_rng(0)
    feeds = {x: generator.standard_normal((9, 3, 5)), w: generator.standard_normal((4, 5))}
    given = {node: value.astype(np.float32) for node, value in feeds.items()}
    for value, expected in zip(executor.run(given), evaluate(fetches, given), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float64", "int32"])
def test_other_types_go_by_numpy(dtype: str) -> None:
    with gn.Graph():
        x, y = gn.placeholder("x", (None, 2, 3), dtype), gn.placeholder("y", (None, 3, 2), dtype)
        product = x @ y
        executor = gn.Executor([product, product.transpose((0, 2, 1)) @ x], max_batch=4, device="cpu")
    given = np.arange(24).reshape(4, 2, 3).astype(dtype)
    expected = given @ given.reshape(4, 3, 2)
    assert {step.kernel for step in executor.plan.steps} == {"matmul"}
    for value, wanted in zip(
        executor.run({x: given, y: given.reshape(4, 3, 2)}), [expected, expected.swapaxes(1, 2) @ given], strict=True
    ):
        np.testing.assert_array_equal(value, wanted)


def test_a_batch_that_a_transpose_moves() -> None:
    with gn.Graph():
        x = gn.placeholder("x", (5, Dim(1), 3))
        product = x.transpose((1, 0, 2)) @ x.transpose((1, 2, 0))
        executor = gn.Executor([product], max_batch=4, device="cpu")
    given = np.random.default_rng(0).standard_normal((5, 4, 3)).astype(np.float32)
    expected = given.transpose(1, 0, 2) @ given.transpose(1, 2, 0)
    np.testing.assert_allclose(executor.run({x: given})[0], expected, rtol=1e-5, atol=1e-6)


def test_bodies_stay_small() -> None:
    """A compiler's time grows with them."""
    for lanes in LANES:
        for rows, terms, columns in ((100, 100, 100), (31, 7, 47), (8, 16, 1000), (1, 1000, 11)):
            row_major = Factor(True, (), terms, 1), Factor(False, (), columns, 1)
            text = print_product(Product((), rows, terms, columns, *row_major), "k", lanes)
            assert len(text.splitlines()) < 300


# Networks.


def attention(x: gn.Node, heads: int) -> gn.Node:
    """Multi-head attention of each example's rows to each other."""
    _, steps, size = x.spec.bind(1).static_shape
    query, key, value = (
        gn.nn.Linear(size, size)(x).reshape((-1, steps, heads, size // heads)).transpose((0, 2, 1, 3)) for _ in range(3)
    )
    weights = ops.softmax(query @ key.transpose((0, 1, 3, 2)) / (size / heads) ** 0.5)
    joined = (weights @ value).transpose((0, 2, 1, 3)).reshape((-1, steps, size))
    return gn.nn.Linear(size, size)(joined)


def normalized(x: gn.Node, name: str) -> gn.Node:
    """Layer normalization."""
    size = x.spec.bind(1).static_shape[-1]
    centered = x - x.mean(-1, keepdims=True)
    scaled = centered / ops.sqrt((centered * centered).mean(-1, keepdims=True) + 1e-5)
    weight = gn.variable(f"{name}.weight", np.ones(size, np.float32))
    return scaled * weight + gn.variable(f"{name}.bias", np.zeros(size, np.float32))


def attention_network() -> gn.Node:
    return attention(gn.placeholder("x", (None, 8, 16)), heads=1)


def encoder() -> gn.Node:
    x = gn.placeholder("x", (None, 8, 16))
    attended = normalized(x + attention(x, heads=4), "first")
    inner = gn.nn.Linear(64, 16)(ops.gelu(gn.nn.Linear(16, 64)(attended)))
    return normalized(attended + inner, "second")


def training(network: Callable[[], gn.Node], device: str) -> tuple[gn.Graph, gn.Executor]:
    with gn.Graph(seed=0) as graph:
        labels = gn.placeholder("labels", (None,), "int32")
        loss = ops.cross_entropy(gn.nn.Linear(16, 10)(network().mean(1)), labels)
        updates = optim.SGD(0.1, momentum=0.9).minimize(loss)
        return graph, gn.Executor([loss], updates, max_batch=21, device=device, threads=2, verify=True)


@pytest.mark.parametrize("network", [attention_network, encoder])
def test_training_is_one_segment(network: Callable[[], gn.Node]) -> None:
    found, steps = [], 0
    for device in ("numpy", "cpu"):
        graph, executor = training(network, device)
        steps = len(executor.plan.steps)
        generator = np.random.default_rng(0)
        for batch in (21, 1, 8, 13):
            x = generator.standard_normal((batch, 8, 16)).astype(np.float32)
            executor.run({"x": x, "labels": generator.integers(0, 10, batch).astype(np.int32)})
        found.append([graph.get_value(variable) for variable in graph.variables])
    assert steps == 1  # the last one's, the CPU's
    for expected, actual in zip(*found, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
