"""Values as lines along an axis, for kernels that serve blocks of examples and values without a batch alike.

In a block, the lanes are one more axis, the innermost. So an op along another axis is the same loop with and without.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from graphnn.compiler.targets.c.expressions import C_TYPES
from graphnn.compiler.targets.c.text import indented
from graphnn.compiler.targets.c.units import Kind, example_shape, is_batched
from graphnn.ops.node import Node


@dataclass(frozen=True)
class Lines:
    """The lines of a value along an axis: `inner` of them begin side by side, and that `outer` times.

    Attributes
    ----------
    lanes : bool
        Whether each number is that of LANES examples, side by side.
    """

    outer: int
    length: int
    inner: int
    lanes: bool

    @classmethod
    def of(cls, node: Node, axis: int) -> Lines:
        """Return the lines along an axis that is not the batch."""
        shape, place = example_shape(node), axis - is_batched(node)
        return cls(math.prod(shape[:place]), shape[place], math.prod(shape[place + 1 :]), is_batched(node))

    @property
    def width(self) -> str:
        """The C expression of how many numbers there are from one place of a line to the next."""
        return f"{self.inner} * LANES" if self.lanes else f"{self.inner}"


def print_kernel(kind: Kind, node: Node, name: str, body: Iterable[str]) -> str:
    """Print ``name(x0, …, y)`` over one block, or, of kind "flat", ``name(x0, …, y, n)``, which one thread does."""
    parameters = [f"const {C_TYPES[given.dtype]} *restrict x{place}" for place, given in enumerate(node.inputs)]
    parameters.append(f"{C_TYPES[node.dtype]} *restrict y")
    lines = list(body)
    if kind == "flat":
        parameters.append("int64_t n")
        lines = ["(void)n;", "#pragma omp single nowait", "{", *indented(lines), "}"]
    return "\n".join([f"static void {name}({', '.join(parameters)})", "{", *indented(lines), "}"])
