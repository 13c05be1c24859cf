"""What tests of the CUDA target run on: the emulator, and with `-m gpu` a card; how to check a small graph there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from cuda_kernels import needs_emulator
from graphnn.compiler.reference import evaluate
from graphnn.compiler.targets import devices
from graphnn.compiler.targets.cuda.emulator.machine import EmulatorMachine
from graphnn.compiler.verification import agree
from graphnn.ops.state import Placeholder

DEVICES = (
    pytest.param("cuda-emulator", marks=needs_emulator),
    pytest.param("cuda", marks=pytest.mark.gpu),
)

NO_MACHINE: Any = SimpleNamespace(name="cuda-emulator", cudnn=None)
"""All that compiling a plan needs of a machine."""

Build = Callable[[], tuple[Sequence[gn.Node], Sequence[gn.Node]]]
"""Builds nodes in the graph at hand; returns fetches and updates."""


def use_emulator(monkeypatch: pytest.MonkeyPatch, machine: EmulatorMachine) -> None:
    """Let ``device="cuda-emulator"`` mean this machine: only for graphs that have not run on another."""
    monkeypatch.setattr(devices, "_emulator", lambda: machine)


def drawn(graph: gn.Graph, batch: int, seed: int = 0) -> dict[gn.Node, np.ndarray]:
    """Return random arrays for all placeholders; integers are 0, 1 or 2."""
    generator = np.random.default_rng([seed, batch])
    feeds = {}
    for node in graph.nodes:
        if isinstance(node.op, Placeholder):
            shape, dtype = node.spec.bind(batch).static_shape, node.dtype.interface
            real = node.dtype.is_floating
            feeds[node] = (generator.standard_normal(shape) if real else generator.integers(0, 3, shape)).astype(dtype)
    return feeds


def check(build: Build, device: str, batches: Sequence[int] = (3, 7, 1), **options: object) -> gn.Executor:
    """Run a graph once for each batch size, each time against plain evaluation; return the executor."""
    with gn.Graph(seed=3) as graph:
        fetches, updates = build()
    settings = {"max_batch": max(batches), "training": True, "verify": True, **options}
    executor = gn.Executor(list(fetches), updates, device=device, **settings)  # type: ignore[arg-type]  # as given
    assert executor.plan.target == device
    for number, batch in enumerate(batches):
        feeds = drawn(graph, batch, number)
        expected = evaluate([*fetches, *updates], feeds, training=True, batch=batch)
        used = {node: value for node, value in feeds.items() if node in executor.plan.feeds}
        actual = [*executor.run(used), *(graph.get_value(update.inputs[0]) for update in updates)]
        for node, wanted, value in zip([*fetches, *updates], expected, actual, strict=True):
            assert (value.dtype, value.shape) == (wanted.dtype, wanted.shape), node
            assert agree(wanted, value, node.dtype), f"{node} at batch {batch}:\n{value}\ninstead of\n{wanted}"
    return executor


def kernels(executor: gn.Executor) -> list[str]:
    """Return the names of a plan's steps without their numbers."""
    return [step.kernel.split("_", 1)[1] if step.kernel[0] == "k" else step.kernel for step in executor.plan.steps]
