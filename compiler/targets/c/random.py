"""Print kernels that draw random numbers: each element's words are a function of its row-major index and the step."""

from __future__ import annotations

import math

from graphnn.compiler.targets.c.expressions import C_TYPES
from graphnn.compiler.targets.c.text import indented
from graphnn.compiler.targets.c.units import example_shape, is_batched
from graphnn.ops import dtypes
from graphnn.ops.node import Node
from graphnn.ops.random import Random, RandomUniform

_SUFFIXES = {dtypes.float16: "f16", dtypes.bfloat16: "bf16", dtypes.float32: "f32", dtypes.float64: "f64"}


def number_text(op: Random, word: str) -> str:
    """Return the expression of an op's number from an element's words, in C and in CUDA.

    Parameters
    ----------
    op : Random
        What is drawn.
    word : str
        A word's text, with {} for its number.

    Examples
    --------
    >>> from graphnn.ops.random import RandomNormal
    >>> number_text(RandomNormal((3,), dtypes.float32, seed=0, stream=1), "words.w{}")
    'gn_normal_f32(words.w0, words.w1)'
    """
    is_double = op.dtype is dtypes.float64
    if isinstance(op, RandomUniform):
        function, count = f"gn_uniform_{_SUFFIXES[op.dtype]}", 2 if is_double else 1
    else:
        function, count = ("gn_normal_f64", 4) if is_double else ("gn_normal_f32", 2)
    return f"{function}({', '.join(word.format(number) for number in range(count))})"


def print_random(node: Node, name: str, lanes: int) -> str:
    """Print the kernel of a draw: ``name(step, y, block)`` over one block, or ``name(step, y, n)`` without a batch.

    A vector holds the same element of each example of a block, or neighbouring elements of what has no batch.
    """
    op, kind = node.op, C_TYPES[node.dtype]
    assert isinstance(op, Random)
    size = math.prod(example_shape(node))
    if is_batched(node):
        last = "int64_t block"
        head = [f"for (int64_t i = 0; i < {size}; i++) {{"]
        first, stride, place, stop = f"(uint64_t)block * LANES * {size} + (uint64_t)i", size, "i * LANES", "LANES"
    else:
        last = "int64_t n"
        head = ["#pragma omp for schedule(static) nowait", f"for (int64_t i = 0; i < {size}; i += LANES) {{"]
        first, stride, place, stop = "(uint64_t)i", 1, "i", "LANES"
        if size % lanes:
            stop = f"({size} - i < LANES ? {size} - i : LANES)"
    return "\n".join(
        [
            f"static void {name}(const int64_t *step, {kind} *restrict y, {last})",
            "{",
            *indented(head),
            "        uint64_t words[4][LANES] __attribute__((aligned(64)));",
            f"        gn_philox({first}, {stride}, *step, {op.seed}u, {op.stream}u, words);",
            f"        for (int lane = 0; lane < {stop}; lane++)",
            f"            y[{place} + lane] = {number_text(op, '(uint32_t)words[{}][lane]')};",
            "    }",
            "}",
        ]
    )
