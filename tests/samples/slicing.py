"""Samples of the ops that cut parts out of a value, put them into a border or join several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from graphnn.ops import Node, apply
from graphnn.ops.shape import reshape
from graphnn.ops.slicing import Concat, Pad, Slice, SliceGradient, concat, pad, slice
from op_samples import Input, OpSample

# Slice.


def _slice_sample(
    name: str,
    given: Input,
    build: Callable[[Node], Node],
    reference: Callable[[np.ndarray], np.ndarray],
    torch: Callable[[Any], object] | None = None,
) -> OpSample:
    differentiable = given.dtype == "float32"
    return OpSample(
        f"slice, {name}",
        Slice,
        (given,),
        build,
        reference,
        torch,
        gradient=differentiable,
        second_gradient=differentiable,
    )


def _columns(x: np.ndarray, positions: Iterable[int]) -> np.ndarray:
    """Return the given positions of axis 1, one after the other."""
    return np.stack([x[:, position] for position in positions], axis=1)


SLICE = [
    _slice_sample(
        "a part of each row",
        Input((None, 6)),
        lambda x: x[:, 1:4],
        lambda x: _columns(x, (1, 2, 3)),
        lambda x: x[:, 1:4],
    ),
    _slice_sample(
        "negative bounds",
        Input((None, 6)),
        lambda x: x[:, -5:-1],
        lambda x: _columns(x, (1, 2, 3, 4)),
        lambda x: x[:, 1:5],
    ),
    _slice_sample(
        "every second", Input((None, 6)), lambda x: x[:, ::2], lambda x: _columns(x, (0, 2, 4)), lambda x: x[:, ::2]
    ),
    _slice_sample(
        "every third from the second", Input((None, 9)), lambda x: x[:, 1::3], lambda x: _columns(x, (1, 4, 7))
    ),
    _slice_sample(
        "reversed",
        Input((None, 4)),
        lambda x: x[:, ::-1],
        lambda x: _columns(x, (3, 2, 1, 0)),
        lambda x: x.flip(1),
    ),
    _slice_sample(
        "backwards by two, up to the first", Input((None, 5)), lambda x: x[:, 3::-2], lambda x: _columns(x, (3, 1))
    ),
    _slice_sample(
        "backwards within bounds", Input((None, 6)), lambda x: x[:, -2:0:-1], lambda x: _columns(x, (4, 3, 2, 1))
    ),
    _slice_sample(
        "bounds beyond the ends",
        Input((None, 4)),
        lambda x: x[:, 2:99],
        lambda x: _columns(x, (2, 3)),
        lambda x: x[:, 2:99],
    ),
    _slice_sample(
        "an integer", Input((None, 3, 2)), lambda x: x[:, 1], lambda x: np.stack([e[1] for e in x]), lambda x: x[:, 1]
    ),
    _slice_sample(
        "a negative integer behind an ellipsis",
        Input((None, 3, 2)),
        lambda x: x[..., -1],
        lambda x: np.stack([e[:, 1] for e in x]),
        lambda x: x[..., -1],
    ),
    _slice_sample(
        "integers on all axes", Input((2, 3)), lambda x: x[1, 2], lambda x: np.array(x[1][2]), lambda x: x[1, 2]
    ),
    _slice_sample(
        "new axes between",
        Input((None, 4)),
        lambda x: x[:, None, 1:3, None],
        lambda x: np.stack([[[[e[1]], [e[2]]]] for e in x]),
        lambda x: x[:, None, 1:3, None],
    ),
    _slice_sample(
        "several axes",
        Input((None, 4, 5, 6)),
        lambda x: x[:, 1:3, ::-2, 2:-1],
        lambda x: np.stack([[[row[2:5] for row in (plane[4], plane[2], plane[0])] for plane in e[1:3]] for e in x]),
        lambda x: x[:, 1:3, :, 2:-1].flip(2)[:, :, ::2],
    ),
    _slice_sample("one position with a step", Input((None, 5)), lambda x: x[:, 3:4:7], lambda x: _columns(x, (3,))),
    _slice_sample(
        "nothing", Input((None, 3)), lambda x: x[:, 2:1], lambda x: np.empty((len(x), 0), x.dtype), lambda x: x[:, 2:1]
    ),
    _slice_sample(
        "the first axis of a static shape", Input((4, 2)), lambda x: x[1:-1], lambda x: np.stack([x[1], x[2]])
    ),
    _slice_sample(
        "integers as elements", Input((None, 5), "uint8"), lambda x: x[:, ::-3], lambda x: _columns(x, (4, 1))
    ),
    _slice_sample("bool as elements", Input((None, 3), "bool"), lambda x: x[:, 1:], lambda x: _columns(x, (1, 2))),
    _slice_sample(
        "as ONNX writes it",
        Input((None, 7, 3)),
        lambda x: slice(x, (-1, 0), (-(2**63), 2**63 - 1), steps=(-3, 1), axes=(1, 0)),
        lambda x: _columns(x, (6, 3, 0)),
    ),
    _slice_sample(
        "the first axes by default", Input((4, 5)), lambda x: slice(x, [1], [3]), lambda x: np.stack([x[1], x[2]])
    ),
]


def _placed(dy: np.ndarray, shape: tuple[int, ...], positions: Sequence[Sequence[int]]) -> np.ndarray:
    result = np.zeros(shape, dy.dtype)
    for place in np.ndindex(dy.shape):
        result[tuple(along[index] for along, index in zip(positions, place, strict=True))] = dy[place]
    return result


SLICE_GRADIENT = [
    OpSample(
        "slice_gradient, steps forwards and backwards",
        SliceGradient,
        (Input((3, 2)),),
        lambda dy: apply(SliceGradient(Slice((0, 3), (5, 0), (2, -2)), (5, 4)), dy),
        lambda dy: _placed(dy, (5, 4), ((0, 2, 4), (3, 1))),
    ),
    OpSample(
        "slice_gradient, up to the first",
        SliceGradient,
        (Input((2,)),),
        lambda dy: apply(SliceGradient(Slice((2,), (-1,), (-2,)), (4,)), dy),
        lambda dy: _placed(dy, (4,), ((2, 0),)),
    ),
    OpSample(
        "slice_gradient, a batch",
        SliceGradient,
        (Input((None, 2)),),
        lambda dy: apply(SliceGradient(Slice((0, 1), (dy.shape[0], 5), (1, 3)), (dy.shape[0], 6)), dy),
        lambda dy: _placed(dy, (len(dy), 6), (range(len(dy)), (1, 4))),
    ),
]

# Pad.


def _framed(x: np.ndarray, padding: Sequence[tuple[int, int]], value: float) -> np.ndarray:
    shape = [before + size + after for size, (before, after) in zip(x.shape, padding, strict=True)]
    result = np.full(shape, value, x.dtype)
    for place in np.ndindex(x.shape):
        result[tuple(index + before for index, (before, _) in zip(place, padding, strict=True))] = x[place]
    return result


def _pad_sample(
    name: str, given: Input, padding: Any, per_axis: Sequence[tuple[int, int]], value: float = 0.0
) -> OpSample:
    """A sample whose padding means the widths given for each axis."""
    differentiable = given.dtype == "float32" and np.isfinite(value).item()  # no differences of infinities

    def in_torch(x: Any) -> object:
        import torch

        return torch.nn.functional.pad(x, [width for pair in reversed(per_axis) for width in pair], value=value)

    return OpSample(
        f"pad, {name}",
        Pad,
        (given,),
        lambda x: pad(x, padding, value),
        lambda x: _framed(x, per_axis, value),
        in_torch,
        gradient=differentiable,
        second_gradient=differentiable,
    )


_IMAGE = ((0, 0), (0, 0), (2, 1), (0, 3))

PAD = [
    _pad_sample("images", Input((None, 2, 3, 3)), _IMAGE, _IMAGE),
    _pad_sample("a value", Input((None, 3)), ((0, 0), (1, 2)), ((0, 0), (1, 2)), value=-1.5),
    _pad_sample("minus infinity", Input((None, 2)), ((0, 0), (1, 1)), ((0, 0), (1, 1)), value=-np.inf),
    _pad_sample("one width", Input((2, 3)), 2, ((2, 2), (2, 2))),
    _pad_sample("one pair", Input((2, 3, 1)), (1, 0), ((1, 0), (1, 0), (1, 0))),
    _pad_sample("an empty axis", Input((0, 2)), ((1, 1), (0, 0)), ((1, 1), (0, 0))),
    _pad_sample("bytes", Input((None, 3), "uint8"), ((0, 0), (1, 0)), ((0, 0), (1, 0)), value=255),
    _pad_sample("integers", Input((4,), "int64"), 1, ((1, 1),), value=-3),
    _pad_sample("bool", Input((None, 2), "bool"), ((0, 0), (0, 2)), ((0, 0), (0, 2)), value=True),
]

# Concat.


def _joined(axis: int, parts: Sequence[np.ndarray], dtype: Any = None) -> np.ndarray:
    pieces = [np.moveaxis(part, axis, 0) for part in parts]
    rows = [row for piece in pieces for row in piece]
    return np.moveaxis(np.array(rows, dtype or parts[0].dtype), 0, axis)


def _torch_cat(parts: Sequence[Any], axis: int) -> object:
    import torch

    return torch.cat(tuple(parts), axis)


def _concat_sample(name: str, inputs: tuple[Input, ...], axis: int) -> OpSample:
    differentiable = inputs[0].dtype == "float32"
    return OpSample(
        f"concat, {name}",
        Concat,
        inputs,
        lambda *parts: concat(parts, axis),
        lambda *parts: _joined(axis, parts),
        lambda *parts: _torch_cat(parts, axis),
        gradient=differentiable,
        second_gradient=differentiable,
    )


CONCAT = [
    _concat_sample("columns", (Input((None, 2)), Input((None, 3))), axis=1),
    _concat_sample(
        "channels of three", (Input((None, 1, 2, 2)), Input((None, 3, 2, 2)), Input((None, 2, 2, 2))), axis=1
    ),
    _concat_sample("last axis", (Input((None, 2, 1)), Input((None, 2, 4))), axis=-1),
    _concat_sample("first axis", (Input((2, 3)), Input((1, 3))), axis=0),
    _concat_sample("two batches", (Input((None, 2)), Input((None, 2))), axis=0),
    _concat_sample("an empty input", (Input((None, 0)), Input((None, 2))), axis=1),
    _concat_sample("vectors", (Input((2,)), Input((3,)), Input((1,))), axis=0),
    _concat_sample("integers", (Input((None, 2), "int32"), Input((None, 2), "int32")), axis=1),
    _concat_sample("bool", (Input((2, 2), "bool"), Input((1, 2), "bool")), axis=0),
    OpSample(
        "concat, a batch and twice as many rows",
        Concat,
        (Input((None, 3)), Input((None, 6))),
        lambda a, b: concat([a, reshape(b, (-1, 3)), a]),
        lambda a, b: _joined(0, [a, np.array([row[half : half + 3] for row in b for half in (0, 3)], b.dtype), a]),
        lambda a, b: _torch_cat([a, b.reshape(-1, 3), a], 0),
    ),
    OpSample(
        "concat, integers and real numbers",
        Concat,
        (Input((None, 2), "int32"), Input((None, 1))),
        lambda a, b: concat([a, b], axis=1),
        lambda a, b: _joined(1, [a, b], b.dtype),
        lambda a, b: _torch_cat([a, b], 1),
    ),
    OpSample(
        "concat, a node twice and an array",
        Concat,
        (Input((2, 2)),),
        lambda x: concat([x, np.ones((1, 2), np.float32), x]),
        lambda x: _joined(0, [x, np.ones((1, 2), x.dtype), x]),
        lambda x: _torch_cat([x, x.new_ones((1, 2)), x], 0),
    ),
]

SAMPLES = [*SLICE, *SLICE_GRADIENT, *PAD, *CONCAT]
