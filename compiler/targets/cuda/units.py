"""What becomes one kernel: a unit, formed from a group of the schedule.

A unit is either *pointwise* (each element of its results from elements at the same place), or has an *anchor*: the one
node that needs more than that (a product, a reduction, a pool). Pointwise nodes before a reduction are computed as it
reads; those after an anchor as its result is stored. A convolution can be computed before its max-pool, in registers,
and a max-pool's gradient as the gradient of a weight reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from graphnn.compiler.plan.form import row_major_strides
from graphnn.compiler.schedule.form import Schedule
from graphnn.compiler.targets.c.expressions import is_in_table
from graphnn.compiler.targets.cuda.rules import has_rule
from graphnn.ops.errors import ShapeError
from graphnn.ops.index import OneHot
from graphnn.ops.node import Node
from graphnn.ops.reduce import Reduction, Size
from graphnn.ops.shape import BroadcastTo, Reshape
from graphnn.ops.spec import Shape, product
from graphnn.ops.state import Assign, Constant, Placeholder, Variable

Kind = Literal["pointwise", "anchored", "host"]

LABELS = 6
"""Up to how many ops a unit names."""


@dataclass(frozen=True)
class Unit:
    """Nodes that one kernel computes.

    Attributes
    ----------
    kind : str
        ``pointwise``, ``anchored``, or ``host`` where NumPy computes a node.
    nodes : tuple of Node
        Each after its inputs.
    outputs : tuple of Node
        Those whose values leave the unit.
    anchors : tuple of Node
        Nodes that are more than pointwise: one, or several that one kernel computes from the same inputs.
    parts : tuple of Unit
        Pointwise units over shapes of their own that run side by side in one kernel.
    """

    kind: Kind
    nodes: tuple[Node, ...]
    outputs: tuple[Node, ...]
    anchors: tuple[Node, ...] = ()
    parts: tuple[Unit, ...] = ()

    @property
    def root(self) -> Node:
        """The node for which the unit stands."""
        return self.nodes[-1]

    @property
    def shape(self) -> Shape:
        """The shape that a pointwise unit walks through."""
        return self.root.shape

    @property
    def label(self) -> str:
        """What is computed, in the names of ops."""
        labels = [node.op.label for node in self.nodes]
        if len(labels) > LABELS:
            labels[LABELS - 1 :] = [f"{len(labels) - LABELS + 1} more"]
        return " + ".join(labels)

    @property
    def before(self) -> tuple[Node, ...]:
        """Nodes that lead to the anchors: pointwise ones to a reduction, a convolution to its max-pool and back."""
        leading = _leading_to(self.anchors, self.nodes)
        return tuple(node for node in self.nodes if node in leading and node not in self.anchors)

    @property
    def operands(self) -> tuple[Node, ...]:
        """What kernels of anchors other than reductions read: inputs, or what inputs inside the unit are made of."""
        before = self.before

        def spread(nodes: Sequence[Node]) -> tuple[Node, ...]:
            return tuple(each for node in nodes for each in (spread(node.inputs) if node in before else (node,)))

        return spread(self.anchors[-1].inputs)

    @property
    def after(self) -> tuple[Node, ...]:
        """Pointwise nodes that work on the anchors' results."""
        leading = _leading_to(self.anchors, self.nodes)
        return tuple(node for node in self.nodes if node not in leading)

    def after_anchor(self, anchor: Node) -> tuple[Node, ...]:
        """Return the pointwise nodes that work on one anchor's result, and what leads to them."""
        behind = {anchor}
        for node in self.after:
            if any(given in behind for given in value_inputs(node)):
                behind.add(node)
        leading = _leading_to(behind - {anchor}, self.after)
        return tuple(node for node in self.after if node in leading)

    @property
    def values_read(self) -> tuple[Node, ...]:
        """What the unit reads from outside, each once; a variable that is only assigned is not read."""
        inside = set(self.nodes)
        read = (given for node in self.nodes for given in value_inputs(node) if given not in inside)
        return tuple(dict.fromkeys(read))


def value_inputs(node: Node) -> tuple[Node, ...]:
    """Return the inputs whose values count: of an assign the value alone, of a size none."""
    if isinstance(node.op, Size):
        return ()
    return node.inputs[1:] if isinstance(node.op, Assign) else node.inputs


def is_pointwise(node: Node) -> bool:
    """Whether each element of a node's value comes from elements of its inputs at the same place."""
    return is_in_table(node.op) or isinstance(node.op, Assign | Size)


def is_repeated(node: Node) -> bool:
    """Whether a node is one number that is so cheap to compute that each of its readers does."""
    if isinstance(node.op, Size):
        return True
    if isinstance(node.op, BroadcastTo | Reshape):
        return is_repeated(node.inputs[0])
    if isinstance(node.op, Constant):
        return node.spec.shape == ()
    return node.shape == () and is_in_table(node.op) and all(is_repeated(given) for given in node.inputs)


def is_told(node: Node) -> bool:
    """Whether each reader can tell an element from where it stands: that of a one-hot row, from fed indices."""
    return isinstance(node.op, OneHot) and isinstance(value_behind(node.inputs[0]).op, Placeholder | Constant)


def value_behind(node: Node) -> Node:
    """Return the node whose memory a value lies in."""
    while node.op.is_view:
        node = node.inputs[0]
    return node


def units_of(schedule: Schedule, checked_indices: bool, max_batch: int) -> list[Unit]:
    """Return the units of a schedule, in its order.

    Where indices are only known at run time, NumPy computes the ops that must refuse wrong ones.
    """
    units: list[Unit] = []
    for group in schedule.groups:
        nodes = tuple(node for node in group.nodes if not node.op.is_view)
        if not nodes:
            continue
        kind = _kind(nodes, checked_indices, max_batch)
        if kind == "host":
            units += [Unit("host", (node,), (node,)) for node in nodes]
        else:
            outputs = tuple(node for node in nodes if node in group.outputs)
            units.append(Unit(kind, nodes, outputs, tuple(node for node in nodes if not is_pointwise(node))))
    return _without_repeated(units, schedule)


def _kind(nodes: Sequence[Node], checked_indices: bool, max_batch: int) -> Kind:
    if not all(_is_walkable(node) for member in nodes for node in (member, *member.inputs)):
        return "host"
    anchors = [node for node in nodes if not is_pointwise(node)]
    for anchor in anchors:
        may_fail = bool(anchor.op.index_bounds(*(given.spec for given in anchor.inputs)))
        if not has_rule(anchor, max_batch) or (may_fail and not checked_indices):
            return "host"
    if len(anchors) > 1 or (anchors and not _fits_around(anchors[0], nodes)):
        return "host"
    return "anchored" if anchors else "pointwise"


def _is_walkable(node: Node) -> bool:
    """Whether a value has elements, as many as k or k·N, at places of that form."""
    try:
        row_major_strides(node.shape)
        product(node.shape)
    except ShapeError:
        return False
    return 0 not in node.shape


def _fits_around(anchor: Node, nodes: Sequence[Node]) -> bool:
    """Whether the other nodes are a prologue of a reduction, or work on the anchor's result element by element."""
    leading = _leading_to((anchor,), nodes) - {anchor}
    if leading and not isinstance(anchor.op, Reduction):
        return False
    return all(node.shape == anchor.shape for node in nodes if node not in leading)


def _leading_to(anchors: Iterable[Node], nodes: Sequence[Node]) -> set[Node]:
    inside = set(nodes)
    found: set[Node] = set()
    stack = list(anchors)
    while stack:
        node = stack.pop()
        if node in inside and node not in found:
            found.add(node)
            stack.extend(value_inputs(node))
    return found


def _without_repeated(units: list[Unit], schedule: Schedule) -> list[Unit]:
    """Leave out the units of values that their readers compute, where nobody else needs them in memory."""
    stored = {value_behind(node) for node in schedule.subgraph.fetches}
    for unit in units:
        for node in unit.nodes:
            needs_memory = unit.kind == "host" or node in unit.anchors
            stored |= {value_behind(given) for given in value_inputs(node) if needs_memory}
            if not needs_memory:  # a view of a scalar is read from memory, unless it shows one number everywhere
                views = (given for given in value_inputs(node) if given.op.is_view and not is_repeated(given))
                stored |= {value_behind(given) for given in views}
    return [unit for unit in units if set(unit.nodes) & stored or not _is_left_out(unit)]


def _is_left_out(unit: Unit) -> bool:
    return is_repeated(unit.root) or (unit.kind == "anchored" and len(unit.nodes) == 1 and is_told(unit.root))


def readers_of(units: Iterable[Unit]) -> Mapping[Node, list[Unit]]:
    """Return who reads each value's memory."""
    found: dict[Node, list[Unit]] = {}
    for unit in units:
        for value in dict.fromkeys(map(value_behind, unit.values_read)):
            found.setdefault(value, []).append(unit)
    return found


def written_variables(unit: Unit) -> set[Node]:
    """Return the variables that a unit assigns."""
    return {node.inputs[0] for node in unit.nodes if isinstance(node.op, Assign)}


def is_variable(node: Node) -> bool:
    """Whether a value lies in a variable's memory."""
    return isinstance(value_behind(node).op, Variable)
