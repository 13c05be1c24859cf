"""Run a graph: compile once, then feed and fetch."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np

from graphnn.compiler.index_checks import index_checks
from graphnn.compiler.pipeline import Options, compile_graph
from graphnn.compiler.plan.form import Plan
from graphnn.compiler.targets.devices import target_for
from graphnn.compiler.verification import verify_stages, verify_target
from graphnn.feeds import Feed, FeedChecker
from graphnn.ops.dtypes import to_interface
from graphnn.ops.errors import GraphError
from graphnn.ops.node import Node
from graphnn.ops.source import caller
from graphnn.ops.state import Placeholder
from graphnn.profile import Profile

Fetches = Node | Sequence[Node] | Mapping[Any, Node]


class Executor:
    """A compiled plan for some fetches and updates of a graph.

    Parameters
    ----------
    fetches : Node, sequence of Node or dict of Node
        What `run` returns, in the same form.
    updates : Node or sequence of Node
        Assign nodes that each run carries out, such as what `Optimizer.minimize` returns.
    device : {"cpu", "numpy"}
        Where to run. ``"numpy"`` is the reference.
    max_batch : int, optional
        The largest batch; required where a placeholder has a batch axis. Memory is planned for it.
    training : bool, optional
        Which branch of `ops.when_training` counts. By default, training if there are updates.
    threads : int, optional
        Threads of compiled targets. NumPy's matrix library decides for itself.
    verify : bool
        At the first run, evaluate the graph after each compiler pass and name the pass, or the target, that changed
        a number.
    check_numerics : bool
        Raise at the first step that gives NaN or infinity; no variable changes then.

    Raises
    ------
    GraphError
        If the fetches are no nodes of one graph, or two assigns write one variable.
    CompileError
        If no plan can be made.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     x = gn.placeholder("x", (None, 2))
    ...     total = gn.Executor({"total": x.sum()}, max_batch=8, device="numpy")
    >>> total.run({x: np.ones((3, 2), np.float32)})
    {'total': array(6., dtype=float32)}
    """

    def __init__(
        self,
        fetches: Fetches,
        updates: Node | Sequence[Node] = (),
        *,
        device: str = "cpu",
        max_batch: int | None = None,
        training: bool | None = None,
        threads: int | None = None,
        verify: bool = False,
        check_numerics: bool = False,
    ) -> None:
        self._form = fetches
        self._fetches = _fetched_nodes(fetches)
        assigns = (updates,) if isinstance(updates, Node) else tuple(updates)
        self._graph = _graph_of((*self._fetches, *assigns))
        self._target = target_for(device)
        self._training = bool(assigns) if training is None else training
        self._check_numerics = check_numerics
        self.threads = threads
        checks, may_fail = index_checks((*self._fetches, *assigns))
        self._compiled = compile_graph(
            self._fetches,
            assigns,
            Options(
                target=self._target,
                max_batch=_max_batch((*self._fetches, *assigns), max_batch),
                training=self._training,
                writes_last=check_numerics or may_fail,
                verify=verify,
            ),
        )
        placeholders = tuple(self.plan.feeds)
        needed_checks = [check for check in checks if check.placeholder in self.plan.feeds]
        self._checker = FeedChecker(self._graph, placeholders, needed_checks, self.plan.max_batch)
        self._loaded = self._target.load(self.plan)
        self._unverified = verify

    @property
    def plan(self) -> Plan:
        """The steps, the memory and the cost of a run; printing it gives the whole report."""
        return self._compiled.plan

    @property
    def source(self) -> str:
        """The program that a run carries out, for reading."""
        return self._target.source(self.plan)

    def run(self, feed: Feed | None = None) -> Any:
        """Carry out one run.

        Parameters
        ----------
        feed : mapping
            From placeholders, or their names, to arrays of exactly their element type (lists are converted). All
            agree on the batch size.

        Returns
        -------
        array, list or dict of arrays
            The fetches' values in the form of the executor's `fetches`; fresh copies.

        Raises
        ------
        FeedError
            If the feed does not fit; nothing has changed then.
        NumericsError
            With ``check_numerics``; nothing has changed then.
        """
        feeds, batch = self._checker.check(feed or {})
        store = self._graph.store
        written = self.plan.written_variables
        with store.lock, _postponed_interrupts(bool(written)):
            expected = self._verify_passes(feeds) if self._unverified else None
            values = self._loaded.run(feeds, batch, self._check_numerics)
            for name in written:
                store.touch(name)
        results = [to_interface(value, node.dtype) for node, value in zip(self._fetches, values, strict=True)]
        if expected is not None:
            verify_target(self._target.name, self._fetches, expected, results)
            self._unverified = False
        return self._formed(results)

    def profile(self, feed: Feed | None = None, repeats: int = 10) -> Profile:
        """Time each step over several runs; all variables are restored afterwards.

        Parameters
        ----------
        feed : mapping
            As for `run`.
        repeats : int
            Timed runs, after one to warm up; the median of each step counts.
        """
        feeds, batch = self._checker.check(feed or {})
        store = self._graph.store
        with store.lock, _postponed_interrupts(bool(self.plan.written_variables)):
            before = {name: store.read(name) for name in self.plan.written_variables}
            try:
                runs = [self._loaded.time_steps(feeds, batch) for _ in range(repeats + 1)]
            finally:
                for name, value in before.items():
                    np.copyto(store.array(name), value)
        return Profile.of(self.plan, batch, np.median(np.array(runs[1:]).reshape(repeats, -1), axis=0))

    def _verify_passes(self, feeds: dict[Node, np.ndarray]) -> list[np.ndarray]:
        shown = {node: to_interface(value, node.dtype) for node, value in feeds.items()}
        return verify_stages(self._compiled.stages, shown, self._training)

    def _formed(self, values: list[np.ndarray]) -> Any:
        if isinstance(self._form, Node):
            return values[0]
        return dict(zip(self._form, values, strict=True)) if isinstance(self._form, Mapping) else values

    def __repr__(self) -> str:
        names = ", ".join(node.name for node in self._fetches)
        return f"<Executor of {names} on {self.plan.target}: {len(self.plan.steps)} steps>"


def _fetched_nodes(fetches: Fetches) -> tuple[Node, ...]:
    if isinstance(fetches, Node):
        return (fetches,)
    given: object = fetches  # users pass what they like
    if isinstance(given, str) or not isinstance(given, Mapping | Sequence):
        raise GraphError(f"fetches must be a node, a list or a dict, not {given!r}", where=str(caller()))
    return tuple(_as_node(node) for node in (given.values() if isinstance(given, Mapping) else given))


def _as_node(value: object) -> Node:
    if isinstance(value, Node):
        return value
    raise GraphError(
        f"{value!r} can't be fetched: it is no node",
        where=str(caller()),
        hint="fetch what a function of ops returned, or graph[name]",
    )


def _graph_of(nodes: Sequence[Node]) -> Any:
    if not nodes:
        raise GraphError("an executor needs something to fetch or to update", where=str(caller()))
    for node in nodes:
        if _as_node(node).graph is not nodes[0].graph:
            raise GraphError(
                f"{nodes[0].name!r} and {node.name!r} belong to two graphs",
                where=str(caller()),
                hint="make one executor per graph",
            )
    return nodes[0].graph


def _max_batch(roots: Sequence[Node], max_batch: int | None) -> int:
    if max_batch is not None:
        if isinstance(max_batch, bool) or not isinstance(max_batch, int | np.integer) or max_batch < 1:
            raise GraphError(f"max_batch is {max_batch!r}", expected="an integer of 1 or more", where=str(caller()))
        return int(max_batch)
    batched = next((node for node in roots[0].graph.nodes if _is_batched(node)), None)
    if batched is not None:
        raise GraphError(
            f"the executor needs max_batch, since {batched.name!r} has a batch axis",
            actual=str(batched.spec),
            where=str(caller()),
            hint="Executor(..., max_batch=100) plans memory for up to 100 examples",
        )
    return 1


def _is_batched(node: Node) -> bool:
    return isinstance(node.op, Placeholder) and node.spec.has_batch


@contextmanager
def _postponed_interrupts(active: bool) -> Iterator[None]:
    """Let Ctrl-C wait until the block is done, so that no run stops with half of its variables written."""
    if not active or threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[tuple[int, FrameType | None]] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pending.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if pending and callable(before):
            before(*pending[0])
