"""One native segment: units of compiled work, their order, and where each value lies while they run.

The segment's scratch memory has a part that all threads share and a part of each thread's own. What only one region
reads lies in a thread's own part, for one block of examples at a time: it is read again while it is in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from graphnn.compiler.plan.offsets import Buffer, align, assign_offsets
from graphnn.compiler.targets.c.units import Unit, behind_alias, example_shape, is_batched
from graphnn.ops.node import Node

BETWEEN = ("flat", "cooperative")
"""Kinds of units that all threads compute together, between regions."""


@dataclass(frozen=True)
class Place:
    """Where a value lies in scratch memory.

    Attributes
    ----------
    area : {"own", "shared"}
        A thread's own part, or the one that all threads share.
    offset, nbytes : int
        Bytes from the start of that part, and how many.
    block_bytes : int
        For a shared value in lanes: from one block to the next.
    """

    area: Literal["own", "shared"]
    offset: int
    nbytes: int
    block_bytes: int = 0


@dataclass
class Call:
    """One call within the segment: a unit, or a move of a value into lanes or out of them."""

    what: str
    node: Node
    level: int
    unit: Unit | None = None
    stage: int = 0

    @property
    def writes(self) -> tuple[Node, ...]:
        """The values that the call leaves in scratch memory, or in what the segment was given."""
        if self.unit is not None:
            return self.unit.results
        return (self.node,) if self.what == "pack" else ()


@dataclass
class SegmentPlan:
    """The calls in order, and the places of all values.

    Attributes
    ----------
    calls : list of Call
        Level by level.
    arguments : tuple of Node
        Values that the segment is given a pointer to: inputs first, then results.
    places : dict
        By value and level: a value from outside is moved into lanes once for each region that reads it.
    sums : dict of Unit to Place
        Where a thread adds up what a unit sums over examples.
    parts : dict of Unit to Place
        Where all threads put their sums.
    shared_bytes, own_bytes : int
        Scratch memory: in common, and for each thread.
    """

    calls: list[Call] = field(default_factory=list)
    arguments: tuple[Node, ...] = ()
    places: dict[tuple[Node, int], Place] = field(default_factory=dict)
    sums: dict[Unit, Place] = field(default_factory=dict)
    parts: dict[Unit, Place] = field(default_factory=dict)
    shared_bytes: int = 0
    own_bytes: int = 0


def dependencies(units: Sequence[Unit], write_edges: Iterable[tuple[Node, Node]]) -> dict[Unit, list[Unit]]:
    """Return for each unit those that it waits for: who makes what it reads, and who reads what it writes over."""
    maker = {node: unit for unit in units for node in unit.results}
    of_node = {node: unit for unit in units for node in unit.nodes}
    waits_for = {
        unit: [maker[behind_alias(given)] for given in unit.inputs if behind_alias(given) in maker] for unit in units
    }
    for reader, write in write_edges:
        if reader in of_node and write in of_node and of_node[reader] is not of_node[write]:
            waits_for[of_node[write]].append(of_node[reader])
    return waits_for


def levels_of(units: Sequence[Unit], waits_for: dict[Unit, list[Unit]]) -> dict[Unit, int]:
    """Return the level of each unit: odd ones are regions over blocks, even ones lie between them, for all threads.

    A unit comes no earlier than what it reads. What reads a sum over the batch waits for the region's end, and a write
    to a variable waits for those who read the old value.
    """
    levels: dict[Unit, int] = {}
    for unit in units:
        levels[unit] = max([_first(unit), *(_after(levels[before], before, unit) for before in waits_for[unit])])
    return levels


def stages_of(units: Sequence[Unit], waits_for: dict[Unit, list[Unit]], levels: dict[Unit, int]) -> dict[Unit, int]:
    """Return the stage of each unit within its level: threads meet between stages, not between units.

    The order within a region is that of the schedule; all its units are on one stage.
    """
    stages: dict[Unit, int] = {}
    for unit in units:
        before = [earlier for earlier in waits_for[unit] if levels[earlier] == levels[unit]]
        stages[unit] = 0 if levels[unit] % 2 else max((stages[earlier] + 1 for earlier in before), default=0)
    return stages


def _first(unit: Unit) -> int:
    """Return the earliest level of a unit; what all threads do on blocks comes after a region that packs them."""
    return {"flat": 0, "cooperative": 2}.get(unit.kind, 1)


def _after(level: int, before: Unit, unit: Unit) -> int:
    """Return the earliest level of a unit that comes after another one."""
    if unit.kind in BETWEEN:
        return level + level % 2
    if before.kind in BETWEEN:
        return level + 1
    return level + 2 if before.kind == "batch-sum" else level


def plan_segment(
    units: Sequence[Unit],
    outputs: Sequence[Node],
    write_edges: Iterable[tuple[Node, Node]],
    sum_sizes: dict[Unit, int],
    lanes: int,
    threads: int,
    max_batch: int,
) -> SegmentPlan:
    """Order the units, and place their values.

    Parameters
    ----------
    outputs : sequence of Node
        Values that others read after the segment, or that are assigned.
    sum_sizes : dict of Unit to int
        Bytes in which a thread adds up, for units that sum over examples.
    """
    waits_for = dependencies(units, write_edges)
    levels = levels_of(units, waits_for)
    planner = _Planner(units, outputs, levels, stages_of(units, waits_for, levels), lanes, threads, max_batch)
    return planner.plan(sum_sizes)


class _Planner:
    def __init__(
        self,
        units: Sequence[Unit],
        outputs: Sequence[Node],
        levels: dict[Unit, int],
        stages: dict[Unit, int],
        lanes: int,
        threads: int,
        max_batch: int,
    ) -> None:
        self.levels = levels
        self.stages = stages
        self.lanes = lanes
        self.threads = threads
        self.blocks = -(-max_batch // lanes)
        # Stable: what is on one stage stays in the schedule's order.
        self.units = sorted(units, key=lambda unit: (levels[unit], stages[unit]))
        self.maker = {node: unit for unit in units for node in unit.results}
        self.outputs = tuple(dict.fromkeys(outputs))
        self.result = SegmentPlan()
        self.read_on: dict[Node, set[int]] = {}
        for unit in self.units:
            for given in unit.inputs:
                self.read_on.setdefault(behind_alias(given), set()).add(levels[unit])
            for node in self._unpacked(unit):
                self.read_on.setdefault(node, set()).add(levels[unit] | 1)

    def plan(self, sum_sizes: dict[Unit, int]) -> SegmentPlan:
        inputs = [node for node in self.read_on if node not in self.maker]
        self.result.arguments = (*inputs, *(node for node in self.outputs if node not in inputs))
        self._order()
        self._place_own(sum_sizes)
        self._place_shared()
        return self.result

    def _order(self) -> None:
        calls: list[Call] = []
        moved: set[tuple[Node, int]] = set()
        for unit in self.units:
            level = self.levels[unit]
            for given in unit.inputs:
                value, region = behind_alias(given), region_of(level)
                if is_batched(value) and value not in self.maker and (value, region) not in moved:
                    moved.add((value, region))
                    calls.append(Call("pack", value, region))
            calls.append(Call("unit", unit.root, level, unit, self.stages[unit]))
            calls += [Call("unpack", node, level | 1) for node in self._unpacked(unit)]
        self.result.calls = sorted(calls, key=lambda call: call.level)  # stable

    def _unpacked(self, unit: Unit) -> list[Node]:
        """Return the results with a batch that others read after the segment."""
        return [node for node in unit.results if is_batched(node) and node in self.outputs]

    def block_bytes(self, node: Node) -> int:
        """Return the bytes of one block of a batched value."""
        return align(math.prod(example_shape(node)) * self.lanes * node.dtype.itemsize, 64)

    def _place_own(self, sum_sizes: dict[Unit, int]) -> None:
        """Place what a thread needs for itself, by the calls between which it is alive."""
        buffers: list[Buffer] = []
        owners: list[tuple[str, Node, int]] = []
        last_on: dict[tuple[Node, int], int] = {}
        first_of: dict[int, int] = {}
        last_of: dict[int, int] = {}
        for number, call in enumerate(self.result.calls):
            first_of.setdefault(call.level, number)
            last_of[call.level] = number
            for given in call.unit.inputs if call.unit else (call.node,):
                last_on[behind_alias(given), call.level] = number
        for number, call in enumerate(self.result.calls):
            for node in call.writes:
                if is_batched(node) and self._is_own(node, call.level):
                    last = max(number, last_on.get((node, call.level), number))
                    buffers.append(Buffer(number, last + 1, self.block_bytes(node)))
                    owners.append(("value", node, call.level))
            if call.unit is not None and call.unit.kind == "batch-sum":
                size = align(sum_sizes[call.unit], 64)
                buffers.append(Buffer(first_of[call.level], last_of[call.level] + 1, size))
                owners.append(("sums", call.node, call.level))
        offsets, self.result.own_bytes = assign_offsets(buffers)
        for (what, node, level), buffer, offset in zip(owners, buffers, offsets, strict=True):
            place = Place("own", offset, buffer.nbytes)
            if what == "sums":
                self.result.sums[self.maker[node]] = place
            else:
                self.result.places[node, level] = place

    def _is_own(self, node: Node, level: int) -> bool:
        """Whether what is made on a level is read in the same region only."""
        read_on = self.read_on.get(node, set())
        return level % 2 == 1 and (level + 1 not in read_on if node not in self.maker else read_on <= {level})

    def _shared_bytes(self, node: Node, level: int) -> int:
        """Return how much shared memory a value needs that is made on a level; 0 if it lies elsewhere."""
        if is_batched(node):
            return 0 if self._is_own(node, level) else self.block_bytes(node) * self.blocks
        return 0 if node in self.outputs else align(node.spec.nbytes(1), 64)

    def _place_shared(self) -> None:
        """Place what threads share, by the levels between which it is alive."""
        buffers: list[Buffer] = []
        owners: list[tuple[str, Node, int]] = []
        for call in self.result.calls:
            level = call.level
            for node in call.writes:
                nbytes = self._shared_bytes(node, level)
                if nbytes:
                    read_on = self.read_on.get(node, ()) if node in self.maker else (level + 1,)
                    last = max([level, *read_on])
                    buffers.append(Buffer(level, last + 1, nbytes))
                    owners.append(("value", node, level))
            if call.unit is not None and call.unit.kind == "batch-sum":
                buffers.append(Buffer(level, level + 1, align(call.node.spec.nbytes(1) * self.threads, 64)))
                owners.append(("parts", call.node, level))
        offsets, self.result.shared_bytes = assign_offsets(buffers)
        for (what, node, level), buffer, offset in zip(owners, buffers, offsets, strict=True):
            if what == "parts":
                self.result.parts[self.maker[node]] = Place("shared", offset, buffer.nbytes)
                continue
            place = Place("shared", offset, buffer.nbytes, self.block_bytes(node) if is_batched(node) else 0)
            read_on = self.read_on.get(node, set()) if node in self.maker else {level + 1}
            for reader in {level, *read_on}:
                self.result.places[node, reader] = place


def region_of(level: int) -> int:
    """Return the region in which what is read on a level is packed: its own, or the one before."""
    return level - (1 - level % 2)
