"""Run a graph: compile once, then feed and fetch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from operator import itemgetter
from typing import Any

import numpy as np

from graphnn.compiler.index_checks import index_checks
from graphnn.compiler.interrupts import postponed_interrupts
from graphnn.compiler.pipeline import Options, compile_graph
from graphnn.compiler.plan.form import Plan
from graphnn.compiler.subgraph import topological
from graphnn.compiler.target import LoadedPlan, ResidentRuns
from graphnn.compiler.targets.devices import Precision, target_for
from graphnn.compiler.verification import verify_stages, verify_target
from graphnn.feeds import Feed, FeedChecker
from graphnn.ops.dtypes import bfloat16, to_interface
from graphnn.ops.errors import CompileError, GraphError
from graphnn.ops.graph import Graph
from graphnn.ops.node import Node
from graphnn.ops.source import caller
from graphnn.ops.state import Assign
from graphnn.profile import Profile
from graphnn.resident import Resident, checked_data

Fetches = Node | Sequence[Node] | Mapping[Any, Node]


class Executor:
    """A compiled plan for some fetches and updates of a graph.

    Parameters
    ----------
    fetches : Node, sequence of Node or dict of Node
        What `run` returns, in the same form.
    updates : Node or iterable of Node
        Assign nodes that each run carries out, such as what `Optimizer.minimize` returns.
    device : {"cpu", "numpy", "cuda", "cuda-emulator"}
        Where to run. ``"cpu"`` compiles the plan as C; where there is no C compiler, NumPy runs it. ``"numpy"`` is the
        reference. ``"cuda"`` is an NVIDIA GPU, through CuPy; ``"cuda-emulator"`` runs its kernels on the CPU, thread by
        thread, to test them.
    max_batch : int, optional
        The largest batch; required where anything that is computed has a batch axis. Memory is planned for it.
    training : bool, optional
        Which branch of `ops.when_training` counts. By default, training if there are updates.
    threads : int, optional
        Threads of compiled code; by default one for each core. NumPy's matrix library decides for itself.
    verify : bool
        At the first run, evaluate the graph after each compiler pass and name the pass, or the target, that changed
        a number.
    check_numerics : bool
        Raise at the first step that gives NaN or infinity; no variable changes then. Compiled code has no results
        between its ops to look at, so that NumPy runs the plan.
    precision : {"float32", "tf32"}
        What products of float32 may be computed in: exactly, or, on a GPU, by tensor cores with factors of 10 bits.

    Raises
    ------
    GraphError
        If the fetches are no nodes of one graph, an update is no assign, or two assigns write one variable.
    CompileError
        If no plan can be made, or it needs more memory than there is.

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
        updates: Node | Iterable[Node] = (),
        *,
        device: str = "cpu",
        max_batch: int | None = None,
        training: bool | None = None,
        threads: int | None = None,
        verify: bool = False,
        check_numerics: bool = False,
        precision: Precision = "float32",
    ) -> None:
        self._fetches = _fetched_nodes(fetches)
        self._formed = _form_of(fetches)
        assigns = _assigns(updates)
        roots = (*self._fetches, *assigns)
        self._graph = _graph_of(roots)
        self._lock = self._graph.store.lock
        self.threads = None if threads is None else _positive("threads", threads)
        self._target = target_for(device, self.threads, check_numerics, precision)
        self._training = bool(assigns) if training is None else training
        self._check_numerics = check_numerics
        checks, may_fail = index_checks(roots, self._training)
        self._compiled = compile_graph(
            self._fetches,
            assigns,
            Options(
                target=self._target,
                max_batch=_max_batch(roots, max_batch),
                training=self._training,
                writes_last=check_numerics or may_fail,
                verify=verify,
            ),
        )
        batched = any(node.spec.has_batch for node in self.plan.subgraph.nodes)
        self._checker = FeedChecker(self._graph, tuple(self.plan.feeds), self.plan.max_batch if batched else None)
        self._checks = [check for check in checks if check.placeholder in self.plan.feeds]
        self._loaded = self._load()
        self._written = self.plan.written_variables
        self._bfloat16 = [place for place, node in enumerate(self._fetches) if node.dtype is bfloat16]
        self._unverified = verify

    def _load(self) -> LoadedPlan:
        try:
            return self._target.load(self.plan, self._checks)
        except MemoryError:
            needed = sum(storage.nbytes for storage in self.plan.storages if storage.kind in ("feed", "constant"))
            raise CompileError(
                "the plan needs more memory than this machine gives",
                expected="less",
                actual=f"{self.plan.arena_bytes + needed:,} bytes at max_batch = {self.plan.max_batch:,}",
                where=str(caller()),
                hint="make the executor with a smaller max_batch",
            ) from None

    @property
    def plan(self) -> Plan:
        """The steps, the memory and the cost of a run; printing it gives the whole report."""
        return self._compiled.plan

    @property
    def source(self) -> str:
        """The program that a run carries out, for reading."""
        return self._target.source(self.plan)

    @property
    def has_own_memory(self) -> bool:
        """Whether the plan runs in another memory than the host's, so that each feed is copied there."""
        return self._loaded.has_own_memory

    def run(self, feed: Feed | None = None) -> Any:
        """Carry out one run.

        Parameters
        ----------
        feed : mapping
            From placeholders, or their names, to arrays of exactly their element type (lists are converted). All
            agree on the batch size.

        Returns
        -------
        array, or list, tuple or dict of arrays
            The fetches' values in the form of the executor's `fetches`; fresh copies.

        Raises
        ------
        FeedError
            If the feed does not fit; nothing has changed then.
        GraphError
            If an index that the run computed is out of range; no variable has changed then.
        NumericsError
            With ``check_numerics``; no variable has changed then.
        CompileError
            With ``verify``, at the first run; no variable has changed then.
        """
        feeds, batch = self._checker.check({} if feed is None else feed)
        with self._lock:
            values = self._verify(feeds, batch) if self._unverified else self._carry_out(feeds, batch)
        return self._formed(values)

    def resident(self, data: Feed) -> Resident:
        """Keep whole data sets where the plan runs, so that runs are fed by the numbers of their rows.

        Parameters
        ----------
        data : mapping
            From each placeholder that the plan needs, or its name, to an array of examples. Indices in them, such as
            labels, are looked at now.

        Raises
        ------
        FeedError
            If they do not fit the placeholders, or have not equally many rows.

        Examples
        --------
        >>> import graphnn as gn
        >>> with gn.Graph():
        ...     x = gn.placeholder("x", (None, 2))
        ...     total = gn.Executor(x.sum(), max_batch=2, device="numpy")
        >>> resident = total.resident({x: np.arange(6, dtype=np.float32).reshape(3, 2)})
        >>> [float(value) for value in resident.batches([2, 0, 1], batch_size=2)]
        [10.0, 5.0]
        """
        arrays = {self._checker.placeholder(key): np.asarray(value) for key, value in data.items()}
        checked_data(arrays)
        self._checker.check({node: array[:1] for node, array in arrays.items()})
        for check in self._checks:
            if not check.depends_on_batch:
                check.bind(arrays[check.placeholder], 1)()
        fed = self._unverified or any(check.depends_on_batch for check in self._checks)  # which looks at each run's
        with self._lock:
            runs = None if fed else self._loaded.reside(arrays)
        return Resident(self, arrays, runs)

    def run_resident(self, runs: ResidentRuns, batch: int, fetch: bool) -> Any:
        """Carry out one run on the next rows of resident data: for `Resident`."""
        with self._lock:
            values = runs.run(batch, fetch)
        if values is None:
            return None
        for place in self._bfloat16:
            values[place] = to_interface(values[place], bfloat16)
        return self._formed(values)

    def _carry_out(self, feeds: dict[Node, np.ndarray], batch: int) -> list[np.ndarray]:
        values = self._loaded.run(feeds, batch, self._check_numerics)
        for place in self._bfloat16:
            values[place] = to_interface(values[place], bfloat16)
        return values

    def _verify(self, feeds: dict[Node, np.ndarray], batch: int) -> list[np.ndarray]:
        """Carry out the first run; where it or a pass went wrong, no variable keeps what it wrote."""
        for check in self._checks:
            check.bind(feeds[check.placeholder], batch)()
        shown = {node: to_interface(value, node.dtype) for node, value in feeds.items()}
        try:
            expected = verify_stages(self._compiled.stages, shown, self._training, batch)
        except IndexError:  # an index out of range, which the run itself reports with its node
            return self._carry_out(feeds, batch)
        before = self._variables()
        with postponed_interrupts():
            fetched = self._carry_out(feeds, batch)
            written = {name: self._graph.get_value(name) for name in before}
            try:
                verify_target(self._target.name, expected, fetched, written)
            except CompileError:
                self._restore(before)
                raise
        self._unverified = False
        return fetched

    def _variables(self) -> dict[str, np.ndarray]:
        """Return copies of the values that a run changes."""
        return {name: self._graph.store.read(name) for name in self._written}

    def _restore(self, values: dict[str, np.ndarray]) -> None:
        for name, value in values.items():
            self._graph.store.write(name, value)

    def profile(self, feed: Feed | None = None, repeats: int = 10) -> Profile:
        """Time each step over several runs; all variables are restored afterwards.

        A step that is a compiled program has a row for each kernel in it: see `ProfileRow`.

        Parameters
        ----------
        feed : mapping
            As for `run`.
        repeats : int
            Timed runs, after one to warm up; the median of each step counts.
        """
        repeats = _positive("repeats", repeats)
        feeds, batch = self._checker.check({} if feed is None else feed)
        with self._lock, postponed_interrupts() if self._written else nullcontext():
            before = self._variables()
            try:
                runs = [self._loaded.time_steps(feeds, batch) for _ in range(repeats + 1)]
            finally:
                self._restore(before)
        return Profile.of(self.plan, batch, runs[1:])

    def __repr__(self) -> str:
        names = ", ".join(node.name for node in self._fetches)
        return f"<Executor of {names} on {self.plan.target}: {len(self.plan.steps)} steps>"


def _fetched_nodes(fetches: Fetches) -> tuple[Node, ...]:
    if isinstance(fetches, Node):
        return (fetches,)
    given: object = fetches  # users pass what they like
    if isinstance(given, str) or not isinstance(given, Mapping | Sequence):
        raise GraphError(
            f"{given!r} can't be fetched",
            expected="a node, a list or a dict of nodes",
            actual=type(given).__name__,
            where=str(caller()),
            hint="fetch what a function of ops returned, or graph[name]",
        )
    return tuple(_as_node(node) for node in (given.values() if isinstance(given, Mapping) else given))


def _as_node(value: object) -> Node:
    if isinstance(value, Node):
        return value
    raise GraphError(
        f"{value!r} can't be fetched: it is no node",
        expected="nodes",
        actual=type(value).__name__,
        where=str(caller()),
        hint="fetch what a function of ops returned, or graph[name]",
    )


def _form_of(fetches: Fetches) -> Callable[[list[np.ndarray]], Any]:
    """Return the function that puts values in the form of the fetches, whatever becomes of those afterwards."""
    if isinstance(fetches, Node):
        return itemgetter(0)
    if isinstance(fetches, Mapping):
        keys = tuple(fetches)
        return lambda values: dict(zip(keys, values, strict=True))
    return tuple if isinstance(fetches, tuple) else list


def _assigns(updates: object) -> tuple[Node, ...]:
    given = (updates,) if isinstance(updates, Node) or not isinstance(updates, Iterable) else tuple(updates)
    for node in given:
        if not isinstance(node, Node) or not isinstance(node.op, Assign):
            raise GraphError(
                f"{node!r} is no update",
                expected="assign nodes, such as what ops.assign or Optimizer.minimize returned",
                actual=type(node).__name__,
                where=str(caller()),
                hint="put nodes whose values are wanted among the fetches",
            )
    return given


def _graph_of(nodes: Sequence[Node]) -> Graph:
    if not nodes:
        raise GraphError(
            "an executor needs something to fetch or to update",
            expected="at least one node",
            actual="no fetches and no updates",
            where=str(caller()),
            hint="Executor([loss], updates=optimizer.minimize(loss))",
        )
    for node in nodes:
        if node.graph is not nodes[0].graph:
            raise GraphError(
                f"{nodes[0].name!r} and {node.name!r} belong to two graphs",
                expected="nodes of one graph",
                actual=f"{nodes[0].name!r} made at {nodes[0].source}, {node.name!r} at {node.source}",
                where=str(caller()),
                hint="make one executor per graph",
            )
    return nodes[0].graph


def _max_batch(roots: Sequence[Node], max_batch: int | None) -> int:
    if max_batch is not None:
        return _positive("max_batch", max_batch)
    batched = next((node for node in topological(roots) if node.spec.has_batch), None)
    if batched is not None:
        raise GraphError(
            f"the executor needs max_batch, since {batched.name!r} has a batch axis",
            expected="max_batch, the largest number of examples in a run",
            actual=f"{batched!r}, made at {batched.source}",
            where=str(caller()),
            hint="Executor(..., max_batch=100) plans memory for up to 100 examples",
        )
    return 1


def _positive(name: str, number: object) -> int:
    if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
        raise GraphError(
            f"{name} is {number!r}",
            expected="an integer of 1 or more",
            actual=type(number).__name__,
            where=str(caller()),
            hint=f"pass {name}=8, for instance",
        )
    return int(number)
