"""Check a plan by following what its memory holds, step by step.

A plan is right if each step finds, through each of its views, the value that its node's input stands for, if it
writes over nothing that it still reads, and if at the end the fetched views hold the fetched values and the variables
their new ones. Places are of the form k or k·N, so that two batch sizes stand for all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from graphnn.compiler.plan.form import KernelCall, Plan, View
from graphnn.compiler.plan.spans import Span, places_of_parts
from graphnn.compiler.plan.views import view_of
from graphnn.compiler.target import Target
from graphnn.ops.errors import CompileError
from graphnn.ops.node import Node
from graphnn.ops.slicing import Concat
from graphnn.ops.state import Assign, Identity, Placeholder


def verify_plan(plan: Plan, target: Target | None = None) -> None:
    """Check the form; with the target, also that each step respects what its kernel needs.

    Raises
    ------
    CompileError
        Naming the first node whose step breaks a rule.
    """
    for storage in plan.storages:
        if storage.kind == "arena" and not 0 <= storage.offset <= plan.arena_bytes - storage.nbytes:
            raise CompileError(f"plan: storage #{storage.index} of {storage.node.name!r} does not lie in the arena")
    for node in plan.subgraph.nodes:
        if node not in plan.views:
            raise _broken(node, "has no place in memory")
    if set(plan.feeds) != set(plan.subgraph.of_op(Placeholder)) or len(plan.fetches) != len(plan.subgraph.fetches):
        raise CompileError("plan: its feeds or fetches are not those of the graph")
    for step in plan.steps:
        _verify_call(plan, step, target)
    for batch in dict.fromkeys((plan.max_batch, max(1, plan.max_batch - 1))):
        memory = _Memory(plan, batch)
        for number, step in enumerate(plan.steps):
            memory.follow(number, step)
        memory.check_end()


def _verify_call(plan: Plan, step: KernelCall, target: Target | None) -> None:
    """Check the number of a step's views, what it may write to, and that the kernel can work with them."""
    node = step.node
    if len(step.reads) != len(_read_nodes(step)) or len(step.writes) != 1:
        raise _broken(node, f"reads {len(step.reads)} and writes {len(step.writes)} views")
    (write,) = step.writes
    storage = plan.storages[write.storage]
    if storage.kind in ("feed", "constant") or (
        storage.kind == "variable" and storage.node.name not in plan.written_variables
    ):
        raise _broken(node, f"writes to the {storage.kind} {storage.node.name!r}")
    if target is None or isinstance(node.op, Assign | Concat):
        return
    batch = plan.max_batch
    needs = target.needs(node.op, node.spec.bind(batch), [given.spec.bind(batch) for given in node.inputs])
    if any(step.reads[place].strides is not None for place in needs.row_major):
        raise _broken(node, "reads a view with gaps, which its kernel can't")
    if write.strides is not None and not needs.strided_output:
        raise _broken(node, "writes a view with gaps, which its kernel can't")
    room = [plan.storages[index].nbytes for index in step.workspaces]
    if len(room) != len(needs.workspaces) or any(
        given < spec.nbytes(batch) for given, spec in zip(room, needs.workspaces, strict=True)
    ):
        raise _broken(node, f"has workspaces of {room} bytes, which are not those that its kernel needs")
    taken = Span.of(write, batch)
    for place, view in enumerate(step.reads):
        if place not in needs.in_place and not taken.is_empty and Span.of(view, batch) == taken:
            raise _broken(node, f"writes over its input {node.inputs[place].name!r}, which its kernel can't")


def _read_nodes(step: KernelCall) -> tuple[Node, ...]:
    return step.node.inputs[1:] if isinstance(step.node.op, Assign) else step.node.inputs


@dataclass(frozen=True)
class _Content:
    """A value in memory: whose, where, and for a part of a concatenation that is in its place there, the whole.

    The bytes from `low` to `high` are those of a storage, or, where it is in the arena, of the arena.
    """

    node: Node
    span: Span
    area: str | int
    low: int
    high: int
    whole: Node | None = None

    def meets(self, other: _Content) -> bool:
        """Whether the bytes between the first and the last element of both overlap."""
        return self.area == other.area and self.low < other.high and other.low < self.high

    def destroys(self, other: _Content) -> bool:
        """Whether writing this changes bytes of the other: two parts of one concatenation only interlace."""
        interlaced = self.whole is not None and self.whole is other.whole and self.span != other.span
        return self.meets(other) and not interlaced


class _Memory:
    """What each storage holds; those of the arena are followed at their places in it."""

    def __init__(self, plan: Plan, batch: int) -> None:
        self.plan = plan
        self.batch = batch
        self.contents: dict[str | int, dict[Span, _Content]] = {}
        self.wholes: dict[tuple[Node, Span], Node] = {}
        for node, view in plan.views.items():
            span = self._span(node, view)
            if isinstance(node.op, Concat):
                self.wholes |= dict.fromkeys(places_of_parts(node, span, batch), node)
        for storage in plan.storages:
            if storage.kind in ("variable", "constant"):
                self._hold(storage.node, View(storage.index, storage.node.spec))
        for node, view in plan.feeds.items():
            if plan.storages[view.storage].kind != "feed":
                raise _broken(node, "is fed into memory that is none of the feeds'")
            self._hold(node, view)

    def follow(self, number: int, step: KernelCall) -> None:
        """Check what a step reads, then record what it writes."""
        reads: list[tuple[_Content, list[_Content]]] = []
        for given, view in zip(_read_nodes(step), step.reads, strict=True):
            span = self._span(given, view)
            reads.append((self._content(given, span), self._require(given, span, f"step {number}")))
        written = list(self._written(step, [content.span for content, _ in reads]))
        workspaces = [self._content(step.node, self._whole_storage(storage)) for storage in step.workspaces]
        _refuse_overlap(step.node, reads, written, workspaces)
        for content in workspaces:
            self._forget(content)
        for content in written:
            self._write(content)

    def check_end(self) -> None:
        """Check that results are where the plan says."""
        subgraph = self.plan.subgraph
        for node, view in zip(subgraph.fetches, self.plan.fetches, strict=True):
            self._require(node, self._span(node, view), "the end of the run")
        for update in subgraph.updates:
            variable, value = update.inputs
            self._require(value, self._span(variable, self.plan.views[variable]), "the end of the run")

    def _span(self, node: Node, view: View) -> Span:
        """Return the places of a node's elements in a view, which must be one of its spec and lie in its storage."""
        if view.spec != node.spec or len(view.bound_strides(self.batch)) != node.rank:
            raise _broken(node, f"has a view of another shape or type, {view.spec}")
        span = Span.of(view, self.batch)
        low, high = span.reach
        if low < 0 or high > self.plan.storages[view.storage].nbytes:
            raise _broken(node, f"has a view of bytes {low} to {high} of storage #{view.storage}, which is smaller")
        return span

    def _whole_storage(self, storage: int) -> Span:
        return Span(storage, 0, (self.plan.storages[storage].nbytes,), (1,), 1)

    def _content(self, node: Node, span: Span, whole: Node | None = None) -> _Content:
        storage = self.plan.storages[span.storage]
        low, high = span.reach
        if storage.kind == "arena":
            return _Content(node, span, "arena", storage.offset + low, storage.offset + high, whole)
        return _Content(node, span, span.storage, low, high, whole)

    def _written(self, step: KernelCall, reads: list[Span]) -> Iterator[_Content]:
        """Yield the values that a step writes; of a concatenation the parts that are not in their places yet."""
        node, (view,) = step.node, step.writes
        span = self._span(node, view)
        if span.overlaps_itself:
            raise _broken(node, "writes several elements of its result to the same bytes")
        if isinstance(node.op, Concat):
            for (part, place), source in zip(places_of_parts(node, span, self.batch), reads, strict=True):
                if source != place:
                    yield self._content(part, place, node)
        else:
            yield self._content(node, span, self.wholes.get((node, span)))

    def _hold(self, node: Node, view: View) -> None:
        self._write(self._content(node, self._span(node, view)))

    def _write(self, new: _Content) -> None:
        self._forget(new)
        if not new.span.is_empty:
            self.contents.setdefault(new.area, {})[new.span] = new

    def _forget(self, new: _Content) -> None:
        area = self.contents.get(new.area, {})
        for old in [old for old in area.values() if new.destroys(old)]:
            del area[old.span]

    def _require(self, node: Node, span: Span, when: str) -> list[_Content]:
        """Return the contents by which a span holds a node's value."""
        held = self._held(node, span)
        if held is None:
            wanted = self._content(node, span)
            found = sorted({old.node.name for old in self.contents.get(wanted.area, {}).values() if old.meets(wanted)})
            raise _broken(node, f"is not where {when} looks for it: those bytes hold {', '.join(found) or 'nothing'}")
        return held

    def _held(self, node: Node, span: Span) -> list[_Content] | None:
        """Return what makes a span hold a node's value, or None: the value itself, what it shows, or all its parts."""
        while not span.is_empty:
            node = _value_of(node)
            content = self.contents.get(self._content(node, span).area, {}).get(span)
            if content is not None and _value_of(content.node) is node:
                return [content]
            if isinstance(node.op, Concat):
                return self._held_parts(node, span)
            if not node.op.is_view:
                return None
            given = node.inputs[0]
            shown = view_of(node, self.plan.views[given])
            if shown is None or self._span(node, shown) != span:
                return None
            node, span = given, self._span(given, self.plan.views[given])
        return []

    def _held_parts(self, concat: Node, span: Span) -> list[_Content] | None:
        found: list[_Content] = []
        for part, place in places_of_parts(concat, span, self.batch):
            held = self._held(part, place)
            if held is None:
                return None
            found += held
        return found


def _refuse_overlap(
    node: Node, reads: list[tuple[_Content, list[_Content]]], written: list[_Content], workspaces: list[_Content]
) -> None:
    """Refuse results over inputs, other than element by element, and workspaces over either."""
    for new in written:
        for read, held in reads:
            if new.meets(read) and new.span != read.span and any(new.destroys(each) for each in held):
                raise _broken(node, "writes its result over an input")
    used = [read for read, _ in reads] + written
    for workspace in workspaces:
        if any(workspace.meets(content) for content in used):
            raise _broken(node, "has a workspace over its input or result")
        used.append(workspace)


def _value_of(node: Node) -> Node:
    """Return the node whose value a copy or an assign has."""
    while isinstance(node.op, Identity | Assign):
        node = node.inputs[-1]
    return node


def _broken(node: Node, what: str) -> CompileError:
    return CompileError(
        f"plan: {node.op.label} {node.name!r} {what}",
        where=str(node.source),
        hint="this is a fault of graphnn; please report it with the graph",
    )
