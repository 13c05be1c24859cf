"""Steps that move values: assigns, concatenation, padding, slices' gradients, views that had to become copies."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from graphnn.compiler.targets.numpy.elementwise import same_memory
from graphnn.compiler.targets.numpy.registry import Run, kernel
from graphnn.ops.op import Op
from graphnn.ops.shape import Reshape
from graphnn.ops.slicing import Concat, Pad


def bind_copy_step(out: np.ndarray, value: np.ndarray) -> Run:
    """Copy an assigned value into its variable."""
    return partial(np.copyto, out, value)


def bind_concat(op: Concat, out: np.ndarray, inputs: Sequence[np.ndarray]) -> Run:
    """Copy the parts that were not computed in their place."""
    ends = np.cumsum([value.shape[op.axis] for value in inputs])[:-1]
    parts = np.split(out, ends, op.axis)  # views
    missing = [(part, value) for part, value in zip(parts, inputs, strict=True) if not same_memory(part, value)]

    def run() -> None:
        for part, value in missing:
            np.copyto(part, value)

    return run


@kernel(Reshape, strided_output=False)
def bind_reshape(_: Op, out: np.ndarray, inputs: Sequence[np.ndarray], __: Sequence[np.ndarray]) -> Run:
    """A copy in the input's shape into memory without gaps."""
    return partial(np.copyto, out.reshape(inputs[0].shape), inputs[0])


@kernel(Pad)
def bind_pad(op: Pad, out: np.ndarray, inputs: Sequence[np.ndarray], _: Sequence[np.ndarray]) -> Run:
    """Fill, then copy into the middle."""
    sizes = zip(op.padding, out.shape, strict=True)
    middle = out[tuple(slice(before, size - after) for (before, after), size in sizes)]

    def run() -> None:
        out.fill(op.value)
        np.copyto(middle, inputs[0])

    return run
