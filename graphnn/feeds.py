"""Check what a run is fed with, before anything changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphnn.compiler.index_checks import IndexCheck
from graphnn.ops.dtypes import to_storage
from graphnn.ops.errors import FeedError, GraphError
from graphnn.ops.graph import Graph
from graphnn.ops.node import Node
from graphnn.ops.source import caller
from graphnn.ops.spec import Dim, bind_extent, format_shape
from graphnn.ops.state import Placeholder
from graphnn.ops.values import as_array, as_numbers

Feed = Mapping[Any, Any]


class FeedChecker:
    """The rules for the feeds of one plan.

    Parameters
    ----------
    graph : Graph
        Whose placeholders may be fed.
    needed : sequence of Node
        The placeholders that must be.
    checks : sequence of IndexCheck
        The ranges of fed indices.
    max_batch : int or None
        The largest batch; None for a plan in which nothing depends on it.
    """

    def __init__(
        self, graph: Graph, needed: Sequence[Node], checks: Sequence[IndexCheck], max_batch: int | None
    ) -> None:
        self._graph = graph
        self._needed = frozenset(needed)
        self._checks = checks
        self._max_batch = max_batch

    def check(self, feed: Feed) -> tuple[dict[Node, np.ndarray], int]:
        """Return an array in storage form for each needed placeholder, and the batch size (1 where there is none).

        Raises
        ------
        FeedError
            If anything is unknown, missing, or of a wrong shape, type, batch size or range.
        """
        arrays = self._arrays(feed)
        batch = self._batch(arrays)
        for placeholder in {check.placeholder for check in self._checks}:
            arrays[placeholder] = arrays[placeholder].copy()  # what is checked is what the run reads
        for check in self._checks:
            _check_indices(check, arrays[check.placeholder], batch)
        return {node: to_storage(arrays[node], node.dtype) for node in self._needed}, batch

    def _arrays(self, feed: Feed) -> dict[Node, np.ndarray]:
        """Return an array of the right element type for each placeholder that is fed, needed or not."""
        if not isinstance(feed, Mapping):
            raise FeedError(
                "the feed is no dict",
                expected="{placeholder: array} or {'name': array}",
                actual=type(feed).__name__,
                where=str(caller()),
                hint="say for each array which placeholder it is for",
            )
        arrays: dict[Node, np.ndarray] = {}
        for key, value in feed.items():
            node = self._placeholder(key)
            if node in arrays:
                raise FeedError(
                    f"{node.name!r} is fed twice",
                    expected="each placeholder once",
                    actual="by node and by name",
                    where=str(caller()),
                    hint="leave one of the two out",
                )
            arrays[node] = _as_array(node, value)
        missing = sorted(self._needed - arrays.keys(), key=lambda node: node.index)
        if missing:
            raise FeedError(
                f"placeholder {', '.join(repr(node.name) for node in missing)} is not fed",
                expected=", ".join(_expected(node) for node in missing),
                actual="a feed of " + (", ".join(repr(node.name) for node in arrays) or "nothing"),
                where=str(missing[0].source),
                hint=f"add {missing[0].name!r} to the feed",
            )
        return arrays

    def _batch(self, arrays: Mapping[Node, np.ndarray]) -> int:
        """Check all shapes; return the batch size that they agree on, 1 where the plan has no use for one."""
        found: tuple[int, Node] | None = None
        for node, array in arrays.items():
            batch = self._fit(node, array)
            if batch is not None and found is not None and batch != found[0]:
                raise _mismatch(node, batch, found[1], found[0])
            if batch is not None:
                found = batch, node
        if found is None and self._max_batch is not None:
            raise FeedError(
                "nothing that is fed tells the batch size of this run",
                expected=f"1 to {self._max_batch} examples",
                actual="no feed with a batch axis",
                where=str(caller()),
                hint="feed a placeholder of shape (None, ...) as well, even if nothing reads it",
            )
        return found[0] if found is not None else 1

    def _placeholder(self, key: object) -> Node:
        node = self._graph[key] if isinstance(key, str) and key in self._graph else key
        if not isinstance(node, Node) or not isinstance(node.op, Placeholder) or node.graph is not self._graph:
            names = ", ".join(sorted(repr(node.name) for node in self._needed))
            raise FeedError(
                f"{key!r} is no placeholder of the executor's graph",
                expected=f"a value for {names}" if names else "nothing: this plan needs no feed",
                where=str(caller()),
                hint="feed {placeholder: array} or {'name': array}",
            )
        return node

    def _fit(self, node: Node, array: np.ndarray) -> int | None:
        """Check an array's shape; return the batch size that it implies."""
        shape = node.spec.shape
        batch: int | None = None
        fits = len(shape) == array.ndim
        if fits:
            for extent, size in zip(shape, array.shape, strict=True):
                if isinstance(extent, Dim):
                    batch = size // extent.multiple if batch is None else batch
                    fits = fits and extent.bind(batch) == size
                else:
                    fits = fits and extent == size
        if not fits:
            raise FeedError(
                f"{node.name!r} is fed an array of a wrong shape",
                expected=format_shape(shape) + (", N is the batch size" if node.spec.has_batch else ""),
                actual=format_shape(array.shape),
                where=str(node.source),
                hint=_shape_hint(node, array),
            )
        if batch == 0:
            raise FeedError(
                f"{node.name!r} is fed an empty batch",
                expected="1 example or more",
                actual=format_shape(array.shape),
                where=str(node.source),
                hint="skip runs without data",
            )
        if batch is not None and self._max_batch is not None and batch > self._max_batch:
            raise FeedError(
                f"{node.name!r} is fed more examples than the plan has room for",
                expected=f"1 to max_batch = {self._max_batch}",
                actual=str(batch),
                where=str(node.source),
                hint=f"feed smaller batches, or make the executor with max_batch={batch}",
            )
        return batch


def _as_array(node: Node, value: object) -> np.ndarray:
    if isinstance(value, Node):
        raise FeedError(
            f"{node.name!r} is fed a node, not a value",
            expected=_expected(node),
            actual=repr(value),
            where=str(caller()),
            hint="fetch the node with an executor and feed what that returns",
        )
    try:
        if hasattr(value, "__array__"):  # NumPy's own, and what other libraries take for arrays
            return _exact(node, as_array(value))
        return as_numbers(value, node.dtype)
    except FeedError:
        raise
    except (GraphError, TypeError) as error:
        refused = error if isinstance(error, GraphError) else GraphError(str(error).partition("\n")[0])
        raise FeedError(
            f"{node.name!r} is fed wrong values: {refused.message}",
            expected=refused.expected or _expected(node),
            actual=refused.actual or type(value).__name__,
            where=str(node.source),
            hint=refused.hint or f"feed a NumPy array of {node.dtype.interface}",
        ) from None


def _exact(node: Node, array: np.ndarray) -> np.ndarray:
    wanted = node.dtype.interface
    if array.dtype != wanted:
        raise FeedError(
            f"{node.name!r} is fed an array of a wrong element type",
            expected=_expected(node),
            actual=f"{array.dtype} {format_shape(array.shape)}",
            where=str(node.source),
            hint=f"feed array.astype({str(wanted)!r})",
        )
    return array


def _expected(node: Node) -> str:
    return f"{node.dtype.interface} {format_shape(node.shape)}"


def _shape_hint(node: Node, array: np.ndarray) -> str:
    if len(node.shape) == array.ndim + 1 and node.spec.has_batch:
        return "for a single example feed array[None]"
    return f"reshape the array, or declare the placeholder with shape {format_shape(array.shape)}"


def _mismatch(node: Node, size: int, other: Node, batch: int) -> FeedError:
    return FeedError(
        "the feeds disagree on the batch size",
        expected=f"{batch} examples, as {other.name!r} has",
        actual=f"{size} in {node.name!r}",
        where=str(node.source),
        hint="feed the same number of examples to all placeholders",
    )


def _check_indices(check: IndexCheck, array: np.ndarray, batch: int) -> None:
    low, high = bind_extent(check.low, batch), bind_extent(check.high, batch)
    if not array.size or (int(array.min()) >= low and int(array.max()) < high):
        return
    wrong = array[(array < low) | (array >= high)].reshape(-1)[0]
    raise FeedError(
        f"{check.placeholder.name!r} is fed an index out of range for {check.reader.op.label} {check.reader.name!r}",
        expected=f"integers from {low} to {high - 1}",
        actual=str(wrong),
        where=str(check.reader.source),
        hint="check the labels or indices in the data",
    )
