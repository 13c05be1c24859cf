"""Reverse-mode differentiation: gradients as ordinary nodes of the same graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from graphnn.ops.errors import DTypeError, GraphError, ShapeError
from graphnn.ops.node import Node
from graphnn.ops.source import caller
from graphnn.ops.spec import format_shape
from graphnn.ops.state import constant


def gradients(
    y: Node | Sequence[Node],
    xs: Node | Iterable[Node],
    grad_ys: Node | Sequence[Node] | None = None,
    allow_unused: bool = False,
) -> tuple[Node, ...]:
    """Build the nodes that hold ``d y / d x`` for each x.

    The result is ordinary nodes, so gradients of gradients come from calling this again. Where `y` is no scalar,
    the gradient is that of its sum, or of ``sum(y · grad_y)`` where `grad_ys` is given.

    Parameters
    ----------
    y : Node or sequence of Node
        What to differentiate.
    xs : Node or iterable of Node
        By what: variables, placeholders or any other nodes of a floating type.
    grad_ys : Node or sequence of Node, optional
        The gradient of something else by each y, of the same shape.
    allow_unused : bool
        Give zeros for an x on which y does not depend, instead of an error.

    Returns
    -------
    tuple of Node
        One node per x, of its shape and element type.

    Raises
    ------
    GraphError
        If y does not depend on an x (through anything differentiable), or an op on the way has no gradient.
    DTypeError
        If y or an x is not of a floating type.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     x = gn.placeholder("x", ())
    ...     (slope,) = gn.gradients(x**3, [x])
    ...     (curvature,) = gn.gradients(slope, [x])
    >>> gn.Executor([slope, curvature], device="numpy").run({x: 2.0})
    [array(12., dtype=float32), array(12., dtype=float32)]
    """
    ys, xs = _nodes(y), _nodes(xs)
    if not ys:
        raise GraphError(
            "gradients needs a y to differentiate",
            expected="a node, such as a loss",
            actual=repr(y),
            where=str(caller()),
            hint="gn.gradients(loss, [weight])",
        )
    for node in (*ys, *xs):
        if not node.dtype.is_floating:
            raise DTypeError(
                f"gradients: {node.name!r} is not of a floating type",
                expected="float16, bfloat16, float32 or float64",
                actual=str(node.spec),
                where=str(caller()),
                hint="convert it with .astype('float32')",
            )
    sums = _backward(ys, _seeds(ys, grad_ys), xs)
    return tuple(sums[x] if x in sums else _unused(x, ys, allow_unused) for x in xs)


def _nodes(given: object) -> tuple[Node, ...]:
    nodes = tuple(given) if isinstance(given, Iterable) and not isinstance(given, Node | str) else (given,)
    for node in nodes:
        if not isinstance(node, Node):
            raise GraphError(
                f"gradients takes nodes, not {node!r}",
                expected="nodes",
                actual=type(node).__name__,
                where=str(caller()),
                hint="graph[name] finds a node by its name",
            )
    return nodes


def _seeds(ys: tuple[Node, ...], grad_ys: Node | Sequence[Node] | None) -> tuple[Node, ...]:
    if grad_ys is None:
        return tuple(_filled(y, 1.0) for y in ys)
    seeds = _nodes(grad_ys)
    if len(seeds) != len(ys):
        raise GraphError(
            f"gradients got {len(seeds)} grad_ys for {len(ys)} ys",
            expected="one for each y",
            actual=f"{len(seeds)} grad_ys",
            where=str(caller()),
            hint="pass ones for a y whose own gradient is meant",
        )
    for y, seed in zip(ys, seeds, strict=True):
        if y.shape != seed.shape:
            raise ShapeError(
                f"gradients: the grad_y of {y.name!r} has another shape",
                expected=format_shape(y.shape),
                actual=format_shape(seed.shape),
                where=str(caller()),
                hint="reshape or broadcast it",
            )
    return tuple(seed.astype(y.dtype) for y, seed in zip(ys, seeds, strict=True))


def _backward(ys: tuple[Node, ...], seeds: tuple[Node, ...], xs: tuple[Node, ...]) -> dict[Node, Node]:
    """Walk from ys towards xs in reverse order of creation; return the whole gradient of each x reached."""
    between = _nodes_between(xs, ys)
    parts: dict[Node, list[Node]] = {}
    for y, seed in zip(ys, seeds, strict=True):
        parts.setdefault(y, []).append(seed)
    wanted = set(xs)
    sums: dict[Node, Node] = {}
    for node in sorted(between | set(ys), key=lambda node: node.index, reverse=True):
        if node not in parts:
            continue
        with node.graph.gradient_of(node):
            total = _add_up(parts.pop(node))
            if node in wanted:
                sums[node] = total
            if not any(given in between for given in node.inputs):
                continue
            for given, part in zip(node.inputs, node.op.gradient(node, total), strict=True):
                if part is not None and given in between:
                    parts.setdefault(given, []).append(part)
    return sums


def _nodes_between(xs: tuple[Node, ...], ys: tuple[Node, ...]) -> set[Node]:
    """Return the nodes of floating type that depend on an x and that a y depends on, the xs included."""
    ancestors: set[Node] = set()
    stack = list(ys)
    while stack:
        node = stack.pop()
        if node not in ancestors:
            ancestors.add(node)
            stack.extend(node.inputs)
    reached = set(xs) & ancestors
    for node in sorted(ancestors, key=lambda node: node.index):
        if node.dtype.is_floating and any(given in reached for given in node.inputs):
            reached.add(node)
    return reached


def _add_up(parts: list[Node]) -> Node:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _filled(like: Node, value: float) -> Node:
    with like.graph.gradient_of(like):
        return constant(value, like.dtype).broadcast_to(like.shape)


def _unused(x: Node, ys: tuple[Node, ...], allow_unused: bool) -> Node:
    if allow_unused:
        return _filled(x, 0.0)
    raise GraphError(
        f"gradients: {', '.join(repr(y.name) for y in ys)} does not depend on {x.name!r}",
        expected="a way from the one to the other through differentiable ops",
        actual=f"{x!r}, made at {x.source}",
        where=str(caller()),
        hint="leave it out, or pass allow_unused=True to get zeros",
    )
