"""Kernels under AddressSanitizer: what reads or writes beyond memory is found, and what does not runs as always."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compiled_kernels import run_with_sanitizers_loaded, sanitizing
from graphnn.compiler.targets.c.build import Compiler
from graphnn.compiler.targets.cuda import kernels
from graphnn.compiler.targets.cuda.emulator.machine import EmulatorMachine, KernelError

TEXT = """
GN_KERNEL(128) turned(const float *x0, float *y0, int n)
{
    GN_SHARED(float, part, 128);
    const int thread = threadIdx.x;
    part[IN_SHARED_MEMORY] = x0[thread];
    gn_barrier();
    float own[4] = {part[127 - thread], 0, 0, 0};
    own[1] = gn_shuffle_xor(own[0], 1);
    const uint32_t a[4] = {}, b[2] = {};
    gn_mma_tf32(own, a, b);
    STATEMENT;
    y0[IN_DEVICE_MEMORY] = gn_shuffle_xor(own[1], 1);
}
"""

INSIDE = {"IN_SHARED_MEMORY": "thread", "IN_DEVICE_MEMORY": "thread", "STATEMENT": ""}
OUTSIDE = {
    "beyond shared memory": {"IN_SHARED_MEMORY": "thread + n"},
    "before shared memory": {"IN_SHARED_MEMORY": "thread - n"},
    "beyond device memory": {"IN_DEVICE_MEMORY": "thread + n"},
    "before device memory": {"IN_DEVICE_MEMORY": "thread - n"},
    "beyond an own array": {"STATEMENT": "own[n * 4] = 1"},
}


def run_kernel(changes: dict[str, str], folder: str) -> None:
    """Run the kernel several times, with a fault in one of its threads or without."""
    from graphnn.compiler.targets.cuda.emulator.toolchain import emulator_compiler

    text = (Path(kernels.__file__).parent / "device.h").read_text() + TEXT
    for name, value in {**INSIDE, **changes}.items():
        text = text.replace(name, value)
    machine = EmulatorMachine(compiler=sanitizing(emulator_compiler()), folder=Path(folder))
    turned = machine.compile(text, ["turned"])["turned"]
    x, y = machine.allocate(512), machine.allocate(512)
    values = np.arange(128, dtype=np.float32)
    machine.upload(x.address, values)
    result = np.empty_like(values)
    for _ in range(4):
        machine.launch(turned, (2, 1, 1), 128, [x.address, y.address, 1])
        machine.download(y.address, result)
        np.testing.assert_array_equal(result, values[::-1])


def run_stopped_threads(folder: str) -> None:
    """Threads are left in the middle, and others begin where they stood."""
    with pytest.raises(KernelError):
        run_kernel({"STATEMENT": "if (thread % 32 < 16) gn_barrier()"}, folder)
    run_kernel({}, folder)


def call(compiler: Compiler, function: str, *arguments: object) -> None:
    script = f"import runpy; runpy.run_path({__file__!r})[{function!r}](*{arguments!r})"
    run_with_sanitizers_loaded(compiler, script)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("sanitized") / "kept")


def test_a_right_kernel_runs(compiler: Compiler, folder: str) -> None:
    call(compiler, "run_kernel", {}, folder)


def test_threads_that_never_end_leave_nothing_behind(compiler: Compiler, folder: str) -> None:
    call(compiler, "run_stopped_threads", folder)


@pytest.mark.parametrize("fault", OUTSIDE)
def test_an_access_outside_is_found(compiler: Compiler, folder: str, fault: str) -> None:
    with pytest.raises(AssertionError, match=r"AddressSanitizer|runtime error: index"):
        call(compiler, "run_kernel", OUTSIDE[fault], folder)
