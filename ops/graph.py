"""The graph under construction: nodes in order of creation, names, scopes, variables and their values."""

from __future__ import annotations

import contextvars
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import MappingProxyType, TracebackType
from typing import NoReturn, Self

import numpy as np

from graphnn.ops.context import open_graphs
from graphnn.ops.dtypes import to_interface, to_storage
from graphnn.ops.errors import GraphError, ShapeError
from graphnn.ops.node import Node
from graphnn.ops.op import Op
from graphnn.ops.source import Source, caller
from graphnn.ops.spec import TensorSpec, format_shape
from graphnn.ops.state import Assign, Variable
from graphnn.ops.store import VariableStore
from graphnn.ops.values import as_numbers


class Graph:
    """A static graph of ops, filled inside a ``with`` block.

    Parameters
    ----------
    seed : int
        Seed of all random numbers: initial weights, dropout, random ops.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph(seed=0) as graph:
    ...     x = gn.placeholder("x", (None, 3))
    ...     w = gn.variable("w", np.ones((3, 2), np.float32))
    ...     y = x @ w
    >>> y
    <matmul 'matmul': float32 (N, 2)>
    >>> graph["w"] is w
    True
    """

    def __init__(self, seed: int = 0) -> None:
        given: object = seed  # users pass what they like
        if isinstance(given, bool) or not isinstance(given, int | np.integer) or not 0 <= given < 2**32:
            raise GraphError(
                f"the seed is {seed!r}",
                expected="an integer from 0 to 2**32 - 1",
                where=str(caller()),
                hint="Graph(seed=0) is as good as any other",
            )
        self.seed = int(seed)
        self.store = VariableStore()
        self._nodes: list[Node] = []
        self._by_name: dict[str, Node] = {}
        self._updates: list[Node] = []
        self._scopes: list[str] = []
        self._ordinals: dict[str, int] = {}
        self._streams: set[int] = set()
        self._gradient_of: Node | None = None
        self._tokens: list[contextvars.Token[tuple[Graph, ...]]] = []

    # The graph that new nodes go to.

    def __enter__(self) -> Self:
        self._tokens.append(open_graphs.set((*open_graphs.get(), self)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        open_graphs.reset(self._tokens.pop())

    # What is in it.

    @property
    def nodes(self) -> Sequence[Node]:
        """All nodes in order of creation."""
        return tuple(self._nodes)

    @property
    def variables(self) -> Mapping[str, Node]:
        """The variables by name, in order of creation."""
        found = {node.name: node for node in self._nodes if isinstance(node.op, Variable)}
        return MappingProxyType(found)

    @property
    def updates(self) -> Sequence[Node]:
        """The assigns registered by `add_update`."""
        return tuple(self._updates)

    def __getitem__(self, name: str) -> Node:
        try:
            return self._by_name[name]
        except KeyError:
            near = [known for known in self._by_name if str(name) in known][:5] or list(self._by_name)[-5:]
            raise GraphError(
                f"the graph has no node named {name!r}",
                expected="a name such as " + ", ".join(map(repr, near)) if near else "nodes in the graph",
                where=str(caller()),
                hint="[node.name for node in graph.nodes] lists all names",
            ) from None

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __repr__(self) -> str:
        return f"<Graph: {len(self._nodes)} nodes, {len(self.variables)} variables>"

    def __reduce__(self) -> NoReturn:
        raise GraphError(
            "graphs, their nodes and their executors can't be copied or pickled",
            expected="one graph in one process",
            where=str(caller()),
            hint="build the graph anew and carry its values over: new.set_value(name, old.get_value(name))",
        )

    # Making nodes.

    def add(self, op: Op, inputs: Iterable[Node] = (), name: str | None = None) -> Node:
        """Apply an op to nodes of this graph and return the new node.

        Parameters
        ----------
        op : Op
            What to compute.
        inputs : iterable of Node
            From what.
        name : str, optional
            Within the current scope. Given, it must be free; by default the op's label with a running number.

        Raises
        ------
        GraphError
            If a name is taken or a node belongs to another graph; ShapeError and DTypeError from the op's own rule.
        """
        nodes = tuple(inputs)
        forward = self._gradient_of
        source = caller() if forward is None else forward.source
        for node in nodes:
            if not isinstance(node, Node):
                raise GraphError(
                    f"{op.label} takes nodes, not {node!r}",
                    expected="nodes of this graph",
                    actual=type(node).__name__,
                    where=str(source),
                    hint="wrap a value in gn.constant(...)",
                )
            if node.graph is not self:
                raise GraphError(
                    f"{op.label} mixes nodes of two graphs",
                    expected="nodes of one graph",
                    actual=f"{node.name!r} belongs to another graph, made at {node.source}",
                    where=str(source),
                    hint="build both inside the same `with gn.Graph()` block",
                )
        full_name = self._take_name(name, default=op.label, source=source)
        try:
            spec = op.infer(*(node.spec for node in nodes))
        except GraphError as error:
            raise error.locate(
                subject=f"{op.label} {full_name!r}", actual=describe_inputs(op, nodes), where=str(source)
            ) from None
        node = Node(self, op, nodes, spec, name=full_name, source=source, index=len(self._nodes), grad_of=forward)
        self._nodes.append(node)
        self._by_name[full_name] = node
        return node

    def _take_name(self, name: str | None, default: str, source: Source) -> str:
        prefix = "".join(f"{scope}." for scope in self._scopes)
        if name is not None:
            _check_name(name, source)
            if prefix + name in self._by_name:
                raise GraphError(
                    f"the name {prefix + name!r} is taken",
                    expected="a name for each node",
                    actual=f"first used at {self._by_name[prefix + name].source}",
                    where=str(source),
                    hint="choose another name, or put the part into `with graph.scope(...)`",
                )
            return prefix + name
        return self._free_name(prefix + default)

    def _free_name(self, base: str) -> str:
        while True:
            ordinal = self._ordinals.get(base, 0)
            self._ordinals[base] = ordinal + 1
            candidate = base if ordinal == 0 else f"{base}_{ordinal}"
            if candidate not in self._by_name:
                return candidate

    def scope(self, name: str) -> AbstractContextManager[str]:
        """Prefix the names of nodes made inside with ``name.``; yields the whole prefix without its last dot.

        Examples
        --------
        >>> import graphnn as gn
        >>> with gn.Graph() as graph, graph.scope("layer"):
        ...     gn.placeholder("x", (2,)).name
        'layer.x'
        """
        _check_name(name, caller())
        return self._inside(name)

    @contextmanager
    def _inside(self, name: str) -> Iterator[str]:
        self._scopes.append(name)
        try:
            yield ".".join(self._scopes)
        finally:
            self._scopes.pop()

    def unique_scope(self, name: str) -> str:
        """Return `name`, or `name` with a running number if a scope of that name already holds nodes."""
        outer = "".join(f"{scope}." for scope in self._scopes)
        candidate, ordinal = name, 0
        while any(known.startswith(f"{outer}{candidate}.") for known in self._by_name):
            ordinal += 1
            candidate = f"{name}_{ordinal}"
        return candidate

    @contextmanager
    def gradient_of(self, node: Node) -> Iterator[None]:
        """Mark the nodes made inside as part of the gradient of `node`; their source is its source."""
        before = self._gradient_of, self._scopes
        self._gradient_of, self._scopes = node, [scope for scope in ("gradient", node.scope) if scope]
        try:
            with self:
                yield
        finally:
            self._gradient_of, self._scopes = before

    def next_stream(self) -> int:
        """Return the number of a new stream of random numbers, fixed by the scope and the ordinal within it."""
        scope = ".".join(self._scopes)
        key = f"stream:{scope}"
        ordinal = self._ordinals.get(key, 0)
        self._ordinals[key] = ordinal + 1
        stream = zlib.crc32(f"{scope}:{ordinal}".encode())
        while stream in self._streams:
            stream = (stream + 1) % 2**32
        self._streams.add(stream)
        return stream

    # State.

    @property
    def random_step(self) -> Node:
        """The variable that counts the runs that drew random numbers; it is made at first use."""
        if "random_step" not in self._by_name:
            scopes, self._scopes = self._scopes, []
            try:
                self.add_variable("random_step", TensorSpec((), "int64"), np.zeros((), np.int64), trainable=False)
            finally:
                self._scopes = scopes
        return self._by_name["random_step"]

    def add_variable(self, name: str, spec: TensorSpec, initial: np.ndarray, trainable: bool) -> Node:
        """Make a variable with an initial value; `graphnn.variable` is what users call."""
        node = self.add(Variable(spec, trainable), (), name)
        self.store.add(node.name, to_storage(initial, spec.dtype))
        return node

    def add_update(self, assign: Node) -> None:
        """Register an assign that belongs to a layer, such as batch norm's running mean.

        `Optimizer.minimize` returns it with its own assigns where it feeds on the loss's ancestors.
        """
        given: object = assign
        if not isinstance(given, Node) or not isinstance(given.op, Assign) or given.graph is not self:
            raise GraphError(
                f"{assign!r} is no assign of this graph",
                expected="what ops.assign returned",
                where=str(caller()),
                hint="ops.assign(variable, value)",
            )
        self._updates.append(assign)

    def get_value(self, variable: Node | str) -> np.ndarray:
        """Return a copy of a variable's value.

        Examples
        --------
        >>> import graphnn as gn
        >>> with gn.Graph() as graph:
        ...     w = gn.variable("w", [1.0, 2.0])
        >>> graph.get_value(w)
        array([1., 2.], dtype=float32)
        """
        node = self._variable(variable)
        return to_interface(self.store.read(node.name), node.dtype)

    def set_value(self, variable: Node | str, value: np.ndarray | Sequence[float] | float) -> None:
        """Replace a variable's value by an array of the same shape; its element type is converted if that is exact.

        Raises
        ------
        ShapeError, DTypeError
            If the array does not fit; nothing is changed then.
        """
        node = self._variable(variable)
        try:
            array = as_numbers(value, node.dtype)
            if array.shape != node.shape:
                raise ShapeError(
                    "the value does not have the variable's shape",
                    expected=format_shape(node.shape),
                    actual=format_shape(array.shape),
                    hint="reshape or broadcast the array first",
                )
        except GraphError as error:
            subject = f"variable {node.name!r} can't take this value"
            raise error.locate(subject=subject, actual=type(value).__name__, where=str(caller())) from None
        self.store.write(node.name, to_storage(array, node.dtype))

    def _variable(self, variable: object) -> Node:
        node = self[variable] if isinstance(variable, str) else variable
        if not isinstance(node, Node) or not isinstance(node.op, Variable) or node.graph is not self:
            raise GraphError(
                f"{node!r} is no variable of this graph",
                expected="a variable's node or name",
                where=str(caller()),
                hint="graph.variables lists them",
            )
        return node

    def generator(self, name: str) -> np.random.Generator:
        """Return the random generator for a variable's initial value: a function of the seed and the name alone."""
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    def scoped(self, name: str) -> str:
        """Return the full name that `name` would get in the current scope."""
        return ".".join([*self._scopes, name])


def _check_name(name: object, source: Source) -> None:
    if not isinstance(name, str) or not name:
        raise GraphError(
            f"a name is {name!r}",
            expected="a text that is not empty",
            actual=type(name).__name__,
            where=str(source),
            hint="the name is the first argument of placeholder and variable",
        )


def describe_inputs(op: Op, inputs: Sequence[Node]) -> str:
    """Return names, element types and shapes of an op's inputs, for an error."""
    names = op.named_inputs(len(inputs))
    return ", ".join(f"{name} {node.spec} ({node.name!r})" for name, node in zip(names, inputs, strict=True))
