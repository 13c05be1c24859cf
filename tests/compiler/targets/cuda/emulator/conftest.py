"""Kernels of the tests' own on the emulator: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphnn.compiler.targets.c.build import Compiler
from graphnn.compiler.targets.c.toolchain import unavailable_reason
from graphnn.compiler.targets.cuda import kernels
from graphnn.compiler.targets.cuda.emulator.machine import EmulatorMachine, Order
from graphnn.compiler.targets.cuda.emulator.toolchain import emulator_compiler

DEVICE = (Path(kernels.__file__).parent / "device.h").read_text()

Emulate = Callable[..., list[np.ndarray]]


@pytest.fixture(scope="session")
def device_header() -> str:
    return DEVICE


@pytest.fixture(scope="session")
def compiler() -> Compiler:
    if reason := unavailable_reason():
        pytest.skip(reason)
    return emulator_compiler()


@pytest.fixture(scope="session")
def emulate(compiler: Compiler) -> Emulate:
    """Return a function that runs a kernel once on some arrays and returns what they are afterwards."""

    def run(
        text: str,
        name: str,
        *arrays: np.ndarray,
        n: int,
        grid: tuple[int, int, int] = (1, 1, 1),
        threads: int = 32,
        order: Order | None = None,
        **changes: Any,
    ) -> list[np.ndarray]:
        machine = EmulatorMachine(order, **{"compiler": compiler, **changes})
        kernel = machine.compile(DEVICE + text, [name])[name]
        memories = [machine.allocate(array.nbytes) for array in arrays]
        for memory, array in zip(memories, arrays, strict=True):
            machine.upload(memory.address, array)
        machine.launch(kernel, grid, threads, [*(memory.address for memory in memories), n])
        results = [np.empty_like(array) for array in arrays]
        for memory, result in zip(memories, results, strict=True):
            machine.download(memory.address, result)
        return results

    return run
