"""The contract of an op: what one op class must say about itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from graphnn.ops.errors import GraphError
from graphnn.ops.spec import Extent, TensorSpec

if TYPE_CHECKING:
    from graphnn.ops.node import Node


@dataclass(frozen=True)
class Op:
    """One operation, without its inputs: a frozen dataclass whose fields are the op's attributes.

    A subclass says what the result looks like (`infer`), what it is (`evaluate`, in plain NumPy, the oracle for
    every target), how its gradient is built (`gradient`) and how much arithmetic it takes (`flops`). Ops with equal
    fields are equal, which is what merging and caching rely on.

    Examples
    --------
    >>> from graphnn.ops.elementwise import Add
    >>> Add() == Add(), Add().label
    (True, 'add')
    """

    input_names: ClassVar[tuple[str, ...]] = ("x",)
    """Names of the inputs in errors; the last one stands for all further inputs."""

    is_view: ClassVar[bool] = False
    """Whether the result can be a free view of the first input's bytes."""

    is_stateful: ClassVar[bool] = False
    """Whether the node stands for itself (placeholder, variable, assign): never folded, merged or removed as a copy."""

    @property
    def label(self) -> str:
        """The op's name in node names and errors: the class name in snake case."""
        return _snake_case(type(self).__name__)

    def infer(self, *inputs: Any, **_: Any) -> TensorSpec:
        """Return the result's shape and element type, or raise a ShapeError or DTypeError.

        The error says what is wrong, expected and advisable; the graph adds names, inputs and the user's line.
        """
        raise NotImplementedError(type(self).__name__)

    def gradient(self, node: Node, dy: Node) -> tuple[Node | None, ...]:
        """Return, for each input, the node that holds ``dy · d node / d input``; None where there is no gradient."""
        raise GraphError(
            f"{self.label} {node.name!r} has no gradient",
            where=str(node.source),
            hint="wrap its result in ops.stop_gradient(...) if none is meant to flow",
        )

    def evaluate(self, out: TensorSpec, *inputs: Any, **_: Any) -> np.ndarray:
        """Return the op's value in plain NumPy, written for reading; `out` is the result's spec, its batch bound.

        bfloat16 inputs arrive as float32, and a bfloat16 result may be returned as float32 (see `evaluate_op`).
        """
        raise NotImplementedError(type(self).__name__)

    def flops(self, out: TensorSpec, *inputs: Any, **_: Any) -> int:
        """Return the arithmetic operations of one evaluation (a multiply-add is two); all specs are bound."""
        return 0

    def index_bounds(self, *inputs: Any, **_: Any) -> Mapping[int, tuple[Extent, Extent]]:
        """Return for each input that holds indices the half-open range of legal values.

        Indices that come straight from a feed are checked against it before a run changes anything.
        """
        return {}

    def named_inputs(self, count: int) -> tuple[str, ...]:
        """Return a name for each of `count` inputs."""
        names = self.input_names[:count]
        last = self.input_names[-1]
        return names + tuple(f"{last}{index}" for index in range(len(names), count))


@cache
def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
