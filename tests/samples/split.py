"""Samples of values cut into parts, and of parts joined along a new axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphnn.ops import Dim, Node, Op, chunk, concat, reshape, split, stack, unstack
from graphnn.ops.shape import Reshape
from graphnn.ops.slicing import Concat, Slice
from op_samples import Input, OpSample


def _sample(
    name: str,
    op: type[Op],
    inputs: tuple[Input, ...],
    build: Callable[..., Node],
    reference: Callable[..., np.ndarray],
    torch: Callable[..., object] | None = None,
) -> OpSample:
    differentiable = inputs[0].dtype == "float32"
    return OpSample(name, op, inputs, build, reference, torch, gradient=differentiable, second_gradient=differentiable)


def _turned(parts: Sequence[Any]) -> Any:
    """Return the first part minus twice the last, so that a wrong order shows."""
    return parts[0] - parts[-1] * 2


def _columns(x: np.ndarray, first: int, last: int) -> np.ndarray:
    return np.stack([x[:, position] for position in range(first, last)], axis=1)


SPLIT = [
    _sample(
        "split, parts of two columns",
        Slice,
        (Input((None, 6)),),
        lambda x: _turned(split(x, 2, axis=1)),
        lambda x: _columns(x, 0, 2) - 2 * _columns(x, 4, 6),
        lambda x: _turned(x.split(2, 1)),
    ),
    _sample(
        "split, a smaller last part",
        Slice,
        (Input((None, 5, 2)),),
        lambda x: split(x, 3, axis=-2)[1],
        lambda x: _columns(x, 3, 5),
        lambda x: x.split(3, -2)[1],
    ),
    _sample(
        "split, by sizes",
        Slice,
        (Input((None, 7)),),
        lambda x: concat([split(x, (1, 4, 2), axis=1)[place] for place in (2, 0)], axis=1),
        lambda x: np.concatenate([_columns(x, 5, 7), _columns(x, 0, 1)], axis=1),
        lambda x: _joined_in_torch([x.split((1, 4, 2), 1)[place] for place in (2, 0)]),
    ),
    _sample(
        "split, an empty part",
        Slice,
        (Input((3, 2)),),
        lambda x: concat(split(x, [0, 1, 2])[::-1]),
        lambda x: np.stack([x[1], x[2], x[0]]),
        lambda x: _joined_in_torch(x.split([0, 1, 2])[::-1], 0),
    ),
    _sample(
        "split, joined batches",
        Slice,
        (Input((None, 2)), Input((None, 2))),
        lambda a, b: _turned(split(concat([a, b]), Dim(1))),
        lambda a, b: a - 2 * b,
    ),
    _sample(
        "split, three times the batch in parts of one and two",
        Slice,
        (Input((None, 6)),),
        lambda x: concat(split(reshape(x, (-1, 2)), [Dim(1), Dim(2)])[::-1]),
        lambda x: np.concatenate([x.reshape(-1, 2)[len(x) :], x.reshape(-1, 2)[: len(x)]]),
    ),
    _sample(
        "split, integers",
        Slice,
        (Input((4,), "int64"),),
        lambda x: _turned(split(x, 2)),
        lambda x: x[:2] - 2 * x[2:],
        lambda x: _turned(x.split(2)),
    ),
    _sample(
        "chunk, halves of each row",
        Slice,
        (Input((None, 6)),),
        lambda x: _turned(chunk(x, 2, axis=1)),
        lambda x: _columns(x, 0, 3) - 2 * _columns(x, 3, 6),
        lambda x: _turned(x.chunk(2, 1)),
    ),
    _sample(
        "chunk, halves of twice the batch",
        Slice,
        (Input((None, 4)),),
        lambda x: _turned(chunk(reshape(x, (-1, 2)), 2)),
        lambda x: x.reshape(-1, 2)[: len(x)] - 2 * x.reshape(-1, 2)[len(x) :],
        lambda x: _turned(x.reshape(-1, 2).chunk(2)),
    ),
    _sample(
        "unstack, steps of a sequence",
        Slice,
        (Input((None, 3, 2)),),
        lambda x: _turned(unstack(x, 1)),
        lambda x: np.array([entry[0] - 2 * entry[2] for entry in x]),
        lambda x: _turned(x.unbind(1)),
    ),
    _sample(
        "unstack, numbers of a vector",
        Slice,
        (Input((4,)),),
        lambda x: _turned(unstack(x)),
        lambda x: np.array(x[0] - 2 * x[3]),
        lambda x: _turned(x.unbind()),
    ),
    _sample(
        "unstack, an axis of one",
        Reshape,
        (Input((None, 1)),),
        lambda x: unstack(x, -1)[0],
        lambda x: np.array([entry[0] for entry in x]),
        lambda x: x.unbind(-1)[0],
    ),
]


def _joined_in_torch(parts: Sequence[Any], axis: int = 1) -> object:
    import torch

    return torch.cat(tuple(parts), axis)


def _stacked_in_torch(axis: int) -> Callable[..., object]:
    def call(*parts: Any) -> object:
        import torch

        return torch.stack(parts, axis)

    return call


def _stacked(axis: int) -> Callable[..., np.ndarray]:
    def call(*parts: np.ndarray) -> np.ndarray:
        place = axis % (parts[0].ndim + 1)
        result = np.empty((*parts[0].shape[:place], len(parts), *parts[0].shape[place:]), parts[0].dtype)
        for index in np.ndindex(result.shape):
            result[index] = parts[index[place]][(*index[:place], *index[place + 1 :])]
        return result

    return call


def _stack_sample(name: str, inputs: tuple[Input, ...], axis: int) -> OpSample:
    return _sample(
        f"stack, {name}",
        Concat,
        inputs,
        lambda *parts: stack(parts, axis),
        _stacked(axis),
        _stacked_in_torch(axis),
    )


STACK = [
    _stack_sample("behind the batch", (Input((None, 3)), Input((None, 3)), Input((None, 3))), 1),
    _stack_sample("last axis", (Input((None, 3)), Input((None, 3))), -1),
    _stack_sample("before the batch", (Input((None, 3)), Input((None, 3))), 0),
    _stack_sample("scalars", (Input(()), Input(())), 0),
    _stack_sample("bool", (Input((2,), "bool"), Input((2,), "bool")), 1),
    OpSample(
        "stack, integers and an array of real numbers",
        Concat,
        (Input((2,), "int32"),),
        lambda x: stack([x, np.array([0.5, 1.5], np.float32)]),
        lambda x: np.array([x, [0.5, 1.5]], np.float32),
        gradient=False,
        second_gradient=False,
    ),
    OpSample(
        "stack, one node",
        Reshape,
        (Input((None, 2)),),
        lambda x: stack([x], axis=1),
        lambda x: np.array([[row] for row in x]),
        _stacked_in_torch(1),
    ),
]

SAMPLES = [*SPLIT, *STACK]
