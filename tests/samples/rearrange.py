"""Samples of elements in other places: flipped, rolled, repeated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphnn.ops import Op, flip, repeat_interleave, roll, tile
from graphnn.ops.shape import BroadcastTo
from graphnn.ops.slicing import Concat, Slice
from op_samples import Input, OpSample

Place = tuple[int, ...]


def _picked(x: np.ndarray, shape: Place, source: Callable[[Place], Place]) -> np.ndarray:
    """Return an array whose element at each place is that of x at `source(place)`."""
    result = np.empty(shape, x.dtype)
    for place in np.ndindex(shape):
        result[place] = x[source(place)]
    return result


def _flipped(x: np.ndarray, axes: Place) -> np.ndarray:
    return _picked(x, x.shape, lambda place: tuple(x.shape[a] - 1 - i if a in axes else i for a, i in enumerate(place)))


def _rolled(x: np.ndarray, shifts: dict[int, int]) -> np.ndarray:
    return _picked(x, x.shape, lambda place: tuple((i - shifts.get(a, 0)) % x.shape[a] for a, i in enumerate(place)))


def _tiled(x: np.ndarray, repeats: Place) -> np.ndarray:
    rank = max(len(repeats), x.ndim)
    sizes = (*(1,) * (rank - x.ndim), *x.shape)
    counts = (*(1,) * (rank - len(repeats)), *repeats)
    shape = tuple(size * count for size, count in zip(sizes, counts, strict=True))
    return _picked(x.reshape(sizes), shape, lambda place: tuple(i % size for i, size in zip(place, sizes, strict=True)))


def _repeated(x: np.ndarray, repeats: int, axis: int) -> np.ndarray:
    shape = tuple(size * repeats if a == axis else size for a, size in enumerate(x.shape))
    return _picked(x, shape, lambda place: tuple(i // repeats if a == axis else i for a, i in enumerate(place)))


def _sample(
    name: str, op: type[Op], given: Input, build: Any, reference: Callable[[np.ndarray], np.ndarray], torch: Any
) -> OpSample:
    differentiable = given.dtype == "float32"
    return OpSample(
        name, op, (given,), build, reference, torch, gradient=differentiable, second_gradient=differentiable
    )


FLIP = [
    _sample(
        "flip, columns of a batch",
        Slice,
        Input((None, 4)),
        lambda x: flip(x, 1),
        lambda x: _flipped(x, (1,)),
        lambda x: x.flip(1),
    ),
    _sample(
        "flip, images upside down and mirrored",
        Slice,
        Input((None, 1, 3, 2)),
        lambda x: flip(x, (-1, 2)),
        lambda x: _flipped(x, (2, 3)),
        lambda x: x.flip(-1, 2),
    ),
    _sample(
        "flip, all axes",
        Slice,
        Input((2, 3), "int32"),
        flip,
        lambda x: _flipped(x, (0, 1)),
        lambda x: x.flip(0, 1),
    ),
]

ROLL = [
    _sample(
        "roll, forwards",
        Concat,
        Input((None, 5)),
        lambda x: roll(x, 2, 1),
        lambda x: _rolled(x, {1: 2}),
        lambda x: x.roll(2, 1),
    ),
    _sample(
        "roll, backwards and further than the axis",
        Concat,
        Input((4, 3)),
        lambda x: roll(x, (-1, 7), (0, -1)),
        lambda x: _rolled(x, {0: -1, 1: 7}),
        lambda x: x.roll((-1, 7), (0, -1)),
    ),
    _sample(
        "roll, one of two axes by its size",
        Concat,
        Input((None, 2, 3), "bool"),
        lambda x: roll(x, (2, 1), (1, 2)),
        lambda x: _rolled(x, {2: 1}),
        lambda x: x.roll((2, 1), (1, 2)),
    ),
]


def _tile_sample(name: str, given: Input, repeats: Place) -> OpSample:
    return _sample(
        f"tile, {name}",
        BroadcastTo,
        given,
        lambda x: tile(x, repeats),
        lambda x: _tiled(x, repeats),
        lambda x: x.tile(repeats),
    )


TILE = [
    _tile_sample("columns", Input((None, 3)), (1, 2)),
    _tile_sample("fewer numbers than axes", Input((None, 2, 3)), (3, 2)),
    _tile_sample("more numbers than axes", Input((None,)), (2, 1, 3)),
    _tile_sample("the batch", Input((None, 2)), (2, 1)),
    _sample(
        "tile, a scalar", BroadcastTo, Input(()), lambda x: tile(x, 3), lambda x: _tiled(x, (3,)), lambda x: x.tile(3)
    ),
    _sample(
        "repeat_interleave, columns",
        BroadcastTo,
        Input((None, 2, 3)),
        lambda x: repeat_interleave(x, 2, -1),
        lambda x: _repeated(x, 2, 2),
        lambda x: x.repeat_interleave(2, -1),
    ),
    _sample(
        "repeat_interleave, the batch",
        BroadcastTo,
        Input((None, 2), "int32"),
        lambda x: repeat_interleave(x, 3, 0),
        lambda x: _repeated(x, 3, 0),
        lambda x: x.repeat_interleave(3, 0),
    ),
]

SAMPLES = [*FLIP, *ROLL, *TILE]
