"""Matrix products by NumPy's BLAS."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from graphnn.compiler.targets.numpy.registry import Run, kernel
from graphnn.ops.matmul import MatMul


@kernel(MatMul, strided_output=False)
def bind_matmul(_: MatMul, out: np.ndarray, inputs: Sequence[np.ndarray], __: Sequence[np.ndarray]) -> Run:
    """One call; transposed inputs are views, which BLAS reads as they are."""
    return partial(np.matmul, *inputs, out=out)
