"""The steps by which a random graph grows: one for each family of ops.

A step takes nodes that a `GraphBuilder` holds and gives it new ones; one that finds nothing to build on adds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from graphnn import ops
from graphnn.compiler.gradients import gradients
from graphnn.ops import Dim, Node
from graphnn.ops.broadcasting import broadcast_shapes
from graphnn.ops.errors import ShapeError
from graphnn.ops.spec import Extent, Shape

if TYPE_CHECKING:
    from random_graphs import GraphBuilder

CLASSES = 3
"""The labels that are fed are below this."""

LARGEST = 3.0
"""Values above this are tamed."""

MOST_ELEMENTS = 2000
"""Nodes with more are not built upon."""

TAMERS: list[Callable[[Node, float], Node]] = [
    lambda x, largest: ops.tanh(x),
    lambda x, largest: x * (1 / largest),
    lambda x, largest: ops.clip(x, -LARGEST, LARGEST),
    lambda x, largest: x / (ops.abs(x) + 1),
    lambda x, largest: ops.sigmoid(x) - 0.5,
]

UNARY: list[Callable[[Node], Node]] = [
    ops.exp,
    ops.tanh,
    ops.sigmoid,
    ops.relu,
    ops.abs,
    ops.negative,
    ops.sign,
    lambda x: ops.log(ops.abs(x) + 0.5),
    lambda x: ops.sqrt(x * x + 0.25),
    lambda x: ops.clip(x, -0.75, 0.75),
    lambda x: ops.clip(x, high=0.5),
    lambda x: 1 / (x * x + 0.5),
    lambda x: (x * x + 0.5) ** -0.5,
    lambda x: 2**x,
    lambda x: x**2 - x**3 * 0.1,
    lambda x: ops.negative(-x) * 1 + 0,  # for passes that simplify
    lambda x: (x - 0) / 1 + x * 0,
    lambda x: x.astype("float64") * 0.3,
]
BINARY: list[Callable[[Node, Any], Node]] = [
    ops.add,
    ops.subtract,
    ops.multiply,
    ops.maximum,
    ops.minimum,
    lambda a, b: a / (abs(b) + 0.5),
    lambda a, b: (ops.abs(a) + 0.5) ** b,
]


def unary(b: GraphBuilder) -> None:
    b.keep(b.one_of(UNARY)(b.any()))


def partner(b: GraphBuilder, x: Node) -> Any:
    """Return something that broadcasts with a node: another node, itself, a variable, a constant or a number."""

    def fits(other: Node) -> bool:
        try:
            shape = broadcast_shapes(x.shape, other.shape)
        except ShapeError:
            return False
        return x.spec.with_shape(shape).elements(b.batch) <= MOST_ELEMENTS

    part = [size if isinstance(size, int) and b.chance(0.7) else 1 for size in x.shape[b.number(0, x.rank) :]]
    number = round(float(b.generator.uniform(-2, 2)), 1)
    return b.one_of([b.pick(fits), b.pick(fits), x, b.normal(*part), b.weight(*part), number])


def binary(b: GraphBuilder) -> None:
    x = b.any()
    b.keep(b.one_of(BINARY)(x, partner(b, x)))


def comparison(b: GraphBuilder) -> None:
    x = b.any()
    compare = b.one_of([ops.less, ops.less_equal, ops.greater, ops.greater_equal, ops.equal, ops.not_equal])
    flag = compare(b.one_of(b.integers), b.number(0, CLASSES)) if b.chance(0.3) else compare(x, partner(b, x))
    if b.flags and b.chance(0.3) and b.one_of(b.flags).shape == flag.shape:
        flag = flag * b.one_of([other for other in b.flags if other.shape == flag.shape])
    b.keep(flag)


def choice(b: GraphBuilder) -> None:
    x = b.any()
    flags = [flag for flag in b.flags if flag.shape == x.shape] or [x > round(float(b.generator.uniform(-1, 1)), 1)]
    chosen = ops.where(b.one_of(flags), x, partner(b, x))
    b.keep(chosen if b.chance(0.8) else b.one_of(flags).astype("float32"))


def integer(b: GraphBuilder) -> None:
    x = b.one_of(b.integers)
    b.keep(b.one_of([x * 2 + 1, ops.clip(x, 0, 2), ops.maximum(x, 1) - x, abs(-x), x.astype("float32") * 0.5]))


def reduction(b: GraphBuilder) -> None:
    x = b.any()
    axes = [axis - x.rank if b.chance(0.3) else axis for axis in range(x.rank) if b.chance(0.5)]
    reduce = b.one_of([ops.sum, ops.mean, ops.max, ops.min, ops.variance])
    b.keep(reduce(x, b.one_of([tuple(axes), tuple(axes), None]), b.chance(0.5)))


def position(b: GraphBuilder) -> None:
    x = b.pick(lambda node: bool(node.shape) and node.shape[-1] in range(2, 6))
    if x is not None:
        found = x.argmax(-1, keepdims=b.chance(0.3))
        b.keep(found)
        b.keep(ops.one_hot(found, int(str(x.shape[-1]))))


def group(b: GraphBuilder, sizes: Iterable[Extent]) -> Shape:
    """Return a shape of as many elements, in which some neighbouring sizes are joined and some are split."""
    grouped: list[Extent] = []
    for size in sizes:
        if isinstance(size, int) and size % 2 == 0 and size and b.chance(0.5):
            grouped += [2, size // 2]
        elif grouped and b.chance(0.4) and not (isinstance(grouped[-1], Dim) and isinstance(size, Dim)):
            grouped[-1] = grouped[-1] * size
        else:
            grouped.append(size)
    return tuple(grouped)


def shape(b: GraphBuilder) -> None:
    x = b.any()
    axes = b.generator.permutation(x.rank).tolist()
    b.keep(
        b.one_of(
            [
                x.reshape(group(b, x.shape)),
                x.reshape(group(b, x.shape)),
                x.transpose(axes) if x.rank else x,
                x.expand_dims(b.number(0, x.rank)),
                x.squeeze(),
                x.broadcast_to((2, *x.shape)),
            ]
        )
    )


def cut(b: GraphBuilder) -> None:
    x = b.any()
    index: list[Any] = []
    for size in x.shape:
        if not isinstance(size, int) or b.chance(0.4):
            index.append(slice(None))
        else:
            start = b.number(0, size - 1)
            choices = [slice(start, None), slice(None, start + 1), slice(None, None, b.one_of([2, -1])), start]
            index.append(b.one_of(choices))
    b.keep(x[tuple(index)])


def join(b: GraphBuilder) -> None:
    x = b.pick(lambda node: node.rank > 0)
    if x is None:
        return
    axis = b.number(0, x.rank - 1)

    def fits(other: Node) -> bool:
        rest = other.shape[:axis] + other.shape[axis + 1 :]
        same_kind = other.rank == x.rank and isinstance(other.shape[axis], int) == isinstance(x.shape[axis], int)
        return same_kind and rest == x.shape[:axis] + x.shape[axis + 1 :]

    others = [b.one_of([node for node in b.reals if fits(node)]) for _ in range(b.number(1, 2))]
    if isinstance(x.shape[axis], int) and b.chance(0.3):
        widths = [(0, 0)] * x.rank
        widths[axis] = (b.number(0, 2), b.number(0, 1))
        others = [ops.pad(x, widths, 0.5)]
    b.keep(ops.concat([x, *others], axis))


def product_of_matrices(b: GraphBuilder) -> None:
    x = b.pick(lambda node: node.rank >= 2 and isinstance(node.shape[-1], int))
    if x is None:
        return
    inner, outer = int(str(x.shape[-1])), b.number(1, 6)
    y = x @ b.weight(inner, outer) * inner**-0.5
    b.keep(y + b.weight(outer) if b.chance(0.7) else y)
    if x.rank >= 3 and x.spec.elements(b.batch) <= 400:
        axes = [*range(x.rank - 2), x.rank - 1, x.rank - 2]
        b.keep(x @ x.transpose(axes) * (1 / inner))


def images(b: GraphBuilder) -> Node | None:
    return b.pick(lambda node: node.rank == 4 and all(isinstance(size, int) and size > 0 for size in node.shape[1:]))


def convolution(b: GraphBuilder) -> None:
    x = images(b)
    if x is None:
        return
    channels, height, width = (int(str(size)) for size in x.shape[1:])
    groups = channels if b.chance(0.3) else 1
    outputs = groups * b.number(1, 2)
    kernel = [min(b.number(1, 3), size) for size in (height, width)]
    weight = b.weight(outputs, channels // groups, *kernel)
    bias = b.weight(outputs) if b.chance(0.5) else None
    padding, dilation = b.number(0, 2), 2 if b.chance(0.2) and min(height, width) >= 5 else 1
    y = ops.conv2d(x, weight, bias, stride=b.number(1, 2), padding=padding, dilation=dilation, groups=groups)
    b.keep(b.one_of([ops.relu(y * 0.5), ops.tanh(y), y]))


def pooling(b: GraphBuilder) -> None:
    x = images(b)
    if x is None:
        return
    kernel = min(b.number(1, 3), *(int(str(size)) for size in x.shape[2:]))
    stride, padding = b.number(1, 2), b.number(0, kernel // 2)
    if b.chance(0.6):
        b.keep(ops.max_pool2d(x, kernel, stride, padding, ceil_mode=b.chance(0.3)))
    else:
        b.keep(ops.avg_pool2d(x, kernel, stride, padding, count_include_pad=b.chance(0.5)))


def normalization(b: GraphBuilder) -> None:
    x = b.pick(lambda node: bool(node.shape) and isinstance(node.shape[-1], int))
    if x is not None:
        mean, variance = x.mean(-1, keepdims=True), x.variance(-1, keepdims=True)
        b.keep(b.one_of([ops.softmax(x), ops.log_softmax(x, -1) * 0.3, (x - mean) / ops.sqrt(variance + 0.1)]))


def loss(b: GraphBuilder) -> None:
    x = b.pick(lambda node: node.rank == 2 and node.shape[0] == Dim(1) and isinstance(node.shape[1], int))
    if x is None:
        return
    logits = x @ b.weight(int(str(x.shape[1])), CLASSES)
    reduction = b.one_of(["mean", "sum", "none"])
    b.keep(ops.cross_entropy(logits, b.graph["labels"], reduction=reduction))  # type: ignore[arg-type]  # one of its words
    b.keep(ops.mse_loss(x, ops.tanh(x) * 0.5))


def lookup(b: GraphBuilder) -> None:
    table = b.weight(CLASSES, b.number(1, 4))
    b.keep(ops.take(table, b.graph["labels"]) if b.chance(0.5) else ops.one_hot(b.graph["labels"], CLASSES))


def folding(b: GraphBuilder) -> None:
    x = b.any()
    row = ops.constant(b.normal(2, 3)).sum(0) * ops.constant(0.5)
    b.keep(x * ops.tanh(row).mean() + ops.constant([1, 2, 3]).max())


def repetition(b: GraphBuilder) -> None:
    """Compute something a second time, for passes that merge."""
    node = b.pick(lambda node: bool(node.inputs))
    if node is not None:
        again = b.graph.add(node.op, node.inputs)
        b.keep(again * node)


def dead(b: GraphBuilder) -> None:
    x = b.any()
    ops.maximum(ops.exp(x), partner(b, x))  # nobody will need it


def modes(b: GraphBuilder) -> None:
    x = b.any()
    b.keep(b.one_of([ops.when_training(x * 0.5, ops.relu(x)), ops.stop_gradient(x), ops.dropout(x, 0.3)]))


def derivative(b: GraphBuilder) -> None:
    if b.gradient_steps < 2 and len(b.graph.nodes) < 200:
        b.gradient_steps += 1
        y = b.deep()
        b.keep(gradients(b.one_of([y.sum(), (y * y).mean()]), [b.any()], allow_unused=True)[0])


STEPS: list[Callable[[GraphBuilder], None]] = [
    *(unary, binary, binary, comparison, choice, integer, reduction, reduction, position, shape, shape, cut, join),
    *(product_of_matrices, convolution, convolution, pooling, normalization, loss, lookup, folding, repetition),
    *(dead, modes, derivative),
]
