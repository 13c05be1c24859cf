"""A node: one op applied to nodes, giving one value; with the operators and methods of a NumPy array."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from graphnn.ops.dtypes import DType, DTypeLike
from graphnn.ops.op import Op
from graphnn.ops.source import Source
from graphnn.ops.spec import Extent, Shape, TensorSpec

if TYPE_CHECKING:
    from graphnn.ops.graph import Graph

# The functions behind the operators live in modules that need Node, so they register themselves here by name.
_functions: dict[str, Callable[..., Node]] = {}

Operand = "Node | np.ndarray | float | list[Any]"
Axes = int | Iterable[int] | None


def node_method(function: Callable[..., Node]) -> Callable[..., Node]:
    """Let a function over nodes serve the operator or method of Node that calls it by name."""
    _functions[function.__name__] = function
    return function


class Node:
    """One value in a graph: an op, its inputs and what is known about the result.

    Nodes are made by the functions of `graphnn.ops`, never by users directly. They compare by identity, since
    they are the keys of feeds; `ops.equal` compares values.

    Attributes
    ----------
    graph : Graph
        The graph that the node belongs to.
    op : Op
        What is computed.
    inputs : tuple of Node
        From what.
    spec : TensorSpec
        Shape and element type of the result.
    name : str
        Unique in the graph; dots separate scopes, as in ``conv1.weight``.
    source : Source
        The user's file and line.
    grad_of : Node or None
        For a node that gradients made: the node whose gradient it helps to compute.
    origin : tuple of Node
        For a node that a compiler pass made: the user's nodes it stands for. Empty for a user's node.
    index : int
        Position in the order of creation.
    """

    __slots__ = ("__weakref__", "grad_of", "graph", "index", "inputs", "name", "op", "origin", "source", "spec")

    def __init__(
        self,
        graph: Graph,
        op: Op,
        inputs: tuple[Node, ...],
        spec: TensorSpec,
        *,
        name: str,
        source: Source,
        index: int,
        grad_of: Node | None = None,
        origin: tuple[Node, ...] = (),
    ) -> None:
        self.graph = graph
        self.op = op
        self.inputs = inputs
        self.spec = spec
        self.name = name
        self.source = source
        self.index = index
        self.grad_of = grad_of
        self.origin = origin

    @property
    def shape(self) -> Shape:
        """Dimensions of the result: integers and multiples of the batch size."""
        return self.spec.shape

    @property
    def dtype(self) -> DType:
        """Element type of the result."""
        return self.spec.dtype

    @property
    def rank(self) -> int:
        """Number of axes of the result."""
        return self.spec.rank

    @property
    def scope(self) -> str:
        """The scopes around the node: its name up to the last dot."""
        return self.name.rpartition(".")[0]

    @property
    def users_nodes(self) -> tuple[Node, ...]:
        """The nodes of the user that this node stands for: itself, unless a compiler pass made it."""
        return self.origin or (self,)

    def __repr__(self) -> str:
        return f"<{self.op.label} {self.name!r}: {self.spec}>"

    # Arithmetic.

    def __add__(self, other: Any) -> Node:
        return _functions["add"](self, other)

    def __radd__(self, other: Any) -> Node:
        return _functions["add"](other, self)

    def __sub__(self, other: Any) -> Node:
        return _functions["subtract"](self, other)

    def __rsub__(self, other: Any) -> Node:
        return _functions["subtract"](other, self)

    def __mul__(self, other: Any) -> Node:
        return _functions["multiply"](self, other)

    def __rmul__(self, other: Any) -> Node:
        return _functions["multiply"](other, self)

    def __truediv__(self, other: Any) -> Node:
        return _functions["divide"](self, other)

    def __rtruediv__(self, other: Any) -> Node:
        return _functions["divide"](other, self)

    def __pow__(self, other: Any) -> Node:
        return _functions["power"](self, other)

    def __rpow__(self, other: Any) -> Node:
        return _functions["power"](other, self)

    def __floordiv__(self, other: Any) -> Node:
        return _functions["floor_divide"](self, other)

    def __rfloordiv__(self, other: Any) -> Node:
        return _functions["floor_divide"](other, self)

    def __mod__(self, other: Any) -> Node:
        return _functions["remainder"](self, other)

    def __rmod__(self, other: Any) -> Node:
        return _functions["remainder"](other, self)

    def __matmul__(self, other: Any) -> Node:
        return _functions["matmul"](self, other)

    def __rmatmul__(self, other: Any) -> Node:
        return _functions["matmul"](other, self)

    def __neg__(self) -> Node:
        return _functions["negative"](self)

    def __abs__(self) -> Node:
        return _functions["abs"](self)

    # Comparison; == stays identity.

    def __lt__(self, other: Any) -> Node:
        return _functions["less"](self, other)

    def __le__(self, other: Any) -> Node:
        return _functions["less_equal"](self, other)

    def __gt__(self, other: Any) -> Node:
        return _functions["greater"](self, other)

    def __ge__(self, other: Any) -> Node:
        return _functions["greater_equal"](self, other)

    # Logic, on bool alone.

    def __and__(self, other: Any) -> Node:
        return _functions["logical_and"](self, other)

    def __rand__(self, other: Any) -> Node:
        return _functions["logical_and"](other, self)

    def __or__(self, other: Any) -> Node:
        return _functions["logical_or"](self, other)

    def __ror__(self, other: Any) -> Node:
        return _functions["logical_or"](other, self)

    def __xor__(self, other: Any) -> Node:
        return _functions["logical_xor"](self, other)

    def __rxor__(self, other: Any) -> Node:
        return _functions["logical_xor"](other, self)

    def __invert__(self) -> Node:
        return _functions["logical_not"](self)

    def __getitem__(self, index: Any) -> Node:
        return _functions["getitem"](self, index)

    # Methods and arguments named as in NumPy; an axis may be several.

    def sum(self, axis: Axes = None, keepdims: bool = False) -> Node:
        """Sum over axes; see `ops.sum`."""
        return _functions["sum"](self, axis, keepdims)

    def mean(self, axis: Axes = None, keepdims: bool = False) -> Node:
        """Mean over axes; see `ops.mean`."""
        return _functions["mean"](self, axis, keepdims)

    def max(self, axis: Axes = None, keepdims: bool = False) -> Node:
        """Largest value over axes; see `ops.max`."""
        return _functions["max"](self, axis, keepdims)

    def min(self, axis: Axes = None, keepdims: bool = False) -> Node:
        """Smallest value over axes; see `ops.min`."""
        return _functions["min"](self, axis, keepdims)

    def argmax(self, axis: int = -1, keepdims: bool = False) -> Node:
        """Position of the largest value along an axis; see `ops.argmax`."""
        return _functions["argmax"](self, axis, keepdims)

    def variance(self, axis: Axes = None, keepdims: bool = False, correction: int = 0) -> Node:
        """Variance over axes; see `ops.variance`."""
        return _functions["variance"](self, axis, keepdims, correction)

    def std(self, axis: Axes = None, keepdims: bool = False, correction: int = 0) -> Node:
        """Standard deviation over axes; see `ops.std`."""
        return _functions["std"](self, axis, keepdims, correction)

    def prod(self, axis: Axes = None, keepdims: bool = False) -> Node:
        """Product over axes; see `ops.prod`."""
        return _functions["prod"](self, axis, keepdims)

    def any(self, axis: Axes = None, keepdims: bool = False) -> Node:
        """Whether an element is True over axes; see `ops.any`."""
        return _functions["any"](self, axis, keepdims)

    def all(self, axis: Axes = None, keepdims: bool = False) -> Node:
        """Whether all elements are True over axes; see `ops.all`."""
        return _functions["all"](self, axis, keepdims)

    def cumsum(self, axis: int) -> Node:
        """Running sums along an axis; see `ops.cumsum`."""
        return _functions["cumsum"](self, axis)

    def cumprod(self, axis: int) -> Node:
        """Running products along an axis; see `ops.cumprod`."""
        return _functions["cumprod"](self, axis)

    def reshape(self, *shape: Any) -> Node:
        """Return the same elements in another shape, given as one tuple or as arguments; see `ops.reshape`."""
        return _functions["reshape"](self, shape[0] if len(shape) == 1 and not _is_extent(shape[0]) else shape)

    def transpose(self, *axes: Any) -> Node:
        """Return the axes in another order (reversed if none is given); see `ops.transpose`."""
        given = axes[0] if len(axes) == 1 and not _is_extent(axes[0]) else axes
        return _functions["transpose"](self, given or None)

    def broadcast_to(self, shape: Iterable[Extent | None]) -> Node:
        """Repeat along axes of size 1; see `ops.broadcast_to`."""
        return _functions["broadcast_to"](self, shape)

    def sum_to_size(self, shape: Iterable[Extent | None]) -> Node:
        """Sum over the axes that broadcasting to this node's shape repeated; see `ops.sum_to_size`."""
        return _functions["sum_to_size"](self, shape)

    def flatten(self, start_axis: int = 0, end_axis: int = -1) -> Node:
        """Join axes into one; see `ops.flatten`."""
        return _functions["flatten"](self, start_axis, end_axis)

    def squeeze(self, axis: Axes = None) -> Node:
        """Drop axes of size 1; see `ops.squeeze`."""
        return _functions["squeeze"](self, axis)

    def expand_dims(self, axis: int | Iterable[int]) -> Node:
        """Insert axes of size 1; see `ops.expand_dims`."""
        return _functions["expand_dims"](self, axis)

    def astype(self, dtype: DTypeLike) -> Node:
        """Convert the elements; see `ops.cast`."""
        return _functions["cast"](self, dtype)

    @property
    def T(self) -> Node:  # noqa: N802 - NumPy's and PyTorch's name
        """The axes in reversed order."""
        return _functions["transpose"](self, None)

    # What a node can't do, with what to do instead.

    __array_ufunc__ = None  # so that `array + node` calls Node.__radd__

    def __array_function__(self, function: object, *_: object) -> NoReturn:
        name = getattr(function, "__name__", "this function")
        self._refuse(f"value for numpy.{name}", f"use the functions of ops, or the node's methods, as in node.{name}()")

    def __copy__(self) -> Node:
        return self  # nodes do not change, and compare by identity

    def _refuse(self, what: str, instead: str) -> NoReturn:
        raise TypeError(
            f"{self!r} has no {what} while the graph is being defined\n  at:       {self.source}\n  try:      {instead}"
        )

    def __bool__(self) -> bool:
        self._refuse("truth value", "ops.where(condition, a, b) chooses by value; `is` compares nodes")

    def __len__(self) -> int:
        self._refuse("length", "node.shape[0], or ops.size(node, 0) for the batch size of the run")

    def __iter__(self) -> NoReturn:
        self._refuse("iteration", "index it: node[0], node[1], …")

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        self._refuse(
            "array", "Executor([node]).run(feed) computes its value; inside the graph use the functions of ops"
        )

    def __float__(self) -> float:
        self._refuse("number", "Executor([node]).run(feed) computes its value")

    __int__ = __index__ = __complex__ = __float__  # they only raise


def _is_extent(value: object) -> bool:
    return value is None or not isinstance(value, Iterable)
