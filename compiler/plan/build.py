"""Turn a schedule into a plan: give every value a view of some storage, and every storage a place.

Before: groups in order.
After: kernel calls over views. Reshapes and their like cost nothing where a view will do; a result takes the memory of
an input that dies with it where the kernel allows; values with a destination are computed there; all else gets memory
of its own, and one arena holds it, offsets chosen by lifetime.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from graphnn.compiler.plan.destinations import Destination, destinations
from graphnn.compiler.plan.form import KernelCall, Plan, Storage, StorageKind, View
from graphnn.compiler.plan.liveness import with_lifetimes
from graphnn.compiler.plan.offsets import Buffer, assign_offsets, lower_bound
from graphnn.compiler.plan.views import view_of
from graphnn.compiler.schedule.form import Schedule, is_source
from graphnn.compiler.subgraph import replacement
from graphnn.compiler.target import KernelNeeds, Target
from graphnn.ops.node import Node
from graphnn.ops.slicing import Concat
from graphnn.ops.state import Assign, Constant, Identity, Placeholder

ALIGNMENT = 64
"""Bytes to which storages are aligned: a cache line, and the widest vector register."""


def build_plan(schedule: Schedule, target: Target, max_batch: int, writes_last: bool = False) -> Plan:
    """Return the plan of a schedule on a target that computes node by node, for batches of 1 to `max_batch`.

    With `writes_last`, assigned values are not computed into their variables but copied there at the end.
    """
    builder = PlanBuilder(schedule, target, max_batch, writes_last)
    builder.place_all()
    return finished_plan(builder)


def finished_plan(builder: PlanBuilder, beside: Sequence[range] | None = None) -> Plan:
    """Return the plan that a builder has put together, its storages placed in the arena.

    Where steps need not run one after the other, `beside` says for each one beside which steps it may still run.
    """
    schedule, max_batch = builder.schedule, builder.max_batch
    feeds = {node: builder.view(node) for node in schedule.subgraph.of_op(Placeholder)}
    storages = with_lifetimes(builder.storages, builder.steps, builder.fetched_views(), beside)
    storages, arena_bytes, bound = _place_in_arena(storages)
    return Plan(
        steps=tuple(builder.steps),
        storages=tuple(storages),
        views=builder.views,
        subgraph=schedule.subgraph,
        feeds=feeds,
        fetches=tuple(builder.fetched_views()),
        target=builder.target.name,
        max_batch=max_batch,
        arena_bytes=arena_bytes,
        lower_bound_bytes=bound,
        flops=sum(_flops(node, max_batch) for node in schedule.nodes),
    )


def _flops(node: Node, batch: int) -> int:
    return node.op.flops(node.spec.bind(batch), *(given.spec.bind(batch) for given in node.inputs))


def _place_in_arena(storages: list[Storage]) -> tuple[list[Storage], int, int]:
    members = [storage for storage in storages if storage.kind == "arena"]
    buffers = [Buffer(storage.first, storage.last + 1, _aligned(storage.nbytes)) for storage in members]
    offsets, arena_bytes = assign_offsets(buffers, ALIGNMENT)
    placed = {storage.index: storage.placed(offset) for storage, offset in zip(members, offsets, strict=True)}
    return [placed.get(storage.index, storage) for storage in storages], arena_bytes, lower_bound(buffers)


def _aligned(nbytes: int) -> int:
    return max(1, -(-nbytes // ALIGNMENT)) * ALIGNMENT


class PlanBuilder:
    """The plan as it grows, step by step."""

    def __init__(
        self,
        schedule: Schedule,
        target: Target,
        max_batch: int,
        writes_last: bool,
        native: frozenset[Node] = frozenset(),
    ) -> None:
        self.schedule = schedule
        self.target = target
        self.max_batch = max_batch
        self.storages: list[Storage] = []
        self.steps: list[KernelCall] = []
        self.views: dict[Node, View] = {}
        self.needs = {
            node: self._needs_of(node)
            for node in schedule.nodes
            if node not in native and not node.op.is_view and not isinstance(node.op, Assign | Concat)
        }
        wanted = destinations(schedule, self.needs, writes_last)
        self.destinations = {node: place for node, place in wanted.items() if place.owner not in native}
        self.memory_of = self._memories()
        self.last_read = self._last_reads()

    def _needs_of(self, node: Node) -> KernelNeeds:
        inputs = [given.spec.bind(self.max_batch) for given in node.inputs]
        return self.target.needs(node.op, node.spec.bind(self.max_batch), inputs)

    def place_all(self) -> None:
        """Place the nodes one by one."""
        position = 0
        for number, group in enumerate(self.schedule.groups):
            for node in group.nodes:
                self.place(node, position, number)
                position += 1

    def fetched_views(self) -> list[View]:
        """Return where the fetches are."""
        return [self.view(node) for node in self.schedule.subgraph.fetches]

    def view(self, node: Node) -> View:
        """Return where a node's value is; sources get their storage when they are first needed.

        So do values that native code shows in other memory, where no view does that for those who read them outside.
        """
        if node not in self.views and node.op.is_view:
            self.place(node, -1, self.steps[-1].group)
        elif node not in self.views:
            assert is_source(node)
            kinds: dict[type, StorageKind] = {Placeholder: "feed", Constant: "constant"}
            self.views[node] = self.new_storage(node, kinds.get(type(node.op), "variable"))
        return self.views[node]

    def place(self, node: Node, position: int, group: int) -> None:
        """Give one node's value its place, with a step that computes it where there is something to compute."""
        if isinstance(node.op, Assign):
            self._place_assign(node, group)
        elif isinstance(node.op, Concat):
            self._place_concat(node, group)
        elif not (node.op.is_view and self.place_view(node)):
            needs = self.needs.get(node) or self._needs_of(node)
            reads = self._readable(node, needs, group)
            target_view = self._output(node, needs, position)
            workspaces = tuple(self.workspace(node, spec.nbytes(self.max_batch)) for spec in needs.workspaces)
            self.views[node] = target_view
            self.steps.append(KernelCall(needs.name, (node,), reads, (target_view,), workspaces, group))

    def _readable(self, node: Node, needs: KernelNeeds, group: int) -> tuple[View, ...]:
        """Return the views of a node's inputs; those with gaps are copied first where the kernel can't read gaps."""
        reads = [self.view(given) for given in node.inputs]
        for place in needs.row_major:
            reads[place] = self.without_gaps(node.inputs[place], group)
        return tuple(reads)

    def without_gaps(self, node: Node, group: int) -> View:
        """Return a value's view, or that of a copy if it has gaps."""
        view = self.view(node)
        if view.strides is None:
            return view
        dense = replacement(node, Identity(), (node,), name=f"{node.name}.dense")
        whole = self.new_storage(dense, "arena")
        self.steps.append(KernelCall(dense.op.label, (dense,), (view,), (whole,), (), group))
        return whole

    def place_view(self, node: Node) -> bool:
        """Let a view op's value share its input's memory; say whether that is possible."""
        view = view_of(node, self.view(node.inputs[0]))
        if view is not None:
            self.views[node] = view
        return view is not None

    def _place_assign(self, node: Node, group: int) -> None:
        variable, value = node.inputs
        target_view = self.view(variable)
        self.views[node] = target_view
        if self.view(value) != target_view:
            self.steps.append(KernelCall("copy", (node,), (self.view(value),), (target_view,), (), group))

    def _place_concat(self, node: Node, group: int) -> None:
        whole = self.views[node] = self.views.get(node) or self.new_storage(node, "arena")
        if any(self._owner(given) is not node for given in node.inputs):
            reads = tuple(self.view(given) for given in node.inputs)
            self.steps.append(KernelCall("concat", (node,), reads, (whole,), (), group))

    def _output(self, node: Node, needs: KernelNeeds, position: int) -> View:
        if node in self.destinations:
            return self._destination(node, self.destinations[node])
        for place in needs.in_place:
            view = self._reusable(node, node.inputs[place], position, needs)
            if view is not None:
                return view
        return self.new_storage(node, "arena")

    def _destination(self, node: Node, destination: Destination) -> View:
        owner = destination.owner
        if isinstance(owner.op, Concat) and owner not in self.views:
            self.views[owner] = self.new_storage(owner, "arena")
        whole = self.view(owner)
        return replace(whole, spec=node.spec, offset=destination.offset, strides=destination.strides)

    def _reusable(self, node: Node, given: Node, position: int, needs: KernelNeeds) -> View | None:
        """Return the memory of an input that dies here, if it fits the result and the kernel reads it in step."""
        view = self.view(given)
        storage = self.storages[view.storage]
        if storage.kind != "arena" or self.last_read[self.memory_of[given]] != position:
            return None
        whole = view.strides is None and view.offset == 0 and view.layout == "row-major"
        if not whole or view.spec.shape != node.spec.shape or view.spec.dtype.itemsize != node.dtype.itemsize:
            return None
        if storage.nbytes != node.spec.nbytes(self.max_batch):
            return None
        for place, other in enumerate(node.inputs):
            seen = self.view(other)
            in_step = place in needs.in_place and replace(seen, spec=view.spec) == view
            if seen.storage == view.storage and not (in_step and seen.spec.shape == view.spec.shape):
                return None
        return replace(view, spec=node.spec)

    def new_storage(self, node: Node, kind: StorageKind) -> View:
        """Return a view of new memory for a node's value."""
        index = len(self.storages)
        self.storages.append(Storage(index, kind, node.spec.nbytes(self.max_batch), node))
        return View(index, node.spec)

    def workspace(self, node: Node, nbytes: int) -> int:
        """Return the number of a new storage for a kernel's intermediate results."""
        index = len(self.storages)
        self.storages.append(Storage(index, "arena", nbytes, node, is_workspace=True))
        return index

    def _memories(self) -> dict[Node, Node]:
        """Return for each value the node whose memory it may lie in: itself, or what it may be a view or a part of."""
        memories: dict[Node, Node] = {}
        for node in self.schedule.subgraph.nodes:
            owner = self._owner(node)
            own = node if owner is None else owner
            memories[node] = memories[node.inputs[0]] if node.op.is_view else own
        return memories

    def _owner(self, node: Node) -> Node | None:
        """Return the variable or the concatenation into whose memory a value is computed, if there is one."""
        destination = self.destinations.get(node)
        return destination.owner if destination is not None else None

    def _last_reads(self) -> dict[Node, int]:
        """Return the position after which no node reads a value's memory; fetches are read at the very end."""
        last: dict[Node, int] = {}
        nodes = self.schedule.nodes
        for position, node in enumerate(nodes):
            for given in node.inputs:
                last[self.memory_of[given]] = position
        for node in self.schedule.subgraph.fetches:
            last[self.memory_of[node]] = len(nodes)
        return last
