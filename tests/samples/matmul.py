"""Samples of the matrix product."""

from __future__ import annotations

import numpy as np

from graphnn.ops.matmul import MatMul, matmul
from op_samples import Input, OpSample


def _matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Sum the products of rows and columns; a vector is one row or one column, which the result lacks."""
    rows = a if a.ndim > 1 else a[None, :]
    columns = b if b.ndim > 1 else b[:, None]
    summed = sum(rows[..., :, k, None] * columns[..., None, k, :] for k in range(rows.shape[-1]))
    assert isinstance(summed, np.ndarray)
    summed = summed if b.ndim > 1 else summed[..., 0]
    return summed if a.ndim > 1 else summed[..., 0, :] if b.ndim > 1 else summed[..., 0]


def _sample(name: str, a: Input, b: Input) -> OpSample:
    floating = a.dtype == "float32"
    return OpSample(
        f"matmul, {name}",
        MatMul,
        (a, b),
        matmul,
        _matmul,
        lambda a, b: a @ b,
        gradient=floating,
        second_gradient=floating,
    )


SAMPLES = [
    _sample("a batch of rows times a matrix", Input((None, 4)), Input((4, 3))),
    _sample("two matrices", Input((2, 5)), Input((5, 3))),
    _sample("inner size 1", Input((None, 1)), Input((1, 3))),
    _sample("one row times one column", Input((1, 4)), Input((4, 1))),
    _sample("stacks of equal length", Input((None, 2, 3)), Input((None, 3, 4))),
    _sample("a stack times one matrix", Input((None, 5, 3)), Input((3, 2))),
    _sample("stacks of stacks times one matrix", Input((None, 2, 2, 3)), Input((3, 2))),
    _sample("one matrix times a stack", Input((2, 3)), Input((None, 3, 2))),
    _sample("leading axes that broadcast on both sides", Input((None, 1, 2, 3)), Input((2, 3, 2))),
    _sample("leading axes of size 1", Input((1, 3, 1, 2)), Input((2, 1, 2, 3))),
    _sample("two vectors", Input((4,)), Input((4,))),
    _sample("two vectors over the batch", Input((None,)), Input((None,))),
    _sample("matrix times vector", Input((None, 4)), Input((4,))),
    _sample("vector times matrix", Input((4,)), Input((4, 3))),
    _sample("vector over the batch times matrix", Input((None,)), Input((None, 3))),
    _sample("stack times vector", Input((None, 2, 3)), Input((3,))),
    _sample("vector times stack", Input((3,)), Input((None, 3, 2))),
    _sample("int32", Input((None, 4), "int32"), Input((4, 3), "int32")),
    _sample("uint8, which wraps around", Input((None, 40), "uint8"), Input((40, 3), "uint8")),
    _sample("int64 stacks", Input((2, 2, 3), "int64"), Input((2, 3, 2), "int64")),
    OpSample(
        "matmul, int32 times float32",
        MatMul,
        (Input((None, 4), "int32"), Input((4, 3))),
        matmul,
        lambda a, b: _matmul(a.astype(b.dtype), b),
    ),
    OpSample(
        "matmul, a weight's gradient, which sums over the batch",
        MatMul,
        (Input((None, 4)), Input((None, 3))),
        lambda x, dy: x.T @ dy,
        lambda x, dy: _matmul(x.T, dy),
        lambda x, dy: x.T @ dy,
    ),
]
