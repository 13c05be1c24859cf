"""The printed kernels of pooling, softmax, cross-entropy and one-hot, compiled and compared with the ops' values."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from compiled_kernels import EXPORT, HEADERS, aligned, call, from_lanes, run_under_sanitizers, to_lanes
from graphnn.compiler.targets.c.build import Compiler
from graphnn.compiler.targets.c.cache import load_library
from graphnn.compiler.targets.c.rows import has_row_kernel, print_row_kernel
from graphnn.ops import dtypes
from graphnn.ops.avg_pool import AvgPool2d, AvgPool2dGradient
from graphnn.ops.context import apply
from graphnn.ops.evaluation import evaluate_op
from graphnn.ops.graph import Graph
from graphnn.ops.index import OneHot
from graphnn.ops.loss import CrossEntropy
from graphnn.ops.max_pool import MaxPool2d, MaxPool2dGather, MaxPool2dGradient, MaxPool2dIndices
from graphnn.ops.node import Node
from graphnn.ops.norm import LogSoftmax, Softmax
from graphnn.ops.op import Op
from graphnn.ops.reduce import Argmax
from graphnn.ops.spec import TensorSpec
from graphnn.ops.state import placeholder
from samples.pool import CASES as SAMPLED
from samples.pool import MAX_CASES as SAMPLED_WITH_DILATION
from samples.pool import Case as Pooling

EXAMPLES = 7
INF, NAN = np.inf, np.nan
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Case:
    """An op's node on placeholders, and values for a block that is not quite full."""

    name: str
    node: Node
    values: tuple[np.ndarray, ...]
    is_exact: bool

    def expected(self, batch: int) -> np.ndarray:
        """Return the value of the first examples; where rounding may differ, from numbers in double precision."""
        specs = [given.spec.bind(batch) for given in self.node.inputs]
        out, values = self.node.spec.bind(batch), [x[:batch] for x in self.values]
        if not self.is_exact:
            specs, out = [as_double(spec) for spec in specs], as_double(out)
            values = [x.astype(np.float64) if x.dtype == np.float32 else x for x in values]
        return evaluate_op(self.node.op, out, values, specs)


def as_double(spec: TensorSpec) -> TensorSpec:
    return spec.with_dtype(dtypes.float64) if spec.dtype is dtypes.float32 else spec


def case(name: str, op: Op, *values: np.ndarray, is_exact: bool = True) -> Case:
    with Graph():
        given = [placeholder(f"x{i}", (None, *x.shape[1:]), str(x.dtype)) for i, x in enumerate(values)]
        return Case(f"{name}, {op.label}", apply(op, *given), values, is_exact)


def messy(seed: int, *shape: int) -> np.ndarray:
    """Return few different numbers, NaN, infinities and zeros of both signs among them; an example of -inf alone."""
    values = [NAN, INF, -INF, 0.0, -0.0, 1, 2, 3, -1.5, -2]
    weights = np.array([1, 1, 4, 2, 2, 3, 3, 3, 3, 3])
    chosen = np.random.default_rng(seed).choice(values, shape, p=weights / weights.sum())
    chosen[0] = -INF
    return chosen.astype(np.float32)


def numbers(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def integers(seed: int, low: int, high: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


# Pooling.

MORE_POOLING = [
    Pooling("2 × 2 as in the models", (None, 3, 14, 14), (2, 2), (2, 2)),
    Pooling("3 × 3, stride 2, padding", (None, 2, 14, 13), (3, 3), (2, 2), ((1, 1), (1, 1))),
    Pooling("more places than are printed", (None, 2, 10, 15), (5, 5), (5, 5)),
    Pooling("more places than are printed, padding", (None, 1, 9, 8), (5, 4), (2, 3), ((2, 1), (2, 2))),
    Pooling("a last window that just fits in ceil_mode", (None, 2, 5, 5), (2, 2), (2, 2), ceil_mode=True),
    Pooling("one element", (None, 1, 1, 1), (1, 1), (1, 1)),
]
WITH_DILATION = [
    Pooling("windows between the elements", (None, 1, 2, 2), (2, 2), (1, 1), ((1, 1), (1, 1)), dilation=(3, 3)),
    Pooling("dilation without overlap", (None, 2, 9, 8), (2, 2), (4, 4), dilation=(2, 3)),
]


def is_batched(p: Pooling) -> bool:
    return p.x[0] is None


def shapes(p: Pooling) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of images and of what they are pooled to."""
    images, pooled = (tuple(size or EXAMPLES for size in shape) for shape in (p.x, p.y))
    return images, pooled


def pooling_cases(seed: int) -> Iterator[Case]:
    for p in filter(is_batched, (*SAMPLED_WITH_DILATION, *MORE_POOLING, *WITH_DILATION)):
        image, pooled = shapes(p)
        index = "uint8" if p.kernel[0] * p.kernel[1] <= 256 else "int32"
        indices = integers(seed, 0, p.kernel[0] * p.kernel[1], pooled, index)
        yield case(p.name, MaxPool2d(*p.max_attributes), messy(seed, *image))
        yield case(p.name, MaxPool2dIndices(*p.max_attributes), messy(seed, *image))
        yield case(p.name, MaxPool2dGradient(*p.max_attributes, p.size), numbers(seed, *pooled), indices)
        yield case(p.name, MaxPool2dGather(*p.max_attributes), messy(seed, *image), indices)
    for p, counted in product(filter(is_batched, (*SAMPLED, *MORE_POOLING)), (True, False)):
        image, pooled = shapes(p)
        attributes = p.kernel, p.stride, p.padding, p.ceil_mode, counted
        name = p.name if counted else f"{p.name}, padding not counted"
        yield case(name, AvgPool2d(*attributes), numbers(seed, *image), is_exact=False)
        yield case(name, AvgPool2dGradient(*attributes, p.size), numbers(seed, *pooled))
    for p in MORE_POOLING[:4]:
        image, _ = shapes(p)
        for dtype in ("uint8", "int32", "int64"):
            limits = np.iinfo(dtype)
            low = integers(seed, limits.min, limits.min + 2, image, dtype)
            high = integers(seed, limits.max - 5, limits.max, image, dtype)
            x = np.where(integers(seed + 1, 0, 3, image, "uint8") > 0, low, high)
            yield case(f"{p.name}, {dtype}", MaxPool2d(*p.max_attributes), x)
            yield case(f"{p.name}, {dtype}", MaxPool2dIndices(*p.max_attributes), x)


# Softmax and its kin.


def logits(seed: int, *shape: int) -> np.ndarray:
    """Return examples of different sizes: ordinary, large, equal, with NaN, with an infinity, with -inf alone."""
    x = 3 * numbers(seed, *shape)
    x[1] *= 1000
    x[2] = 5
    flat = x.reshape(len(x), -1)
    flat[3, flat.shape[1] // 2], flat[4, -1] = NAN, INF
    flat[5], flat[6, 0] = -INF, -INF
    return x


def row_cases(seed: int) -> Iterator[Case]:
    for op, shape in product((Softmax, LogSoftmax), ((10,), (1,), (4, 3, 5))):
        for axis in range(1, len(shape) + 1):
            for signed in {axis, axis - len(shape) - 1}:
                x = logits(seed, EXAMPLES, *shape)
                yield case(f"{shape}, axis {signed}", op(signed), x, is_exact=False)
    for dtype, shape in product(("uint8", "int32", "int64"), ((10,), (3, 4, 5), (1,))):
        labels = integers(seed, 0, shape[-1], (EXAMPLES, *shape[:-1]), dtype)
        yield case(f"{shape}, {dtype} labels", CrossEntropy(), logits(seed, EXAMPLES, *shape), labels, is_exact=False)
    for dtype, result in product(
        ("uint8", "int32", "int64"), ("float32", "uint8", "int32", "int64", "float64", "bool")
    ):
        indices = integers(seed, 0, 6, (EXAMPLES, 3), dtype)
        if dtype != "uint8":
            indices[:, 1] = [-1, -256, 5, 2**31 - 1, 256, 0, 1]
        if dtype == "int64":
            indices[:2, 2] = 2**32, 2**32 + 1
        yield case(f"{dtype} to {result}", OneHot(5, dtypes.as_dtype(result)), indices)
    for shape, keepdims in product(((10,), (1,), (4, 3, 5)), (False, True)):
        for axis in range(1, len(shape) + 1):
            yield case(f"{shape}, axis {axis}", Argmax(axis, keepdims), messy(seed, EXAMPLES, *shape))


ALL_CASES = [*pooling_cases(seed=1), *row_cases(seed=2)]
SOME = slice(None, None, 7)  # of the cases, for vectors that other machines have
NUMBERS = {8: range(len(ALL_CASES)), **dict.fromkeys((4, 16), range(len(ALL_CASES))[SOME])}


def print_unit(lanes: int) -> str:
    parts = [f"#define LANES {lanes}", '#include "support.h"']
    for number in NUMBERS[lanes]:
        node = ALL_CASES[number].node
        given = [f"x{i}" for i in range(len(node.inputs))]
        parameters = ", ".join(f"const void *{name}" for name in given)
        parts.append(print_row_kernel(node, f"kernel{number}"))
        parts.append(f"{EXPORT}void lanes{lanes}_{number}({parameters}, void *y)")
        parts.append(f"{{ kernel{number}({', '.join([*given, 'y'])}); }}")
    return "\n".join(parts)


UNITS = {f"rows{lanes}.c": print_unit(lanes) for lanes in NUMBERS}


@pytest.fixture(scope="module")
def library(compiler: Compiler, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return load_library(UNITS, HEADERS, compiler, folder=tmp_path_factory.mktemp("rows"))


def check(library: ctypes.CDLL, lanes: int, number: int) -> None:
    chosen, valid = ALL_CASES[number], min(EXAMPLES, lanes - 1)
    expected = chosen.expected(valid)
    # What the lanes beyond hold must not matter: a label or an index that there is not, too.
    blocks = [to_lanes(x[:valid], lanes, NAN if x.dtype.kind == "f" else 99) for x in chosen.values]
    result = aligned((*expected.shape[1:], lanes), chosen.node.dtype.interface, fill=7)
    call(library, f"lanes{lanes}_{number}", *blocks, result)
    actual = from_lanes(result, valid)
    if chosen.is_exact:
        np.testing.assert_array_equal(actual, expected)
    else:
        np.testing.assert_allclose(actual, expected, rtol=TOLERANCE, atol=TOLERANCE)


def check_all(library: ctypes.CDLL) -> None:
    """Check the library with sanitizers."""
    for lanes, numbers_of_cases in NUMBERS.items():
        for number in numbers_of_cases:
            check(library, lanes, number)


@pytest.mark.parametrize("number", NUMBERS[8], ids=[each.name for each in ALL_CASES])
def test_value(library: ctypes.CDLL, number: int) -> None:
    assert has_row_kernel(ALL_CASES[number].node)
    check(library, 8, number)


@pytest.mark.parametrize("lanes", [4, 16])
def test_other_vectors(library: ctypes.CDLL, lanes: int) -> None:
    for number in NUMBERS[lanes]:
        check(library, lanes, number)


def test_a_certain_and_right_prediction_costs_zero_without_a_sign(library: ctypes.CDLL) -> None:
    found = next(i for i, each in enumerate(ALL_CASES) if each.name.startswith("(10,), int32 labels"))
    x = np.zeros((8, 10), np.float32)
    x[:, 3] = 1000
    loss = aligned(8, fill=7)
    call(library, f"lanes8_{found}", to_lanes(x, 8), to_lanes(np.full(8, 3, np.int32), 8), loss)
    np.testing.assert_array_equal(loss, np.zeros(8))
    assert not np.signbit(loss).any()


def test_windows_inside_are_printed_without_conditions() -> None:
    node = next(each.node for each in ALL_CASES if each.name.startswith("2 × 2 as in the models, max_pool2d"))
    text = print_row_kernel(node, "pool")
    assert "if (" not in text
    assert text.count("value = image[") == 3  # the first place is what the others are compared with


def test_nothing_is_read_or_written_out_of_bounds(compiler: Compiler, tmp_path: Path) -> None:
    run_under_sanitizers(compiler, UNITS, tmp_path, __file__, "check_all")
