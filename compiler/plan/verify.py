"""Check a plan by following what each byte of it holds, step by step.

A plan is right if each step reads, through each of its views, the value that its node's input stands for, and if at
the end the fetched views hold the fetched values and the variables their new ones.
"""

from __future__ import annotations

from graphnn.compiler.plan.form import KernelCall, Plan, View
from graphnn.compiler.schedule.form import is_source
from graphnn.ops.errors import CompileError
from graphnn.ops.node import Node
from graphnn.ops.slicing import Concat
from graphnn.ops.state import Assign, Identity


def verify_plan(plan: Plan) -> None:
    """Check the form.

    Raises
    ------
    CompileError
        Naming the first step that breaks a rule.
    """
    for storage in plan.storages:
        if storage.kind == "arena" and not 0 <= storage.offset <= plan.arena_bytes - storage.nbytes:
            raise CompileError(f"plan: storage #{storage.index} of {storage.node.name!r} does not lie in the arena")
    for node, view in plan.views.items():
        low, high = view.byte_range(plan.max_batch)
        if low < 0 or high > plan.storages[view.storage].nbytes:
            raise _broken(node, f"has a view of bytes {low} to {high} of storage #{view.storage}, which is smaller")
        if view.spec.shape != node.spec.shape or view.spec.dtype is not node.dtype:
            raise _broken(node, f"has a view of another shape or type, {view.spec}")
    memory = _Memory(plan)
    for number, step in enumerate(plan.steps):
        memory.follow(number, step)
    memory.check_end()


class _Memory:
    """Which node's value each byte holds; arena storages are followed at their places in the arena."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.contents: dict[str | int, list[tuple[int, int, Node, int]]] = {}
        for node, view in plan.views.items():
            if is_source(node):
                self._write(node, view)

    def follow(self, number: int, step: KernelCall) -> None:
        """Check what a step reads, then record what it writes."""
        node = step.node
        sources = node.inputs[1:] if isinstance(node.op, Assign) else node.inputs
        if len(sources) != len(step.reads):
            raise _broken(node, f"reads {len(step.reads)} views for {len(sources)} inputs")
        for given, view in zip(sources, step.reads, strict=True):
            self._check(given, view, f"step {number}")
        for storage in step.workspaces:
            entry = self.plan.storages[storage]
            self._clear(*self._place(entry.index, 0, entry.nbytes))
        for view in step.writes:
            for storage in step.workspaces:
                self._refuse_overlap(node, view, storage)
            self._write(node, view)
        if isinstance(node.op, Assign):
            self._write(node.inputs[1], step.writes[0])

    def check_end(self) -> None:
        """Check that results are where the plan says."""
        subgraph = self.plan.subgraph
        for node, view in zip(subgraph.fetches, self.plan.fetches, strict=True):
            self._check(node, view, "the end of the run")
        for update in subgraph.updates:
            self._check(update.inputs[1], self.plan.views[update.inputs[0]], "the end of the run")

    def _place(self, storage: int, low: int, high: int) -> tuple[str | int, int, int]:
        entry = self.plan.storages[storage]
        if entry.kind == "arena":
            return "arena", entry.offset + low, entry.offset + high
        return storage, low, high

    def _span(self, view: View) -> tuple[str | int, int, int]:
        return self._place(view.storage, *view.byte_range(self.plan.max_batch))

    def _write(self, node: Node, view: View) -> None:
        place, low, high = self._span(view)
        # A view with gaps leaves other values of its own storage alone: the other parts of a concatenation.
        self._clear(place, low, high, spared=view.storage if view.strides is not None else None)
        self.contents[place].append((low, high, node, view.storage))

    def _clear(self, place: str | int, low: int, high: int, spared: int | None = None) -> None:
        self.contents[place] = [
            entry for entry in self.contents.get(place, []) if entry[1] <= low or high <= entry[0] or entry[3] == spared
        ]

    def _refuse_overlap(self, node: Node, view: View, storage: int) -> None:
        place, low, high = self._span(view)
        other, start, stop = self._place(storage, 0, self.plan.storages[storage].nbytes)
        if place == other and start < high and low < stop:
            raise _broken(node, "writes its result over its own workspace")

    def _check(self, node: Node, view: View, when: str) -> None:
        """Refuse unless the bytes of `view` hold `node`, or the value it is a view of or made of."""
        place, low, high = self._span(view)
        if low == high:
            return
        found = [entry for entry in self.contents.get(place, []) if entry[0] < high and low < entry[1]]
        wanted = self._makers(node)
        right = all(entry[2] in wanted or _is_copy_of(entry[2], wanted) for entry in found)
        if not right or not _covered(low, high, found):
            names = ", ".join(sorted({entry[2].name for entry in found})) or "nothing"
            raise _broken(node, f"is not where {when} looks for it: those bytes hold {names}")

    def _makers(self, node: Node) -> set[Node]:
        """Return the nodes by whose writing `node`'s bytes come to be: itself, what it views, what it joins."""
        makers, stack = set(), [node]
        while stack:
            current = stack.pop()
            makers.add(current)
            if current.op.is_view:
                stack.append(current.inputs[0])
            elif isinstance(current.op, Concat):
                stack.extend(current.inputs)
            elif isinstance(current.op, Assign):
                stack.append(current.inputs[1])
        return makers


def _is_copy_of(node: Node, wanted: set[Node]) -> bool:
    return isinstance(node.op, Identity) and node.inputs[0] in wanted


def _covered(low: int, high: int, entries: list[tuple[int, int, Node, int]]) -> bool:
    reached = low
    for start, stop, *_ in sorted(entries, key=lambda entry: entry[:2]):
        if start > reached:
            return False
        reached = max(reached, stop)
    return reached >= high


def _broken(node: Node, what: str) -> CompileError:
    return CompileError(
        f"plan: {node.op.label} {node.name!r} {what}",
        where=str(node.source),
        hint="this is a fault of graphnn; please report it with the graph",
    )
