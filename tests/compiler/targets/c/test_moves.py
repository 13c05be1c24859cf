"""Kernels that move elements: compared with the ops' values, and networks made of them as one native segment."""

from __future__ import annotations

import ctypes
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

import graphnn as gn
from compiled_graphs import Cases, batches, check_cases, check_threads, check_under_sanitizers, compiled, normal
from compiled_kernels import EXPORT, HEADERS, aligned, call, from_lanes, run_under_sanitizers, to_lanes
from graphnn import ops, optim
from graphnn.compiler.targets import devices
from graphnn.compiler.targets.c.build import Compiler
from graphnn.compiler.targets.c.cache import load_library
from graphnn.compiler.targets.c.expressions import C_TYPES
from graphnn.compiler.targets.c.loops import PARALLEL_FROM
from graphnn.compiler.targets.c.moves import print_move
from graphnn.compiler.targets.c.toolchain import find_compiler, unavailable_reason
from graphnn.ops.context import apply
from graphnn.ops.evaluation import evaluate_op
from graphnn.ops.op import Op
from graphnn.ops.shape import Transpose
from graphnn.ops.slicing import Concat, Pad, Slice, SliceGradient
from graphnn.ops.spec import Dim

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason=f"no C compiler: {unavailable_reason()}")
N = Dim(1)
LANES = (4, 8)
SIDE = math.isqrt(PARALLEL_FROM) + 2


@dataclass(frozen=True)
class Case:
    """An op and the shapes of its inputs, without the batch; or with none at all."""

    op: Op
    shapes: tuple[tuple[int, ...], ...]
    dtype: str = "float32"
    batched: bool = True

    def node(self) -> gn.Node:
        """Return the op on placeholders."""
        first = (None,) if self.batched else ()
        with gn.Graph():
            given = [gn.placeholder(f"x{i}", (*first, *shape), self.dtype) for i, shape in enumerate(self.shapes)]
            return apply(self.op, *given)

    def values(self, batch: int) -> list[np.ndarray]:
        """Return inputs of which all numbers differ, as far as the type has so many."""
        first = (batch,) if self.batched else ()
        generator = np.random.default_rng(len(self.shapes))
        sizes = [(*first, *shape) for shape in self.shapes]
        return [generator.permutation(math.prod(size)).reshape(size).astype(self.dtype) for size in sizes]


def take(*spans: tuple[int, int, int]) -> Slice:
    """Return the slice of a batched value by (start, stop, step) on each axis of an example."""
    starts, stops, steps = zip((0, N, 1), *spans, strict=True)
    return Slice(starts, stops, steps)


def take_static(*spans: tuple[int, int, int]) -> Slice:
    return Slice(*zip(*spans, strict=True))


CASES = [
    Case(take((1, 4, 1), (0, 3, 1)), ((5, 3),)),  # in one piece
    Case(take((0, 5, 1), (1, 3, 1)), ((5, 3),)),
    Case(take((4, -1, -1), (0, 3, 2)), ((5, 3),)),
    Case(take((6, 0, -2), (1, 2, 1), (3, -1, -3)), ((7, 2, 4),)),
    Case(take((2, 3, 1)), ((4,),), "uint8"),
    Case(SliceGradient(take((1, 4, 1), (0, 3, 1)), (N, 5, 3)), ((3, 3),)),
    Case(SliceGradient(take((4, -1, -1), (0, 3, 2)), (N, 5, 3)), ((5, 2),)),
    Case(SliceGradient(take((6, 0, -2), (1, 2, 1), (3, -1, -3)), (N, 7, 2, 4)), ((3, 1, 2),)),
    Case(SliceGradient(take((1, 12, 5)), (N, 14)), ((3,),), "float64"),
    Case(Pad(((0, 0), (1, 2))), ((3,),)),
    Case(Pad(((0, 0), (0, 0), (1, 1), (1, 1))), ((2, 3, 4),)),
    Case(Pad(((0, 0), (2, 0), (0, 0), (0, 3)), -1.5), ((2, 3, 1),)),
    Case(Pad(((0, 0), (0, 1), (3, 0)), 7), ((2, 2),), "int64"),
    Case(Pad(((0, 0), (1, 1)), 1), ((3,),), "bool"),
    Case(Pad(((0, 0), (1, 0)), -math.inf), ((3,),)),
    Case(Concat(1), ((3,), (1,), (4,))),
    Case(Concat(1), ((3, 2, 2), (1, 2, 2))),
    Case(Concat(3), ((3, 2, 2), (3, 2, 5), (3, 2, 1))),
    Case(Concat(2), ((3, 2), (3, 1)), "int32"),
    Case(Transpose((0, 2, 1)), ((3, 5),)),
    Case(Transpose((0, 2, 3, 1)), ((3, 5, 2),)),
    Case(Transpose((0, 3, 1, 2)), ((3, 5, 2),), "float64"),
    Case(take_static((1, 3, 1), (4, -1, -2)), ((4, 5),), batched=False),
    Case(take_static((SIDE - 1, -1, -1), (0, SIDE, 1)), ((SIDE, SIDE),), batched=False),
    Case(SliceGradient(take_static((7, 0, -3), (0, 4, 1)), (9, 4)), ((3, 4),), batched=False),
    Case(Pad(((1, 0), (2, 3)), 2.5), ((2, 2),), batched=False),
    Case(Pad(((SIDE, SIDE), (0, SIDE))), ((SIDE, SIDE),), "int32", batched=False),
    Case(Concat(0), ((2, 3), (4, 3)), batched=False),
    Case(Concat(1), ((SIDE, SIDE), (SIDE, 1)), batched=False),
    Case(Transpose((2, 0, 1)), ((2, 3, 4),), batched=False),
    Case(Transpose((1, 0)), ((SIDE, SIDE + 1),), batched=False),
    Case(Transpose(()), ((),), batched=False),
]


def unit(lanes: int) -> str:
    """All kernels, and functions that call them from outside: those without a batch with several threads."""
    parts = [f"#define LANES {lanes}", '#include "support.h"']
    for number, case in enumerate(CASES):
        node = case.node()
        name = f"l{lanes}_{number}"
        parts.append(print_move(node, f"k_{name}", lanes))
        kind = C_TYPES[node.dtype]
        names = [f"x{place}" for place in range(len(node.inputs))]
        parameters = ", ".join([*(f"const {kind} *{x}" for x in names), f"{kind} *y"])
        passed = ", ".join([*names, "y"] if case.batched else [*names, "y", "0"])
        threads = "" if case.batched else "\n#pragma omp parallel num_threads(3)\n"
        parts.append(f"{EXPORT}void {name}({parameters}) {{{threads} k_{name}({passed}); }}")
    return "\n".join(parts)


UNITS = {f"moves{lanes}.c": unit(lanes) for lanes in LANES}


@pytest.fixture(scope="module")
def library(compiler: Compiler, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return load_library(UNITS, HEADERS, compiler, folder=tmp_path_factory.mktemp("moves"))


def check_case(library: ctypes.CDLL, lanes: int, number: int) -> None:
    """Check that each element of the result is the right one; what stands in it before is none of them."""
    case = CASES[number]
    node = case.node()
    valid = lanes - 1 if case.batched else 1
    values = case.values(valid)
    out = node.spec.bind(valid)
    expected = evaluate_op(case.op, out, values, [given.spec.bind(valid) for given in node.inputs])
    if case.batched:
        blocks = [to_lanes(x, lanes, 99) for x in values]
        result = aligned((*expected.shape[1:], lanes), expected.dtype, fill=77)
    else:
        blocks = [aligned(x.shape, x.dtype) for x in values]
        for block, x in zip(blocks, values, strict=True):
            block[...] = x
        result = aligned(expected.shape, expected.dtype, fill=77)
    call(library, f"l{lanes}_{number}", *blocks, result)
    np.testing.assert_array_equal(from_lanes(result, valid) if case.batched else result, expected)


def check_all(library: ctypes.CDLL) -> None:
    """Check the library with sanitizers."""
    for lanes in LANES:
        for number in range(len(CASES)):
            check_case(library, lanes, number)


@pytest.mark.parametrize("number", range(len(CASES)))
@pytest.mark.parametrize("lanes", LANES)
def test_each_element_goes_to_its_place(library: ctypes.CDLL, lanes: int, number: int) -> None:
    check_case(library, lanes, number)


def test_nothing_is_read_or_written_out_of_bounds(compiler: Compiler, tmp_path: Path) -> None:
    run_under_sanitizers(compiler, UNITS, tmp_path, __file__, "check_all")


# Within programs.

Sizes = dict[str, tuple[int, ...]]
Built = tuple[gn.Node, Sizes]


def residual() -> Built:
    """A residual block, its input joined to its result, a border."""
    x = gn.placeholder("x", (None, 3, 5, 5))
    h = ops.relu(gn.nn.Conv2d(3, 3, 3, padding=1)(x)) + x
    h = ops.pad(ops.concat([h, x], 1), ((0, 0), (0, 0), (1, 1), (2, 0)))
    return gn.nn.Linear(6 * 7 * 7, 4)(h.flatten(1)), {"x": (3, 5, 5)}


def gated() -> Built:
    """A gated linear unit, whose halves are parts of one product."""
    x = gn.placeholder("x", (None, 6))
    h = gn.nn.Linear(6, 10)(x)
    return gn.nn.Linear(5, 4)(h[:, :5] * ops.sigmoid(h[:, 5:])), {"x": (6,)}


def recurrent() -> Built:
    """Four steps of an LSTM cell over parts of one input."""
    x = gn.placeholder("x", (None, 4, 3))
    given, kept = gn.nn.Linear(3, 20), gn.nn.Linear(5, 20)
    h = cell = gn.constant(np.zeros((1, 5), np.float32))
    for step in range(4):
        gates = given(x[:, step]) + (kept(h) if step else 0)
        take, forget, new, show = ops.split(gates, 5, axis=1)
        cell = ops.sigmoid(forget) * cell + ops.sigmoid(take) * ops.tanh(new)
        h = ops.sigmoid(show) * ops.tanh(cell)
    return gn.nn.Linear(5, 4)(h), {"x": (4, 3)}


def shuffled() -> Built:
    """Moves with steps, backwards and around; of what has a batch, and of a weight."""
    x = gn.placeholder("x", (None, 4, 6))
    weight = gn.variable("weight", np.random.default_rng(1).standard_normal((8, 6)).astype(np.float32))
    h = ops.concat([ops.flip(x, 2), ops.roll(x, 2, 1), ops.tile(x[:, ::2, ::-3], (1, 2, 3))], 1)
    h = h.transpose((0, 2, 1)) * ops.transpose(weight[::-2])[:, 1:2]
    h = ops.stack([h[:, 1:5], ops.exp(h[:, :4])], 2)
    return gn.nn.Linear(4 * 2 * 12, 4)(h.flatten(1)), {"x": (4, 6)}


NETWORKS = [residual, gated, recurrent, shuffled]


def training(build: Callable[[], Built], device: str, threads: int = 2) -> tuple[gn.Graph, gn.Executor, Sizes]:
    with gn.Graph(seed=3) as graph:
        logits, sizes = build()
        labels = gn.placeholder("labels", (None,), "int32")
        loss = ops.cross_entropy(logits, labels)
        train = optim.SGD(0.1, momentum=0.9).minimize(loss)
    native = {"threads": threads, "verify": True} if device == "cpu" else {}
    return graph, gn.Executor([loss], updates=train, device=device, max_batch=max(batches(8)), **native), sizes  # type: ignore[arg-type]  # as given


def drawn(sizes: Sizes, batch: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(batch)
    feed = {name: generator.standard_normal((batch, *size)).astype(np.float32) for name, size in sizes.items()}
    return {**feed, "labels": generator.integers(0, 4, batch).astype(np.int32)}


def trained(build: Callable[[], Built], device: str, threads: int = 2) -> dict[str, np.ndarray]:
    """Return the losses of a few steps of training, and the variables after them."""
    compiler = find_compiler()
    assert compiler is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "find_compiler", lambda: replace(compiler, vector_bytes=32))
        graph, executor, sizes = training(build, device, threads)
    if device == "cpu":
        assert [step.kernel for step in executor.plan.steps] == ["segment_0"]  # the whole step is one call
    losses = [executor.run(drawn(sizes, batch))[0] for batch in batches(8)]
    return {"losses": np.array(losses), **{name: graph.get_value(name) for name in graph.variables}}


@needs_compiler
@pytest.mark.parametrize("build", NETWORKS)
def test_networks_train_as_on_numpy_in_one_segment(build: Callable[[], Built]) -> None:
    native, plain = trained(build, "cpu"), trained(build, "numpy")
    for name, wanted in plain.items():
        np.testing.assert_allclose(
            native[name], wanted, rtol=1e-4, atol=1e-5 * max(1e-3, float(np.abs(wanted).max())), err_msg=name
        )


@needs_compiler
@pytest.mark.parametrize("build", [residual, gated])
def test_same_bits_again(build: Callable[[], Built]) -> None:
    first, second = (trained(build, "cpu", threads=3) for _ in range(2))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def all_moves(*names: str) -> Cases:
    """Every function that moves elements, or some, with gradients: of what has a batch, and of what has none."""
    cases = Cases()
    with gn.Graph():
        for first, name in itertools.product((None, 3), names or MOVES):
            x = cases.given((first, 4, 6), normal)
            cases.add(f"{name} of {first}", MOVES[name](ops.tanh(x)), x)
    return cases


MOVES: dict[str, Callable[[gn.Node], gn.Node]] = {
    "slice in one piece": lambda x: x[:, 1:3] * 2,
    "one piece of a piece": lambda x: x[:, 1:4].reshape((-1, 18))[:, 3:15].reshape((-1, 2, 6))[:, 1] * 2,
    "slice with gaps": lambda x: x[:, :, 2:5] + 1,
    "backwards": lambda x: x[:, ::-2, ::-1],
    "flip": lambda x: ops.flip(x, (1, 2)),
    "roll": lambda x: ops.roll(x, (1, -2), (1, 2)),
    "tile": lambda x: ops.tile(x, (1, 2, 3)),
    "repeat_interleave": lambda x: ops.repeat_interleave(x, 3, 1),
    "pad": lambda x: ops.pad(x, ((0, 0), (1, 0), (2, 3)), -2.0),
    "concat": lambda x: ops.concat([x, x[:, :1], x], 1),
    "stack": lambda x: ops.stack([x, -x], 2),
    "split": lambda x: ops.concat([part * k for k, part in enumerate(ops.split(x, (1, 2, 3), 2))], 2),
    "unstack": lambda x: ops.unstack(x, 1)[2] * ops.unstack(x, 1)[0],
    "transpose": lambda x: x.transpose((0, 2, 1)),
    "broadcast": lambda x: x[:, :1].broadcast_to((*x.shape[:1], 5, 6)),
    "diagonal": lambda x: ops.diagonal(x, 1, 1, 2),
}


@needs_compiler
def test_all_moves_and_their_gradients_are_one_segment() -> None:
    cases = all_moves()
    executor = compiled(cases, 4, 2)
    assert len(executor.plan.steps) == 1
    check_cases(cases, executor, 4)


@needs_compiler
def test_programs_stay_within_bounds() -> None:
    check_under_sanitizers(__file__, "check_few_moves")


def check_few_moves() -> None:
    cases = all_moves("one piece of a piece", "backwards", "pad", "concat", "transpose")
    check_cases(cases, compiled(cases, 8, 2, with_sanitizers=True), 8)


@needs_compiler
def test_same_bits_for_any_number_of_threads() -> None:
    check_threads(all_moves("one piece of a piece", "roll", "pad"), 8, (1, 3))


def check_values(fetches: list[gn.Node], feeds: dict[gn.Node, np.ndarray], updates: tuple[gn.Node, ...] = ()) -> int:
    """Require NumPy's values, of variables too; return how many steps the plan has."""
    graph = fetches[0].graph
    before = {name: graph.get_value(name) for name in graph.variables}
    found = []
    executors = [gn.Executor(fetches, updates, max_batch=20, device=device, verify=True) for device in ("cpu", "numpy")]
    for executor in executors:
        found.append([*executor.run(feeds), *(graph.get_value(name) for name in graph.variables)])
        for name, value in before.items():
            graph.set_value(name, value)
    for native, plain in zip(*found, strict=True):
        np.testing.assert_allclose(native, plain, rtol=1e-4, atol=1e-5)
    return len(executors[0].plan.steps)


@needs_compiler
def test_who_reads_a_slice_outside_of_the_segment_finds_it() -> None:
    """Others see it through the whole value's memory, or get a copy where that has gaps in the wrong places."""
    generator = np.random.default_rng(0)
    with gn.Graph():
        x, p = gn.placeholder("x", (None, 8, 6)), gn.placeholder("p", (6, 8))
        feeds = {x: generator.standard_normal((19, 8, 6)), p: generator.standard_normal((6, 8))}
        feeds = {node: value.astype(np.float32) for node, value in feeds.items()}
        y = ops.exp(x)
        half = y.astype("float16")  # which NumPy computes
        whole = [y[:, 2:4], y[:, 1], y[:, ::3], y[:, 2:4].reshape((-1, 12)), x[:, 2:4].reshape((-1, 12)), y]
        others = [y[:, 2:4].astype("float16"), y[:, 2:4].reshape((-1, 12)).astype("float16")]
        back = half.astype("float32")
        joined = [ops.concat([back, y], 1), back[:, 2:4].reshape((-1, 12)), half[:, 1:3].astype("float32") * 2]
        static = [ops.exp(p)[2:4], ops.exp(p)[2:4].reshape((16,)), p[1:3].reshape((16,)), p[1:3] + 1]
        assert check_values(whole[:3], {x: feeds[x]}) == 1
        check_values([*whole, *others, *joined], {x: feeds[x]})
        kernels = [step.kernel for step in gn.Executor(joined[:1], max_batch=20, device="cpu").plan.steps]
        assert any(kernel.startswith("cast") for kernel in kernels)
        assert "identity" not in kernels  # NumPy's part is not put into a whole that compiled code makes elsewhere
        check_values(static, {p: feeds[p]})


@needs_compiler
def test_a_variable_is_written_after_its_old_values_were_moved() -> None:
    changes: list[Callable[[gn.Node], gn.Node]] = [
        lambda v: v[::-1] + 1,
        lambda v: v[0:1] + v,
        lambda v: ops.concat([v[1:], v[:1]], 0),
        lambda v: ops.roll(v, 1, 1) * 2,
        lambda v: ops.flip(v, 0) - v[2:3] + v,
    ]
    for change in changes:
        with gn.Graph():
            v = gn.variable("v", np.arange(24, dtype=np.float32).reshape(4, 6))
            assert check_values([v * 2, v[1:3] - 1], {}, (ops.assign(v, change(v)),)) == 1


@needs_compiler
def test_kernels_are_joined_only_where_one_reads_the_other_directly() -> None:
    """A convolution with its pool, and loops of one shape: not where a slice or a reshape lies between them."""
    generator = np.random.default_rng(0)
    with gn.Graph():
        x, p = gn.placeholder("x", (None, 2, 8, 8)), gn.placeholder("p", (1, 3))
        weight = gn.variable("weight", generator.standard_normal((6, 2, 3, 3)).astype(np.float32))
        pooled = [
            ops.max_pool2d(ops.conv2d(x, weight, padding=1)[:, 2:4], 2),
            ops.max_pool2d(ops.conv2d(x * 2, weight, padding=1).reshape((-1, 3, 16, 8)), 2),
        ]
        u = ops.exp(p)
        same_shape = [u * u.reshape((3,)), u / u[:, 1:2]]
        images, row = generator.standard_normal((11, 2, 8, 8)), generator.standard_normal((1, 3))
        assert check_values(pooled, {x: images.astype(np.float32)}) == 1
        for value in same_shape:  # one by one: that others read `u` too would keep its loop apart
            assert check_values([value], {p: row.astype(np.float32)}) == 1


@needs_compiler
def test_no_copy_is_made_for_numpy_alone() -> None:
    """Matrices of doubles are multiplied on NumPy, which reads a transposed one as it lies."""
    with gn.Graph():
        x = gn.placeholder("x", (None, 3), "float64")
        weight = gn.variable("weight", np.ones((4, 3)))
        executor = gn.Executor([x @ weight.transpose()], max_batch=5, device="cpu")
    assert [step.kernel for step in executor.plan.steps] == ["matmul"]
