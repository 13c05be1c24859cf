"""The schedule: a tree of groups (one kernel each) and regions (loops over blocks of the work)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from graphnn.compiler.subgraph import Subgraph
from graphnn.ops.errors import CompileError
from graphnn.ops.node import Node
from graphnn.ops.state import Constant, Placeholder, Variable

Axis = Literal["batch", "time", "micro-batch"]


@dataclass(frozen=True)
class Group:
    """Nodes that run as one kernel.

    Attributes
    ----------
    nodes : tuple of Node
        In order of execution.
    inputs : tuple of Node
        What they read from outside the group.
    outputs : tuple of Node
        What others read from them, or the user fetches; an assign is an output of its own.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]

    @property
    def root(self) -> Node:
        """The node that the others were joined to."""
        return self.nodes[-1]


@dataclass(frozen=True)
class Combine:
    """How the parts of a value that each block of a region makes become the whole, in a fixed order."""

    node: Node
    how: Literal["sum", "concat"]


@dataclass(frozen=True)
class Region:
    """A loop over blocks of an axis, in which all steps of the body run on one block before the next block's turn.

    Attributes
    ----------
    axis : {"batch", "time", "micro-batch"}
        What is cut into blocks.
    block : int
        Size of a block.
    body : tuple of Group or Region
        What runs for each block.
    private : tuple of Node
        Values that live for one block only.
    combine : tuple of Combine
        The values that leave the region.
    """

    axis: Axis
    block: int
    body: tuple[Group | Region, ...]
    private: tuple[Node, ...] = ()
    combine: tuple[Combine, ...] = ()


@dataclass(frozen=True)
class Schedule:
    """A subgraph in order of execution."""

    subgraph: Subgraph
    body: tuple[Group | Region, ...]

    @property
    def groups(self) -> Iterator[Group]:
        """The groups in order, those inside regions included."""
        return groups_of(self.body)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All computed nodes in order of execution."""
        return tuple(node for group in self.groups for node in group.nodes)

    def __str__(self) -> str:
        return "\n".join(_lines(self.body, ""))


def groups_of(body: Iterable[Group | Region]) -> Iterator[Group]:
    """Yield the groups of a tree in order."""
    for part in body:
        if isinstance(part, Group):
            yield part
        else:
            yield from groups_of(part.body)


def is_source(node: Node) -> bool:
    """Whether a node's value is there before the first step, so that no group computes it."""
    return isinstance(node.op, Placeholder | Variable | Constant)


def _lines(body: Iterable[Group | Region], indent: str) -> Iterator[str]:
    for part in body:
        if isinstance(part, Group):
            yield f"{indent}{' + '.join(node.name for node in part.nodes)}"
        else:
            yield f"{indent}for each {part.block} of {part.axis}:"
            yield from _lines(part.body, indent + "    ")


def verify_schedule(schedule: Schedule) -> None:
    """Check the form: every node once and after its inputs, writes after reads, group and region borders as stated.

    Raises
    ------
    CompileError
        Naming the first node that breaks a rule.
    """
    done: set[Node] = set()
    for group in schedule.groups:
        _verify_order(group, done)
    expected = {node for node in schedule.subgraph.nodes if not is_source(node)}
    if expected != done:
        strange = sorted(expected ^ done, key=lambda node: node.index)[0]
        raise _broken(strange, "is missing from the schedule" if strange in expected else "is not in the subgraph")
    _verify_borders(schedule)
    _verify_writes(schedule)
    for part in schedule.body:
        if isinstance(part, Region):
            _verify_region(part, schedule)


def _verify_order(group: Group, done: set[Node]) -> None:
    if not group.nodes:
        raise CompileError("a group of the schedule is empty")
    for node in group.nodes:
        if node in done:
            raise _broken(node, "is scheduled twice")
        for given in node.inputs:
            if given not in done and not is_source(given):
                raise _broken(node, f"runs before its input {given.name!r}")
        done.add(node)


def _verify_borders(schedule: Schedule) -> None:
    owner = {node: group for group in schedule.groups for node in group.nodes}
    fetched = set(schedule.subgraph.fetches) | set(schedule.subgraph.updates)
    leaving: dict[int, set[Node]] = {id(group): set() for group in schedule.groups}
    for group in schedule.groups:
        members = set(group.nodes)
        entering = {given for node in group.nodes for given in node.inputs} - members
        if entering != set(group.inputs):
            raise _broken(group.root, "is in a group whose inputs are not the stated ones")
        for given in entering:
            if given in owner:
                leaving[id(owner[given])].add(given)
    for group in schedule.groups:
        if leaving[id(group)] | (fetched & set(group.nodes)) != set(group.outputs):
            raise _broken(group.root, "is in a group whose outputs are not the stated ones")


def _verify_writes(schedule: Schedule) -> None:
    position = {node: place for place, node in enumerate(schedule.nodes)}
    for reader, write in write_edges(schedule.subgraph):
        if position[reader] > position[write]:
            raise _broken(reader, f"reads variable {write.inputs[0].name!r} after it was written")


def write_edges(subgraph: Subgraph) -> Iterator[tuple[Node, Node]]:
    """Yield (reader, assign) for each node that reads, directly or through views, a variable that the assign writes."""
    assign_of = {update.inputs[0]: update for update in subgraph.updates}
    behind: dict[Node, Node] = {}
    for node in subgraph.nodes:
        if node in assign_of:
            behind[node] = node
        elif node.op.is_view and node.inputs[0] in behind:
            behind[node] = behind[node.inputs[0]]
        for given in node.inputs:
            if given in behind and node is not assign_of[behind[given]]:
                yield node, assign_of[behind[given]]


def _verify_region(region: Region, schedule: Schedule) -> None:
    inside = [node for group in groups_of(region.body) for node in group.nodes]
    if region.block < 1 or not inside:
        raise CompileError(f"a region over {region.axis} has no work: block {region.block}, {len(inside)} nodes")
    members = set(inside)
    outside = [node for node in schedule.nodes if node not in members]
    read_outside = {given for node in outside for given in node.inputs} | set(schedule.subgraph.fetches)
    combined = {entry.node for entry in region.combine}
    for node in region.private:
        if node not in members or node in read_outside:
            raise _broken(node, "is private to a region but not made there, or read outside of it")
    for node in inside:
        if node in read_outside and node not in combined:
            raise _broken(node, "leaves a region without being combined")
        if node not in read_outside and node in combined:
            raise _broken(node, "is combined on leaving a region but nobody reads it")
    for part in region.body:
        if isinstance(part, Region):
            _verify_region(part, schedule)


def _broken(node: Node, what: str) -> CompileError:
    return CompileError(
        f"schedule: {node.op.label} {node.name!r} {what}",
        where=str(node.source),
        hint="this is a fault of graphnn; please report it with the graph",
    )
