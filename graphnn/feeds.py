"""Check what a run is fed with, before anything changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphnn.ops.dtypes import to_storage
from graphnn.ops.errors import FeedError, GraphError
from graphnn.ops.graph import Graph
from graphnn.ops.node import Node
from graphnn.ops.source import caller
from graphnn.ops.spec import Dim, format_shape
from graphnn.ops.state import Placeholder
from graphnn.ops.values import as_array, as_numbers

Feed = Mapping[Any, Any]
_FEEDS = (dict, Mapping)  # what most feeds are comes first: it is found without a search
_KEYS = (Node, str)


@dataclass(slots=True, eq=False)
class _Rule:
    """What a placeholder takes.

    Attributes
    ----------
    node : Node
        The placeholder.
    dtype : numpy.dtype or None
        Arrays of this very type are taken as they are. None: all are converted.
    fitted : tuple of shape and batch size
        Of what was fed last: most runs are fed arrays of the same shapes as the runs before.
    """

    node: Node
    dtype: np.dtype | None
    fitted: tuple[tuple[int, ...] | None, int | None] = None, None


class FeedChecker:
    """The rules for the feeds of one plan.

    Parameters
    ----------
    graph : Graph
        Whose placeholders may be fed.
    needed : sequence of Node
        The placeholders that must be.
    max_batch : int or None
        The largest batch; None for a plan in which nothing depends on it.
    """

    def __init__(self, graph: Graph, needed: Sequence[Node], max_batch: int | None) -> None:
        self._graph = graph
        self._needed = frozenset(needed)
        self._max_batch = max_batch
        self._rules: dict[object, _Rule] = {}
        """By node and by name, of what was fed before."""

    def check(self, feed: Feed) -> tuple[dict[Node, np.ndarray], int]:
        """Return an array in storage form for each placeholder that is fed, and the batch size (1 where there is none).

        The arrays may be the user's own; their indices are not looked at before they have been copied.

        Raises
        ------
        FeedError
            If anything is unknown, missing, or of a wrong shape, type or batch size.
        """
        if not isinstance(feed, _FEEDS):
            raise _no_mapping(feed)
        arrays: dict[Node, np.ndarray] = {}
        batch: int | None = None
        for key, value in feed.items():
            rule = self._rules.get(key) if isinstance(key, _KEYS) else None
            if rule is None:
                rule = self._rule(key)
            node = rule.node
            if node in arrays:
                raise _fed_twice(node)
            plain = type(value) is np.ndarray and value.dtype is rule.dtype
            arrays[node] = array = value if plain else _stored(node, value)
            shape, size = rule.fitted
            if array.shape != shape:
                size = self._fit(node, array)
                rule.fitted = array.shape, size
            if size != batch and size is not None:
                if batch is not None:
                    raise _mismatch(node, size, arrays, batch)
                batch = size
        if not arrays.keys() >= self._needed:
            raise self._missing(arrays)
        if batch is None and self._max_batch is not None:
            raise _no_batch(self._max_batch)
        return arrays, batch or 1

    def placeholder(self, key: object) -> Node:
        """Return the placeholder that a key of a feed stands for, or raise a FeedError."""
        return self._rule(key).node

    def _rule(self, key: object) -> _Rule:
        node = self._graph[key] if isinstance(key, str) and key in self._graph else key
        if not isinstance(node, Node) or not isinstance(node.op, Placeholder) or node.graph is not self._graph:
            names = ", ".join(sorted(repr(node.name) for node in self._needed))
            raise FeedError(
                f"{key!r} is no placeholder of the executor's graph",
                expected=f"a value for {names}" if names else "nothing: this plan needs no feed",
                where=str(caller()),
                hint="feed {placeholder: array} or {'name': array}",
            )
        stored_as_fed = node.dtype.interface == node.dtype.storage
        self._rules[key] = rule = _Rule(node, node.dtype.storage if stored_as_fed else None)
        return rule

    def _missing(self, arrays: Mapping[Node, np.ndarray]) -> FeedError:
        missing = sorted(self._needed - arrays.keys(), key=lambda node: node.index)
        return FeedError(
            f"placeholder {', '.join(repr(node.name) for node in missing)} is not fed",
            expected=", ".join(_expected(node) for node in missing),
            actual="a feed of " + (", ".join(repr(node.name) for node in arrays) or "nothing"),
            where=str(missing[0].source),
            hint=f"add {missing[0].name!r} to the feed",
        )

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


def _no_mapping(feed: object) -> FeedError:
    return FeedError(
        "the feed is no dict",
        expected="{placeholder: array} or {'name': array}",
        actual=type(feed).__name__,
        where=str(caller()),
        hint="say for each array which placeholder it is for",
    )


def _fed_twice(node: Node) -> FeedError:
    return FeedError(
        f"{node.name!r} is fed twice",
        expected="each placeholder once",
        actual="by node and by name",
        where=str(caller()),
        hint="leave one of the two out",
    )


def _no_batch(max_batch: int) -> FeedError:
    return FeedError(
        "nothing that is fed tells the batch size of this run",
        expected=f"1 to {max_batch} examples",
        actual="no feed with a batch axis",
        where=str(caller()),
        hint="feed a placeholder of shape (None, ...) as well, even if nothing reads it",
    )


def _stored(node: Node, value: object) -> np.ndarray:
    return to_storage(_as_array(node, value), node.dtype)


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


def _mismatch(node: Node, size: int, arrays: Mapping[Node, np.ndarray], batch: int) -> FeedError:
    other = next(fed for fed in arrays if fed.spec.has_batch)
    return FeedError(
        "the feeds disagree on the batch size",
        expected=f"{batch} examples, as {other.name!r} has",
        actual=f"{size} in {node.name!r}",
        where=str(node.source),
        hint="feed the same number of examples to all placeholders",
    )
