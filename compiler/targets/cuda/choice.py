"""Which convolutions cuDNN computes: those that it was seen to compute faster than the kernels of graphnn.

Both are tried once, on memory of their own, at the largest batch: a kernel of graphnn with its epilogue, and cuDNN's
with a pointwise kernel for the epilogue. What won is kept in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

import numpy as np

from graphnn.compiler.plan.form import View
from graphnn.compiler.targets.c.cache import cache_folder
from graphnn.compiler.targets.c.store import open_store
from graphnn.compiler.targets.cuda.cudnn import CudnnConvolution
from graphnn.compiler.targets.cuda.lowering import (
    Lowered,
    Places,
    kernel_text,
    kernels_of,
    lower,
    program_text,
    reads_of,
)
from graphnn.compiler.targets.cuda.machine import Kernel, Machine, Memory
from graphnn.compiler.targets.cuda.reductions import register_type
from graphnn.compiler.targets.cuda.units import Unit, is_told, value_behind
from graphnn.ops import dtypes
from graphnn.ops.conv import Convolution
from graphnn.ops.dtypes import DType, to_interface, to_storage
from graphnn.ops.errors import CompileError
from graphnn.ops.node import Node
from graphnn.ops.state import Assign

Winner = Literal["graphnn", "cudnn"]

ADVANTAGE = 0.98
"""cuDNN is taken if it needs less than this part of the time."""

RUNS = 8
"""Runs that are recorded, and timed together."""

REPEATS = 3
"""How often they are timed; the shortest time counts."""

COMPARED = 1 << 20
"""Elements of the result, the first ones, in which both must agree."""

_FORMAT = 1  # of the files and of how is measured: a higher one leaves all earlier files unused
_NOISE = 65521  # numbers that fill the inputs, over and over: a prime, so that no two images are the same


def choose_cudnn(unit: Unit, machine: Machine, max_batch: int, precision: str) -> CudnnConvolution | None:
    """Return cuDNN's way to compute a unit's convolution if that is faster, else None.

    Parameters
    ----------
    unit : Unit
        Any.
    machine : Machine
        Where the plan will run.
    max_batch : int
        The largest batch.
    precision : {"float32", "tf32"}
        What float32 may be multiplied in.
    """
    if len(unit.anchors) != 1 or not isinstance(unit.anchors[0].op, Convolution):
        return None
    cudnn = machine.cudnn
    if cudnn is None:
        return None
    key = _key(unit, cudnn.identity, max_batch, precision)
    winner = _kept(key)
    if winner == "graphnn":
        return None
    try:
        convolution = CudnnConvolution(cudnn, unit.anchors[0], max_batch, precision)
        if winner is None:
            winner = _measured(unit, convolution, machine, max_batch, precision, key)
    except Exception as error:  # noqa: BLE001  # whatever cuDNN fails at, graphnn's kernels do
        cudnn.complain(error)
        return None
    return convolution if winner == "cudnn" else None


def without_epilogue(unit: Unit) -> tuple[Unit, Unit | None]:
    """Return a unit's anchor as a unit of its own, and what is done with its result, if there is anything."""
    (anchor,) = unit.anchors
    alone = Unit("anchored", (anchor,), (anchor,), (anchor,))
    after = tuple(node for node in unit.after if not node.op.is_view)
    outputs = tuple(node for node in unit.outputs if node is not anchor)
    return alone, Unit("pointwise", after, outputs) if after else None


def _measured(
    unit: Unit, convolution: CudnnConvolution, machine: Machine, max_batch: int, precision: str, key: str
) -> Winner:
    """Compare results, then times; return what is faster, and keep that."""
    alone, after = without_epilogue(unit)
    trial = _Trial(machine, max_batch, precision)
    whole = trial.lowered(unit)
    parts = [replace(trial.lowered(alone, convolution.workspace), convolution=convolution)]
    parts += [trial.lowered(after)] if after else []
    trial.prepare([whole, *parts], alone)

    def ours() -> None:
        trial.run(whole)

    def theirs() -> None:
        for part in parts:
            trial.run(part)

    trial.run(replace(parts[0], convolution=None))
    expected = trial.result(unit.anchors[0])
    if not convolution.run(trial.addresses[parts[0]], max_batch):
        raise CompileError("cuDNN does not compute this convolution")
    _require_equal(trial.result(unit.anchors[0]), expected, unit.anchors[0].dtype, precision)
    seconds = {"graphnn": _seconds(machine, ours), "cudnn": _seconds(machine, theirs)}
    winner: Winner = "cudnn" if seconds["cudnn"] < ADVANTAGE * seconds["graphnn"] else "graphnn"
    _keep(key, {"winner": winner, "seconds": seconds, "of": unit.label})
    return winner


def _seconds(machine: Machine, work: Callable[[], None]) -> float:
    work()  # which loads what is loaded late; that could not be recorded
    replay = machine.record([work] * RUNS)  # as a plan runs it, without the time that Python needs
    replay()
    return min(machine.timed(replay) for _ in range(REPEATS)) / RUNS


def _require_equal(found: np.ndarray, expected: np.ndarray, dtype: DType, precision: str) -> None:
    """Refuse results that are not as close as two orders of the same sums are: TF32 instead of float32, say."""
    rounding = {dtypes.float64: 1e-10, dtypes.float32: 1e-4, dtypes.float16: 1e-2, dtypes.bfloat16: 4e-2}[dtype]
    allowed = 1e-2 if dtype is dtypes.float32 and precision == "tf32" else rounding
    apart = np.abs(found - expected).max() / np.abs(expected).max()
    if not apart <= allowed:
        raise CompileError(
            "cuDNN's result is not that of graphnn's kernel",
            expected=f"a difference up to {allowed:g} of the largest number",
            actual=f"{apart:g}",
        )


class _Trial:
    """What is tried, each value in memory of its own."""

    def __init__(self, machine: Machine, max_batch: int, precision: str) -> None:
        self._machine = machine
        self._max_batch = max_batch
        self._precision = precision
        self._owners: dict[Node, int] = {}
        self._rooms: dict[Lowered, int] = {}
        self._memory: dict[Node, Memory] = {}
        self._kernels: dict[str, Kernel] = {}
        self.addresses: dict[Lowered, list[int]] = {}

    def lowered(self, unit: Unit, room: int = 0) -> Lowered:
        """Return a unit's kernels for values without gaps, and with so much workspace at least."""
        instances = kernels_of(unit, self._max_batch, self._precision) if unit.anchors else []
        reads = tuple((node, self._view(node)) for node in reads_of(unit))
        writes = {node: self._view(node) for node in unit.outputs}
        room = max([room, *(instance.workspace for instance in instances)])
        places = Places(reads, writes, register_type(unit.anchors[-1].dtype) if room else "")
        lowered = lower(unit, f"trial{len(self._rooms)}", places, instances, self._max_batch)
        self._rooms[lowered] = room
        return lowered

    def _view(self, node: Node) -> View:
        spec = (node.inputs[0] if is_told(node) else node).spec
        return View(self._owners.setdefault(_owner(node), len(self._owners)), spec)
