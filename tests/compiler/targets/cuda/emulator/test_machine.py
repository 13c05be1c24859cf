"""The emulator as a machine: memory, recorded work, programs kept on the disk."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from graphnn.compiler.targets.c.build import Compiler
from graphnn.compiler.targets.cuda.emulator import toolchain
from graphnn.compiler.targets.cuda.emulator.machine import EmulatorMachine
from graphnn.compiler.targets.cuda.machine import Kernel
from graphnn.ops.errors import CompileError

TEXT = """
GN_KERNEL(32) add(const float *x0, float *y0, int n)
{
    if (threadIdx.x < n) y0[threadIdx.x] += x0[threadIdx.x];
}
GN_KERNEL(32) fill(const uint8_t *bytes, const double *wide, int64_t *y0, int n)
{
    y0[threadIdx.x] = bytes[threadIdx.x] + (int64_t)wide[0] + n;
}
"""


@pytest.fixture
def machine(compiler: Compiler) -> EmulatorMachine:
    return EmulatorMachine(compiler=compiler)


@pytest.fixture
def add(machine: EmulatorMachine, device_header: str) -> Kernel:
    return machine.compile(device_header + TEXT, ["add", "add", "fill"])["add"]


def test_memory_is_aligned_garbage(machine: EmulatorMachine) -> None:
    memories = [machine.allocate(nbytes) for nbytes in (1, 40, 4000)]
    for memory in memories:
        assert memory.address % 256 == 0
        content = np.zeros(memory.nbytes, np.uint8)
        machine.download(memory.address, content)
        assert (content == 255).all()


def test_arrays_come_back_from_any_place(machine: EmulatorMachine) -> None:
    memory = machine.allocate(64)
    machine.upload(memory.address + 24, np.arange(5, dtype=np.int64))
    content = np.empty(5, np.int64)
    machine.download(memory.address + 24, content)
    assert content.tolist() == [0, 1, 2, 3, 4]
    machine.upload(memory.address + 64, np.empty(0, np.float32))


def test_arguments_have_the_types_of_parameters(machine: EmulatorMachine, device_header: str) -> None:
    fill = machine.compile(device_header + TEXT, ["fill"])["fill"]
    bytes_, wide, out = machine.allocate(32), machine.allocate(8), machine.allocate(256)
    machine.upload(bytes_.address, np.arange(200, 232, dtype=np.uint8))
    machine.upload(wide.address, np.array([1e15]))
    machine.launch(fill, (1, 1, 1), 32, [bytes_.address, wide.address, out.address, -7])
    content = np.empty(32, np.int64)
    machine.download(out.address, content)
    np.testing.assert_array_equal(content, np.arange(200, 232) + 10**15 - 7)


def test_recorded_work_runs_when_called(machine: EmulatorMachine, add: Kernel) -> None:
    x, y = machine.allocate(128), machine.allocate(128)
    machine.upload(x.address, np.ones(32, np.float32))
    machine.upload(y.address, np.zeros(32, np.float32))
    values = np.empty(32, np.float32)

    def work() -> None:
        machine.launch(add, (1, 1, 1), 32, [x.address, y.address, 32])
        machine.launch(add, (1, 1, 1), 32, [x.address, y.address, 8])

    replay = machine.record([work])
    machine.download(y.address, values)
    assert not values.any()
    for _ in range(3):
        replay()
    machine.synchronize()
    machine.download(y.address, values)
    assert values.tolist() == [6] * 8 + [3] * 24


def test_only_launches_are_recorded(machine: EmulatorMachine) -> None:
    memory = machine.allocate(4)
    with pytest.raises(CompileError, match="upload"):
        machine.record([lambda: machine.upload(memory.address, np.zeros(1, np.float32))])
    with pytest.raises(CompileError, match="once more"):
        machine.record([lambda: machine.record([machine.synchronize])()])
    machine.upload(memory.address, np.zeros(1, np.float32))


def test_other_threads_do_not_get_recorded(machine: EmulatorMachine, add: Kernel) -> None:
    x, y = machine.allocate(128), machine.allocate(128)
    machine.upload(x.address, np.ones(32, np.float32))
    machine.upload(y.address, np.zeros(32, np.float32))
    values = np.empty(32, np.float32)

    def launch() -> None:
        machine.launch(add, (1, 1, 1), 32, [x.address, y.address, 32])

    def work() -> None:
        launch()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(launch).result()

    replay = machine.record([work])
    machine.download(y.address, values)
    assert (values == 1).all()
    replay()
    machine.download(y.address, values)
    assert (values == 2).all()


def test_time_and_memory(machine: EmulatorMachine, add: Kernel) -> None:
    x = machine.allocate(128)
    assert machine.timed(lambda: machine.launch(add, (1, 1, 1), 32, [x.address, x.address, 32])) > 0
    free, whole = machine.memory_bytes
    assert 0 < free <= whole


def test_programs_are_kept(compiler: Compiler, device_header: str, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    for _ in range(2):
        EmulatorMachine(compiler=compiler, folder=folder).compile(device_header + TEXT, ["add"])
        assert len(list(folder.glob("*.so"))) == 2, "the program and the scheduler"
        compiler = replace(compiler)  # equal, so that the files are found again


def test_a_program_of_many_kernels_is_built_in_parts(machine: EmulatorMachine, device_header: str) -> None:
    names = [f"kernel_{number}" for number in range(50)]
    text = device_header + "".join(
        f"GN_KERNEL(32) {name}(int *y0, int n) {{ y0[threadIdx.x] = n + {number}; }}\n"
        for number, name in enumerate(names)
    )
    kernels = machine.compile(text, names)
    assert list(kernels) == names
    y = machine.allocate(128)
    values = np.empty(32, np.int32)
    for number, name in enumerate(names):
        machine.launch(kernels[name], (1, 1, 1), 32, [y.address, 100])
        machine.download(y.address, values)
        assert (values == 100 + number).all()


def test_no_compiler_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "find_compiler", lambda: None)
    with pytest.raises(CompileError, match=r"needs a C\+\+ compiler") as caught:
        EmulatorMachine()
    assert "install" in caught.value.hint


def test_a_c_compiler_without_cpp_is_said(compiler: Compiler, tmp_path: Path) -> None:
    script = tmp_path / "cc"
    script.write_text(
        "#!/bin/sh\necho \"cc: fatal error: cannot execute 'cc1plus': No such file or directory\"\nexit 1\n"
    )
    script.chmod(0o755)
    with pytest.raises(CompileError, match=r"needs a C\+\+ compiler") as caught:
        EmulatorMachine(compiler=replace(compiler, command=(str(script),)), folder=tmp_path / "kept")
    assert "cc1plus" in caught.value.actual
    assert "install" in caught.value.hint
