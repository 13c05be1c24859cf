"""Ops at shapes, axes and indices that nobody chose: against NumPy and against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphnn.ops import Node, Op
from graphnn.ops.broadcasting import broadcast_shapes
from graphnn.ops.comparison import Where, where
from graphnn.ops.elementwise import (
    Add,
    Divide,
    Maximum,
    Minimum,
    Multiply,
    Power,
    Subtract,
    add,
    divide,
    maximum,
    minimum,
    multiply,
    power,
    subtract,
)
from graphnn.ops.errors import ShapeError
from graphnn.ops.index import Take, take
from graphnn.ops.matmul import MatMul, matmul
from graphnn.ops.norm import Softmax, softmax
from graphnn.ops.reduce import Argmax, Max, Min, Sum, argmax, max, mean, min, sum, sum_to_size, variance
from graphnn.ops.shape import BroadcastTo, Reshape, Transpose, broadcast_to, reshape, transpose
from graphnn.ops.slicing import Concat, Pad, Slice, concat, pad
from graphnn.ops.spec import Dim, Extent, Shape, as_shape, bind_extent, product
from op_checks import check_gradient, check_value
from op_samples import BATCH, Input, OpSample

Draw = Callable[[st.SearchStrategy[Any]], Any]
InputShape = tuple[int | None, ...]

SIZES = st.integers(1, 4)


def check(
    op: type[Op],
    inputs: Sequence[Input],
    build: Callable[..., Node],
    reference: Callable[..., Any],
    gradient: bool = True,
) -> None:
    """Hold value and gradient of one random use of an op against NumPy and finite differences."""
    sample = OpSample("random shapes", op, tuple(inputs), build, reference)
    check_value(sample)
    if gradient:
        check_gradient(sample)


def draw_shape(draw: Draw, min_rank: int = 0, max_rank: int = 4) -> InputShape:
    """Return a shape, often with the batch in front."""
    shape: InputShape = tuple(draw(st.lists(SIZES, min_size=min_rank, max_size=max_rank)))
    return (None, *shape[1:]) if shape and draw(st.booleans()) else shape


def draw_part(draw: Draw, shape: InputShape) -> InputShape:
    """Return a shape that broadcasts to another one: without some leading axes, and with some sizes of 1."""
    kept = shape[draw(st.integers(0, len(shape))) :]
    return tuple(1 if draw(st.booleans()) else size for size in kept)


def bound(shape: Shape) -> tuple[int, ...]:
    """Return a shape in a run of the tests' batch size."""
    return tuple(bind_extent(size, BATCH) for size in shape)


def different(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return numbers at distances far above the step of finite differences, within and between inputs."""
    size = int(np.prod(shape))
    return ((generator.permutation(size) + generator.uniform(0.2, 0.8)) * 0.1).reshape(shape)


def positive(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return generator.uniform(0.5, 2.0, shape)


BINARY: list[tuple[type[Op], Callable[..., Node], Any, Any]] = [
    (Add, add, np.add, None),
    (Subtract, subtract, np.subtract, None),
    (Multiply, multiply, np.multiply, None),
    (Divide, divide, np.divide, positive),
    (Power, power, np.power, positive),
    (Maximum, maximum, np.maximum, different),
    (Minimum, minimum, np.minimum, different),
]


def broadcasting(draw: Draw) -> None:
    whole = draw_shape(draw)
    op, build, reference, values = draw(st.sampled_from(BINARY))
    check(op, [Input(draw_part(draw, whole), values=values) for _ in range(2)], build, reference)


def choice(draw: Draw) -> None:
    whole = draw_shape(draw)
    inputs = [Input(draw_part(draw, whole), "bool"), Input(draw_part(draw, whole)), Input(draw_part(draw, whole))]
    check(Where, inputs, where, np.where)


REDUCTIONS: list[tuple[type[Op], Callable[..., Node], Callable[..., Any]]] = [
    (Sum, sum, np.sum),
    (Sum, mean, np.mean),
    (Sum, variance, np.var),
    (Max, max, np.max),
    (Min, min, np.min),
]


def reduction(draw: Draw) -> None:
    shape = draw_shape(draw)
    op, build, reference = draw(st.sampled_from(REDUCTIONS))
    chosen = [axis for axis in range(len(shape)) if draw(st.booleans())]
    axes = tuple(axis - len(shape) if draw(st.booleans()) else axis for axis in chosen)
    keepdims = draw(st.booleans())
    given = Input(shape, values=different)
    check(op, [given], lambda x: build(x, axes, keepdims), lambda x: reference(x, axes, keepdims=keepdims))
    if set(chosen) == set(range(len(shape))):
        check(op, [given], lambda x: build(x, None, keepdims), lambda x: reference(x, keepdims=keepdims))


def position_of_the_largest(draw: Draw) -> None:
    shape = draw_shape(draw, min_rank=1)
    if None in shape:
        shape = (*shape, draw(SIZES))
    axis = draw(st.integers(-len(shape) + (None in shape), -1))
    keepdims = draw(st.booleans())
    check(
        Argmax,
        [Input(shape, values=different)],
        lambda x: argmax(x, axis, keepdims),
        lambda x: np.argmax(x, axis, keepdims=keepdims),
        gradient=False,
    )


def draw_grouping(draw: Draw, factors: Sequence[Extent]) -> Shape:
    """Return the shape whose sizes are the products of neighbouring factors."""
    groups: list[list[Extent]] = []
    for factor in factors:
        if groups and draw(st.booleans()):
            groups[-1].append(factor)
        else:
            groups.append([factor])
    return tuple(product(group) for group in groups)


def new_shape(draw: Draw) -> None:
    factors = draw(st.lists(st.integers(1, 3), max_size=5))
    batch = draw(st.booleans())
    old: InputShape = ((None,) if batch else ()) + tuple(
        size for size in draw_grouping(draw, factors) if isinstance(size, int)
    )
    new = list(draw_grouping(draw, [Dim(1), *factors] if batch else factors))
    expected = bound(tuple(new))
    if new and draw(st.booleans()):
        new[draw(st.integers(0, len(new) - 1))] = -1
    check(Reshape, [Input(old)], lambda x: reshape(x, new), lambda x: x.reshape(expected))


def order_of_axes(draw: Draw) -> None:
    shape = draw_shape(draw)
    axes = draw(st.permutations(range(len(shape))))
    given = [axis - len(shape) if draw(st.booleans()) else axis for axis in axes]
    check(Transpose, [Input(shape)], lambda x: transpose(x, given), lambda x: x.transpose(axes))
    check(Transpose, [Input(shape)], lambda x: x.T, np.transpose)


def repetition(draw: Draw) -> None:
    whole = draw_shape(draw)
    inputs = [Input(draw_part(draw, whole)), Input(whole, differentiable=False)]  # the second says how large N is
    target = as_shape(whole)
    check(BroadcastTo, inputs, lambda x, _: broadcast_to(x, target), lambda x, _: np.broadcast_to(x, bound(target)))


def reversed_repetition(draw: Draw) -> None:
    whole = draw_shape(draw)
    target = as_shape(draw_part(draw, whole))

    def reference(x: np.ndarray) -> np.ndarray:
        leading = x.ndim - len(target)
        repeated = [axis for axis in range(x.ndim) if axis < leading or target[axis - leading] == 1]
        return x.sum(tuple(repeated)).reshape(bound(target))

    check(Sum, [Input(whole)], lambda x: sum_to_size(x, target), reference)


def part_of_each_axis(draw: Draw) -> None:
    shape = draw_shape(draw)
    index: list[Any] = []
    for size in shape:
        if size is None:
            index.append(slice(None))
            continue
        ends = st.none() | st.integers(-size - 1, size + 1)
        steps = st.none() | st.sampled_from([1, 2, 3, -1, -2])
        slices = st.builds(slice, ends, ends, steps)
        index.append(draw(slices | st.integers(-size, size - 1)))
    if draw(st.booleans()):
        while index and index[-1] == slice(None):
            index.pop()  # what is left out at the end is taken whole
    if draw(st.booleans()):
        index.insert(draw(st.integers(min_value=0, max_value=len(index))), None)
    if draw(st.booleans()):
        index.append(...)
    check(Slice, [Input(shape)], lambda x: x[tuple(index)], lambda x: x[tuple(index)])


def border(draw: Draw) -> None:
    shape = draw_shape(draw, min_rank=1)
    widths = [(0, 0) if size is None else (draw(st.integers(0, 2)), draw(st.integers(0, 2))) for size in shape]
    check(Pad, [Input(shape)], lambda x: pad(x, widths, 0.5), lambda x: np.pad(x, widths, constant_values=0.5))


def joining(draw: Draw) -> None:
    shape = draw_shape(draw, min_rank=1)
    axis = draw(st.integers(0, len(shape) - 1))
    inputs = []
    for _ in range(draw(st.integers(1, 3))):
        size = None if shape[axis] is None else draw(SIZES)
        inputs.append(Input((*shape[:axis], size, *shape[axis + 1 :])))
    given = axis - len(shape) if draw(st.booleans()) else axis
    check(Concat, inputs, lambda *x: concat(x, given), lambda *x: np.concatenate(x, axis))


def chosen_positions(draw: Draw) -> None:
    shape = draw_shape(draw, min_rank=1)
    axis = draw(st.integers(0, len(shape) - 1))
    size = shape[axis] or BATCH
    which = tuple(draw(st.lists(SIZES, max_size=2)))
    positions = draw(st.lists(st.integers(0, size - 1), min_size=int(np.prod(which)), max_size=int(np.prod(which))))
    indices = Input(which, "int64", lambda generator, drawn: np.array(positions, np.int64).reshape(drawn))
    check(Take, [Input(shape), indices], lambda x, i: take(x, i, axis), lambda x, i: np.take(x, i, axis))


def products_of_matrices(draw: Draw) -> None:
    stacks = draw_shape(draw, max_rank=2)
    rows, inner, columns = draw(SIZES), draw(SIZES), draw(SIZES)
    left: InputShape = draw(st.sampled_from([(inner,), (*draw_part(draw, stacks), rows, inner)]))
    right: InputShape = draw(st.sampled_from([(inner,), (*draw_part(draw, stacks), inner, columns)]))
    check(MatMul, [Input(left), Input(right)], matmul, np.matmul)


def normalization(draw: Draw) -> None:
    shape = draw_shape(draw, min_rank=1)
    if None in shape:
        shape = (*shape, draw(SIZES))
    axis = draw(st.integers(-len(shape) + (None in shape), -1))

    def reference(x: np.ndarray) -> np.ndarray:
        powers = np.exp(x)
        quotient: np.ndarray = powers / powers.sum(axis, keepdims=True)
        return quotient

    check(Softmax, [Input(shape)], lambda x: softmax(x, axis), reference)


CASES = [
    broadcasting,
    choice,
    reduction,
    position_of_the_largest,
    new_shape,
    order_of_axes,
    repetition,
    reversed_repetition,
    part_of_each_axis,
    border,
    joining,
    chosen_positions,
    products_of_matrices,
    normalization,
]

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
DATA = st.data()


@every_case
@settings(max_examples=30, deadline=None, database=None, derandomize=True)
@given(data=DATA)
def test_ops_at_random_shapes(case: Callable[[Draw], None], data: st.DataObject) -> None:
    case(data.draw)


@pytest.mark.full
@every_case
@settings(max_examples=1000, deadline=None)
@given(data=DATA)
def test_ops_at_many_random_shapes(case: Callable[[Draw], None], data: st.DataObject) -> None:
    case(data.draw)


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(data=DATA)
def test_shapes_broadcast_as_in_numpy(data: st.DataObject) -> None:
    shapes = [tuple(data.draw(st.lists(st.integers(0, 3), max_size=3))) for _ in range(data.draw(st.integers(1, 3)))]
    try:
        expected = np.broadcast_shapes(*shapes)
    except ValueError:
        with pytest.raises(ShapeError):
            broadcast_shapes(*shapes)
    else:
        assert broadcast_shapes(*shapes) == expected
