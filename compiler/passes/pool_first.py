"""Pool before what keeps the order of numbers, and unpool after what works element by element.

Before: ``max_pool(relu(x + bias))``; its gradient spreads dy over the image and masks all of it:
``where(y > 0, max_pool_gradient(dy, indices), 0)``.
After: ``relu(max_pool(x) + bias)``, ``max_pool_gradient(where(pooled > 0, dy, 0), indices)``: each on a quarter of the
numbers, for windows of 2×2. A sum of the spread gradient over the image is the sum of what was spread.

The largest number of a window stays the largest under a function that never falls, so that values are the same bits.
Where such a function gives equal results for different numbers, as relu does for negative ones, the window's position
may be another one than before; the gradient there is 0, or as small as rounding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from graphnn.compiler.passes.simplify import scalar_of
from graphnn.compiler.subgraph import Subgraph, replacement, with_inputs
from graphnn.ops.broadcasting import Elementwise
from graphnn.ops.comparison import Where
from graphnn.ops.elementwise import Add, Divide, Exp, Multiply, Relu, Sigmoid, Subtract, Tanh
from graphnn.ops.max_pool import MaxPool2d, MaxPool2dGradient, MaxPool2dIndices
from graphnn.ops.node import Node
from graphnn.ops.reduce import Sum
from graphnn.ops.shape import BroadcastTo

RISING = (Relu, Sigmoid, Tanh, Exp)
"""Functions of one number that never fall."""

BOUNDED = (Sigmoid, Tanh)
"""Those whose results are finite: a product of one of them with 0 is 0."""

IMAGE_AXES = (2, 3)


def pool_first(subgraph: Subgraph) -> Subgraph:
    """Return the subgraph with elementwise work on what its max-pools give, not on what they read."""
    subgraph = subgraph.rewrite(lambda node, inputs: _unpool_last(with_inputs(node, inputs)))
    rising = _rising_steps(subgraph)
    return subgraph.rewrite(lambda node, inputs: _pool_below(node, inputs, rising))


def _unpool_last(node: Node) -> Node:
    """``op(unpool(dy), …)`` → ``unpool(op(dy, …))``; ``sum(unpool(dy))`` over the image → ``sum(dy)``."""
    place = next((i for i, given in enumerate(node.inputs) if isinstance(given.op, MaxPool2dGradient)), None)
    if place is None:
        return node
    unpooled = node.inputs[place]
    dy, indices = unpooled.inputs
    if isinstance(node.op, Sum):
        return replacement(node, node.op, (dy,)) if set(node.op.axes) >= set(IMAGE_AXES) else node
    if not isinstance(indices.op, MaxPool2dIndices) or node.spec != unpooled.spec:
        return node
    if not _keeps_zeros(node, place, indices.inputs[0]):
        return node
    inputs = [dy if given is unpooled else _where_largest(given, indices) for given in node.inputs]
    found = tuple(given for given in inputs if given is not None)
    if len(found) < len(inputs):
        return node
    inner = replacement(node, node.op, found, dy.spec, f"{node.name}.pooled")
    return replacement(node, unpooled.op, (inner, indices))


def _keeps_zeros(node: Node, place: int, image: Node) -> bool:
    """Whether an elementwise node gives 0 wherever the input at `place` is 0."""
    match node.op:
        case Multiply():
            return isinstance(image.op, BOUNDED)
        case Where():
            return place > 0 and scalar_of(node.inputs[3 - place]) == 0
    return False


def _where_largest(node: Node, indices: Node) -> Node | None:
    """Return what a value that lines up with a pooled image is at the largest place of each window.

    Possible for the image itself, for what is the same all over an image, and for elementwise ops on these.
    """
    image = indices.inputs[0]
    if node is image:
        assert isinstance(indices.op, MaxPool2dIndices)
        op, spec = MaxPool2d(*indices.op.attributes), image.spec.with_shape(indices.shape)
        return replacement(image, op, (image,), spec, f"{image.name}.pooled")
    if isinstance(node.op, BroadcastTo):
        node = node.inputs[0]
    if _same_all_over(node):
        return node
    if not isinstance(node.op, Elementwise) or node.shape != image.shape:
        return None
    inputs = [_where_largest(given, indices) for given in node.inputs]
    found = tuple(given for given in inputs if given is not None)
    if len(found) < len(inputs):
        return None
    spec = node.op.infer(*(given.spec for given in found))
    return replacement(node, node.op, found, spec, f"{node.name}.pooled")


def _same_all_over(node: Node) -> bool:
    """Whether a value that is broadcast over images has one number for all places of an image."""
    return all(extent == 1 for extent in node.shape[-2:])


def _rising_steps(subgraph: Subgraph) -> Mapping[Node, int]:
    """Return how many rising ops, each read by the next alone, make an image that is only pooled."""
    readers: dict[Node, set[Node]] = {node: set() for node in subgraph.nodes}
    for node in subgraph.nodes:
        for given in node.inputs:
            readers[given].add(node)
    kept = {*subgraph.fetches, *subgraph.updates}
    found: dict[Node, int] = {}
    for image in {node.inputs[0] for node in subgraph.of_op(MaxPool2d)}:
        if not all(isinstance(reader.op, MaxPool2d | MaxPool2dIndices) for reader in readers[image]):
            continue
        steps, node, reader = 0, image, None
        while node not in kept and (reader is None or readers[node] == {reader}):
            source = _rises_with(node)
            if source is None:
                break
            steps, node, reader = steps + 1, source, node
        found[image] = steps
    return found


def _rises_with(node: Node) -> Node | None:
    """Return the image that a node never falls with, where it is an elementwise op on one image."""
    if isinstance(node.op, RISING):
        return node.inputs[0]
    if not isinstance(node.op, Add | Subtract | Multiply | Divide) or not node.dtype.is_floating:
        return None
    a, b = node.inputs
    if isinstance(node.op, Add) and _same_all_over(a):
        a, b = b, a
    if a.spec != node.spec or not _same_all_over(b):
        return None
    factor = scalar_of(b)
    rises = isinstance(node.op, Add | Subtract) or (factor is not None and 0 < factor < math.inf)
    return a if rises else None


def _pool_below(node: Node, inputs: tuple[Node, ...], rising: Mapping[Node, int]) -> Node:
    """``max_pool(f(g(x)))`` → ``f(g(max_pool(x)))``; the indices are those of `x`."""
    if not isinstance(node.op, MaxPool2d | MaxPool2dIndices):
        return with_inputs(node, inputs)
    (image,) = inputs
    steps: list[tuple[Node, Node]] = []
    for _ in range(rising.get(node.inputs[0], 0)):
        source = _rises_with(image)
        assert source is not None
        steps.append((image, source))
        image = source
    if isinstance(node.op, MaxPool2dIndices):
        return with_inputs(node, (image,))
    result = replacement(node, node.op, (image,), name=f"{node.name}.first") if steps else with_inputs(node, (image,))
    for step, source in reversed(steps):
        given = tuple(result if each is source else each for each in step.inputs)
        result = replacement(step, step.op, given, node.spec, f"{step.name}.pooled")
    return result
