"""What layers and models have in common: variables that are made at the first call, under names that follow places."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self
from weakref import WeakKeyDictionary

from graphnn.nn.init import Initializer
from graphnn.ops.context import current_graph
from graphnn.ops.dtypes import DTypeLike
from graphnn.ops.errors import GraphError, ShapeError
from graphnn.ops.graph import Graph
from graphnn.ops.node import Node
from graphnn.ops.source import caller
from graphnn.ops.state import variable


@dataclass
class _Place:
    """Where a module stands in one graph: names only, since nodes would keep the graph alive as long as the module."""

    scope: str
    full_scope: str
    variables: dict[str, str] = field(default_factory=dict)


_running: ContextVar[tuple[Module, ...]] = ContextVar("running_modules", default=())


class Module:
    """Base of all layers and models: a callable that adds nodes and variables to the open graph.

    A subclass defines `forward`; layers that it keeps as attributes, or in lists and dicts that are attributes, are
    its parts, and the names of their variables follow from that, as in PyTorch: ``self.conv1 = nn.Conv2d(1, 6, 5)``
    gives ``conv1.weight`` and ``conv1.bias``.

    Names are settled at a module's first call in a graph. Each part has a scope, named after its attribute or key, or
    by its own `name`. A module that is no part of another, such as ``nn.Linear(3, 4)`` called on its own, has one
    named after its class, ``linear``; if it has parts it needs none, and their names come first. Where a scope is
    taken, a number is added: a second ``models.lenet()`` in the same graph has ``conv1_1.weight`` and so on.

    Later calls in the same graph reuse the variables. In another graph the module makes new ones; it holds no values
    itself.

    Parameters
    ----------
    name : str, optional
        Scope to use instead of the attribute's name or the key.

    Examples
    --------
    >>> import graphnn as gn
    >>> class TwoLayers(gn.nn.Module):
    ...     def __init__(self, hidden):
    ...         self.first = gn.nn.Linear(4, hidden)
    ...         self.last = gn.nn.Linear(hidden, 2)
    ...
    ...     def forward(self, x):
    ...         return self.last(gn.ops.relu(self.first(x)))
    >>> with gn.Graph(seed=0) as graph:
    ...     y = TwoLayers(8)(gn.placeholder("x", (None, 4)))
    >>> y.shape, list(graph.variables)
    ((N, 2), ['first.weight', 'first.bias', 'last.weight', 'last.bias'])
    """

    name: str | None = None
    shown: ClassVar[tuple[str, ...]] = ()
    """Attributes that the representation shows."""

    _places: WeakKeyDictionary[Graph, _Place]

    def __new__(cls, *_: object, **__: object) -> Self:
        """Make a module that is ready even where a subclass does not call `__init__`."""
        module = super().__new__(cls)
        module._places = WeakKeyDictionary()
        return module

    def __init__(self, *, name: str | None = None) -> None:
        self.name = name

    def __getstate__(self) -> dict[str, Any]:
        # A copy is a module of its own, with variables of its own.
        return {key: value for key, value in vars(self).items() if key != "_places"}

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Add the module's nodes and return its result; subclasses define it, users call the module itself."""
        raise NotImplementedError(f"{type(self).__name__} has no forward(self, x)")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Enter the module's scope and return what `forward` returns."""
        graph = _graph_of((*inputs, *options.values()))
        before = _running.get()
        route = self._route(before[-1]) if before else [(self._own_key(), self)]
        with ExitStack() as stack:
            stack.enter_context(graph)
            for key, module in route:
                stack.enter_context(module._inside(graph, key))
            token = _running.set((*before, self))
            try:
                return self.forward(*inputs, **options)
            finally:
                _running.reset(token)

    def variable(
        self,
        name: str,
        shape: Sequence[int],
        init: Initializer,
        *,
        trainable: bool = True,
        dtype: DTypeLike = "float32",
    ) -> Node:
        """Return the module's variable of this name in the open graph; `forward` calls it, the first call makes it.

        Parameters
        ----------
        name : str
            Within the module's scope.
        shape : sequence of int
            Its shape.
        init : callable
            Gives the initial value, such as `init.zeros`: see `graphnn.nn.init`. Its random generator depends on the
            graph's seed and the variable's full name alone, so that other layers change nothing about it.
        trainable : bool
            Whether `Optimizer.minimize` updates it.
        dtype : DType or str
            Element type.

        Raises
        ------
        GraphError
            Outside of the module's call.
        ShapeError
            If the initial value, or the variable made by an earlier call, has another shape.

        Examples
        --------
        >>> import graphnn as gn
        >>> class Scale(gn.nn.Module):
        ...     def forward(self, x):
        ...         return x * self.variable("factor", x.shape[1:], gn.nn.init.ones)
        >>> with gn.Graph() as graph:
        ...     y = Scale()(gn.placeholder("x", (None, 3)))
        >>> graph.variables["scale.factor"]
        <variable 'scale.factor': float32 (3,)>
        """
        if _running.get()[-1:] != (self,):
            raise GraphError(
                f"{type(self).__name__} makes its variable {name!r} only while it is called",
                where=str(caller()),
                hint="call the module itself, module(x), not its forward or its variable",
            )
        graph = current_graph()
        names = self._places[graph].variables
        if name not in names:
            free = _free_name(graph, name)
            full_name = graph.scoped(free)
            value = init(graph.generator(full_name), tuple(shape))
            self._require_shape(full_name, value.shape, shape)
            names[name] = variable(free, value, trainable, dtype).name
        node = graph[names[name]]
        self._require_shape(node.name, node.shape, shape)
        return node

    def _require_shape(self, name: str, actual: Sequence[object], expected: Sequence[object]) -> None:
        if tuple(actual) != tuple(expected):
            raise ShapeError(
                f"{type(self).__name__}: variable {name!r} has another shape",
                expected=str(tuple(expected)),
                actual=str(tuple(actual)),
                where=str(caller()),
                hint="make one module for each shape",
            )

    def variables(self, graph: Graph | None = None) -> dict[str, Node]:
        """Return the variables of the module and of its parts in a graph, by their paths within the module.

        The keys are those of PyTorch's ``named_parameters``, whatever scopes the module and its parts have.

        Parameters
        ----------
        graph : Graph, optional
            By default the open one.

        Examples
        --------
        >>> import graphnn as gn
        >>> layer = gn.nn.Linear(3, 4)
        >>> with gn.Graph() as graph:
        ...     y = layer(gn.placeholder("x", (None, 3)))
        >>> layer.variables(graph)["weight"]
        <variable 'linear.weight': float32 (4, 3)>
        """
        chosen = current_graph() if graph is None else graph
        found: dict[str, Node] = {}
        for path, module in self.named_modules():
            place = module._places.get(chosen)
            for name, full_name in place.variables.items() if place is not None else ():
                found[f"{path}.{name}" if path else name] = chosen[full_name]
        return found

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the parts with their keys: attributes that are modules, or lists, tuples and dicts of modules.

        Examples
        --------
        >>> import graphnn as gn
        >>> class Stack(gn.nn.Module):
        ...     def __init__(self):
        ...         self.layers = [gn.nn.ReLU(), gn.nn.Tanh()]
        >>> list(Stack().named_children())
        [('layers.0', ReLU()), ('layers.1', Tanh())]
        """
        for key, value in vars(self).items():
            for inner, part in _parts(value):
                yield f"{key}{inner}", part

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """Yield the module itself under ``""``, then all parts and their parts, each once, with their paths.

        Examples
        --------
        >>> import graphnn as gn
        >>> block = gn.nn.Sequential({"body": gn.nn.Sequential(gn.nn.ReLU())})
        >>> [path for path, module in block.named_modules()]
        ['', 'body', 'body.0']
        """
        seen: set[Module] = set()
        stack: list[tuple[str, Module]] = [("", self)]
        while stack:
            path, module = stack.pop()
            if module in seen:
                continue
            seen.add(module)
            yield path, module
            parts = [(f"{path}.{key}" if path else key, part) for key, part in module.named_children()]
            stack.extend(reversed(parts))

    # Finding a place in the graph.

    @property
    def _label(self) -> str:
        """The class and, while the module is called, its scope: how errors name it."""
        place = self._places.get(current_graph())
        return f"{type(self).__name__} {place.full_scope!r}" if place and place.full_scope else type(self).__name__

    def _own_key(self) -> str:
        """Return the scope of a module that is no part of another."""
        has_parts = next(self.named_children(), None) is not None
        return self.name or ("" if has_parts else type(self).__name__.lower())

    def _route(self, outer: Module) -> list[tuple[str, Module]]:
        """Return the modules from just inside `outer` down to this one, each with the name of its scope."""
        routes: list[list[tuple[str, Module]]] = [[]]
        seen = {outer}
        for route in routes:  # grows while it is gone through: the nearest parts come first
            holder = route[-1][1] if route else outer
            for key, part in holder.named_children():
                step = (part.name or key, part)
                if part is self:
                    return [*route, step]
                if part not in seen:
                    seen.add(part)
                    routes.append([*route, step])
        return [(self._own_key(), self)]

    @contextmanager
    def _inside(self, graph: Graph, key: str) -> Iterator[None]:
        """Enter the module's scope in a graph; the first call chooses it."""
        is_new = graph not in self._places
        if is_new:
            scope = graph.unique_scope(key) if key else ""
            self._places[graph] = _Place(scope, graph.scoped(scope) if scope else "")
        scope = self._places[graph].scope
        try:
            with graph.scope(scope) if scope else nullcontext():
                yield
        except BaseException:
            if is_new and scope and graph.unique_scope(scope) == scope:
                del self._places[graph]  # nothing carries the name, so that a corrected call may choose again
            raise

    def __repr__(self) -> str:
        settings = [f"{key}={getattr(self, key)!r}" for key in self.shown]
        parts = [f"({key}): {part!r}".replace("\n", "\n  ") for key, part in self.named_children()]
        inner = "".join(f"\n  {part}" for part in parts) + ("\n" if parts else "")
        return f"{type(self).__name__}({', '.join(settings)}{inner})"


def _parts(value: object) -> Iterator[tuple[str, Module]]:
    """Yield what an attribute holds that is a module, with what is added to the attribute's name."""
    items: Iterable[tuple[object, object]] = ()
    if isinstance(value, Module):
        yield "", value
    elif isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    for key, item in items:
        if isinstance(item, Module):
            yield f".{key}", item


def _graph_of(values: Iterable[object]) -> Graph:
    """Return the graph of the first node among a call's arguments, or the open one."""
    return next((value.graph for value in values if isinstance(value, Node)), None) or current_graph()


def _free_name(graph: Graph, name: str) -> str:
    """Return a variable's name, numbered where a module without a scope of its own finds it taken."""
    candidate, ordinal = name, 0
    while graph.scoped(candidate) in graph:
        ordinal += 1
        candidate = f"{name}_{ordinal}"
    return candidate
