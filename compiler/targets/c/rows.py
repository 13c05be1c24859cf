"""Print kernels that work on each example's own values: softmax and its kin, positions, one-hot vectors, pooling.

Each works on one block of examples; the innermost loop runs over the block's lanes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from graphnn.compiler.targets.c.expressions import C_TYPES, literal
from graphnn.compiler.targets.c.pooling import has_pooling_kernel, print_pooling
from graphnn.compiler.targets.c.units import example_shape
from graphnn.ops.index import OneHot
from graphnn.ops.loss import CrossEntropy
from graphnn.ops.node import Node
from graphnn.ops.norm import LogSoftmax, Softmax
from graphnn.ops.op import Op
from graphnn.ops.reduce import Argmax


def print_row_kernel(node: Node, name: str) -> str:
    """Print the kernel of a node: ``name(x0, …, y)`` over one block."""
    parameters = [f"const {C_TYPES[given.dtype]} *restrict x{place}" for place, given in enumerate(node.inputs)]
    head = f"static void {name}({', '.join([*parameters, f'{C_TYPES[node.dtype]} *restrict y'])})"
    body = print_pooling(node) if has_pooling_kernel(node) else _PRINTERS[type(node.op)](node)
    return f"{head}\n{{\n{body}\n}}"


def has_row_kernel(node: Node) -> bool:
    """Whether this module prints a node's kernel."""
    return type(node.op) in _PRINTERS or has_pooling_kernel(node)


def _largest(count: int, at: str) -> str:
    """Print how ``top[lane]`` becomes the largest of `count` values ``x0[at]``, NaN if there is one."""
    return f"""\
        float top[LANES];
        for (int lane = 0; lane < LANES; lane++) top[lane] = -__builtin_inff();
        for (int64_t i = 0; i < {count}; i++)
            for (int lane = 0; lane < LANES; lane++) {{
                const float value = x0[{at}];
                const float larger = value > top[lane] ? value : top[lane];
                top[lane] = value != value ? value : larger;
            }}"""


def _softmax(node: Node) -> str:
    op = node.op
    assert isinstance(op, Softmax | LogSoftmax)
    shape = example_shape(node)
    axis = op.axis % node.rank - 1
    outer, size, inner = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    at = f"((o * {size} + i) * {inner} + k) * LANES + lane"
    # What is kept of each element, what is made of the sum, and what that makes of the element.
    kept, total, result = "exponential", "sum[lane]", f"y[{at}] / total[lane]"
    if isinstance(op, LogSoftmax):
        kept, total, result = "shifted", "gn_logf(sum[lane])", f"y[{at}] - total[lane]"
    return f"""\
    for (int64_t o = 0; o < {outer}; o++)
    for (int64_t k = 0; k < {inner}; k++) {{
{_largest(size, at)}
        float sum[LANES] = {{0}}, total[LANES];
        for (int64_t i = 0; i < {size}; i++)
            for (int lane = 0; lane < LANES; lane++) {{
                const float shifted = x0[{at}] - top[lane], exponential = gn_expf(shifted);
                y[{at}] = {kept};
                sum[lane] += exponential;
            }}
        for (int lane = 0; lane < LANES; lane++) total[lane] = {total};
        for (int64_t i = 0; i < {size}; i++)
            for (int lane = 0; lane < LANES; lane++) y[{at}] = {result};
    }}"""


def _cross_entropy(node: Node) -> str:
    shape = example_shape(node.inputs[0])
    rows, classes = math.prod(shape[:-1]), shape[-1]
    at = f"(r * {classes} + i) * LANES + lane"
    return f"""\
    for (int64_t r = 0; r < {rows}; r++) {{
{_largest(classes, at)}
        float sum[LANES] = {{0}}, chosen[LANES] = {{0}};
        for (int64_t i = 0; i < {classes}; i++)
            for (int lane = 0; lane < LANES; lane++) {{
                const float shifted = x0[{at}] - top[lane];
                sum[lane] += gn_expf(shifted);
                chosen[lane] = x1[r * LANES + lane] == i ? shifted : chosen[lane];
            }}
        for (int lane = 0; lane < LANES; lane++) y[r * LANES + lane] = gn_logf(sum[lane]) - chosen[lane];
    }}"""


def _one_hot(node: Node) -> str:
    op = node.op
    assert isinstance(op, OneHot)
    one, zero = literal(1, node.dtype), literal(0, node.dtype)
    return f"""\
    for (int64_t r = 0; r < {math.prod(example_shape(node.inputs[0]))}; r++)
        for (int64_t i = 0; i < {op.depth}; i++)
            for (int lane = 0; lane < LANES; lane++)
                y[(r * {op.depth} + i) * LANES + lane] = x0[r * LANES + lane] == i ? {one} : {zero};"""


def _argmax(node: Node) -> str:
    op = node.op
    assert isinstance(op, Argmax)
    shape = example_shape(node.inputs[0])
    axis = op.axis % node.inputs[0].rank - 1
    outer, size, inner = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    kind = C_TYPES[node.inputs[0].dtype]
    first = f"x0[(o * {size * inner} + k) * LANES + lane]"
    return f"""\
    for (int64_t o = 0; o < {outer}; o++)
    for (int64_t k = 0; k < {inner}; k++) {{
        {kind} top[LANES];
        int32_t place[LANES] = {{0}};
        for (int lane = 0; lane < LANES; lane++) top[lane] = {first};
        for (int32_t i = 1; i < {size}; i++)
            for (int lane = 0; lane < LANES; lane++) {{
                const {kind} value = x0[((o * {size} + i) * {inner} + k) * LANES + lane];
                const int larger = (value > top[lane]) | ((value != value) & (top[lane] == top[lane]));
                top[lane] = larger ? value : top[lane];
                place[lane] = larger ? i : place[lane];
            }}
        for (int lane = 0; lane < LANES; lane++) y[(o * {inner} + k) * LANES + lane] = place[lane];
    }}"""


_PRINTERS: dict[type[Op], Callable[[Node], str]] = {
    Argmax: _argmax,
    Softmax: _softmax,
    LogSoftmax: _softmax,
    CrossEntropy: _cross_entropy,
    OneHot: _one_hot,
}
