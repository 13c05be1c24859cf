"""Where the elements of a view are, byte by byte, in a run over a certain number of examples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from graphnn.compiler.plan.form import View
from graphnn.ops.node import Node
from graphnn.ops.slicing import Concat


@dataclass(frozen=True)
class Span:
    """The places of a view's elements at one batch size; two views of the same elements in the same order are equal.

    Attributes
    ----------
    storage : int
        Number of the storage.
    start : int
        Bytes from the start of the storage to the first element.
    shape, strides : tuple of int
        Sizes, and bytes from one index to the next on each axis; 0 on axes of size 1.
    itemsize : int
        Bytes of one element.

    Examples
    --------
    >>> from graphnn.ops.spec import TensorSpec
    >>> Span.of(View(0, TensorSpec((None, 3), "float32")), batch=2)
    Span(storage=0, start=0, shape=(2, 3), strides=(12, 4), itemsize=4)
    """

    storage: int
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    itemsize: int

    @classmethod
    def of(cls, view: View, batch: int) -> Span:
        """Return the places of a view's elements."""
        shape = view.spec.bind(batch).static_shape
        itemsize = view.spec.dtype.itemsize
        sizes = zip(shape, view.bound_strides(batch), strict=True)
        strides = tuple(0 if size == 1 else stride * itemsize for size, stride in sizes)
        return cls(view.storage, view.bound_offset(batch) * itemsize, shape, strides, itemsize)

    @property
    def is_empty(self) -> bool:
        """Whether there are no elements."""
        return 0 in self.shape

    @property
    def reach(self) -> tuple[int, int]:
        """The bytes of the storage between which all elements lie, first and one past the last."""
        if self.is_empty:
            return self.start, self.start
        distances = [(size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True)]
        low = sum(distance for distance in distances if distance < 0)
        high = sum(distance for distance in distances if distance > 0)
        return self.start + low, self.start + high + self.itemsize

    @property
    def overlaps_itself(self) -> bool:
        """Whether several elements may lie in the same bytes, as those of a broadcast do."""
        reached = self.itemsize
        for stride, size in sorted((abs(stride), size) for stride, size in zip(self.strides, self.shape, strict=True)):
            if size > 1 and stride < reached:
                return not self.is_empty
            reached += (size - 1) * stride
        return False


def places_of_parts(concat: Node, whole: Span, batch: int) -> Iterator[tuple[Node, Span]]:
    """Yield each input of a concatenation with its place in the whole."""
    assert isinstance(concat.op, Concat)
    axis = concat.op.axis
    start = whole.start
    for part in concat.inputs:
        shape = part.spec.bind(batch).static_shape
        strides = tuple(0 if size == 1 else stride for size, stride in zip(shape, whole.strides, strict=True))
        yield part, Span(whole.storage, start, shape, strides, whole.itemsize)
        start += whole.strides[axis] * shape[axis]
