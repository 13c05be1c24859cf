"""Running sums and products, recurrences, products and orders along an axis, compiled."""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np
import pytest

import graphnn as gn
from compiled_graphs import Cases, between, cases_of, check_cases, check_under_sanitizers, compiled, normal
from graphnn import ops, optim
from graphnn.compiler.targets.c.toolchain import find_compiler, unavailable_reason
from graphnn.compiler.targets.c.units import LONGEST_ORDERED
from graphnn.ops import apply
from graphnn.ops.scan import LinearRecurrence

pytestmark = pytest.mark.skipif(find_compiler() is None, reason=f"no C compiler: {unavailable_reason()}")

SHAPES: list[tuple[int | None, ...]] = [(None, 2, 5, 3), (None, 1), (4, 6)]


def few_numbers(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw from few numbers, so that there are equal ones; NaN, infinities and zeros of both signs among them."""
    return generator.choice([np.nan, np.inf, -np.inf, 0.0, -0.0, 1, 2, -1.5], shape)


def axes(shape: tuple[int | None, ...]) -> range:
    return range(int(shape[0] is None), len(shape))


def running(cases: Cases) -> None:
    for shape in SHAPES:
        x, b = cases.given(shape, normal), cases.given(shape, normal)
        for axis, reverse in product(axes(shape), (False, True)):
            which, by = f"{shape}, axis {axis}, reverse {reverse}", (x,) if axis == 2 else ()
            for exclusive in (False, True):
                cases.add(f"cumsum {which}, exclusive {exclusive}", ops.cumsum(x, axis, exclusive, reverse), *by)
            cases.add(f"cumprod {which}", ops.cumprod(x, axis, reverse=reverse), *by)
            cases.add(f"recurrence {which}", apply(LinearRecurrence(axis, reverse), x, b), *by)
            cases.add(f"prod {which}", ops.prod(x, axis, keepdims=reverse), *by)


def of_other_types(cases: Cases) -> None:
    """Numbers of all types; sums and products of integers wrap."""
    for dtype in ("float64", "int64", "int32", "uint8", "bool"):
        limits = (0, 2) if dtype in ("bool", "float64") else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        x = cases.given((None, 7, 2), between(*limits), dtype)
        cases.add(f"cumsum of {dtype}", ops.cumsum(x, 1))
        cases.add(f"cumprod of {dtype}, exclusive", ops.cumprod(x, 1, exclusive=True))
        cases.add(f"prod of {dtype}", ops.prod(x, 1))
        few = cases.given((None, 7, 2), between(0, 2 if dtype == "bool" else 4), dtype)
        cases.add(f"argsort of {dtype}", ops.argsort(few, 1))
        cases.add(f"argsort of {dtype}, descending", ops.argsort(few, 1, descending=True))
        cases.add(f"argmax of {dtype}", ops.argmax(few, 1))


def orders(cases: Cases) -> None:
    for shape in SHAPES:
        x, ordinary = cases.given(shape, few_numbers), cases.given(shape, normal)
        for axis, flag in product(axes(shape), (False, True)):
            which = f"{shape}, axis {axis}, {flag}"
            cases.add(f"argsort {which}", ops.argsort(x, axis, descending=flag))
            cases.add(f"sort {which}", ops.sort(ordinary, axis, descending=flag), ordinary)
            for k in {1, max(1, x.spec.bind(1).static_shape[axis] - 1)}:
                cases.add(f"topk {k} {which}", ops.topk(x, k, axis, largest=flag)[1])


all_cases = partial(cases_of, running, of_other_types, orders)


@pytest.mark.parametrize("lanes", [4, 16])
def test_values(lanes: int) -> None:
    cases = all_cases()
    check_cases(cases, compiled(cases, lanes, threads=2), lanes)


def check_with_sanitizers() -> None:
    cases = all_cases()
    check_cases(cases, compiled(cases, 8, threads=2, with_sanitizers=True), 8)


def test_nothing_is_read_or_written_out_of_bounds() -> None:
    check_under_sanitizers(__file__, "check_with_sanitizers")


def test_a_network_with_orders_and_sums_trains_in_one_segment() -> None:
    losses = {}
    for device in ("cpu", "numpy"):
        with gn.Graph(seed=0):
            x, labels = gn.placeholder("x", (None, 12)), gn.placeholder("labels", (None,), "int32")
            best, _ = ops.topk(gn.nn.Linear(12, 16)(x), 8)
            hidden = ops.cumsum(best, 1) * ops.prod(best * 0.1 + 1, 1, keepdims=True)
            loss = ops.nll_loss(ops.log_softmax(gn.nn.Linear(8, 4)(hidden)), labels)
            executor = gn.Executor([loss], optim.SGD(0.01).minimize(loss), max_batch=20, device=device)
        generator = np.random.default_rng(0)
        feeds = [
            {
                x: generator.standard_normal((n, 12)).astype(np.float32),
                labels: generator.integers(0, 4, n).astype(np.int32),
            }
            for n in (20, 7, 20, 1)
        ]
        losses[device] = [executor.run(feed)[0] for feed in feeds]
        if device == "cpu":
            assert [step.kernel for step in executor.plan.steps] == ["segment_0"]
    np.testing.assert_allclose(losses["cpu"], losses["numpy"], rtol=1e-4)


def test_long_lines_and_the_batch_are_ordered_by_numpy() -> None:
    with gn.Graph():
        long, wide = gn.placeholder("long", (None, LONGEST_ORDERED + 1)), gn.placeholder("wide", (None, 3))
        results = [ops.argsort(long), ops.argsort(wide, 0), ops.cumsum(wide, 0), ops.prod(wide, 0)]
        executor = gn.Executor(results, max_batch=4)
    assert not any(step.kernel.startswith("segment") for step in executor.plan.steps)
