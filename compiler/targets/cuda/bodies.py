"""Print what a kernel does with one element: loads, scalar expressions, stores.

The expressions are those of the C target. A scalar that is cheap is computed by each of its readers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from graphnn.compiler.plan.form import View
from graphnn.compiler.targets.c.expressions import expression, literal
from graphnn.compiler.targets.cuda.elements import (
    SIXTEEN_BITS,
    as_stored,
    computed_dtype,
    extent_text,
    loaded,
    rounded,
    stored_type,
    value_type,
)
from graphnn.compiler.targets.cuda.units import is_repeated
from graphnn.compiler.targets.cuda.walks import Strides, Walk, view_strides
from graphnn.ops.broadcasting import Cast
from graphnn.ops.dtypes import float64, to_interface
from graphnn.ops.index import OneHot
from graphnn.ops.node import Node
from graphnn.ops.reduce import Size
from graphnn.ops.shape import BroadcastTo, Reshape
from graphnn.ops.spec import Shape, product
from graphnn.ops.state import Assign, Constant


@dataclass(frozen=True)
class Operand:
    """A value in memory, and the kernel's parameter that points to its first element."""

    name: str
    view: View

    @property
    def element(self) -> str:
        """Type of an element in memory."""
        return stored_type(self.view.spec.dtype)

    def load(self, place: str) -> str:
        """Return the expression of the element at a place."""
        return loaded(f"{self.name}[{place}]", self.view.spec.dtype)

    def store(self, place: str, value: str) -> str:
        """Return the statement that stores an element."""
        return f"{self.name}[{place}] = {as_stored(value, self.view.spec.dtype)};"


@dataclass
class Body:
    """Statements that compute values for one element.

    A one-hot row need not be in memory: its indices are loaded, and compared with the place along the last axis.

    Attributes
    ----------
    lines : list of str
        What is printed so far.
    known : dict of Node to str
        The expressions that hold values.
    """

    lines: list[str] = field(default_factory=list)
    known: dict[Node, str] = field(default_factory=dict)

    def load(self, reads: Mapping[Node, Operand], places: Sequence[str]) -> None:
        """Load one element of each operand, which lies at a place; after the places come those along last axes."""
        axes = iter(places[len(reads) :])
        for (node, operand), place in zip(reads.items(), places[: len(reads)], strict=True):
            value = operand.load(place)
            if is_told_by(node, operand):
                value = f"({value_type(node.dtype)})({value} == {next(axes)})"
            self.known[node] = self._declare("v", node, value)

    def compute(self, nodes: Iterable[Node]) -> None:
        """Compute nodes, each after its inputs."""
        for node in nodes:
            self.value(node)

    def value(self, node: Node) -> str:
        """Return the expression that holds a node's value; what it takes is printed first."""
        if node in self.known:
            return self.known[node]
        match node.op:
            case Assign():
                text = self.value(node.inputs[1])
            case BroadcastTo() | Reshape():  # of a repeated scalar: others are loaded
                text = self.value(node.inputs[0])
            case Constant():
                value = to_interface(node.op.value, node.dtype).item()  # of bfloat16 it is the bits
                text = literal(value, computed_dtype(node.dtype))
            case Size():
                shape = node.inputs[0].shape
                sizes = [extent_text(shape[axis]) for axis in node.op.axes]
                text = self._declare("t", node, f"(int64_t){' * '.join(sizes) or '1'}")
            case Cast() if node.dtype in SIXTEEN_BITS:
                given = self.value(node.inputs[0])
                exact = given if node.inputs[0].dtype is float64 else f"(float){given}"  # double is rounded only once
                text = self._declare("t", node, rounded(exact, node.dtype))
            case _:
                arguments = [self.value(given) for given in node.inputs]
                exact = expression(node, arguments, computed_dtype(node.inputs[0].dtype))
                text = self._declare("t", node, rounded(exact, node.dtype))
        self.known[node] = text
        return text

    def _declare(self, letter: str, node: Node, text: str) -> str:
        name = f"{letter}{len(self.known)}"
        self.lines.append(f"const {value_type(node.dtype)} {name} = {text};")
        return name


def leaves(nodes: Sequence[Node], known: Iterable[Node] = ()) -> tuple[Node, ...]:
    """Return what pointwise nodes load from memory, each once: what is neither computed here nor a repeated scalar."""
    inside = {*nodes, *known}
    found: dict[Node, None] = {}
    for node in nodes:
        if isinstance(node.op, Size):
            continue
        for given in node.inputs[isinstance(node.op, Assign) :]:
            if given not in inside and not is_repeated(given):
                found[given] = None
    return tuple(found)


def is_told_by(node: Node, operand: Operand) -> bool:
    """Whether an operand holds the indices of one-hot rows, not the rows."""
    return isinstance(node.op, OneHot) and operand.view.spec.rank < node.rank


def strides_over(shape: Shape, reads: Mapping[Node, Operand]) -> list[Strides]:
    """Return the strides of each read value over a shape, then one that counts the last axis of each one-hot row."""
    found: list[Strides] = []
    counting: list[Strides] = []
    for node, operand in reads.items():
        if is_told_by(node, operand):
            found.append((*view_strides(operand.view, shape[:-1]), 0))
            counting.append((0,) * (len(shape) - 1) + (1,))
        else:
            found.append(view_strides(operand.view, shape))
    return [*found, *counting]


def pointwise_lines(
    shape: Shape,
    nodes: Sequence[Node],
    reads: Mapping[Node, Operand],
    writes: Mapping[Node, Operand],
    known: Mapping[Node, str],
    index: str,
) -> list[str]:
    """Return the statements that compute the element with a row-major index and store what leaves the kernel."""
    strides = strides_over(shape, reads)
    results = [view_strides(operand.view, shape) for operand in writes.values()]
    walk = Walk.through(shape, [*strides, *results])
    body = Body(walk.statements(index), dict(known))
    body.load(reads, [walk.place(number, index) for number in range(len(strides))])
    body.compute(nodes)
    stores = [
        operand.store(walk.place(len(strides) + number, index), body.value(node))
        for number, (node, operand) in enumerate(writes.items())
    ]
    return [*body.lines, *stores]


def term_lines(
    anchor: Node, nodes: Sequence[Node], reads: Mapping[Node, Operand], axes: Sequence[int]
) -> tuple[list[str], str]:
    """Return statements and the value that a reduction takes in: element ``r`` of those that make its result ``o``."""
    shape = anchor.inputs[0].shape
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    strides = strides_over(shape, reads)
    outer = _partial_walk(shape, strides, kept)
    inner = _partial_walk(shape, strides, axes)
    body = Body([*outer.statements("o", "c"), *inner.statements("r", "d")])
    body.load(reads, [f"{outer.place(k, 'o', 'c')} + {inner.place(k, 'r', 'd')}" for k in range(len(strides))])
    body.compute(nodes)
    return body.lines, body.value(anchor.inputs[0])


def _partial_walk(shape: Shape, strides: Sequence[Strides], axes: Sequence[int]) -> Walk:
    chosen = [tuple(steps[axis] for axis in axes) for steps in strides]
    return Walk.through(tuple(shape[axis] for axis in axes), chosen)


def elements(shape: Shape) -> str:
    """Return the number of elements of a shape as text."""
    return extent_text(product(shape))
