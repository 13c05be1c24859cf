"""Print kernels that go along an axis: running sums and products, recurrences, products, and orders.

Each works on one block of examples, or on a value without a batch (see `lines`).
"""

from __future__ import annotations

from graphnn.compiler.targets.c.expressions import C_TYPES
from graphnn.compiler.targets.c.lines import Lines, print_kernel
from graphnn.compiler.targets.c.text import indented
from graphnn.compiler.targets.c.units import Unit
from graphnn.ops.dtypes import DType
from graphnn.ops.node import Node
from graphnn.ops.product import Prod
from graphnn.ops.scan import Cumprod, Cumsum, LinearRecurrence, Scan
from graphnn.ops.sort import Argsort, Order, TopkIndices


def has_scan_kernel(node: Node) -> bool:
    """Whether this module prints a node's kernel."""
    return isinstance(node.op, Scan | Prod | Order)


def print_scan(unit: Unit, name: str) -> str:
    """Print the kernel of a unit that is one node: see `print_kernel`."""
    node = unit.root
    match node.op:
        case Scan():
            body = _scan(node, node.op)
        case Prod():
            body = _prod(node, node.op)
        case Order():
            body = _order(node, node.op)
        case _:
            raise TypeError(type(node.op).__name__)
    return print_kernel(unit.kind, node, name, body)


def _numbers(width: str, statement: str) -> list[str]:
    """Print a statement for all numbers ``k`` that are side by side."""
    return ["#pragma GCC ivdep", f"for (int64_t k = 0; k < {width}; k++) {statement}"]


def _wrapping(symbol: str, a: str, b: str, dtype: DType) -> str:
    """Return the sum or product of two numbers; that of integers wraps, as NumPy's."""
    return f"{a} {symbol} {b}" if dtype.is_floating else f"(int64_t)((uint64_t){a} {symbol} (uint64_t){b})"


def _scan(node: Node, op: Scan) -> list[str]:
    """Print a loop over the places of each line: what each place holds is made of the one before."""
    lines = Lines.of(node, op.axis)
    width, last, line = lines.width, lines.length - 1, f"{lines.length} * {lines.width}"
    here = f"{last} - step" if op.reverse else "step"
    begin, ended = last if op.reverse else 0, "y[place - back + k]"
    match op:
        case Cumsum(exclusive=True):
            start, following = "0", _wrapping("+", ended, "x0[place - back + k]", node.dtype)
        case Cumsum():
            start, following = f"x0[first + {begin} * {width} + k]", _wrapping("+", ended, "x0[place + k]", node.dtype)
        case Cumprod():
            start, following = "1", _wrapping("*", ended, "x0[place - back + k]", node.dtype)
        case LinearRecurrence():
            start, following = "0", f"x0[place - back + k] * {ended} + x1[place - back + k]"
        case _:
            raise TypeError(type(op).__name__)
    return [
        f"const int64_t back = {'-' if op.reverse else ''}{width};  /* from the place before */",
        f"for (int64_t first = 0; first < {lines.outer} * {line}; first += {line}) {{",
        *indented(_numbers(width, f"y[first + {begin} * {width} + k] = {start};")),
        f"    for (int64_t step = 1; step < {lines.length}; step++) {{",
        f"        const int64_t place = first + ({here}) * {width};",
        *indented(indented(_numbers(width, f"y[place + k] = {following};"))),
        "    }",
        "}",
    ]


def _prod(node: Node, op: Prod) -> list[str]:
    lines = Lines.of(node.inputs[0], op.axis)
    width = lines.width
    product = _wrapping("*", f"y[o * {width} + k]", "x0[place + k]", node.dtype)
    return [
        f"for (int64_t o = 0; o < {lines.outer}; o++) {{",
        *indented(_numbers(width, f"y[o * {width} + k] = 1;")),
        f"    for (int64_t i = 0; i < {lines.length}; i++) {{",
        f"        const int64_t place = (o * {lines.length} + i) * {width};",
        *indented(indented(_numbers(width, f"y[o * {width} + k] = {product};"))),
        "    }",
        "}",
    ]


def _order(node: Node, op: Order) -> list[str]:
    """Print how each value's place in the order is counted: those that come before it, of equals the earlier ones.

    That takes the square of the line's length in comparisons, but of all lanes at once and without a branch.
    """
    given = node.inputs[0]
    lines = Lines.of(given, op.axis)
    count = op.k if isinstance(op, TopkIndices) else lines.length
    descending = op.descending if isinstance(op, Argsort) else op.largest if isinstance(op, TopkIndices) else False
    lanes = "LANES" if lines.lanes else "1"
    first, second = ("own", "other") if descending else ("other", "own")
    sooner, later = _is_less(first, second, given.dtype), _is_less(second, first, given.dtype)
    each_lane = f"for (int lane = 0; lane < {lanes}; lane++)"

    def counted(head: str, comparison: str) -> list[str]:
        other = f"const {C_TYPES[given.dtype]} own = {_at('i', lines)}, other = {_at('j', lines)};"
        return [head, f"    {each_lane} {{", f"        {other}", f"        rank[lane] += {comparison};", "    }"]

    place = f"((o * {count} + rank[lane]) * {lines.inner} + k) * {lanes} + lane"
    return [
        f"for (int64_t o = 0; o < {lines.outer}; o++)",
        f"for (int64_t k = 0; k < {lines.inner}; k++)",
        f"for (int64_t i = 0; i < {lines.length}; i++) {{",
        f"    int32_t rank[{lanes}] = {{0}};",
        *indented(counted("for (int64_t j = 0; j < i; j++)", f"!({later})")),
        *indented(counted(f"for (int64_t j = i + 1; j < {lines.length}; j++)", sooner)),
        f"    {each_lane}",
        f"        if (rank[lane] < {count}) y[{place}] = i;",
        "}",
    ]


def _at(place: str, lines: Lines) -> str:
    lane = " * LANES + lane" if lines.lanes else ""
    return f"x0[((o * {lines.length} + {place}) * {lines.inner} + k){lane}]"


def _is_less(a: str, b: str, dtype: DType) -> str:
    """Return whether a number is less than another one; NaN counts as the largest."""
    return f"({a} < {b}) | (({b} != {b}) & ({a} == {a}))" if dtype.is_floating else f"{a} < {b}"
