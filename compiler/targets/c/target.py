"""The C target: native segments printed as C, built by the machine's compiler, called once a run; NumPy elsewhere."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.resources import files

from graphnn.compiler.index_checks import IndexCheck
from graphnn.compiler.plan.arena import verify_arena
from graphnn.compiler.plan.build import PlanBuilder, finished_plan
from graphnn.compiler.plan.form import InnerStep, KernelCall, Plan
from graphnn.compiler.schedule.form import Schedule, is_source
from graphnn.compiler.target import KernelNeeds, LoadedPlan, StepTime, Target
from graphnn.compiler.targets.c.build import Compiler
from graphnn.compiler.targets.c.cache import load_library
from graphnn.compiler.targets.c.native import NativeSegment, native_segments
from graphnn.compiler.targets.c.processes import usable_cores
from graphnn.compiler.targets.c.program import UnitCode, print_segment, print_unit
from graphnn.compiler.targets.c.segment import SegmentPlan, plan_segment
from graphnn.compiler.targets.c.units import Unit
from graphnn.compiler.targets.c.verify import verify_segment
from graphnn.compiler.targets.numpy.registry import Run
from graphnn.compiler.targets.numpy.target import BoundPlan, LoadedNumpyPlan, NumpyTarget
from graphnn.ops.node import Node
from graphnn.ops.op import Op
from graphnn.ops.spec import TensorSpec
from graphnn.ops.state import Assign

HEADERS = ("support.h", "lanes.h", "random.h", "scalar_math.h", "shared_math.h")


@dataclass(frozen=True)
class NativeProgram:
    """A segment's C text, in translation units, and the scratch memory that it needs."""

    name: str
    texts: tuple[str, ...]
    plan: SegmentPlan
    scratch_bytes: int

    @property
    def arguments(self) -> tuple[Node, ...]:
        """The values that the function is given pointers to."""
        return self.plan.arguments


class CTarget(Target):
    """Compiled C on the CPU.

    Parameters
    ----------
    compiler : Compiler
        What compiles the text.
    threads : int, optional
        How many threads run a step; by default as many as there are cores.
    """

    name = "c"

    def __init__(self, compiler: Compiler, threads: int | None = None) -> None:
        self._compiler = compiler
        self._threads = (threads or usable_cores()) if compiler.threads else 1
        self._lanes = max(4, compiler.vector_bytes // 4)
        self._numpy = NumpyTarget()
        self._programs: dict[str, NativeProgram] = {}

    def needs(self, op: Op, out: TensorSpec, inputs: Sequence[TensorSpec]) -> KernelNeeds:
        return self._numpy.needs(op, out, inputs)

    def build(self, schedule: Schedule, max_batch: int, writes_last: bool) -> Plan:
        parts = native_segments(schedule, checked_indices=not writes_last)
        native = frozenset(node for part in parts if isinstance(part, NativeSegment) for node in part.nodes)
        builder = PlanBuilder(schedule, self, max_batch, writes_last, native)
        position = {node: place for place, node in enumerate(schedule.nodes)}
        for number, part in enumerate(parts):
            if isinstance(part, NativeSegment):
                self._place(builder, part, number, max_batch)
            else:
                builder.place(part, position[part], number)
        return finished_plan(builder)

    def _place(self, builder: PlanBuilder, segment: NativeSegment, number: int, max_batch: int) -> None:
        program = self._print(segment, f"segment_{number}", max_batch)
        self._programs[program.name] = program
        views = [builder.without_gaps(node, number) for node in segment.inputs]
        reads = dict(zip(segment.inputs, views, strict=True))
        for node in segment.outputs:
            assigned = isinstance(node.op, Assign)
            builder.views[node] = builder.view(node.inputs[0]) if assigned else builder.new_storage(node, "arena")
        for node in segment.nodes:
            given = node.inputs[0] if node.op.is_view else None
            if given is not None and (is_source(given) or given in builder.views) and node not in builder.views:
                builder.place_view(node)
        scratch = builder.workspace(segment.nodes[-1], program.scratch_bytes)
        builder.steps.append(
            KernelCall(
                program.name,
                segment.nodes,
                tuple(reads[node] for node in program.arguments if node in reads),
                tuple(builder.views[node] for node in program.arguments if node not in reads),
                (scratch,),
                number,
                tuple(_inner_steps(program.plan)),
            )
        )

    def _print(self, segment: NativeSegment, name: str, max_batch: int) -> NativeProgram:
        code: dict[Unit, UnitCode] = {
            unit: print_unit(unit, f"{name}_k{place}", self._lanes, self._threads)
            for place, unit in enumerate(segment.units)
        }
        sums = {unit: code[unit].sum_bytes for unit in segment.units}
        plan: SegmentPlan = plan_segment(
            segment.units, segment.outputs, segment.write_edges, sums, self._lanes, self._threads, max_batch
        )
        texts = print_segment(plan, code, name, self._lanes, self._threads)
        scratch = plan.shared_bytes + self._threads * plan.own_bytes
        return NativeProgram(name, texts, plan, scratch)

    def verify(self, plan: Plan) -> None:
        for step in plan.steps:
            if step.kernel in self._programs:
                verify_segment(self._programs[step.kernel].plan)
        verify_arena(plan)

    def load(self, plan: Plan, checks: Sequence[IndexCheck] = ()) -> LoadedPlan:
        return LoadedCPlan(plan, self._programs, self._compiler, checks)

    def source(self, plan: Plan) -> str:
        programs = (self._programs[step.kernel] for step in plan.steps if step.kernel in self._programs)
        return "\n".join(text for program in programs for text in program.texts)


def _inner_steps(plan: SegmentPlan) -> Iterator[InnerStep]:
    """Yield what a segment does, call by call."""
    for call in plan.calls:
        place = None if call.what == "unpack" else plan.places.get((call.node, call.level))
        when = f"region {call.level // 2}, per block" if call.level % 2 else "all threads"
        where = "its argument" if place is None else f"{place.area} memory at {place.offset}"
        if call.unit is None:
            yield InnerStep(call.what, (), (call.node,), (call.node,), f"{when}: {where}")
        else:
            unit = call.unit
            yield InnerStep(unit.label, unit.nodes, _values_read(unit), unit.results, f"{when}: {where}")


def _values_read(unit: Unit) -> tuple[Node, ...]:
    """Return what a unit reads: its inputs without variables that it writes and does not look at."""
    written = {node.inputs[0] for node in unit.nodes if isinstance(node.op, Assign)}
    read = {given for node in unit.nodes for given in node.inputs[isinstance(node.op, Assign) :]}
    return tuple(node for node in unit.inputs if node not in written - read)


def headers() -> dict[str, str]:
    """Return the C text that every segment includes."""
    folder = files("graphnn.compiler.targets.c")
    return {name: (folder / name).read_text() for name in HEADERS}


class LoadedCPlan(LoadedNumpyPlan):
    """A plan whose native segments are functions of a compiled library."""

    def __init__(
        self, plan: Plan, programs: dict[str, NativeProgram], compiler: Compiler, checks: Sequence[IndexCheck] = ()
    ) -> None:
        super().__init__(plan, checks)
        self._programs = {step.kernel: programs[step.kernel] for step in plan.steps if step.kernel in programs}
        units = {
            f"{name}_{number}.c": text
            for name, program in self._programs.items()
            for number, text in enumerate(program.texts)
        }
        self._library = load_library(units, headers(), compiler) if units else None

    @cached_property
    def _is_compiled(self) -> bool:
        """Whether Python has nothing to do but to call the segments, and all variables are written within one call.

        Python calls the handlers of signals between instructions of its own: none ever sees such a run half done.
        """
        storages, steps = self._plan.storages, self._plan.steps
        writers = [step for step in steps if any(storages[view.storage].kind == "variable" for view in step.writes)]
        return len(writers) <= 1 and all(step.kernel in self._programs for step in steps)

    def carry_out(self, bound: BoundPlan, check_numerics: bool) -> None:
        if not self._is_compiled:
            super().carry_out(bound, check_numerics)
            return
        self._writes.count += 1
        for call in bound.calls:
            call()

    def bind_step(self, step: KernelCall, batch: int) -> Run:
        program = self._programs.get(step.kernel)
        if program is None:
            return super().bind_step(step, batch)
        made = [node for node in program.arguments if node in step.nodes]
        given = [node for node in program.arguments if node not in step.nodes]
        arrays = {node: self.array(view, batch) for node, view in zip(given, step.reads, strict=True)}
        arrays |= {node: self.array(view, batch) for node, view in zip(made, step.writes, strict=True)}
        pointers = (ctypes.c_void_p * len(program.arguments))(
            *(arrays[node].__array_interface__["data"][0] for node in program.arguments)
        )
        (scratch,) = step.workspaces
        memory = self._buffers[scratch].__array_interface__["data"][0]
        assert self._library is not None
        function = self._library[program.name]
        function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p]
        return partial(function, pointers, memory, batch, None)

    def time_step(self, number: int, call: Run) -> StepTime:
        program = self._programs.get(self._plan.steps[number].kernel)
        if program is None:
            return super().time_step(number, call)
        assert isinstance(call, partial)
        counters = (ctypes.c_double * (len(program.plan.calls) + 2))()
        start = time.perf_counter()
        call.func(*call.args[:-1], counters)  # the last argument: where the function adds up times
        seconds = time.perf_counter() - start
        *inner, combining, waiting = counters
        # Outside of the counters, the thread waits for being started, and for the return to Python.
        waiting += seconds - sum(counters)
        return StepTime(seconds, tuple(inner), {"combine sums": combining, "wait": waiting})
