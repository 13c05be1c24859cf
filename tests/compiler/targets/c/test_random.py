"""Kernels that draw random numbers, against Philox written with Python's integers, and whole plans against NumPy's."""

from __future__ import annotations

import ctypes
import math
import re
import subprocess
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import graphnn as gn
from compiled_kernels import EXPORT, HEADERS, aligned, call, run_under_sanitizers
from graphnn import ops, optim
from graphnn.compiler.targets.c.build import Compiler
from graphnn.compiler.targets.c.cache import load_library
from graphnn.compiler.targets.c.expressions import C_TYPES
from graphnn.compiler.targets.c.random import number_text, print_random
from graphnn.compiler.targets.c.segment import SegmentPlan
from graphnn.compiler.targets.c.target import CTarget
from graphnn.compiler.targets.c.units import is_batched
from graphnn.ops.context import apply
from graphnn.ops.dtypes import as_dtype
from graphnn.ops.graph import Graph
from graphnn.ops.node import Node
from graphnn.ops.random import Random, RandomNormal, RandomUniform
from graphnn.ops.spec import as_shape
from graphnn.ops.state import placeholder
from samples.random import element_words, uniform_of

ULPS = 8
SEED, STREAM = 2**32 - 2, 0xC0FFEE42
STEPS = (0, 3, 2**33 + 5, -1)
LANES = (4, 8, 16)

# Kernels.


def normal_of(words: list[int], dtype: str) -> float:
    """Return a normal number, exact but for the logarithm's and the cosine's argument, which the op rounds."""
    real = np.dtype(dtype).type
    if dtype == "float32":
        u1, u2 = real(words[0]) * real(2.0**-32) + real(2.0**-33), uniform_of(words[1:3], dtype)
    else:
        u1, u2 = real(words[0] * 2**32 + words[1]) * real(2.0**-64) + real(2.0**-65), uniform_of(words[2:], dtype)
    angle = real(2 * math.pi) * real(u2)
    return math.sqrt(-2 * math.log(u1)) * math.cos(angle)


@dataclass(frozen=True)
class Case:
    """A draw: what is drawn, of which type, and with which shape."""

    kind: type[Random]
    dtype: str
    shape: tuple[int | None, ...]

    @property
    def node(self) -> Node:
        """The draw, its step fed."""
        with Graph():
            return apply(
                self.kind(as_shape(self.shape), as_dtype(self.dtype), SEED, STREAM), placeholder("step", (), "int64")
            )

    @property
    def size(self) -> int:
        """How many numbers an example has, or the whole without a batch."""
        return int(np.prod([size for size in self.shape if size is not None], dtype=int))

    def check(self, actual: np.ndarray, words: list[list[int]]) -> None:
        """Require the bits of a uniform number, and a normal one within its ulps, of each element's words."""
        number = uniform_of if self.kind is RandomUniform else normal_of
        expected = np.array([number(each, self.dtype) for each in words], self.dtype)
        if self.kind is RandomUniform:
            np.testing.assert_array_equal(actual, expected)
        else:
            assert (np.abs(actual - expected) <= ULPS * np.spacing(np.abs(expected))).all()


CASES = [
    Case(kind, dtype, shape)
    for kind, dtype, shape in product(
        (RandomUniform, RandomNormal),
        ("float32", "float64"),
        ((None,), (None, 5), (None, 2, 3), (), (1,), (16,), (3, 7), (33,)),
    )
]


def print_unit(lanes: int) -> str:
    parts = [f"#define LANES {lanes}", '#include "support.h"']
    for number, case in enumerate(CASES):
        parts.append(print_random(case.node, f"kernel{number}", lanes))
        parts.append(f"{EXPORT}void lanes{lanes}_{number}(const int64_t *step, void *y, int64_t last)")
        parts.append(f"{{ kernel{number}(step, y, last); }}")
    return "\n".join(parts)


EDGES = (0, 1, 2, 1000, 2**31 - 1, 2**31, 2**32 - 129, 2**32 - 1)
"""Words that Philox makes rarely: the first ones decide how far out a normal number lies."""


def print_edges() -> str:
    """Print a function for each kind of number, which makes it of given words."""
    parts = ["#define LANES 8", '#include "support.h"']
    for case in CASES[::8]:
        number = number_text(case.node.op, "w[{}]")  # type: ignore[arg-type]  # a Random
        parts.append(
            f"{EXPORT}void {case.kind.__name__}_{case.dtype}(const uint32_t *w, {C_TYPES[case.node.dtype]} *y)"
        )
        parts.append(f"{{ *y = {number}; }}")
    return "\n".join(parts)


UNITS = {**{f"random{lanes}.c": print_unit(lanes) for lanes in LANES}, "edges.c": print_edges()}


@pytest.fixture(scope="module")
def library(compiler: Compiler, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return load_library(UNITS, HEADERS, compiler, folder=tmp_path_factory.mktemp("random"))


def check(library: ctypes.CDLL, lanes: int, number: int, step: int) -> None:
    case = CASES[number]
    given = np.array(step, np.int64)
    if not is_batched(case.node):
        flat = aligned(case.size, case.dtype, fill=7)
        call(library, f"lanes{lanes}_{number}", given, flat, 1)
        case.check(flat, [element_words(i, step, SEED, STREAM) for i in range(case.size)])
        return
    # The first blocks, and the one in which the index outgrows 32 bits.
    for block in (0, 3, 2**32 // (lanes * case.size)):
        result = aligned((case.size, lanes), case.dtype, fill=7)
        call(library, f"lanes{lanes}_{number}", given, result, block)
        first = block * lanes * case.size
        indices = range(first, first + lanes * case.size)
        case.check(result.T.ravel(), [element_words(i, step, SEED, STREAM) for i in indices])


def check_all(library: ctypes.CDLL) -> None:
    """Check the library with sanitizers."""
    for lanes, number in product(LANES, range(len(CASES))):
        check(library, lanes, number, STEPS[-1])


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("lanes", LANES)
def test_numbers(library: ctypes.CDLL, lanes: int, step: int) -> None:
    for number in range(len(CASES)):
        check(library, lanes, number, step)


@pytest.mark.parametrize("case", CASES[::8], ids=lambda case: f"{case.kind.__name__} {case.dtype}")
def test_numbers_of_words_that_are_rare(library: ctypes.CDLL, case: Case) -> None:
    for words in product(EDGES, EDGES, (0, 2**32 - 1), EDGES[::3]):
        result = aligned(1, case.dtype, fill=7)
        call(library, f"{case.kind.__name__}_{case.dtype}", np.array(words, np.uint32), result)
        case.check(result, [list(words)])
        if case.kind is RandomUniform:
            assert 0 <= result[0] < 1


def test_nothing_is_undefined(compiler: Compiler, tmp_path: Path) -> None:
    run_under_sanitizers(compiler, UNITS, tmp_path, __file__, "check_all")


@pytest.mark.parametrize("shape", [(None, 128), (1024,)])
def test_a_product_of_a_round_is_one_instruction(
    compiler: Compiler, tmp_path: Path, shape: tuple[int | None, ...]
) -> None:
    if "x86" not in compiler.cpu or compiler.vector_bytes < 32:
        pytest.skip("the names of other machines' instructions are not known here")
    lanes = compiler.vector_bytes // 4
    for name, text in HEADERS.items():
        (tmp_path / name).write_text(text)
    kernel = print_random(Case(RandomUniform, "float32", shape).node, "draw", lanes).removeprefix("static ")
    (tmp_path / "draw.c").write_text(f'#define LANES {lanes}\n#include "support.h"\n{kernel}\n')
    command = [*compiler.command, *compiler.flags, "-S", "-o", "-", "draw.c"]
    text = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    body = text[text.index("\ndraw") :]
    # Ten rounds of two products, less what the first word does not need, for one half of the lanes or for both.
    assert 16 <= len(re.findall(r"\tvpmuludq\t", body)) <= 40
    assert not re.search(r"\tmulx?[lq]?\t", body)


# Plans.


def lanes_of(executor: gn.Executor) -> int:
    target = executor._target
    assert isinstance(target, CTarget)
    return target._lanes


def segment_of(executor: gn.Executor) -> SegmentPlan:
    target = executor._target
    assert isinstance(target, CTarget)
    (program,) = target._programs.values()
    return program.plan


def training(device: str, **options: object) -> tuple[gn.Graph, gn.Executor]:
    """Return a graph and a step of a network with dropout after each of two layers, whose loss and mask are fetched."""
    with gn.Graph(seed=5) as graph:
        x, y = gn.placeholder("x", (None, 12)), gn.placeholder("y", (None,), "int32")
        mask = ops.dropout(ops.relu(gn.nn.Linear(12, 19)(x)) * 0 + 1, 0.3)
        hidden = ops.dropout(ops.relu(gn.nn.Linear(12, 19)(x)) * mask, 0.5)
        loss = ops.cross_entropy(gn.nn.Linear(19, 4)(hidden), y)
        train = optim.SGD(0.1, momentum=0.9).minimize(loss)
    return graph, gn.Executor([loss, mask], train, device=device, max_batch=50, **options)  # type: ignore[arg-type]  # as given


def feed(size: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(size)
    x = generator.standard_normal((size, 12)).astype(np.float32)
    return {"x": x, "y": generator.integers(0, 4, size).astype(np.int32)}


def test_a_network_with_dropout_trains_as_on_numpy_in_one_call() -> None:
    native_graph, native = training("cpu", verify=True, threads=2)
    graph, plain = training("numpy")
    assert [step.kernel for step in native.plan.steps] == ["segment_0"]
    lanes = lanes_of(native)
    for number, size in enumerate((1, lanes - 1, lanes, lanes + 1, 50, 50)):
        (loss, mask), (expected_loss, expected_mask) = native.run(feed(size)), plain.run(feed(size))
        np.testing.assert_array_equal(mask, expected_mask)
        np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
        assert native_graph.get_value("random_step") == number + 1
    for name in graph.variables:
        np.testing.assert_allclose(native_graph.get_value(name), graph.get_value(name), rtol=1e-4, atol=1e-6)


def test_numbers_are_the_same_with_any_number_of_threads() -> None:
    def drawn(threads: int) -> list[np.ndarray]:
        with gn.Graph(seed=1):
            x = gn.placeholder("x", (None, 3))
            noise = [ops.normal((None, 3)), ops.uniform((5000,), -1, 1), ops.normal((33,), dtype="float64")]
            executor = gn.Executor([x + noise[0], *noise[1:]], max_batch=100, threads=threads)
        return [value for _ in range(3) for value in executor.run({x: np.zeros((100, 3), np.float32)})]

    expected = drawn(1)
    for threads in (2, 3, 7):
        for actual, wanted in zip(drawn(threads), expected, strict=True):
            np.testing.assert_array_equal(actual, wanted)


def test_gradients_pass_where_the_mask_does() -> None:
    results = []
    for device in ("cpu", "numpy"):
        with gn.Graph(seed=2):
            x = gn.placeholder("x", (None, 2, 9))
            y = ops.dropout(x * x, 0.25)
            (dx,) = gn.gradients(y.sum(), [x])
            (ddx,) = gn.gradients((dx * dx).sum(), [x])
            executor = gn.Executor([y, dx, ddx], device=device, max_batch=20, training=True, verify=True)
        value = np.random.default_rng(0).standard_normal((17, 2, 9)).astype(np.float32)
        results.append(executor.run({x: value}))
        if device == "cpu":
            assert len(executor.plan.steps) == 1
    y, dx, _ = results[0]
    np.testing.assert_array_equal(y == 0, dx == 0)
    assert 0.1 < (y == 0).mean() < 0.4
    for actual, expected in zip(*results, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(None, 3), (4000,)])
def test_the_step_is_read_before_it_is_written(shape: tuple[int | None, ...]) -> None:
    with gn.Graph() as graph:
        x = gn.placeholder("x", (None, 3))
        noise = ops.uniform(shape)
        executor = gn.Executor([x.sum(0), noise], max_batch=40, threads=2)
    calls = segment_of(executor).calls
    when = {node: (call.level, call.stage) for call in calls if call.unit for node in call.unit.nodes}
    (advance,) = (node for node in when if node.op.label == "assign" and node.inputs[0] is graph.random_step)
    assert when[noise] < when[advance]  # threads meet in between


def test_what_c_has_no_type_or_no_lanes_for_is_drawn_by_numpy() -> None:
    results = []
    for device in ("cpu", "numpy"):
        with gn.Graph(seed=3):
            x = gn.placeholder("x", (None, 4))
            half = ops.uniform((None, 3), dtype="float16")
            pairs = ops.dropout(x.reshape((2 * x.shape[0], 2)) + 1, 0.5)
            executor = gn.Executor([half, pairs], device=device, max_batch=9, training=True)
        results.append(executor.run({x: np.ones((7, 4), np.float32)}))
        if device == "cpu":
            assert [step.kernel for step in executor.plan.steps].count("random_uniform (evaluate)") == 2
    for actual, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(actual, expected)
