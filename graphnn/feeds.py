"""Check what a run is fed with, before anything changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphnn.compiler.index_checks import IndexCheck
from graphnn.ops.dtypes import to_storage
from graphnn.ops.errors import FeedError
from graphnn.ops.graph import Graph
from graphnn.ops.node import Node
from graphnn.ops.source import caller
from graphnn.ops.spec import Dim, bind_extent, format_shape
from graphnn.ops.state import Placeholder

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
    max_batch : int
        The largest batch.
    """

    def __init__(self, graph: Graph, needed: Sequence[Node], checks: Sequence[IndexCheck], max_batch: int) -> None:
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
        arrays: dict[Node, np.ndarray] = {}
        batch: int | None = None
        batch_from: Node | None = None
        for key, value in feed.items():
            node = self._placeholder(key)
            if node in arrays:
                raise FeedError(f"{node.name!r} is fed twice, by node and by name", where=str(caller()))
            array = _as_array(node, value)
            size = self._fit(node, array)
            if size is not None:
                if batch is None:
                    batch, batch_from = size, node
                elif size != batch and batch_from is not None:
                    raise _mismatch(node, size, batch_from, batch)
            arrays[node] = array
        missing = self._needed - arrays.keys()
        if missing:
            raise self._missing(missing)
        for check in self._checks:
            _check_indices(check, arrays[check.placeholder], batch or 1)
        return {node: to_storage(arrays[node], node.dtype) for node in self._needed}, batch or 1

    def _placeholder(self, key: object) -> Node:
        node = key
        if isinstance(key, str):
            if key not in self._graph:
                raise FeedError(f"there is no placeholder {key!r}", expected=self._known(), where=str(caller()))
            node = self._graph[key]
        if not isinstance(node, Node) or not isinstance(node.op, Placeholder) or node.graph is not self._graph:
            raise FeedError(
                f"only placeholders of the executor's graph can be fed, not {key!r}",
                expected=self._known(),
                where=str(caller()),
                hint="feed {placeholder: array} or {'name': array}",
            )
        return node

    def _known(self) -> str:
        return "one of " + ", ".join(sorted(repr(node.name) for node in self._needed))

    def _missing(self, missing: frozenset[Node]) -> FeedError:
        node = min(missing, key=lambda node: node.index)
        return FeedError(
            f"placeholder {', '.join(sorted(repr(each.name) for each in missing))} is not fed",
            expected=f"{node.name}: {node.spec}",
            where=str(node.source),
            hint=f"add {node.name!r} to the feed",
        )

    def _fit(self, node: Node, array: np.ndarray) -> int | None:
        """Check an array's shape; return the batch size that it implies."""
        shape = node.spec.shape
        batch: int | None = None
        fits = len(shape) == array.ndim
        if fits:
            for extent, size in zip(shape, array.shape, strict=True):
                if isinstance(extent, Dim):
                    batch, rest = divmod(size, extent.multiple)
                    fits = fits and not rest
                else:
                    fits = fits and extent == size
        if not fits:
            raise FeedError(
                f"{node.name!r} is fed an array of a wrong shape",
                expected=f"{format_shape(shape)}, N from 1 to {self._max_batch}" if node.spec.has_batch else str(shape),
                actual=str(array.shape),
                where=str(node.source),
                hint=_shape_hint(node, array),
            )
        if batch == 0:
            raise FeedError(
                f"{node.name!r} is fed an empty batch",
                expected=f"1 to {self._max_batch} examples",
                actual=str(array.shape),
                where=str(node.source),
                hint="skip runs without data",
            )
        if batch is not None and batch > self._max_batch:
            raise FeedError(
                f"{node.name!r} is fed more examples than the plan has room for",
                expected=f"1 to max_batch = {self._max_batch}",
                actual=str(batch),
                where=str(node.source),
                hint=f"feed smaller batches, or make the executor with max_batch={batch}",
            )
        return batch


def _as_array(node: Node, value: object) -> np.ndarray:
    wanted = node.dtype.interface
    if isinstance(value, Node):
        raise FeedError(f"{node.name!r} is fed a node, not a value", actual=repr(value), where=str(caller()))
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype != wanted:
            raise FeedError(
                f"{node.name!r} is fed an array of a wrong element type",
                expected=f"{wanted} {format_shape(node.shape)}",
                actual=f"{value.dtype} {value.shape}",
                where=str(node.source),
                hint=f"feed array.astype({str(wanted)!r})",
            )
        return np.asarray(value)
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise FeedError(f"{node.name!r} is fed no array: {error}", where=str(node.source)) from None
    if array.size and not np.can_cast(array.dtype, wanted, "same_kind") and not _is_weak(array, node):
        raise FeedError(
            f"{node.name!r} is fed values of a wrong type",
            expected=str(wanted),
            actual=str(array.dtype),
            where=str(node.source),
            hint=f"feed np.asarray(values).astype({str(wanted)!r})",
        )
    return array.astype(wanted)


def _is_weak(array: np.ndarray, node: Node) -> bool:
    """Whether whole Python numbers are meant for an unsigned placeholder that can hold them."""
    limits = np.iinfo(node.dtype.interface) if node.dtype.kind == "integer" else None
    return bool(
        limits is not None and array.dtype.kind == "i" and array.min() >= limits.min and array.max() <= limits.max
    )


def _shape_hint(node: Node, array: np.ndarray) -> str:
    if len(node.shape) == array.ndim + 1 and node.spec.has_batch:
        return "for a single example feed array[None]"
    return f"reshape the array, or declare the placeholder with shape {array.shape}"


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
