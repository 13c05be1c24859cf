"""The kernels of matrix products and convolutions, on the emulator against the ops' values, and compiled by nvcc."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from cuda_kernels import (
    ARCHITECTURES,
    Case,
    Runner,
    case,
    check_with_nvcc,
    check_with_sanitizers,
    needs_emulator,
    needs_nvcc,
    program,
)
from graphnn.compiler.plan.form import View
from graphnn.compiler.targets.cuda.emulator.machine import EmulatorMachine
from graphnn.compiler.targets.cuda.instance import Instance
from graphnn.compiler.targets.cuda.rules.direct import DirectConvolution
from graphnn.compiler.targets.cuda.rules.products import (
    can_multiply,
    product_kernels,
    product_of,
    takes_gaps,
)
from graphnn.compiler.targets.cuda.rules.tiles import SHARED_BYTES, THREAD_TILES, WARP_TILES, Tile, Work
from graphnn.ops import dtypes
from graphnn.ops.context import apply
from graphnn.ops.conv import Conv2d, Conv2dDataGradient, Conv2dWeightGradient, Convolution
from graphnn.ops.graph import Graph
from graphnn.ops.matmul import MatMul
from graphnn.ops.node import Node
from graphnn.ops.spec import Dim, TensorSpec, bind_extent
from graphnn.ops.state import placeholder
from graphnn.ops.window import Padding, Pair, output_size

BATCH = 3
BATCHES = (1, BATCH)
TOLERANCES = {"float32": 2e-5, "float64": 1e-13, "float16": 4e-3, "bfloat16": 3e-2}
TF32 = 8e-3
FLOATING = tuple(TOLERANCES)

Rule = Callable[[Node, int], list[Instance]]
Extents = tuple[int | Dim | None, ...]


def chosen(precision: str = "float32") -> Rule:
    return partial(product_kernels, precision=precision)


def by_tile(tile: Tile, splits: int = 1, turned: bool = False, precision: str = "float32") -> Rule:
    def rule(node: Node, max_batch: int) -> list[Instance]:
        form = product_of(node, precision)
        return (form.turned() if turned else form).tiled(tile, splits, max_batch)

    return rule


def as_product(precision: str = "float32") -> Rule:
    return lambda node, max_batch: product_of(node, precision).instances(max_batch)


def direct(node: Node, number: int) -> list[Instance]:
    form = DirectConvolution.of(node)
    assert form is not None
    return [form.instance(list(form.strips())[number])]


def numbers(shape: Extents, dtype: str, seed: int) -> np.ndarray:
    size = [BATCH if extent is None else bind_extent(extent, BATCH) for extent in shape]
    generator = np.random.default_rng(seed)
    if dtypes.as_dtype(dtype).is_floating:
        return generator.standard_normal(size).astype(dtypes.as_dtype(dtype).interface)
    return generator.integers(0, 200, size).astype(dtype)


# Matrix products.


def matmul(
    name: str, a: Extents, b: Extents, rule: Rule, dtype: str = "float32", tolerance: float | None = None
) -> Case:
    given = [(shape, dtype, numbers(shape, dtype, seed)) for seed, shape in enumerate((a, b))]
    return case(f"matmul {name} {dtype}", MatMul(), given, rule, BATCH, tolerance or TOLERANCES.get(dtype))


@dataclass(frozen=True)
class Transposed(Case):
    """A matrix product whose inputs lie transposed in memory."""

    def given(self, batch: int) -> list[np.ndarray]:
        return [np.ascontiguousarray(np.swapaxes(x, -1, -2)) for x in super().given(batch)]

    def expected(self, batch: int) -> list[np.ndarray]:
        return Case(self.name, self.nodes, self.instances, self.values, self.tolerance).expected(batch)


def transposed(name: str, a: Extents, b: Extents, precision: str = "float32") -> Case:
    def swapped(node: Node, max_batch: int) -> list[Instance]:
        return product_kernels(node, max_batch, precision, [transposed_view(given.spec) for given in node.inputs])

    plain = matmul(name, a, b, swapped, tolerance=TF32 if precision == "tf32" else None)
    return Transposed(plain.name, plain.nodes, plain.instances, plain.values, plain.tolerance)


def transposed_view(spec: TensorSpec) -> View:
    """The view of a value whose last two axes are exchanged in memory."""
    *outer, rows, columns = spec.shape
    steps: list[int | Dim] = [1, rows]
    size = rows * columns
    for extent in reversed(outer):
        steps.insert(0, size)
        size = size * extent
    return View(0, spec, strides=tuple(steps))


def matmul_cases() -> Iterator[Case]:
    for dtype in (*FLOATING, "uint8", "int32", "int64"):
        yield matmul("odd sizes", (None, 37), (37, 21), chosen(), dtype)
        yield matmul("split", (None, 300), (300, 5), by_tile(THREAD_TILES[-1], 3), dtype) if dtype in (
            "float32",
            "float64",
            "uint8",
            "int64",
        ) else matmul("split", (None, 300), (300, 5), by_tile(WARP_TILES[-1], 2), dtype) if dtype in (
            "float16",
            "bfloat16",
        ) else matmul("one row", (1, 70), (70, 9), chosen(), dtype)
