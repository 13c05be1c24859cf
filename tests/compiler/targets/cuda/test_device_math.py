"""The functions of device_math.h and shared_math.h, on the emulator against NumPy's, and compiled by nvcc."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cuda_kernels import HEADERS, ORDERS, check_with_nvcc, for_each_architecture, needs_emulator, needs_nvcc
from graphnn.compiler.targets.c.expressions import expression, is_in_table, literal
from graphnn.compiler.targets.cuda.elements import computed_dtype, value_type
from graphnn.compiler.targets.cuda.emulator.machine import EmulatorMachine, Order
from graphnn.compiler.targets.cuda.lowering import kernel_text
from graphnn.ops import dtypes
from graphnn.ops.dtypes import bfloat16_to_float32, float32_to_bfloat16
from graphnn.ops.graph import Graph
from graphnn.ops.random import philox4x32
from graphnn.ops.state import placeholder
from op_samples import all_samples

INF, NAN = np.inf, np.nan
FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    **{
        name: getattr(np, name)
        for name in ("exp", "log", "expm1", "log1p", "tanh", "sinh", "cosh", "sin", "cos", "tan")
    },
    **{name: getattr(np, name.replace("a", "arc", 1)) for name in ("asinh", "acosh", "atanh", "asin", "acos", "atan")},
    "erf": np.vectorize(math.erf),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.logaddexp(x, 0),
}
PAIRS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "atan2": np.arctan2,
    "fmod": np.fmod,
    "remainder": np.remainder,
    "floor_divide": np.floor_divide,
}
INTEGER_PAIRS = ("fmod", "remainder", "floor_divide")
KINDS: dict[str, tuple[str, np.dtype]] = {"float": ("f", np.dtype(np.float32)), "double": ("", np.dtype(np.float64))}
SPECIAL = [0.0, -0.0, 1, -1, 3, -7.5, 0.4, -2.4, 1e-45, -1e-40, 1e30, -3e38, 100, -100, INF, -INF, NAN]
ELEMENTWISE = "for (int i = 0; i < n; i++)"

Run = Callable[..., np.ndarray]


def function_kernels() -> list[str]:
    kernels = []
    for kind, (suffix, _) in KINDS.items():
        for name in FUNCTIONS:
            head = f"GN_KERNEL(1) {name}_{kind}(const {kind} *a, {kind} *y, int n)"
            kernels.append(f"{head} {{ {ELEMENTWISE} y[i] = gn_{name}{suffix}(a[i]); }}")
        for name in PAIRS:
            head = f"GN_KERNEL(1) {name}_{kind}(const {kind} *a, const {kind} *b, {kind} *y, int n)"
            kernels.append(f"{head} {{ {ELEMENTWISE} y[i] = gn_{name}{suffix}(a[i], b[i]); }}")
    for name in (*INTEGER_PAIRS, "power"):
        head = f"GN_KERNEL(1) integer_{name}(const int64_t *a, const int64_t *b, int64_t *y, int n)"
        kernels.append(f"{head} {{ {ELEMENTWISE} y[i] = gn_integer_{name}(a[i], b[i]); }}")
    for name in ("f16", "bf16"):
        load = f"GN_KERNEL(1) load_{name}(const uint16_t *a, float *y, int n)"
        kernels.append(f"{load} {{ {ELEMENTWISE} y[i] = gn_load_{name}(a[i]); }}")
    for name, kind in (("f16", "float"), ("bf16", "float"), ("f16", "double")):
        store = f"GN_KERNEL(1) store_{name}_of_{kind}(const {kind} *a, uint16_t *y, int n)"
        kernels.append(f"{store} {{ {ELEMENTWISE} y[i] = gn_store_{name}(a[i]); }}")
    kernels.append("""
GN_KERNEL(1) philox(const uint64_t *index, const uint64_t *step, const uint32_t *key, uint32_t *y, int n)
{
    for (int i = 0; i < n; i++) {
        const gn_random_words words = gn_philox(index[i], step[i], key[2 * i], key[2 * i + 1]);
        y[4 * i] = words.w0, y[4 * i + 1] = words.w1, y[4 * i + 2] = words.w2, y[4 * i + 3] = words.w3;
    }
}
""")
    return kernels


def literal_kernels() -> list[str]:
    """Print kernels that give numbers of all kinds: an inexact one, the ends of the range, what is no number."""
    kernels = []
    for dtype in (dtypes.float32, dtypes.float64, dtypes.int32, dtypes.int64):
        values = ", ".join(literal(value, dtype) for value in literals(dtype))
        kind = value_type(dtype)
        kernels.append(
            f"GN_KERNEL(1) literals_{dtype}({kind} *y, int n)"
            f"{{ const {kind} values[] = {{{values}}}; {ELEMENTWISE} y[i] = values[i]; }}"
        )
    return kernels


def literals(dtype: dtypes.DType) -> list[float]:
    if dtype.is_floating:
        limits = np.finfo(dtype.storage)
        edges = limits.max, limits.min, limits.tiny, limits.smallest_subnormal
        inexact = np.array([0.1, -1 / 3], dtype.storage)
        return [0.0, -0.0, INF, -INF, NAN, *map(float, (*inexact, *edges))]
    bounds = np.iinfo(dtype.storage)
    return [0, -1, 7, int(bounds.max), int(bounds.min)]


REDUCTIONS: dict[str, Callable[..., np.ndarray]] = {"sum": np.sum, "product": np.prod, "max": np.max, "min": np.min}
BLOCK = 128


def reduction_kernels() -> list[str]:
    kernels = []
    for kind, name in ((kind, name) for kind in ("float", "double", "int", "int64_t") for name in REDUCTIONS):
        kernels.append(f"""
GN_KERNEL({BLOCK}) {name}_of_{kind}(const {kind} *x, {kind} *y, int n)
{{
    GN_SHARED({kind}, shared, 32);
    const {kind} value = x[threadIdx.x];
    y[threadIdx.x] = gn_group_{name}<1>(value);
    y[{BLOCK} + threadIdx.x] = gn_group_{name}<8>(value);
    y[{2 * BLOCK} + threadIdx.x] = gn_warp_{name}(value);
    y[{3 * BLOCK} + threadIdx.x] = gn_block_{name}(value, shared);
    y[{4 * BLOCK} + threadIdx.x] = gn_block_{name}(value, shared);
}}
""")
    kernels += [
        f"""
GN_KERNEL({BLOCK}) argmax_of_{kind}(const {kind} *x, int *y, int n)
{{
    GN_SHARED({kind}, values, 32);
    GN_SHARED(int, places, 32);
    for (int part = 0; part < 4; part++) {{
        {kind} value = x[threadIdx.x];
        int place = threadIdx.x;
        if (part == 1) gn_group_argmax<8>(value, place);
        if (part == 2) gn_warp_argmax(value, place);
        if (part == 3) gn_block_argmax(value, place, values, places);
        y[{BLOCK} * part + threadIdx.x] = place;
    }}
}}
"""
        for kind in ("float", "int")
    ]
    return kernels


KERNELS = [*function_kernels(), *literal_kernels(), *reduction_kernels()]
NAMES = [text.split("GN_KERNEL(", 1)[1].split(") ", 1)[1].split("(", 1)[0] for text in KERNELS]
TEXT = "\n".join([HEADERS, *KERNELS, ""])


@pytest.fixture(scope="module")
def run() -> Run:
    """Return a function that runs a kernel on arrays and returns what it writes into the last one."""
    kernels = EmulatorMachine().compile(TEXT, NAMES)

    def call(
        name: str, *given: np.ndarray, result: np.ndarray, n: int = 0, threads: int = 1, order: Order = "forward"
    ) -> np.ndarray:
        machine = EmulatorMachine(order)
        memories = [machine.allocate(array.nbytes) for array in (*given, result)]
        for memory, array in zip(memories, given, strict=False):
            machine.upload(memory.address, array)
        machine.launch(kernels[name], (1, 1, 1), threads, [*(memory.address for memory in memories), n or len(result)])
        machine.download(memories[-1].address, result)
        return result

    return call


# Functions of numbers.


@needs_emulator
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_one_number(run: Run, name: str, kind: str) -> None:
    dtype = KINDS[kind][1]
    x = np.array([*SPECIAL, *np.linspace(-30, 30, 1001), *np.linspace(-1, 1, 501)], dtype)
    with np.errstate(all="ignore"):
        expected = FUNCTIONS[name](x.astype(np.float64)).astype(dtype)
    np.testing.assert_allclose(
        run(f"{name}_{kind}", x, result=np.empty_like(x)), expected, rtol=4 * np.finfo(dtype).eps, atol=1e-44
    )


@needs_emulator
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PAIRS)
def test_functions_of_two_numbers(run: Run, name: str, kind: str) -> None:
    dtype = KINDS[kind][1]
    generator = np.random.default_rng(0)
    drawn = generator.standard_normal((2, 3000)) * 10.0 ** generator.integers(-3, 4, (2, 3000))
    edges = np.array([(a, b) for a in SPECIAL for b in SPECIAL]).T
    a, b = (np.concatenate(both).astype(dtype) for both in zip(edges, drawn, strict=True))
    with np.errstate(all="ignore"):
        expected = PAIRS[name](a, b)
    result = run(f"{name}_{kind}", a, b, result=np.empty_like(a))
    if name == "atan2":
        np.testing.assert_allclose(result, expected, rtol=4 * np.finfo(dtype).eps, atol=1e-44)
    else:
        np.testing.assert_array_equal(result, expected)


@needs_emulator
@pytest.mark.parametrize("name", [*INTEGER_PAIRS, "power"])
def test_integers(run: Run, name: str) -> None:
    numbers = [0, 1, -1, 2, -2, 3, -3, 7, -7, 2**62, 2**63 - 1, -(2**63)]
    seconds = numbers if name != "power" else [0, 1, 2, 3, 5, 31, 63]
    a, b = (np.array(column, np.int64) for column in zip(*((a, b) for a in numbers for b in seconds), strict=True))
    with np.errstate(all="ignore"):
        expected = np.power(a, b) if name == "power" else PAIRS[name](a, b)
    np.testing.assert_array_equal(run(f"integer_{name}", a, b, result=np.empty_like(a)), expected)


@needs_emulator
def test_negative_exponents_of_integers(run: Run) -> None:
    bases, exponents = np.array([2, 1, -1, -1, 0, -7]), np.array([-1, -5, -5, -4, -1, -2])
    result = run("integer_power", bases, exponents, result=np.empty_like(bases))
    assert result.tolist() == [0, 1, -1, 1, 0, 0]


@needs_emulator
@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.float64, dtypes.int32, dtypes.int64])
def test_literals(run: Run, dtype: dtypes.DType) -> None:
    expected = np.array(literals(dtype), dtype.storage)
    result = run(f"literals_{dtype}", result=np.empty_like(expected))
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(np.signbit(result[:2]), np.signbit(expected[:2]))


# 16-bit floats.


def sixteen_bits(name: str, values: np.ndarray) -> np.ndarray:
    """Round float32 values as NumPy does."""
    with np.errstate(over="ignore"):
        return values.astype(np.float16).view(np.uint16) if name == "f16" else float32_to_bfloat16(values)


@needs_emulator
@pytest.mark.parametrize("name", ["f16", "bf16"])
def test_all_16_bit_floats_are_read(run: Run, name: str) -> None:
    bits = np.arange(2**16, dtype=np.uint16)
    result = run(f"load_{name}", bits, result=np.empty(2**16, np.float32))
    expected = bits.view(np.float16).astype(np.float32) if name == "f16" else bfloat16_to_float32(bits)
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(np.signbit(result), np.signbit(expected))


@needs_emulator
@pytest.mark.parametrize("name", ["f16", "bf16"])
def test_16_bit_floats_are_rounded_to_the_nearest_and_ties_to_even(run: Run, name: str) -> None:
    bits = np.arange(2**16, dtype=np.uint16)
    exact = bits.view(np.float16).astype(np.float32) if name == "f16" else bfloat16_to_float32(bits)
    exact = exact[np.isfinite(exact)]
    with np.errstate(over="ignore"):
        between = (exact + np.nextafter(exact.astype(np.float64), INF)).astype(np.float32)
    ordered = np.unique(exact)
    halves = ((ordered[1:].astype(np.float64) + ordered[:-1]) / 2).astype(np.float32)
    around = [halves, np.nextafter(halves, np.float32(INF)), np.nextafter(halves, np.float32(-INF))]
    every = np.arange(0, 2**32, 100_003, dtype=np.uint32).view(np.float32)
    edges = np.array([0, -0.0, 65504, 65519.996, 65520, 65536, 3.4e38, -3.4e38, INF, -INF, 1e-45], np.float32)
    x = np.concatenate([exact, between, *around, every, edges])
    nan = np.isnan(x)
    result = run(f"store_{name}_of_float", x, result=np.empty(len(x), np.uint16))
    np.testing.assert_array_equal(result[~nan], sixteen_bits(name, x)[~nan])
    is_nan = (result & 0x7FFF) > (0x7C00 if name == "f16" else 0x7F80)
    np.testing.assert_array_equal(is_nan, nan)


@needs_emulator
def test_doubles_are_rounded_to_float16_at_once(run: Run) -> None:
    ordered = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float64)
    halves = (np.append(ordered[1:], 65536) + ordered) / 2
    near = [halves * (1 + sign * 2.0**-place) for sign in (1, -1) for place in (24, 25, 26, 40, 52)]
    nan = np.array([0x7FF0000000000001, 0x7FF000001FFFFFFF, 0x7FFFFFFFFFFFFFFF], np.uint64).view(np.float64)
    positive = np.concatenate([ordered, halves, *near, [INF, 65519.99999999999, 1e-30, 1e-46, 5e-324, 1e300], nan])
    x = np.concatenate([positive, -positive])
    with np.errstate(all="ignore"):
        expected, by_way_of_float = (values.astype(np.float16) for values in (x, x.astype(np.float32)))
    assert np.count_nonzero(expected != by_way_of_float) > 100_000
    result = run("store_f16_of_double", x, result=np.empty(len(x), np.uint16)).view(np.float16)
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(np.signbit(result[expected == 0]), np.signbit(x[expected == 0]))


@needs_emulator
@pytest.mark.parametrize("name", ["f16", "bf16"])
def test_every_nan_stays_nan(run: Run, name: str) -> None:
    patterns = np.array([0x7F800001, 0x7F80FFFF, 0x7FFFFFFF, 0xFF800001, 0xFFFFFFFF, 0x7FC00000], np.uint32)
    bits = run(f"store_{name}_of_float", patterns.view(np.float32), result=np.empty(6, np.uint16))
    assert np.isnan(run(f"load_{name}", bits, result=np.empty(6, np.float32))).all()


# Random numbers.


@needs_emulator
def test_philox(run: Run) -> None:
    generator = np.random.default_rng(0)
    index, step = generator.integers(0, 2**64, (2, 500), np.uint64)
    key = generator.integers(0, 2**32, (500, 2), np.uint32)
    index[0] = step[0] = key[0] = 0
    words = run("philox", index, step, key, result=np.empty((500, 4), np.uint32), n=500)
    assert [hex(word) for word in words[0]] == ["0x6627e8d5", "0xe169c58d", "0xbc57ac4c", "0x9b00dbd8"]
    low = np.uint64(0xFFFFFFFF)
    counter = index & low, index >> np.uint64(32), step & low, step >> np.uint64(32)
    np.testing.assert_array_equal(words, np.stack(philox4x32(counter, (key[:, 0], key[:, 1])), axis=1))


# Reductions over threads.


def group_of(part: int) -> int:
    return (1, 8, 32, BLOCK, BLOCK)[part]


@needs_emulator
@pytest.mark.parametrize("kind", ["float", "double", "int", "int64_t"])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_over_threads(run: Run, name: str, kind: str) -> None:
    dtype = {"float": "float32", "double": "float64", "int": "int32", "int64_t": "int64"}[kind]
    drawn = np.random.default_rng(0).uniform(0.8, 1.2, BLOCK)
    x = (drawn if dtype.startswith("float") else np.round(20 * drawn) - 18).astype(dtype)
    results = [
        run(f"{name}_of_{kind}", x, result=np.empty(5 * BLOCK, dtype), threads=BLOCK, order=order) for order in ORDERS
    ]
    for part, values in enumerate(results[0].reshape(5, BLOCK)):
        groups = x.reshape(-1, group_of(part))
        with np.errstate(over="ignore"):
            expected = REDUCTIONS[name](groups, axis=1, dtype=dtype) if name in ("sum", "product") else None
        expected = REDUCTIONS[name](groups, axis=1) if expected is None else expected
        np.testing.assert_allclose(values, np.repeat(expected, group_of(part)), rtol=1e-5)
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


@needs_emulator
@pytest.mark.parametrize("place", [0, 37, BLOCK - 1])
@pytest.mark.parametrize("name", ["max", "min"])
def test_nan_is_the_largest_and_the_smallest(run: Run, name: str, place: int) -> None:
    x = np.arange(BLOCK, dtype=np.float32)
    x[place] = NAN
    x[(place + 1) % BLOCK] = INF if name == "max" else -INF
    result = run(f"{name}_of_float", x, result=np.empty(5 * BLOCK, np.float32), threads=BLOCK)
    for part, values in enumerate(result.reshape(5, BLOCK)):
        expected = REDUCTIONS[name](x.reshape(-1, group_of(part)), axis=1)
        np.testing.assert_array_equal(values, np.repeat(expected, group_of(part)))


@needs_emulator
@pytest.mark.parametrize("kind", ["float", "int"])
def test_the_first_of_equals_is_the_largest(run: Run, kind: str) -> None:
    generator = np.random.default_rng(1)
    for trial in range(6):
        x = generator.integers(-3, 3, BLOCK).astype("float32" if kind == "float" else "int32")
        if kind == "float" and trial:
            x[generator.integers(0, BLOCK, trial)] = NAN
            x[generator.integers(0, BLOCK, trial)] = INF
        if kind == "float" and trial == 5:
            x[:] = -INF
        for order in ORDERS:
            result = run(f"argmax_of_{kind}", x, result=np.empty(4 * BLOCK, np.int32), threads=BLOCK, order=order)
            for part, places in enumerate(result.reshape(4, BLOCK)):
                groups = x.reshape(-1, group_of(part))
                expected = groups.argmax(axis=1) + np.arange(len(groups)) * group_of(part)
                np.testing.assert_array_equal(places, np.repeat(expected, group_of(part)))


# What is printed compiles.


def expression_kernels() -> list[str]:
    """Print a kernel for each use that the samples make of a scalar expression."""
    printed: dict[tuple[object, ...], str] = {}
    for sample in all_samples():
        with Graph() as graph:
            sample.build(*(placeholder(f"x{i}", each.shape, each.dtype) for i, each in enumerate(sample.inputs)))
        for node in graph.nodes:
            key = node.op, node.dtype, *(given.dtype for given in node.inputs)
            known = [node.dtype, *(given.dtype for given in node.inputs)]
            if key in printed or not is_in_table(node.op) or any(dtype.itemsize == 2 for dtype in known):
                continue
            text = expression(node, [f"x{i}[i]" for i in range(len(node.inputs))], computed_dtype(node.inputs[0].dtype))
            reads = ", ".join(f"const {value_type(given.dtype)} *x{i}" for i, given in enumerate(node.inputs))
            head = f"GN_KERNEL(1) expression{len(printed)}({reads}, {value_type(node.dtype)} *y, int n)"
            printed[key] = f"{head} {{ {ELEMENTWISE} y[i] = {text}; }}"
    return list(printed.values())


@for_each_architecture
def test_nvcc_compiles_the_kernels(architecture: int, tmp_path: Path) -> None:
    check_with_nvcc(TEXT, architecture, tmp_path)


@needs_nvcc
def test_nvcc_compiles_all_expressions(tmp_path: Path) -> None:
    kernels = expression_kernels()
    assert len(kernels) > 60
    check_with_nvcc("\n".join([HEADERS, *kernels, ""]), 80, tmp_path)


def test_the_text_needs_no_other_file() -> None:
    assert "#include" not in kernel_text("device_math.h") + kernel_text("shared_math.h")
