"""The CUDA target: each unit of the schedule is a kernel, all values lie in one device arena."""

from __future__ import annotations

from collections.abc import Sequence

from graphnn.compiler.index_checks import IndexCheck
from graphnn.compiler.plan.form import Plan
from graphnn.compiler.schedule.form import Schedule
from graphnn.compiler.target import KernelNeeds, LoadedPlan, Target
from graphnn.compiler.targets.cuda.build import build_cuda_plan
from graphnn.compiler.targets.cuda.loaded import LoadedCudaPlan
from graphnn.compiler.targets.cuda.lowering import Lowered, program_text
from graphnn.compiler.targets.cuda.machine import Machine
from graphnn.compiler.targets.cuda.verify import verify_cuda_plan
from graphnn.compiler.targets.numpy.target import NumpyTarget
from graphnn.ops.op import Op
from graphnn.ops.spec import TensorSpec


class CudaTarget(Target):
    """CUDA kernels, on a GPU or on the emulator.

    Parameters
    ----------
    machine : Machine
        What runs them.
    precision : {"float32", "tf32"}
        What products of float32 may be computed in: exactly, or by tensor cores with factors of 10 bits.
    """

    def __init__(self, machine: Machine, precision: str = "float32") -> None:
        self.name = machine.name
        self._machine = machine
        self._precision = precision
        self._numpy = NumpyTarget()
        self._kernels: dict[str, Lowered] = {}

    def needs(self, op: Op, out: TensorSpec, inputs: Sequence[TensorSpec]) -> KernelNeeds:
        needs = self._numpy.needs(op, out, inputs)
        return KernelNeeds(op.label, needs.workspaces, (), False, needs.row_major)

    def build(self, schedule: Schedule, max_batch: int, writes_last: bool) -> Plan:
        built = build_cuda_plan(schedule, self, max_batch, writes_last, self._precision, self._machine)
        self._kernels = built.kernels
        return built.plan

    def verify(self, plan: Plan) -> None:
        verify_cuda_plan(plan, self._kernels)

    def load(self, plan: Plan, checks: Sequence[IndexCheck] = ()) -> LoadedPlan:
        return LoadedCudaPlan(plan, self._kernels, self.source(plan), self._machine, checks)

    def source(self, plan: Plan) -> str:
        kernels = [self._kernels[step.kernel].text for step in plan.steps if step.kernel in self._kernels]
        return program_text(kernels) if kernels else ""
