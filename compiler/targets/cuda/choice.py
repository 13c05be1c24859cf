"""Which convolutions cuDNN computes: those that it was seen to compute faster than the kernels of graphnn.

Both are tried once, on memory of their own, at the largest batch: a kernel of graphnn with its epilogue, and cuDNN's
with a pointwise kernel for the epilogue. What won is kept in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal, cast

import numpy as np

from graphnn.compiler.plan.form import View
from graphnn.compiler.plan.views import view_of
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
from graphnn.compiler.targets.cuda.units import Unit, is_told
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
    if len(unit.anchors) != 1 or not isinstance(unit.anchors[0].op, Convolution) or unit.before:
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
    (anchor,) = unit.anchors
    alone, after = without_epilogue(unit)
    trial = _Trial(machine, max_batch, precision, convolution.workspace)
    fused, plain = trial.add(unit), trial.add(alone)
    rest = trial.add(after) if after else None
    trial.prepare(anchor)

    def theirs() -> None:
        if not convolution.run(trial.addresses(plain), max_batch):
            raise CompileError("cuDNN does not compute this convolution")
        if rest:
            trial.run(rest)

    trial.run(plain)
    expected = trial.result(anchor)
    trial.fill(anchor, np.zeros(1))
    theirs()
    _require_equal(trial.result(anchor), expected, anchor.dtype, precision)
    seconds = {"graphnn": _seconds(machine, lambda: trial.run(fused)), "cudnn": _seconds(machine, theirs)}
    winner: Winner = "cudnn" if seconds["cudnn"] < ADVANTAGE * seconds["graphnn"] else "graphnn"
    _keep(key, {"winner": winner, "seconds": seconds, "unit": unit.label})
    return winner


def _seconds(machine: Machine, work: Callable[[], None]) -> float:
    work()  # which loads what is loaded late: that could not be recorded
    replay = machine.record([work] * RUNS)  # as a plan runs it, without the time that Python takes
    replay()
    return min(machine.timed(replay) for _ in range(REPEATS)) / RUNS


def _require_equal(found: np.ndarray, expected: np.ndarray, dtype: DType, precision: str) -> None:
    """Refuse results further apart than two orders of the same sums: TF32 instead of float32, say."""
    rounding = {dtypes.float64: 1e-10, dtypes.float32: 1e-4, dtypes.float16: 1e-2, dtypes.bfloat16: 4e-2}[dtype]
    allowed = 1e-2 if dtype is dtypes.float32 and precision == "tf32" else rounding
    apart = np.abs(found - expected).max()
    if not apart <= allowed * np.abs(expected).max():
        raise CompileError(
            "cuDNN's result is not that of graphnn's kernel",
            expected=f"differences up to {allowed:g} of the largest number, {np.abs(expected).max():g}",
            actual=f"{apart:g}",
        )


class _Trial:
    """What is tried, with memory for its values."""

    def __init__(self, machine: Machine, max_batch: int, precision: str, room: int) -> None:
        self._machine = machine
        self._max_batch = max_batch
        self._precision = precision
        self._room = room
        self._owners: list[Node] = []
        self._memory: list[Memory] = []
        self._views: dict[str, list[View]] = {}
        self._lowered: dict[str, Lowered] = {}
        self._roomy: set[str] = set()
        self._kernels: Mapping[str, Kernel] = {}

    def add(self, unit: Unit) -> str:
        """Print a unit, and return its name."""
        name = f"trial{len(self._lowered)}"
        instances = kernels_of(unit, self._max_batch, self._precision) if unit.anchors else []
        dense = unit.anchors[-1].inputs if unit.anchors else ()
        reads = tuple((node, self._own(node) if node in dense else self._view(node)) for node in reads_of(unit))
        writes = {node: self._view(node) for node in unit.outputs}
        self._room = max([self._room, *(instance.workspace for instance in instances)])
        places = Places(reads, writes, register_type(unit.anchors[-1].dtype) if unit.anchors else "")
        self._lowered[name] = lower(unit, name, places, instances, self._max_batch)
        self._views[name] = [*(view for _, view in reads), *writes.values()]
        if unit.anchors:
            self._roomy.add(name)
        return name

    def _view(self, node: Node) -> View:
        """Return where a value is, as a plan would show it."""
        if isinstance(node.op, Assign) or is_told(node):
            return self._view(node.inputs[0])
        shown = view_of(node, self._view(node.inputs[0])) if node.op.is_view else None
        return shown or self._own(node)

    def _own(self, node: Node) -> View:
        if node not in self._owners:
            self._owners.append(node)
        return View(self._owners.index(node), node.spec)

    def prepare(self, anchor: Node) -> None:
        """Compile all units, and let the anchor's inputs be noise; other numbers make no difference to the time."""
        texts = [lowered.text for lowered in self._lowered.values()]
        names = [launch.kernel for lowered in self._lowered.values() for launch in lowered.launches]
        self._kernels = self._machine.compile(program_text(texts), names)
        sizes = [*(node.spec.nbytes(self._max_batch) for node in self._owners), self._room]
        self._memory = [self._machine.allocate(max(1, size)) for size in sizes]
        noise = np.random.default_rng(0).standard_normal(_NOISE)
        for node in anchor.inputs:
            self.fill(node, noise)

    def fill(self, node: Node, numbers: np.ndarray) -> None:
        """Let a value be the same numbers over and over."""
        values = to_storage(np.resize(numbers.astype(np.float32), node.spec.elements(self._max_batch)), node.dtype)
        self._machine.upload(self._address(self._own(node)), values)

    def result(self, node: Node) -> np.ndarray:
        """Return the first elements of a value."""
        values = np.empty(min(COMPARED, node.spec.elements(self._max_batch)), node.dtype.storage)
        self._machine.download(self._address(self._own(node)), values)
        return to_interface(values, node.dtype).astype(np.float64)

    def addresses(self, name: str) -> list[int]:
        """Return what a unit's kernels are given: reads, writes, workspace."""
        return [*map(self._address, self._views[name]), *([self._memory[-1].address] if name in self._roomy else [])]

    def run(self, name: str) -> None:
        """Ask for one run of a unit."""
        self._lowered[name].run(self._machine, self._kernels, self.addresses(name), self._max_batch)

    def _address(self, view: View) -> int:
        return self._memory[view.storage].address + view.bound_offset(self._max_batch) * view.spec.dtype.itemsize


def _key(unit: Unit, identity: str, max_batch: int, precision: str) -> str:
    """Return the digest of all that times depend on."""
    nodes = [[repr(node.op), str(node.spec), *(str(given.spec) for given in node.inputs)] for node in unit.nodes]
    instances = kernels_of(unit, max_batch, precision)
    kernels = [[instance.file, kernel_text(instance.file), sorted(instance.defines.items())] for instance in instances]
    described = json.dumps([_FORMAT, identity, precision, max_batch, nodes, kernels])
    return hashlib.sha256(described.encode()).hexdigest()


def _kept(key: str) -> Winner | None:
    """Return what won before; None if that is not known, or its file is damaged."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        winner = json.loads(_file(key).read_text("utf-8"))["winner"]
        if winner in ("graphnn", "cudnn"):
            return cast(Winner, winner)
    return None


def _keep(key: str, found: Mapping[str, object]) -> None:
    """Write a file, at once or not at all; where none can be kept, the next compile measures anew."""
    with suppress(OSError):
        file = _file(key)
        descriptor, name = tempfile.mkstemp(prefix=f"{key[:16]}-", suffix=".part", dir=file.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as part:
                json.dump(found, part)
            Path(name).replace(file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _file(key: str) -> Path:
    return open_store(cache_folder()).folder / f"{key}.json"
