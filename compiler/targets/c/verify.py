"""Check a native segment by following what its scratch memory holds, call by call."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from graphnn.compiler.targets.c.segment import Call, Place, SegmentPlan
from graphnn.compiler.targets.c.units import behind_alias
from graphnn.ops.errors import CompileError
from graphnn.ops.node import Node

Tag = tuple[str, Node]
"""What bytes hold: a value, a thread's sums or all threads' parts of a node."""


def verify_segment(plan: SegmentPlan) -> None:
    """Check that each call finds its operands, and that sums stay untouched until their region ends.

    Raises
    ------
    CompileError
        Naming the first node whose value is not where its reader looks for it.
    """
    memory = _Memory(plan)
    for _, group in groupby(plan.calls, key=lambda call: call.level):
        calls = list(group)
        sums = [call.unit for call in calls if call.unit is not None and call.unit.kind == "batch-sum"]
        for unit in sums:
            memory.write(plan.sums[unit], ("sums", unit.root))
        for call in calls:
            _follow(plan, memory, call)
        for unit in sums:
            memory.expect(plan.sums[unit], ("sums", unit.root))
            memory.write(plan.parts[unit], ("parts", unit.root))
        for unit in sums:
            memory.expect(plan.parts[unit], ("parts", unit.root))
            _write_result(plan, memory, unit.root, calls[0].level)


def _follow(plan: SegmentPlan, memory: _Memory, call: Call) -> None:
    if call.what == "unpack":
        memory.expect(plan.places[call.node, call.level], ("value", call.node))
        return
    if call.what == "pack":
        memory.write(plan.places[call.node, call.level], ("value", call.node))
        return
    assert call.unit is not None
    for given in call.unit.inputs:
        value = behind_alias(given)
        place = plan.places.get((value, call.level))
        if place is not None:
            memory.expect(place, ("value", value))
            if call.level % 2 == 0 and place.area == "own":
                raise _broken(value, f"lies in one thread's memory, where {call.node.name!r} can't read all of it")
        elif value not in plan.arguments:
            raise _broken(value, f"has no place for {call.node.name!r} to read it")
    if call.unit.kind != "batch-sum":
        for node in call.unit.results:
            _write_result(plan, memory, node, call.level)


def _write_result(plan: SegmentPlan, memory: _Memory, node: Node, level: int) -> None:
    place = plan.places.get((node, level))
    if place is not None:
        memory.write(place, ("value", node))
    elif node not in plan.arguments:
        raise _broken(node, "is computed to nowhere")


class _Memory:
    """What each byte of the two parts of scratch memory holds."""

    def __init__(self, plan: SegmentPlan) -> None:
        self._sizes = {"own": plan.own_bytes, "shared": plan.shared_bytes}
        self._holds: dict[str, list[tuple[int, int, Tag]]] = {"own": [], "shared": []}

    def write(self, place: Place, tag: Tag) -> None:
        """Record what a place holds from now on."""
        low, high = place.offset, place.offset + place.nbytes
        if low < 0 or high > self._sizes[place.area]:
            raise _broken(tag[1], f"lies outside of the {place.area} memory")
        kept = [entry for entry in self._holds[place.area] if entry[1] <= low or high <= entry[0]]
        self._holds[place.area] = [*kept, (low, high, tag)]

    def expect(self, place: Place, tag: Tag) -> None:
        """Refuse unless a place still holds all that was written there."""
        entry = (place.offset, place.offset + place.nbytes, tag)
        if entry not in self._holds[place.area]:
            low, high = entry[:2]
            found = _names(held for held in self._holds[place.area] if held[0] < high and low < held[1])
            raise _broken(tag[1], f"is not where it is looked for: those bytes hold {found}")


def _names(entries: Iterable[tuple[int, int, Tag]]) -> str:
    return ", ".join(sorted({f"{what} of {node.name}" for _, _, (what, node) in entries})) or "nothing"


def _broken(node: Node, what: str) -> CompileError:
    return CompileError(
        f"native segment: {node.op.label} {node.name!r} {what}",
        where=str(node.source),
        hint="this is a fault of graphnn; please report it with the graph",
    )
