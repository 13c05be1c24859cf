"""Drop arithmetic that changes nothing and join chains of views.

Before: ``x + 0``, ``x * 1``, ``-(-x)``, ``x ** 2``, a reshape of a reshape, a broadcast that the next op would do by
itself, and the like: gradients are full of them.
After: `x`, ``x * x``, one reshape. Nothing is assumed about values, so that NaN and infinities stay what they are:
``x * 0`` is left alone.
"""

from __future__ import annotations

from collections.abc import Callable

from graphnn.compiler.subgraph import Subgraph, replacement, with_inputs
from graphnn.ops.broadcasting import Binary, Cast, Elementwise
from graphnn.ops.comparison import Where
from graphnn.ops.elementwise import Add, Divide, Multiply, Negative, Power, Subtract
from graphnn.ops.errors import GraphError
from graphnn.ops.matmul import MatMul
from graphnn.ops.node import Node
from graphnn.ops.shape import BroadcastTo, Reshape, Transpose
from graphnn.ops.state import Constant

Rule = Callable[[Node], Node | None]


def simplify(subgraph: Subgraph) -> Subgraph:
    """Return the subgraph with every rule applied as often as it fits."""
    return subgraph.rewrite(lambda node, inputs: _settle(with_inputs(node, inputs)))


def _settle(node: Node) -> Node:
    for rule in (*RULES, *RULES_BY_OP.get(type(node.op), ())):
        simpler = rule(node)
        if simpler is not None:
            return _settle(simpler)
    return node


def unchanged_view(node: Node) -> Node | None:
    """A reshape, broadcast or cast to what the input is already → the input."""
    same = isinstance(node.op, Reshape | BroadcastTo | Cast) and node.spec == node.inputs[0].spec
    return node.inputs[0] if same else None


def implied_broadcast(node: Node) -> Node | None:
    """``op(a, broadcast_to(b))`` → ``op(a, b)`` for elementwise ops that broadcast `b` themselves."""
    if not isinstance(node.op, Elementwise) or not any(isinstance(x.op, BroadcastTo) for x in node.inputs):
        return None
    for position, given in enumerate(node.inputs):
        if isinstance(given.op, BroadcastTo):
            shorter = (*node.inputs[:position], given.inputs[0], *node.inputs[position + 1 :])
            if _infers(node, shorter):
                return with_inputs(node, shorter)
    return None


def _infers(node: Node, inputs: tuple[Node, ...]) -> bool:
    try:
        return node.op.infer(*(given.spec for given in inputs)) == node.spec
    except GraphError:
        return False


def joined_views(node: Node) -> Node | None:
    """``reshape(reshape(x))`` → one reshape; the same for broadcasts."""
    inner = node.inputs[0]
    return with_inputs(node, inner.inputs) if type(inner.op) is type(node.op) else None


def joined_transposes(node: Node) -> Node | None:
    """``transpose(transpose(x))`` → one transpose, or `x`; a transpose that moves nothing → `x`."""
    op, inner = node.op, node.inputs[0]
    assert isinstance(op, Transpose)
    if op.axes == tuple(range(len(op.axes))):
        return inner
    if not isinstance(inner.op, Transpose):
        return None
    axes = tuple(inner.op.axes[axis] for axis in op.axes)
    return replacement(node, Transpose(axes), inner.inputs)


def transposed_product(node: Node) -> Node | None:
    """``transpose(transpose(a) @ b)`` → ``transpose(b) @ a`` of matrices: a weight's gradient in the weight's order."""
    product = node.inputs[0]
    if not isinstance(product.op, MatMul) or not _turns_matrices(node):
        return None
    a, b = product.inputs
    if not _turns_matrices(a):
        return None
    axes = (*range(b.rank - 2), b.rank - 1, b.rank - 2)
    spec = b.spec.with_shape(b.shape[axis] for axis in axes)
    turned = replacement(product, Transpose(axes), (b,), spec, f"{product.name}.turned")
    return replacement(node, MatMul(), (turned, a.inputs[0]))


def _turns_matrices(node: Node) -> bool:
    """Whether a node is a transpose of the last two axes."""
    last = node.rank - 1
    return isinstance(node.op, Transpose) and node.op.axes == (*range(last - 1), last, last - 1)


def neutral_operand(node: Node) -> Node | None:
    """``x + 0``, ``x - 0``, ``x * 1``, ``x / 1``, ``x ** 1`` → `x`; ``0 + x``, ``1 * x`` → `x`."""
    a, b = node.inputs
    neutral = 0 if isinstance(node.op, Add | Subtract) else 1
    if a.spec == node.spec and scalar_of(b) == neutral:
        return a
    if isinstance(node.op, Add | Multiply) and b.spec == node.spec and scalar_of(a) == neutral:
        return b
    return None


def double_negative(node: Node) -> Node | None:
    """``-(-x)`` → `x`."""
    inner = node.inputs[0]
    return inner.inputs[0] if isinstance(inner.op, Negative) else None


def subtracted_negative(node: Node) -> Node | None:
    """``a + -b`` → ``a - b``; ``a - -b`` → ``a + b``."""
    a, b = node.inputs
    if not isinstance(b.op, Negative) or not node.dtype.is_floating:
        return None
    op: Binary = Subtract() if isinstance(node.op, Add) else Add()
    return replacement(node, op, (a, b.inputs[0]))


def small_power(node: Node) -> Node | None:
    """``x ** 2`` → ``x * x``."""
    base, exponent = node.inputs
    fits = base.spec == node.spec and scalar_of(exponent) == 2
    return replacement(node, Multiply(), (base, base)) if fits else None


def same_branches(node: Node) -> Node | None:
    """``where(condition, x, x)`` → `x`."""
    _, a, b = node.inputs
    return a if a is b and a.spec == node.spec else None


def scalar_of(node: Node) -> float | None:
    """Return the one number that a constant (or the broadcast of one) consists of, if it does."""
    while isinstance(node.op, BroadcastTo | Reshape):
        node = node.inputs[0]
    if not isinstance(node.op, Constant) or node.op.value.size != 1 or node.dtype.name == "bfloat16":
        return None
    number: float = node.op.value.item()
    return number


RULES: tuple[Rule, ...] = (unchanged_view, implied_broadcast)
RULES_BY_OP: dict[type, tuple[Rule, ...]] = {
    Reshape: (joined_views,),
    BroadcastTo: (joined_views,),
    Transpose: (joined_transposes, transposed_product),
    Add: (neutral_operand, subtracted_negative),
    Subtract: (neutral_operand, subtracted_negative),
    Multiply: (neutral_operand,),
    Divide: (neutral_operand,),
    Power: (neutral_operand, small_power),
    Negative: (double_negative,),
    Where: (same_branches,),
}
