"""Samples of diagonals and triangles of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphnn.ops import Op, diagonal, trace, tril, triu
from graphnn.ops.comparison import Where
from graphnn.ops.reduce import Sum
from graphnn.ops.slicing import Slice
from op_samples import Input, OpSample


def _sample(name: str, op: type[Op], given: Input, build: Any, reference: Any, torch: Any) -> OpSample:
    differentiable = given.dtype == "float32"
    return OpSample(
        name, op, (given,), build, reference, torch, gradient=differentiable, second_gradient=differentiable
    )


def _diagonals(x: np.ndarray, offset: int, axis1: int, axis2: int) -> np.ndarray:
    matrices = np.moveaxis(x, (axis1, axis2), (-2, -1))
    height, width = matrices.shape[-2:]
    places = [(row, row + offset) for row in range(height) if 0 <= row + offset < width]
    result = np.empty((*matrices.shape[:-2], len(places)), x.dtype)
    for position, (row, column) in enumerate(places):
        result[..., position] = matrices[..., row, column]
    return result


def _diagonal_sample(name: str, given: Input, offset: int = 0, axis1: int = 0, axis2: int = 1) -> OpSample:
    return _sample(
        f"diagonal, {name}",
        Slice,
        given,
        lambda x: diagonal(x, offset, axis1, axis2),
        lambda x: _diagonals(x, offset, axis1, axis2),
        lambda x: x.diagonal(offset, axis1, axis2),
    )


def _kept(x: np.ndarray, lower: bool, offset: int) -> np.ndarray:
    result = np.zeros_like(x)
    for row, column in np.ndindex(x.shape[-2:]):
        if (column - row <= offset) if lower else (column - row >= offset):
            result[..., row, column] = x[..., row, column]
    return result


def _tril_sample(name: str, given: Input, offset: int = 0) -> OpSample:
    return _sample(
        f"tril, {name}",
        Where,
        given,
        lambda x: tril(x, offset),
        lambda x: _kept(x, True, offset),
        lambda x: x.tril(offset),
    )


def _triu_sample(name: str, given: Input, offset: int = 0) -> OpSample:
    return _sample(
        f"triu, {name}",
        Where,
        given,
        lambda x: triu(x, offset),
        lambda x: _kept(x, False, offset),
        lambda x: x.triu(offset),
    )


SAMPLES = [
    _diagonal_sample("a matrix", Input((3, 3))),
    _diagonal_sample("wide matrices", Input((None, 2, 4)), 0, 1, 2),
    _diagonal_sample("tall matrices, columns first", Input((None, 4, 2)), 0, -1, -2),
    _diagonal_sample("above", Input((None, 3, 5)), 2, 1, 2),
    _diagonal_sample("above a tall matrix", Input((5, 3)), 1),
    _diagonal_sample("below", Input((None, 4, 3)), -1, 1, 2),
    _diagonal_sample("below a wide matrix", Input((3, 5)), -2),
    _diagonal_sample("a corner", Input((2, 3)), 2),
    _diagonal_sample("outside", Input((2, 3)), 3),
    _diagonal_sample("axes apart", Input((3, 2, 3)), 0, 0, 2),
    _diagonal_sample("integers", Input((None, 2, 2), "int32"), 0, 1, 2),
    _sample(
        "trace, matrices",
        Sum,
        Input((None, 3, 3)),
        lambda x: trace(x, 0, 1, 2),
        lambda x: np.array([m[0, 0] + m[1, 1] + m[2, 2] for m in x]),
        lambda x: x.diagonal(0, 1, 2).sum(-1),
    ),
    _sample(
        "trace, integers",
        Sum,
        Input((2, 2), "int32"),
        trace,
        lambda x: np.array(int(x[0, 0]) + int(x[1, 1])),
        lambda x: x.trace(),
    ),
    _tril_sample("matrices", Input((None, 3, 3))),
    _tril_sample("up to above the diagonal", Input((3, 4)), 1),
    _tril_sample("nothing", Input((2, 3)), -2),
    _tril_sample("integers", Input((None, 2, 3), "int32")),
    _tril_sample("bool", Input((3, 3), "bool"), -1),
    _triu_sample("matrices", Input((None, 3, 3))),
    _triu_sample("from below the diagonal", Input((4, 3)), -1),
    _triu_sample("bool", Input((None, 3, 3), "bool"), 1),
]
