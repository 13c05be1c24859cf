"""Samples of Einstein sums."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from graphnn.ops import Op, einsum
from graphnn.ops.elementwise import Multiply
from graphnn.ops.matmul import MatMul
from graphnn.ops.reduce import Sum
from graphnn.ops.shape import Transpose
from graphnn.ops.slicing import Slice
from op_samples import Input, OpSample


def _summed(equation: str) -> Callable[..., np.ndarray]:
    """Return the meaning of an equation without ellipsis: one product for each value of all letters."""
    left, right = equation.split("->")
    parts = left.split(",")

    def compute(*operands: np.ndarray) -> np.ndarray:
        pairs = zip(parts, operands, strict=True)
        sizes = {letter: size for part, operand in pairs for letter, size in zip(part, operand.shape, strict=True)}
        result = np.zeros([sizes[letter] for letter in right], operands[0].dtype)
        for values in itertools.product(*(range(size) for size in sizes.values())):
            at = dict(zip(sizes, values, strict=True))
            term = 1
            for part, operand in zip(parts, operands, strict=True):
                term = term * operand[tuple(at[letter] for letter in part)]
            result[tuple(at[letter] for letter in right)] += term
        return result

    return compute


def _in_torch(equation: str) -> Callable[..., object]:
    def call(*operands: Any) -> object:
        import torch

        return torch.einsum(equation, *operands)

    return call


def _sample(
    name: str,
    op: type[Op],
    equation: str,
    *shapes: tuple[int | None, ...],
    meaning: str | None = None,
    reference: Callable[..., np.ndarray] | None = None,
    dtype: str = "float32",
) -> OpSample:
    """Return a sample of an equation, whose meaning is another one or a function where it is not plain."""
    return OpSample(
        f"einsum, {name}",
        op,
        tuple(Input(shape, dtype) for shape in shapes),
        lambda *operands: einsum(equation, *operands),
        reference or _summed(meaning or equation),
        _in_torch(equation),
        gradient=dtype == "float32",
        second_gradient=dtype == "float32",
    )


SAMPLES = [
    _sample("product of matrices", MatMul, "ij,jk->ik", (None, 3), (3, 2)),
    _sample("dense layer", MatMul, "bi,oi->bo", (None, 3), (4, 3)),
    _sample("result transposed", MatMul, "ij,jk->ki", (2, 3), (3, 4)),
    _sample("without an arrow", MatMul, "ij,jk", (2, 3), (3, 4), meaning="ij,jk->ik"),
    _sample("without an arrow, in alphabetical order", Transpose, "ba", (None, 3), meaning="ba->ab"),
    _sample("blanks", MatMul, " i j , j k -> i k ", (2, 3), (3, 2), meaning="ij,jk->ik"),
    _sample("batches of matrices", MatMul, "bij,bjk->bik", (None, 2, 3), (None, 3, 2)),
    _sample("attention scores", MatMul, "bqhd,bkhd->bhqk", (None, 3, 2, 4), (None, 2, 2, 4)),
    _sample("attention values", MatMul, "bhqk,bkhd->bqhd", (None, 2, 3, 2), (None, 2, 2, 3)),
    _sample("sum over the batch", MatMul, "bi,bj->ij", (None, 3), (None, 2)),
    _sample("sum over the batch and an axis", MatMul, "bti,btj->ij", (None, 2, 3), (None, 2, 4)),
    _sample("several summed axes in different order", MatMul, "bijk,kjo->bio", (None, 2, 3, 2), (2, 3, 4)),
    _sample("vectors", MatMul, "i,i->", (5,), (5,)),
    _sample("a vector for each example", MatMul, "bi,bi->b", (None, 4), (None, 4)),
    _sample("similarities of a batch", MatMul, "nd,md->nm", (None, 3), (None, 3)),
    _sample("everything summed", MatMul, "nm,nm->", (None, 3), (None, 3)),
    _sample("outer product", Multiply, "i,j->ij", (3,), (4,)),
    _sample("outer product of examples", Multiply, "bi,bj->bij", (None, 2), (None, 3)),
    _sample("element by element", Multiply, "bi,bi->bi", (None, 3), (None, 3)),
    _sample("scaled columns, turned", Multiply, "bi,i->ib", (None, 3), (3,)),
    _sample("axes summed before the product", Sum, "bij,bk->b", (None, 2, 3), (None, 2)),
    _sample("sum of rows", Sum, "bi->b", (None, 4)),
    _sample("sum of all", Sum, "bi->", (None, 4)),
    _sample("sum over the batch alone", Sum, "bi->i", (None, 4)),
    _sample("other order of axes", Transpose, "bij->bji", (None, 2, 3)),
    _sample("diagonal", Slice, "ii->i", (3, 3)),
    _sample("trace", Slice, "ii", (3, 3), meaning="ii->"),
    _sample("diagonals of examples", Slice, "bii->bi", (None, 3, 3)),
    _sample("diagonal of three axes", Slice, "iii->i", (2, 2, 2)),
    _sample("trace of axes apart", Slice, "ijik->kj", (2, 3, 2, 2)),
    _sample("diagonal times a matrix", Slice, "bii,ij->bj", (None, 3, 3), (3, 2)),
    _sample("three operands", MatMul, "bi,ij,bj->b", (None, 3), (3, 2), (None, 2)),
    _sample("a chain of four", MatMul, "ab,bc,cd,de->ae", (None, 2), (2, 3), (3, 2), (2, 4)),
    _sample("a letter that only a later operand needs", MatMul, "bi,bj,ij->b", (None, 2), (None, 3), (2, 3)),
    _sample("a scalar", Multiply, ",bi->bi", (), (None, 3)),
    _sample(
        "ellipsis, last two axes",
        MatMul,
        "...ij,...jk->...ik",
        (None, 2, 2, 3),
        (None, 2, 3, 2),
        meaning="abij,abjk->abik",
    ),
    _sample(
        "ellipsis that broadcasts",
        MatMul,
        "...ij,...jk->...ik",
        (None, 1, 2, 3),
        (4, 3, 2),
        reference=lambda a, b: np.array([[_summed("ij,jk->ik")(x[0], y) for y in b] for x in a]),
    ),
    _sample(
        "ellipsis in one operand",
        MatMul,
        "...i,io->...o",
        (None, 2, 3),
        (3, 4),
        meaning="abi,io->abo",
    ),
    _sample("ellipsis in the middle", Transpose, "a...z->z...a", (2, 3, 4), meaning="abz->zba"),
    _sample("ellipsis without an arrow", Multiply, "i...,j", (2, 3), (4,), meaning="ia,j->aij"),
    _sample("ellipsis for no axis", MatMul, "i...,i...->...", (3,), (3,), meaning="i,i->"),
    _sample("integers", MatMul, "bi,oi->bo", (None, 3), (4, 3), dtype="int32"),
    _sample("sum of integers", Sum, "bi->b", (None, 3), dtype="int64"),
    OpSample(
        "einsum, two batch axes summed at once",
        Multiply,
        (Input((None, 2)), Input((None, 2))),
        lambda a, b: einsum("nm,nm->", einsum("nd,md->nm", a, b), einsum("nd,md->mn", a, b)),
        lambda a, b: np.array(sum((x @ y) * (b[j] @ a[i]) for j, x in enumerate(a) for i, y in enumerate(b))).astype(
            a.dtype
        ),
        lambda a, b: ((a @ b.T) * (b @ a.T)).sum(),
    ),
    OpSample(
        "einsum, a node twice and an array",
        MatMul,
        (Input((None, 2)),),
        lambda x: einsum("bi,ij,bj->b", x, np.array([[1.0, 2.0], [3.0, 4.0]], np.float32), x),
        lambda x: np.array([a * (a + 2 * b) + b * (3 * a + 4 * b) for a, b in x]),
    ),
]
