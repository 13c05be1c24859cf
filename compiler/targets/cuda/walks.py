"""Where the elements of several values lie while a kernel walks through one shape, element by element."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphnn.compiler.plan.form import View, row_major_strides
from graphnn.compiler.targets.cuda.elements import extent_text
from graphnn.ops.errors import ShapeError
from graphnn.ops.spec import Extent, Shape

Strides = tuple[Extent, ...]


def view_strides(view: View, shape: Shape) -> Strides:
    """Return the steps of a view along the axes of a shape that it broadcasts to; 0 where it is repeated."""
    own = row_major_strides(view.spec.shape) if view.strides is None else view.strides
    added = len(shape) - view.spec.rank
    repeated = [extent == 1 and target != 1 for extent, target in zip(view.spec.shape, shape[added:], strict=True)]
    return (0,) * added + tuple(0 if again else step for again, step in zip(repeated, own, strict=True))


@dataclass(frozen=True)
class Walk:
    """A row-major walk through a shape whose neighbouring axes are joined where all operands allow it.

    Attributes
    ----------
    shape : tuple of (int or Dim)
        The axes that are left, outermost first.
    strides : tuple of tuples
        For each operand, elements from one index to the next on each of them.
    """

    shape: Shape
    strides: tuple[Strides, ...]

    @classmethod
    def through(cls, shape: Shape, operands: Sequence[Strides]) -> Walk:
        """Lay operands out over a shape."""
        kept: list[tuple[Extent, list[Extent]]] = []
        for axis, length in enumerate(shape):
            if length == 1:
                continue
            steps = [strides[axis] for strides in operands]
            whole = _times(kept[-1][0], length) if kept else None
            if whole is not None and _flows(kept[-1][1], steps, length):
                kept[-1] = (whole, steps)
            else:
                kept.append((length, steps))
        columns = zip(*(steps for _, steps in kept), strict=True) if kept else ((),) * len(operands)
        return cls(tuple(length for length, _ in kept), tuple(tuple(column) for column in columns))

    def statements(self, index: str, prefix: str = "c") -> list[str]:
        """Return statements that split a row-major index into coordinates ``c0``, ``c1``, … of type INDEX."""
        if len(self.shape) < 2:
            return []
        lines: list[str] = []
        rest = index
        for axis in reversed(range(1, len(self.shape))):
            size = extent_text(self.shape[axis])
            lines.append(f"const INDEX {prefix}{axis} = ({rest}) % {size};")
            outer = f"{prefix}0" if axis == 1 else f"{prefix}q{axis}"
            lines.append(f"const INDEX {outer} = ({rest}) / {size};")
            rest = outer
        return lines

    def place(self, operand: int, index: str, prefix: str = "c") -> str:
        """Return the expression of an operand's element: how far it lies from the first."""
        steps = self.strides[operand]
        coordinates = [index] if len(self.shape) == 1 else [f"{prefix}{axis}" for axis in range(len(self.shape))]
        terms = [
            coordinate if step == 1 else f"({coordinate}) * {extent_text(step)}"
            for coordinate, step in zip(coordinates, steps, strict=True)
            if step != 0
        ]
        return " + ".join(terms) or "0"


def _flows(outer: Sequence[Extent], inner: Sequence[Extent], length: Extent) -> bool:
    """Whether every operand goes on after the inner axis's last element with the outer axis's next one."""
    return all(step == _times(small, length) for step, small in zip(outer, inner, strict=True))


def _times(a: Extent, b: Extent) -> Extent | None:
    try:
        return a * b if a and b else 0
    except ShapeError:  # the batch size squared
        return None
