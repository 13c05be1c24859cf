"""All kernels of the NumPy target: importing their modules registers them."""

from __future__ import annotations

from collections.abc import Sequence

from graphnn.compiler.targets.numpy import convolution, copies, elementwise, pooling, products, reductions
from graphnn.compiler.targets.numpy.registry import KERNELS, Kernel
from graphnn.ops.dtypes import bfloat16, float16
from graphnn.ops.op import Op
from graphnn.ops.spec import TensorSpec

FAMILIES = (convolution, copies, elementwise, pooling, products, reductions)
"""The modules with kernels, imported by name."""


def kernel_for(op: Op, out: TensorSpec, inputs: Sequence[TensorSpec]) -> Kernel | None:
    """Return the kernel for an op, or None where its own `evaluate` computes it.

    The half-width types take the second way: `evaluate` sums them in float32, which kernels over arrays of their own
    type would not.
    """
    if any(spec.dtype in (bfloat16, float16) for spec in (out, *inputs)):
        return None
    return KERNELS.get(type(op))
