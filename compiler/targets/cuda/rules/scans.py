"""Ops on the GPU that go along an axis: the largest place, products, running sums and products, recurrences."""

from __future__ import annotations

from collections.abc import Callable

from graphnn.compiler.targets.cuda.instance import Instance
from graphnn.compiler.targets.cuda.rules.macros import THREADS, WARP, Lines, element, power_of_two, working_type
from graphnn.ops.node import Node
from graphnn.ops.op import Op
from graphnn.ops.product import Prod
from graphnn.ops.reduce import Argmax
from graphnn.ops.scan import Cumprod, Cumsum, LinearRecurrence, Scan

FEW_ELEMENTS = 8
"""Up to so many on a line, one thread goes along it."""

ELEMENTS_OF_A_WARP = 1024
"""Up to so many, a warp does; beyond, a block."""

FEW_LINES = 2048
"""With fewer lines, a thread for each would leave most of a large card idle."""


def _team(lines: Lines, max_batch: int) -> int:
    """Return how many threads work on a line."""
    count, length, inner = lines.bind(max_batch)
    if length <= FEW_ELEMENTS or (inner > 1 and count >= FEW_LINES):
        return 1  # neighbouring lines side by side are read in step
    return min(WARP, power_of_two(length)) if length <= ELEMENTS_OF_A_WARP else THREADS


def _argmax(node: Node, max_batch: int) -> list[Instance]:
    op = node.op
    assert isinstance(op, Argmax)
    lines = Lines.of(node.inputs[0].shape, op.axis)
    defines = {"VALUE": working_type(node.inputs[0].dtype), **element(node, 0)}
    return [lines.instance("argmax.cu", defines, _team(lines, max_batch))]


def _prod(node: Node, max_batch: int) -> list[Instance]:
    op = node.op
    assert isinstance(op, Prod)
    lines = Lines.of(node.inputs[0].shape, op.axis)
    defines = {"VALUE": working_type(node.dtype), **element(node, 0)}
    return [lines.instance("product.cu", defines, _team(lines, max_batch))]


def _scan(node: Node, start: int, following: str) -> list[Instance]:
    """Return the kernel in which a thread goes along each line."""
    op = node.op
    assert isinstance(op, Scan)
    defines = {
        "REVERSE": str(int(op.reverse)),
        "EXCLUSIVE": str(int(op.exclusive if isinstance(op, Cumsum) else True)),
        "START": str(start),
        "NEXT(total, i)": following,
        "VALUE": working_type(node.dtype),
    }
    for place in range(len(node.inputs)):
        defines |= element(node, place)
    return [Lines.of(node.shape, op.axis).instance("scan.cu", defines)]


def _cumsum(node: Node, max_batch: int) -> list[Instance]:
    op = node.op
    assert isinstance(op, Cumsum)
    lines = Lines.of(node.shape, op.axis)
    count, length, inner = lines.bind(max_batch)
    if length <= WARP or (inner > 1 and count >= FEW_LINES):
        return _scan(node, 0, "((total) + X0(i))")
    flags = {"REVERSE": str(int(op.reverse)), "EXCLUSIVE": str(int(op.exclusive))}
    defines = {**flags, "VALUE": working_type(node.dtype), **element(node, 0)}
    return [lines.instance("cumsum.cu", defines, WARP if length <= ELEMENTS_OF_A_WARP else THREADS)]


def _cumprod(node: Node, max_batch: int) -> list[Instance]:
    # A thread for each line, as for the recurrence: in another order, a product may overflow on its way.
    return _scan(node, 1, "((total) * X0(i))")


def _linear_recurrence(node: Node, max_batch: int) -> list[Instance]:
    return _scan(node, 0, "(X0(i) * (total) + X1(i))")


RULES: dict[type[Op], Callable[[Node, int], list[Instance] | None]] = {
    Argmax: _argmax,
    Prod: _prod,
    Cumsum: _cumsum,
    Cumprod: _cumprod,
    LinearRecurrence: _linear_recurrence,
}
