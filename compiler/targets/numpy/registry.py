"""Which kernel computes which op on NumPy.

A kernel writes an op's value into memory that the plan gave it. It is bound once per batch size to its arrays; each
run then only calls what `bind` returned. An op without a kernel runs by its own `evaluate`, whose result is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphnn.ops.evaluation import evaluate_op
from graphnn.ops.op import Op
from graphnn.ops.spec import TensorSpec

Run = Callable[[], object]
Bind = Callable[[Any, np.ndarray, Sequence[np.ndarray], Sequence[np.ndarray]], Run]
Workspaces = Callable[[Any, TensorSpec, Sequence[TensorSpec]], tuple[TensorSpec, ...]]


def no_workspaces(op: Op, out: TensorSpec, inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """Return no workspaces (the arguments are those that every kernel's rule takes)."""
    return ()


@dataclass(frozen=True)
class Kernel:
    """How one op is computed.

    Attributes
    ----------
    bind : callable
        From (op, result array, input arrays, workspace arrays) to the function that a run calls.
    workspaces : callable
        From (op, result's spec, inputs' specs), the batch bound, to the specs of intermediate arrays.
    in_place : tuple of int
        The inputs whose memory the result may take.
    strided_output : bool
        Whether the result array may have gaps.
    row_major : tuple of int
        The inputs whose arrays must have no gaps.
    """

    bind: Bind
    workspaces: Workspaces = no_workspaces
    in_place: tuple[int, ...] = ()
    strided_output: bool = True
    row_major: tuple[int, ...] = ()


KERNELS: dict[type[Op], Kernel] = {}


def kernel(
    *ops: type[Op],
    workspaces: Workspaces = no_workspaces,
    in_place: tuple[int, ...] = (),
    strided_output: bool = True,
    row_major: tuple[int, ...] = (),
) -> Callable[[Bind], Bind]:
    """Register the decorated `bind` function as the kernel of these ops."""

    def register(bind: Bind) -> Bind:
        for op in ops:
            KERNELS[op] = Kernel(bind, workspaces, in_place, strided_output, row_major)
        return bind

    return register


def bind_reference(op: Op, out: TensorSpec, result: np.ndarray, arrays: Any, specs: Any) -> Run:
    """Return a run that computes an op by its `evaluate`."""

    def run() -> None:
        result[...] = evaluate_op(op, out, arrays, specs)

    return run
