"""Give units their memory, and print each once its values have places."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from graphnn.compiler.plan.build import PlanBuilder, finished_plan
from graphnn.compiler.plan.form import KernelCall, Plan, View
from graphnn.compiler.plan.views import view_of
from graphnn.compiler.schedule.form import Schedule, is_source
from graphnn.compiler.subgraph import replacement
from graphnn.compiler.target import Target
from graphnn.compiler.targets.cuda.choice import choose_cudnn, without_epilogue
from graphnn.compiler.targets.cuda.cudnn import CudnnConvolution
from graphnn.compiler.targets.cuda.levels import Levels, in_levels, one_by_one, slack, spans
from graphnn.compiler.targets.cuda.lowering import Lowered, Places, kernels_of, lower, reads_of
from graphnn.compiler.targets.cuda.machine import Machine
from graphnn.compiler.targets.cuda.merge import merge_units
from graphnn.compiler.targets.cuda.reductions import register_type
from graphnn.compiler.targets.cuda.rules.products import takes_gaps
from graphnn.compiler.targets.cuda.units import Unit, is_told, readers_of, units_of, value_behind, value_inputs
from graphnn.ops.node import Node
from graphnn.ops.reduce import Reduction
from graphnn.ops.slicing import Concat
from graphnn.ops.state import Assign, Identity

_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class Built:
    """A plan and the text of its kernels by the names of its steps; what has none is done by NumPy."""

    plan: Plan
    kernels: dict[str, Lowered]


def build_cuda_plan(
    schedule: Schedule, target: Target, max_batch: int, writes_last: bool, precision: str, machine: Machine
) -> Built:
    """Return the plan of a schedule for batches of 1 to `max_batch`."""
    units = units_of(schedule, checked_indices=not writes_last, max_batch=max_batch)
    graph = merge_units(units, schedule, writes_last, max_batch, precision)
    position = {node: place for place, node in enumerate(schedule.nodes)}
    fetches = schedule.subgraph.fetches
    levels = one_by_one(graph, position) if writes_last else in_levels(graph, position, fetches, max_batch)
    builder = PlanBuilder(schedule, target, max_batch, writes_last, frozenset(schedule.nodes))
    placement = _Placement(builder, levels, precision, machine)
    ends: list[int] = []
    for units_beside in levels:
        for unit in units_beside:
            placement.place(unit)
        ends.append(len(builder.steps))
    for node in fetches:
        placement.view(node)  # the copies that this may take are a level of their own
    ends.append(len(builder.steps))
    builder.steps = [_marked(step, placement.kernels) for step in builder.steps]
    return Built(finished_plan(builder, spans(ends, slack(levels))), placement.kernels)


def _marked(step: KernelCall, kernels: Collection[str]) -> KernelCall:
    """Return a step with a name that says if NumPy carries it out."""
    return step if step.kernel in kernels else replace(step, kernel=f"{step.kernel} (host)")


class _Placement:
    """The plan as it grows, unit by unit."""

    def __init__(self, builder: PlanBuilder, levels: Levels, precision: str, machine: Machine) -> None:
        self.builder = builder
        self.precision = precision
        self.machine = machine
        self.kernels: dict[str, Lowered] = {}
        self.unit: Unit | None = None
        self.number = -1
        self.last_readers: dict[Node, set[Unit | None]] = {}
        for units in levels:
            self.last_readers |= {value: {*readers} for value, readers in readers_of(units).items()}
        for node in builder.schedule.subgraph.fetches:
            self.last_readers[value_behind(node)] = {None}

    def place(self, unit: Unit) -> None:
        """Give one unit's results their places, with the steps that compute them."""
        self.unit = unit
        self.number += 1
        if unit.kind == "host":
            for given in unit.root.inputs:
                self.view(given)
            self.builder.place(unit.root, 0, self.number)
            return
        unsafe = [node for node in unit.nodes if isinstance(node.op, Assign) and self._reads_elsewhere(unit, node)]
        if unsafe:
            values = tuple(node.inputs[1] for node in unsafe)
            kept = tuple(node for node in unit.nodes if node not in unsafe)
            outputs = tuple(dict.fromkeys((*(node for node in unit.outputs if node not in unsafe), *values)))
            self._emit(replace(unit, nodes=kept, outputs=outputs))
            for node in unsafe:
                self._emit(Unit("pointwise", (node,), (node,)))
        else:
            self._emit(unit)

    def view(self, node: Node) -> View:
        """Return where a value is; what no view can show is copied now."""
        views = self.builder.views
        if node in views or is_source(node):
            return self.builder.view(node)
        assert node.op.is_view, node  # whatever computes has its unit before those that read it
        given = node.inputs[0]
        self.view(given)
        if not self.builder.place_view(node):
            shown = view_of(node, self._without_gaps(given))
            if shown is not None:
                views[node] = shown
            else:
                self.builder.place(node, 0, self.number)  # which lets NumPy copy it
        return views[node]

    def _without_gaps(self, node: Node) -> View:
        """Return where a row-major copy of a value lies."""
        dense = replacement(node, Identity(), (node,), name=f"{node.name}.dense")
        self._emit(Unit("pointwise", (dense,), (dense,)))
        return self.builder.views[dense]

    def _reads_elsewhere(self, unit: Unit, assign: Node) -> bool:
        """Whether a unit reads the variable that it assigns, other than each element where it writes it."""
        variable = assign.inputs[0]
        for node in unit.nodes:
            for given in value_inputs(node):
                if value_behind(given) is variable:
                    in_step = given is variable and node.shape == variable.shape and node not in unit.before
                    if not in_step or node in unit.anchors:
                        return True
        return False

    def _emit(self, unit: Unit) -> None:
        """Add the step of a unit, or two where cuDNN computes its convolution."""
        convolution = choose_cudnn(unit, self.machine, self.builder.max_batch, self.precision)
        if convolution is None:
            self._add_step(unit)
            return
        alone, after = without_epilogue(unit)
        self._add_step(alone, convolution)
        if after is not None:
            (anchor,) = unit.anchors
            self.last_readers.setdefault(anchor, {self.unit})
            self._add_step(after)

    def _add_step(self, unit: Unit, convolution: CudnnConvolution | None = None) -> None:
        reads = [(node, self._readable(unit, node, place)) for place, node in enumerate(reads_of(unit))]
        instances = []
        if unit.anchors:
            given = [view for _, view in reads[: len(unit.operands)]]
            instances = kernels_of(unit, self.builder.max_batch, self.precision, given)
        writes = {node: self._output(unit, node, reads) for node in unit.outputs}
        self.builder.views |= writes
        room = max((instance.workspace for instance in instances), default=0)
        room = room if convolution is None else max(room, convolution.workspace)
        workspace = (self.builder.workspace(unit.root, room),) if room else ()
        kind = register_type(unit.anchors[-1].dtype) if room else ""
        name = f"k{len(self.builder.steps)}_{_NOT_IN_NAMES.sub('_', unit.label.lower())}"
        name += "" if convolution is None else "_cudnn"
        places = Places(tuple(reads), writes, kind)
        lowered = lower(unit, name, places, instances, self.builder.max_batch)
        self.kernels[name] = replace(lowered, convolution=convolution)
        views = tuple(view for _, view in reads)
        self.builder.steps.append(KernelCall(name, unit.nodes, views, tuple(writes.values()), workspace, self.number))

    def _readable(self, unit: Unit, node: Node, place: int) -> View:
        """Return where a kernel reads a value: a copy where the value has gaps that it can't step over."""
        if is_told(node) and node not in self.builder.views:
            return self.view(node.inputs[0])
        view = self.view(node)
        anchor = unit.anchors[-1] if unit.anchors else None
        if view.strides is None or anchor is None or place >= len(unit.operands):
            return view
        any_strides = isinstance(anchor.op, Reduction | Concat) or takes_gaps(anchor)
        return view if any_strides else self._without_gaps(node)

    def _output(self, unit: Unit, node: Node, reads: Iterable[tuple[Node, View]]) -> View:
        if isinstance(node.op, Assign):
            return self.builder.view(node.inputs[0])
        if not unit.anchors and not unit.parts:
            for given, view in reads:
                if self._is_free(unit, node, given, view, reads):
                    return replace(view, spec=node.spec)
        return self.builder.new_storage(node, "arena")

    def _is_free(self, unit: Unit, node: Node, given: Node, view: View, reads: Iterable[tuple[Node, View]]) -> bool:
        """Whether a pointwise unit may write its result over an input, which nobody reads beside it or afterwards."""
        storage = self.builder.storages[view.storage]
        whole = view.strides is None and view.offset == 0
        fits = view.spec.shape == node.shape and view.spec.dtype.itemsize == node.dtype.itemsize
        if storage.kind != "arena" or len(unit.outputs) > 1 or not (whole and fits):
            return False
        if storage.nbytes != node.spec.nbytes(self.builder.max_batch):
            return False
        if self.last_readers.get(value_behind(given)) != {self.unit}:
            return False
        return all(other == view for _, other in reads if other.storage == view.storage)
