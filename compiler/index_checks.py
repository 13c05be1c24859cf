"""Find the indices that come straight from feeds, so that wrong ones are refused before a run changes anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from graphnn.compiler.subgraph import inputs_in_mode, topological
from graphnn.ops.broadcasting import Cast
from graphnn.ops.comparison import Equal, NotEqual, Where
from graphnn.ops.errors import FeedError, GraphError
from graphnn.ops.max_pool import MaxPool2dIndices
from graphnn.ops.node import Node
from graphnn.ops.reduce import Argmax
from graphnn.ops.shape import Reshape, Transpose
from graphnn.ops.sort import Argsort, TopkIndices
from graphnn.ops.spec import Dim, Extent, bind_extent
from graphnn.ops.state import Constant, Placeholder


@dataclass(frozen=True)
class IndexCheck:
    """The legal range, half-open, of a placeholder's values, and the node that needs it.

    `replaced` are numbers that may be outside, since the graph puts a legal one in their place.
    """

    placeholder: Node
    low: Extent
    high: Extent
    reader: Node
    replaced: frozenset[int] = frozenset()

    @property
    def depends_on_batch(self) -> bool:
        """Whether the range is another one for each batch size."""
        return isinstance(self.low, Dim) or isinstance(self.high, Dim)

    def bind(self, values: np.ndarray, batch: int) -> Callable[[], None]:
        """Return the function that refuses what stands in the memory that the placeholder is fed into, if out of range.

        Raises
        ------
        FeedError
            By the function returned: naming the reader, the range and the first value that is outside.
        """
        low, high = bind_extent(self.low, batch), bind_extent(self.high, batch)
        # Read as unsigned, negative numbers are the largest: where the range begins at 0, one search finds them too. By
        # its place, since for as few numbers as labels are NumPy finds that in a third of the time of the value.
        upper = values if low else values.view(f"u{values.itemsize}")

        def check() -> None:
            if upper.item(upper.argmax()) >= high or (low and values.item(values.argmin()) < low):
                self._refuse_outside(values, low, high)

        return check if values.size else _nothing_to_check

    def _refuse_outside(self, values: np.ndarray, low: int, high: int) -> None:
        wrong = values[(values < low) | (values >= high)]
        wrong = wrong[~np.isin(wrong, list(self.replaced))]
        if not wrong.size:
            return
        raise FeedError(
            f"{self.placeholder.name!r} is fed an index out of range for {self.reader.op.label} {self.reader.name!r}",
            expected=f"integers from {low} to {high - 1}",
            actual=str(wrong[0]),
            where=str(self.reader.source),
            hint="check the labels or indices in the data",
        )


def _nothing_to_check() -> None:
    pass


def index_error(node: Node, error: IndexError) -> GraphError:
    """Return what is raised for an index that is only known in the run, and that NumPy found out of range there."""
    return GraphError(
        f"{node.op.label} {node.name!r} got an index out of range",
        expected="indices within the axis",
        actual=str(error),
        where=str(node.source),
        hint="no variable was changed; check the indices before the op, with ops.clip for instance",
    )


def index_checks(roots: Sequence[Node], training: bool) -> tuple[list[IndexCheck], bool]:
    """Return the checks that feeds can be held to, and whether other indices remain that only a run can check."""
    checks: list[IndexCheck] = []
    open_ends = False
    for node in topological(roots, inputs_in_mode(training)):
        for place, (low, high) in node.op.index_bounds(*(given.spec for given in node.inputs)).items():
            origin, replaced = _origin(node.inputs[place], low, high)
            if isinstance(origin.op, Placeholder):
                checks.append(IndexCheck(origin, low, high, node, replaced))
            elif not _within(origin, low, high, replaced):
                open_ends = True
    return checks, open_ends


def _within(node: Node, low: Extent, high: Extent, replaced: frozenset[int] = frozenset()) -> bool:
    """Whether a node's values, but for those replaced, are known to be in range before any run."""
    match node.op:
        case Constant(value=values) if isinstance(low, int) and isinstance(high, int):
            kept = values[~np.isin(values, list(replaced))]
            return not kept.size or (low <= int(kept.min()) and int(kept.max()) < high)
        case Argmax(axis=axis) | Argsort(axis=axis) | TopkIndices(axis=axis):
            return node.inputs[0].shape[axis] == high
        case MaxPool2dIndices():
            return high == node.op.places
    return False


def _origin(node: Node, low: Extent, high: Extent) -> tuple[Node, frozenset[int]]:
    """Return the node whose values, rearranged or widened, these indices are, and which of them are replaced first."""
    replaced: set[int] = set()
    while True:
        if (substitution := _substitution(node, low, high)) is not None:
            node, number = substitution
            replaced.add(number)
        elif isinstance(node.op, Reshape | Transpose) or _is_widening(node):
            node = node.inputs[0]
        else:
            return node, frozenset(replaced)


def _is_widening(node: Node) -> bool:
    if not isinstance(node.op, Cast):
        return False
    given, made = node.inputs[0].dtype, node.dtype
    return given.kind == made.kind == "integer" and made.itemsize >= given.itemsize


def _substitution(node: Node, low: Extent, high: Extent) -> tuple[Node, int] | None:
    """For ``where(x != number, x, legal)``, or the same by ``==``, return x and the number."""
    if not isinstance(node.op, Where) or not isinstance(node.inputs[0].op, Equal | NotEqual):
        return None
    condition, kept, legal = node.inputs
    if isinstance(condition.op, Equal):
        kept, legal = legal, kept
    x, number = condition.inputs
    if x is not kept or x.spec != node.spec or not isinstance(number.op, Constant) or number.shape != ():
        return None
    return (x, int(number.op.value)) if _within(legal, low, high) else None
