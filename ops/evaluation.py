"""One op's value by its NumPy meaning, whatever the element types: the oracle for every target."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphnn.ops.dtypes import to_interface, to_storage
from graphnn.ops.op import Op
from graphnn.ops.spec import TensorSpec


def evaluate_op(op: Op, out: TensorSpec, inputs: Sequence[np.ndarray], specs: Sequence[TensorSpec]) -> np.ndarray:
    """Return an op's value in storage form.

    Parameters
    ----------
    op : Op
        The op.
    out : TensorSpec
        The result's spec, its batch bound.
    inputs : sequence of numpy.ndarray
        The inputs in storage form (bfloat16 as bit patterns).
    specs : sequence of TensorSpec
        The inputs' specs.

    Examples
    --------
    >>> from graphnn.ops.elementwise import Add
    >>> spec = TensorSpec((2,), "int32")
    >>> evaluate_op(Add(), spec, [np.array([1, 2], np.int32)] * 2, [spec] * 2)
    array([2, 4], dtype=int32)
    """
    values = [to_interface(value, spec.dtype) for value, spec in zip(inputs, specs, strict=True)]
    with np.errstate(all="ignore"):
        return to_storage(np.asarray(op.evaluate(out, *values)), out.dtype)
