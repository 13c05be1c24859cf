"""Max-pooling and average pooling on the GPU: a thread makes one element, gradients are gathered."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from graphnn.compiler.targets.c.expressions import literal
from graphnn.compiler.targets.cuda.elements import computed_dtype, extent_text
from graphnn.compiler.targets.cuda.instance import Instance
from graphnn.compiler.targets.cuda.rules.macros import ONE, element, flat, working_type
from graphnn.ops.avg_pool import AvgPool2d, AvgPool2dGradient, AvgPooling
from graphnn.ops.dtypes import DType
from graphnn.ops.max_pool import MaxPool2d, MaxPool2dGather, MaxPool2dGradient, MaxPool2dIndices, MaxPooling
from graphnn.ops.node import Node
from graphnn.ops.op import Op
from graphnn.ops.pool import Pool2d
from graphnn.ops.spec import Shape, product
from graphnn.ops.window import Pair

P = TypeVar("P", bound=Pool2d)


def values_and_positions(values: Node, max_batch: int) -> list[Instance]:
    """Return the kernel that gives what `MaxPool2d` gives and what `MaxPool2dIndices` gives for the same input.

    Parameters
    ----------
    values : Node
        The max-pool. STORE takes the values, STORE1 the positions.
    max_batch : int
        The largest batch.
    """
    return [_largest(values, values=True, positions=True)]


def gradient_by_one_thread(node: Node) -> Instance:
    """Return the plain loop that computes a float32 `MaxPool2dGradient`, for comparison."""
    op = _op(node, MaxPool2dGradient)
    defines = _max_pool_gradient(op, node) | {
        "SIZE": extent_text(product(node.shape)),
        "WINDOWS": extent_text(product(node.inputs[0].shape)),
    }
    return Instance("max_pool_loop.cu", defines, (ONE, ONE, ONE), 1)


def _op(node: Node, kind: type[P]) -> P:
    assert isinstance(node.op, kind)
    return node.op


def _image_size(shape: Shape) -> Pair:
    _, _, height, width = shape
    assert isinstance(height, int)
    assert isinstance(width, int)
    return height, width


def _geometry(op: Pool2d, size: Pair, pooled: Pair) -> dict[str, str]:
    dilation = op.dilation if isinstance(op, MaxPooling) else (1, 1)
    pairs = {
        "{}": size,
        "POOLED_{}": pooled,
        "KERNEL_{}": op.kernel,
        "STRIDE_{}": op.stride,
        "DILATION_{}": dilation,
    }
    both = {
        name.format(axis): str(number)
        for name, pair in pairs.items()
        for axis, number in zip(("HEIGHT", "WIDTH"), pair, strict=True)
    }
    return {**both, "TOP": str(op.padding[0][0]), "LEFT": str(op.padding[1][0])}


def _clipped(op: Pool2d, size: Pair, pooled: Pair) -> str:
    """Return 1 where a window reaches beyond the images, else 0."""
    beyond = (
        window.padding[0] > 0 or window.reach(count) - window.padding[0] > length
        for window, length, count in zip(op.windows, size, pooled, strict=True)
    )
    return str(int(any(beyond)))


# The largest value.


def _lowest(dtype: DType) -> str:
    """Return the value that padding has."""
    if dtype.is_floating:
        return literal(-math.inf, computed_dtype(dtype))
    return literal(int(np.iinfo(dtype.storage).min), dtype)


def _largest(node: Node, *, values: bool, positions: bool) -> Instance:
    (x,) = node.inputs
    op = _op(node, MaxPooling)
    size, pooled = _image_size(x.shape), _image_size(node.shape)
    defines = {
        **_geometry(op, size, pooled),
        "CLIPPED": _clipped(op, size, pooled),
        "VALUES": str(int(values)),
        "POSITIONS": str(int(positions)),
        "VALUE": working_type(x.dtype),
        "LOWEST": _lowest(x.dtype),
        **element(node, 0),
    }
    return flat("max_pool.cu", defines, product(node.shape))


def _max_pool_gradient(op: MaxPool2dGradient, node: Node) -> dict[str, str]:
    # Without dilation, the positions that an element can have in windows are a stride apart.
    steps = [stride if dilation == 1 else 1 for stride, dilation in zip(op.stride, op.dilation, strict=True)]
    return {
        **_geometry(op, op.size, _image_size(node.inputs[0].shape)),
        "ROW_STEP": str(steps[0]),
        "COLUMN_STEP": str(steps[1]),
        "VALUE": working_type(node.dtype),
        **element(node, 0),
        **element(node, 1),
    }


def _max_pool_values(node: Node, max_batch: int) -> list[Instance]:
    return [_largest(node, values=True, positions=False)]


def _max_pool_positions(node: Node, max_batch: int) -> list[Instance]:
    return [_largest(node, values=False, positions=True)]


def _max_pool_gradient_rule(node: Node, max_batch: int) -> list[Instance]:
    defines = _max_pool_gradient(_op(node, MaxPool2dGradient), node)
    return [flat("max_pool_gradient.cu", defines, product(node.shape))]


def _max_pool_gather(node: Node, max_batch: int) -> list[Instance]:
    x, indices = node.inputs
    defines = {
        **_geometry(_op(node, MaxPool2dGather), _image_size(x.shape), _image_size(indices.shape)),
        "VALUE": working_type(x.dtype),
        **element(node, 0),
        **element(node, 1),
    }
    return [flat("max_pool_gather.cu", defines, product(node.shape))]


# The mean.


def _average(op: AvgPooling, node: Node, size: Pair, pooled: Pair) -> dict[str, str]:
    counted = op.padding if op.count_include_pad else ((0, 0), (0, 0))
    (top, bottom), (left, right) = counted
    sides = {"TOP": top, "BOTTOM": bottom, "LEFT": left, "RIGHT": right}
    return {
        **_geometry(op, size, pooled),
        **{f"COUNTED_{side}": str(width) for side, width in sides.items()},
        "VALUE": working_type(node.dtype),
        **element(node, 0),
    }


def _avg_pool(node: Node, max_batch: int) -> list[Instance]:
    op = _op(node, AvgPool2d)
    size, pooled = _image_size(node.inputs[0].shape), _image_size(node.shape)
    defines = {**_average(op, node, size, pooled), "CLIPPED": _clipped(op, size, pooled)}
    return [flat("avg_pool.cu", defines, product(node.shape))]


def _avg_pool_gradient(node: Node, max_batch: int) -> list[Instance]:
    op = _op(node, AvgPool2dGradient)
    defines = _average(op, node, op.size, _image_size(node.inputs[0].shape))
    return [flat("avg_pool_gradient.cu", defines, product(node.shape))]


RULES: dict[type[Op], Callable[[Node, int], list[Instance] | None]] = {
    MaxPool2d: _max_pool_values,
    MaxPool2dIndices: _max_pool_positions,
    MaxPool2dGradient: _max_pool_gradient_rule,
    MaxPool2dGather: _max_pool_gather,
    AvgPool2d: _avg_pool,
    AvgPool2dGradient: _avg_pool_gradient,
}
