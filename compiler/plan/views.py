"""Ops whose result needs no work: another way to look at bytes that are there already.

Each rule returns a view of its input's storage, or None where only a copy gives the result: a reshape of a
transposed value, say, or an offset that is no multiple of the batch size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from graphnn.compiler.plan.form import View, row_major_strides
from graphnn.ops.errors import ShapeError
from graphnn.ops.node import Node
from graphnn.ops.op import Op
from graphnn.ops.shape import BroadcastTo, Reshape, Transpose
from graphnn.ops.slicing import Slice
from graphnn.ops.spec import Extent, TensorSpec


def view_of(node: Node, view: View) -> View | None:
    """Return the value of a view op as a view of its input's storage, or None."""
    rule = _RULES.get(type(node.op))
    if rule is None:
        return None
    try:
        return rule(node.op, node.spec, view)
    except ShapeError:  # a stride or an offset is not of the form k or k·N
        return None


def _strides(view: View) -> tuple[Extent, ...]:
    return row_major_strides(view.spec.shape) if view.strides is None else view.strides


def _reshape(op: Reshape, out: TensorSpec, view: View) -> View | None:
    if view.strides is None:
        return replace(view, spec=out)
    kept = [(extent, stride) for extent, stride in zip(view.spec.shape, view.strides, strict=True) if extent != 1]
    if [extent for extent, _ in kept] != [extent for extent in out.shape if extent != 1]:
        return None
    remaining = iter(kept)
    strides = tuple(0 if extent == 1 else next(remaining)[1] for extent in out.shape)
    return replace(view, spec=out, strides=strides)


def _transpose(op: Transpose, out: TensorSpec, view: View) -> View:
    strides = _strides(view)
    return replace(view, spec=out, strides=tuple(strides[axis] for axis in op.axes))


def _broadcast(op: BroadcastTo, out: TensorSpec, view: View) -> View:
    added = out.rank - view.spec.rank
    repeated = [extent == 1 and target != 1 for extent, target in zip(view.spec.shape, out.shape[added:], strict=True)]
    strides = tuple(0 if again else stride for again, stride in zip(repeated, _strides(view), strict=True))
    return replace(view, spec=out, strides=(0,) * added + strides)


def _slice(op: Slice, out: TensorSpec, view: View) -> View:
    strides = _strides(view)
    offset = view.offset
    for start, stride in zip(op.starts, strides, strict=True):
        if start:  # 0·N would not add up with an integer
            offset = offset + stride * start
    steps = tuple(stride * step for stride, step in zip(strides, op.steps, strict=True))
    return replace(view, spec=out, offset=offset, strides=steps)


_RULES: dict[type[Op], Callable[[Any, TensorSpec, View], View | None]] = {
    Reshape: _reshape,
    Transpose: _transpose,
    BroadcastTo: _broadcast,
    Slice: _slice,
}
