"""graphnn's kernels in the GPU benchmark, one op at a time, and what a launch costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, cast
from unittest.mock import patch

import numpy as np

import graphnn as gn
from benchmarks.gpu.kernel_cases import ConvCase, KernelCase, Pass, PoolCase, arrays_of, case_of, sample_of
from benchmarks.gpu.repeats import repeats_for
from benchmarks.gpu.workloads import Precision
from benchmarks.pool_backward import SHAPE, WINDOW
from benchmarks.worker import Answer
from graphnn import ops
from graphnn.compiler.pipeline import Options, compile_graph
from graphnn.compiler.plan.form import Plan
from graphnn.compiler.target import LoadedPlan
from graphnn.compiler.targets.cuda.machine import Machine
from graphnn.compiler.targets.cuda.rules import RULES
from graphnn.compiler.targets.cuda.rules.pooling import gradient_by_one_thread
from graphnn.compiler.targets.cuda.target import CudaTarget
from graphnn.ops.avg_pool import AvgPool2d, AvgPool2dGradient
from graphnn.ops.conv import Conv2d, Conv2dDataGradient, Conv2dWeightGradient
from graphnn.ops.dtypes import to_interface
from graphnn.ops.max_pool import MaxPool2d, MaxPool2dGradient
from graphnn.ops.op import Op

OPS: dict[type[KernelCase], dict[Pass, tuple[type[Op], ...]]] = {
    ConvCase: {
        "forward": (Conv2d,),
        "data gradient": (Conv2dDataGradient,),
        "weight gradient": (Conv2dWeightGradient,),
    },
    PoolCase: {"forward": (MaxPool2d, AvgPool2d), "backward": (MaxPool2dGradient, AvgPool2dGradient)},
}
"""Which ops do a pass."""

TINY = 64
"""Elements that the kernels of `GraphnnKernels.launches` work on."""


class RepeatingMachine:
    """A machine that times work by many repetitions in one CUDA graph, and counts launches; else just like its own.

    A single launch between two events takes as long as Python needs for it; a graph leaves that out.

    Attributes
    ----------
    launches : int
        How many there were, those that were only recorded too.
    """

    cudnn = None  # what is timed here are the kernels of graphnn

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.launches = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._machine, name)

    def launch(self, *arguments: Any) -> None:
        """Ask for one run of a kernel."""
        self.launches += 1
        self._machine.launch(*arguments)

    def timed(self, work: Callable[[], None]) -> float:
        """Return how many seconds the device takes for `work`, on average."""
        work()  # the first run of a kernel loads it
        repeats = repeats_for(self._machine.timed(work))

        def repeated() -> None:
            for _ in range(repeats):
                work()

        replay = self._machine.record([repeated])
        replay()
        return self._machine.timed(replay) / repeats


class GraphnnKernels:
    """Plans of one op after the other, timed step by step.

    Parameters
    ----------
    device : {"cuda", "cuda-emulator"}
        Where they run.
    """

    def __init__(self, device: str) -> None:
        self._machine = RepeatingMachine(_machine(device))
        self._plan: Plan | None = None
        self._passes: dict[Pass, tuple[type[Op], ...]] = {}

    def about(self) -> Answer:
        """Tell graphnn's version."""
        return {"about": f"graphnn {gn.__version__} (target {self._machine.name})"}

    def prepare(self, name: str, batch: int | None, precision: Precision) -> Answer:
        """Compile a case's passes and run them once; tell some elements of their results."""
        case = case_of(name, batch)
        fetches = _fetches(case, precision)
        self._plan, self._loaded = self._load(fetches, precision=precision)
        self._passes = OPS[type(case)]
        values = self._loaded.run({}, 1)
        results = [to_interface(value, node.dtype) for node, value in zip(fetches, values, strict=True)]
        return {"samples": dict(zip(self._passes, map(sample_of, results), strict=True))}

    def time(self) -> Answer:
        """Time the passes of the case; what NumPy had to do is called "host"."""
        assert self._plan is not None
        times = self._loaded.time_steps({}, 1)
        answer: dict[str, dict[str, float]] = {}
        for name, ops_of_pass in self._passes.items():
            chosen = [
                (step, spent.seconds)
                for step, spent in zip(self._plan.steps, times, strict=True)
                if any(isinstance(node.op, ops_of_pass) for node in step.nodes)
            ]
            if not chosen:
                raise LookupError(f"no kernel of the plan computes the {name} pass")
            where = "host" if any(step.kernel.endswith("(host)") for step, _ in chosen) else ""
            answer[name] = {where: sum(seconds for _, seconds in chosen)}
        return {"passes": answer}

    def pool_loop(self, batch: int | None) -> Answer:
        """Time the gradient of max-pooling by graphnn's kernel, and by a plain loop in one thread."""
        seconds, results = {}, []
        rules = {MaxPool2dGradient: lambda node, _: [gradient_by_one_thread(node)]}
        for name, changed in (("kernel", {}), ("loop", rules)):
            with patch.dict(RULES, changed):
                plan, loaded = self._load([_pool_gradient(batch)])
            results.append(loaded.run({}, 1)[0])
            times = loaded.time_steps({}, 1)
            seconds[name] = sum(
                spent.seconds
                for step, spent in zip(plan.steps, times, strict=True)
                if isinstance(step.node.op, MaxPool2dGradient)
            )
        return {**seconds, "equal": bool(np.array_equal(results[0], results[1]))}

    def launches(self, steps: int, repeats: int) -> Answer:
        """Time a plan of tiny kernels, each of which needs the one before, for so many steps; and one of one step."""
        _, loaded = self._load([], [_chain(steps)])
        before = self._machine.launches
        loaded.run({}, 1)
        kernels = self._machine.launches - before
        on_device = self._machine._machine.timed(lambda: _repeat(loaded, repeats)) / repeats
        _, single = self._load([], [_chain(1)])
        single.run({}, 1)
        self._machine.synchronize()
        started = time.perf_counter()
        _repeat(single, repeats)
        self._machine.synchronize()
        return {"kernels": kernels, "seconds": on_device, "run": (time.perf_counter() - started) / repeats}

    def _load(
        self, fetches: Sequence[gn.Node], updates: Sequence[gn.Node] = (), precision: Precision = "fp32"
    ) -> tuple[Plan, LoadedPlan]:
        target = CudaTarget(cast(Machine, self._machine), "tf32" if precision == "tf32" else "float32")
        compiled = compile_graph(fetches, updates, Options(target=target, max_batch=1, training=True))
        return compiled.plan, target.load(compiled.plan)


def _machine(device: str) -> Machine:
    if device == "cuda":
        from graphnn.compiler.targets.cuda.cupy_machine import machine

        return machine()
    from graphnn.compiler.targets.cuda.emulator.machine import EmulatorMachine

    return EmulatorMachine()


def _repeat(loaded: LoadedPlan, repeats: int) -> None:
    for _ in range(repeats):
        loaded.run({}, 1)


def _fetches(case: KernelCase, precision: Precision) -> list[gn.Node]:
    """Return a case's results; all that they need are variables, which stay on the device."""
    dtype = "bfloat16" if precision == "bf16" else "float32"
    with gn.Graph():
        given = {
            name: gn.variable(name, values, trainable=False, dtype=dtype) for name, values in arrays_of(case).items()
        }
        x, dy = given["x"], given["dy"]
        if isinstance(case, ConvCase):
            weight = given["weight"]
            y = ops.conv2d(x, weight, stride=case.stride, padding=case.padding)
            return [y, *gn.gradients(y, [x, weight], grad_ys=dy)]
        pool = ops.max_pool2d if case.kind == "max" else ops.avg_pool2d
        y = pool(x, case.window, case.stride, case.padding)
        return [y, *gn.gradients(y, [x], grad_ys=dy)]


def _pool_gradient(batch: int | None) -> gn.Node:
    images, channels, rows, columns = SHAPE
    shape = (batch or images, channels, rows, columns)
    generator = np.random.default_rng(0)
    with gn.Graph():
        x = gn.variable("x", generator.standard_normal(shape, np.float32), trainable=False)
        y = ops.max_pool2d(x, WINDOW)
        pooled = (*shape[:2], rows // WINDOW, columns // WINDOW)
        dy = gn.variable("dy", generator.standard_normal(pooled, np.float32), trainable=False)
        (dx,) = gn.gradients(y, [x], grad_ys=dy)
    return dx


def _chain(steps: int) -> gn.Node:
    """Return an update by so many steps that no fusion can join: each needs all elements of the one before."""
    with gn.Graph():
        x = value = gn.variable("x", np.ones(TINY, np.float32), trainable=False)
        for _ in range(steps):
            value = value - value.mean()
        return ops.assign(x, value)
