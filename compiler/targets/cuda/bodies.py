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
from graphnn.ops.node import Node
from graphnn.ops.reduce import Size
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

    Attributes
    ----------
    lines : list of str
        What is printed so far.
    known : dict of Node to str
        The expressions that hold values.
    """

    lines: list[str] = field(default_factory=list)
    known: dict[Node, str] = field(default_factory=dict)

    def load(self, operands: Mapping[Node, Operand], walk: Walk, index: str, prefix: str = "c") -> None:
        """Load one element of each operand; the walk's operands come in the same order."""
        self.lines += walk.statements(index, prefix)
        for number, (node, operand) in enumerate(operands.items()):
            self.known[node] = self._declare("v", node, operand.load(walk.place(number, index, prefix)))

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
            case Constant():
                text = literal(node.op.value.item(), computed_dtype(node.dtype))
            case Size():
                shape = node.inputs[0].shape
                sizes = [extent_text(shape[axis]) for axis in node.op.axes]
                text = self._declare("t", node, f"(int64_t){' * '.join(sizes) or '1'}")
            case Cast() if node.dtype in SIXTEEN_BITS:
                text = self._declare("t", node, rounded(f"(float){self.value(node.inputs[0])}", node.dtype))
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


def walk_over(shape: Shape, operands: Iterable[Operand]) -> Walk:
    """Return the walk of operands through a shape that each broadcasts to."""
    return Walk.through(shape, [view_strides(operand.view, shape) for operand in operands])


def pointwise_lines(
    shape: Shape,
    nodes: Sequence[Node],
    reads: Mapping[Node, Operand],
    writes: Mapping[Node, Operand],
    known: Mapping[Node, str],
    index: str,
) -> list[str]:
    """Return the statements that compute the element with a row-major index and store what leaves the kernel."""
    walk = walk_over(shape, [*reads.values(), *writes.values()])
    body = Body(known=dict(known))
    body.load(reads, walk, index)
    body.compute(nodes)
    stores = [
        operand.store(walk.place(len(reads) + number, index), body.value(node))
        for number, (node, operand) in enumerate(writes.items())
    ]

    return [*body.lines, *stores]


def term_lines(
    anchor: Node, nodes: Sequence[Node], reads: Mapping[Node, Operand], axes: Sequence[int]
) -> tuple[list[str], str]:
    """Return statements and the value that a reduction takes in: element ``r`` of those that make its result ``o``."""
    shape = anchor.inputs[0].shape
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    strides = [view_strides(operand.view, shape) for operand in reads.values()]
    outer = _partial_walk(shape, strides, kept)
    inner = _partial_walk(shape, strides, axes)
    body = Body()
    body.lines += [*outer.statements("o", "c"), *inner.statements("r", "d")]
    for number, (node, operand) in enumerate(reads.items()):
        place = f"{outer.place(number, 'o', 'c')} + {inner.place(number, 'r', 'd')}"
        body.known[node] = operand.load(place)
    body.compute(nodes)
    return body.lines, body.value(anchor.inputs[0])


def _partial_walk(shape: Shape, strides: Sequence[Strides], axes: Sequence[int]) -> Walk:
    chosen = [tuple(steps[axis] for axis in axes) for steps in strides]
    return Walk.through(tuple(shape[axis] for axis in axes), chosen)


def elements(shape: Shape) -> str:
    """Return the number of elements of a shape as text."""
    return extent_text(product(shape))
