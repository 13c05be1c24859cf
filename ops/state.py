"""Ops that stand for data from outside a run and for state between runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from graphnn.ops.context import apply, current_graph
from graphnn.ops.dtypes import DTypeLike, as_dtype, of_scalar, to_interface, to_storage
from graphnn.ops.errors import DTypeError, GraphError, ShapeError
from graphnn.ops.node import Node
from graphnn.ops.op import Op
from graphnn.ops.source import caller
from graphnn.ops.spec import Dim, Extent, TensorSpec, format_shape
from graphnn.ops.values import as_array, check_numbers

ArrayLike = np.ndarray | np.generic | Sequence[Any] | int | float


@dataclass(frozen=True)
class Source(Op):
    """Base of the ops without inputs, whose value comes from outside."""

    spec: TensorSpec
    input_names: ClassVar[tuple[str, ...]] = ()
    is_stateful: ClassVar[bool] = True

    def infer(self) -> TensorSpec:
        return self.spec

    def gradient(self, node: Node, dy: Node) -> tuple[Node | None, ...]:
        return ()

    def evaluate(self, out: TensorSpec, *inputs: Any, **_: Any) -> np.ndarray:
        raise GraphError(f"the value of a {self.label} comes from outside, it is not computed")


@dataclass(frozen=True)
class Placeholder(Source):
    """A value that each run is fed with."""


@dataclass(frozen=True)
class Variable(Source):
    """A value kept between runs. Reading it gives the value from before the run."""

    trainable: bool = True


@dataclass(frozen=True)
class Constant(Op):
    """A fixed array. Constants compare by the digest of their bytes."""

    value: np.ndarray = field(compare=False, repr=False)
    spec: TensorSpec
    digest: str
    input_names: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def of(cls, array: np.ndarray, spec: TensorSpec | None = None) -> Constant:
        """Keep a read-only copy of an array, which is in the storage form of `spec`'s element type."""
        value = np.array(array, order="C", copy=True)
        value.flags.writeable = False
        return cls(value, spec or TensorSpec(value.shape, value.dtype), hashlib.sha256(value.tobytes()).hexdigest())

    def infer(self) -> TensorSpec:
        return self.spec

    def gradient(self, node: Node, dy: Node) -> tuple[Node | None, ...]:
        return ()

    def evaluate(self, out: TensorSpec) -> np.ndarray:
        return to_interface(self.value, out.dtype)


@dataclass(frozen=True)
class Assign(Op):
    """Store a value in a variable at the end of the run; the result is the new value."""

    input_names: ClassVar[tuple[str, ...]] = ("variable", "value")
    is_stateful: ClassVar[bool] = True

    def infer(self, variable: TensorSpec, value: TensorSpec) -> TensorSpec:
        if variable.shape != value.shape:
            raise ShapeError(
                "the value does not have the variable's shape",
                expected=format_shape(variable.shape),
                hint="reshape or broadcast the value",
            )
        if variable.dtype is not value.dtype:
            raise DTypeError(
                "the value does not have the variable's element type",
                expected=str(variable.dtype),
                hint=f"convert it with .astype({str(variable.dtype)!r})",
            )
        return value

    def evaluate(self, out: TensorSpec, variable: np.ndarray, value: np.ndarray) -> np.ndarray:
        return value


@dataclass(frozen=True)
class WhenTraining(Op):
    """The first input in a training plan, the second in an evaluation plan; the first compiler pass decides."""

    input_names: ClassVar[tuple[str, ...]] = ("training", "evaluation")

    def infer(self, training: TensorSpec, evaluation: TensorSpec) -> TensorSpec:
        if training != evaluation:
            raise ShapeError(
                "the two branches differ",
                expected="equal shapes and element types",
                hint="reshape, broadcast or cast one of them",
            )
        return training

    def gradient(self, node: Node, dy: Node) -> tuple[Node | None, ...]:
        zero = constant(0.0, dy.dtype).broadcast_to(dy.shape)
        return when_training(dy, zero), when_training(zero, dy)

    def evaluate(self, out: TensorSpec, *inputs: Any, **_: Any) -> np.ndarray:
        raise GraphError("when_training has no value until training or evaluation is chosen")


@dataclass(frozen=True)
class StopGradient(Op):
    """The input itself, through which no gradient flows."""

    is_view: ClassVar[bool] = True

    def infer(self, x: TensorSpec) -> TensorSpec:
        return x

    def gradient(self, node: Node, dy: Node) -> tuple[Node | None, ...]:
        return (None,)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return x


@dataclass(frozen=True)
class Identity(Op):
    """A copy of the input (ONNX Identity). The compiler keeps a variable's old value in one where that is needed."""

    def infer(self, x: TensorSpec) -> TensorSpec:
        return x

    def gradient(self, node: Node, dy: Node) -> tuple[Node | None, ...]:
        return (dy,)

    def evaluate(self, out: TensorSpec, x: np.ndarray) -> np.ndarray:
        return x.copy()


def placeholder(name: str, shape: Iterable[Extent | None], dtype: DTypeLike = "float32") -> Node:
    """Declare a value that each run is fed with.

    Parameters
    ----------
    name : str
        Unique in its scope; runs may be fed by it.
    shape : sequence of int or None
        ``None`` may stand first and is the batch size, any from 1 to the executor's ``max_batch``.
    dtype : DType or str
        Element type; feeds must match it exactly.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     gn.placeholder("images", (None, 1, 28, 28), "uint8")
    <placeholder 'images': uint8 (N, 1, 28, 28)>
    """
    try:
        spec = TensorSpec(shape, dtype)
        if any(isinstance(extent, Dim) and extent.multiple < 1 for extent in spec.shape):
            raise ShapeError("no batch fits the shape", expected="positive multiples of N", hint="Dim(1) is N itself")
    except GraphError as error:
        raise error.locate(subject=f"placeholder {name!r}", actual=repr(shape), where=str(caller())) from None
    return apply(Placeholder(spec), name=name)


def variable(name: str, initial: ArrayLike, trainable: bool = True, dtype: DTypeLike | None = None) -> Node:
    """Declare a value that is kept between runs, such as a weight.

    Parameters
    ----------
    name : str
        Unique in its scope; checkpoints refer to it.
    initial : array_like
        The initial value, copied. Arrays keep their element type; Python floats give float32, integers int64.
    trainable : bool
        Whether `Optimizer.minimize` updates it.
    dtype : DType or str, optional
        Element type, where it differs from that of `initial`.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     gn.variable("weight", np.zeros((10, 784), np.float32))
    <variable 'weight': float32 (10, 784)>
    """
    if not isinstance(trainable, bool):
        raise GraphError(
            f"variable {name!r}: trainable is {trainable!r}",
            expected="True or False",
            actual=repr(trainable),
            where=str(caller()),
            hint="write variable(name, initial, dtype=...) for an element type",
        )
    values, spec = _as_value(initial, dtype, f"variable {name!r}")
    return current_graph().add_variable(name, spec, values, trainable)


def constant(value: ArrayLike, dtype: DTypeLike | None = None, name: str | None = None) -> Node:
    """Put a fixed array into the graph.

    Parameters
    ----------
    value : array_like
        Copied. Arrays keep their element type; Python floats give float32, integers int64.
    dtype : DType or str, optional
        Element type, where it differs from that of `value`.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     gn.constant([1.0, 2.0])
    <constant 'constant': float32 (2,)>
    """
    values, spec = _as_value(value, dtype, "constant")
    return apply(Constant.of(to_storage(values, spec.dtype), spec), name=name)


def _as_value(value: ArrayLike, dtype: DTypeLike | None, subject: str) -> tuple[np.ndarray, TensorSpec]:
    actual = type(value).__name__
    try:
        array = as_array(value)
        actual = f"{array.dtype} {array.shape}"
        if dtype is not None:
            chosen = as_dtype(dtype)
        elif isinstance(value, np.ndarray | np.generic) or array.dtype.kind not in "biuf":
            chosen = as_dtype(array.dtype)
        else:
            chosen = of_scalar(array.dtype.type(0).item())
        check_numbers(array, chosen)
        return array, TensorSpec(array.shape, chosen)
    except GraphError as error:
        raise error.locate(subject=subject, actual=actual, where=str(caller())) from None


def assign(variable: Node, value: Node | ArrayLike) -> Node:
    """Store `value` in a variable at the end of a run whose `updates` or fetches hold this node.

    Every read of the variable in that run still sees the old value; fetching this node gives the new one.

    Parameters
    ----------
    variable : Node
        What `gn.variable` returned.
    value : Node or array_like
        Of the variable's shape and, if a node, of its element type.

    Raises
    ------
    GraphError
        If `variable` is no variable; ShapeError and DTypeError if the value does not fit it.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph() as graph:
    ...     count = gn.variable("count", 0, trainable=False)
    ...     step = gn.ops.assign(count, count + 1)
    >>> gn.Executor([count], updates=[step], device="numpy").run({})[0]
    array(0)
    >>> graph.get_value(count)
    array(1)
    """
    given: object = variable  # users pass what they like
    if not isinstance(given, Node) or not isinstance(given.op, Variable):
        raise GraphError(
            f"assign needs a variable, not {variable!r}",
            expected="what gn.variable returned",
            actual=type(variable).__name__,
            where=str(caller()),
            hint="gn.variable(name, initial) makes one; graph[name] finds it",
        )
    if isinstance(value, Node):
        return apply(Assign(), variable, value)
    with variable.graph:
        return apply(Assign(), variable, constant(value, variable.dtype))


def when_training(training: Node, evaluation: Node) -> Node:
    """Choose the first node in training plans and the second in evaluation plans (see `Executor(training=...)`).

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     mode = gn.ops.when_training(gn.constant(1.0), gn.constant(0.0))
    >>> gn.Executor(mode, training=True, device="numpy").run({})
    array(1., dtype=float32)
    """
    _require_nodes("when_training", training, evaluation)
    return apply(WhenTraining(), training, evaluation)


def stop_gradient(x: Node) -> Node:
    """Return `x` as something that gradients treat as a constant.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     x = gn.placeholder("x", (3,))
    ...     (dx,) = gn.gradients((x * gn.ops.stop_gradient(x)).sum(), [x])
    >>> gn.Executor(dx, device="numpy").run({x: np.array([1, 2, 3], np.float32)})
    array([1., 2., 3.], dtype=float32)
    """
    _require_nodes("stop_gradient", x)
    return apply(StopGradient(), x)


def _require_nodes(function: str, *values: object) -> None:
    for value in values:
        if not isinstance(value, Node):
            raise GraphError(
                f"{function} takes nodes, not {value!r}",
                expected="nodes",
                actual=type(value).__name__,
                where=str(caller()),
                hint="wrap a value in gn.constant(...)",
            )
