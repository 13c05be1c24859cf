"""Kernels that no GPU would run to their end raise errors that name the kernel, block, threads and lines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from graphnn.compiler.targets.c.build import BuildError, Compiler
from graphnn.compiler.targets.cuda.emulator.machine import EmulatorMachine, KernelError

Emulate = Callable[..., list[np.ndarray]]

ORDERS = ("forward", "reverse", 0, 1)


def kernel(body: str) -> str:
    return f"""
GN_KERNEL(128) faulty(float *y0, int n)
{{
    const int thread = threadIdx.x;
    float value = thread;
    {body}
    y0[thread] = value;
}}
"""


FAULTS = {
    "two barriers": (
        "if (thread < 64) {\n gn_barrier(); value = 1;\n } else {\n value = 2; gn_barrier();\n }",
        ["gn_barrier", "`gn_barrier(); value = 1;`", "`value = 2; gn_barrier();`", "they must meet at the same place"],
    ),
    "a barrier for one warp more often": (
        "gn_barrier();\n if (thread < 64) gn_barrier();\n value += 1;\n gn_barrier();",
        ["`if (thread < 64) gn_barrier();`", "`gn_barrier();`"],
    ),
    "half a warp at a barrier, the other at a shuffle": (
        "if (thread % 32 < 16)\n gn_barrier();\n else\n value = gn_shuffle(value, 0);",
        ["gn_barrier", "gn_shuffle", "`value = gn_shuffle(value, 0);`"],
    ),
    "different shuffles": (
        "if (thread % 2)\n value = gn_shuffle_down(value, 1);\n else\n value = gn_shuffle_xor(value, 1);",
        ["gn_shuffle_down", "gn_shuffle_xor"],
    ),
    "the same shuffle at two places": (
        "if (thread % 2)\n value = gn_shuffle(value, 1);\n else\n value = gn_shuffle(value, 2);",
        ["`value = gn_shuffle(value, 1);`", "`value = gn_shuffle(value, 2);`"],
    ),
    "a vote without all lanes": (
        "if (thread == 70) return;\n value = gn_any(thread == 3);",
        ["thread 64 waits at gn_any", "needs all 32 lanes", "thread 70 has ended"],
    ),
    "a product without all lanes": (
        "if (thread % 32 >= 30) return;\n uint32_t a[4] = {}, b[2] = {}; float d[4] = {};\n gn_mma_bf16(d, a, b);",
        ["gn_mma_bf16", "has ended"],
    ),
    "too much shared memory": (
        "GN_SHARED(double, wide, 6000);\n GN_SHARED(float, more, 1000);\n wide[0] = more[0] = value;",
        ["52000 bytes, more than 49152"],
    ),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(emulate: Emulate, fault: str, order: str) -> None:
    body, said = FAULTS[fault]
    y = np.zeros(128, np.float32)
    with pytest.raises(KernelError) as caught:
        emulate(kernel(body), "faulty", y, n=1, grid=(1, 1, 1), threads=128, order=order)
    assert "kernel faulty" in caught.value.message
    assert caught.value.actual.startswith("block (0, 0, 0): ")
    for part in said:
        assert part in caught.value.actual
    assert caught.value.hint


def test_a_block_is_named_and_the_machine_goes_on(compiler: Compiler, device_header: str) -> None:
    text = kernel("if (blockIdx.y == 2 && thread == 5)\n gn_barrier();\n else\n gn_warp_barrier();")
    machine = EmulatorMachine(compiler=compiler)
    faulty = machine.compile(device_header + text, ["faulty"])["faulty"]
    memory = machine.allocate(4 * 128)
    for _ in range(3):
        with pytest.raises(KernelError, match=r"block \(0, 2, 0\): thread 0 .* thread 5 at gn_barrier"):
            machine.launch(faulty, (1, 3, 1), 40, [memory.address, 1])
        machine.launch(faulty, (1, 2, 1), 40, [memory.address, 1])
    values = np.empty(40, np.float32)
    machine.download(memory.address, values)
    np.testing.assert_array_equal(values, np.arange(40))


def test_lanes_that_do_not_exist_are_missing(emulate: Emulate) -> None:
    text = kernel("value = gn_shuffle(value, 0);")
    with pytest.raises(KernelError, match="thread 40 does not exist"):
        emulate(text, "faulty", np.zeros(40, np.float32), n=1, threads=40)


def test_text_that_is_no_cuda_names_the_kernel(emulate: Emulate) -> None:
    with pytest.raises(BuildError, match="kernel half of it") as caught:
        emulate("/* kernel: half of it */" + kernel("value = nothing;"), "faulty", np.zeros(1, np.float32), n=1)
    assert "nothing" in caught.value.actual


@pytest.mark.parametrize("size", [1, 2, 16])
def test_only_values_of_4_or_8_bytes_are_shuffled(emulate: Emulate, size: int) -> None:
    kind = {1: "uint8_t", 2: "uint16_t", 16: "float4"}[size]
    with pytest.raises(BuildError, match="4 or 8 bytes"):
        emulate(kernel(f"gn_shuffle({kind}{{}}, 0);"), "faulty", np.zeros(1, np.float32), n=1)


@pytest.mark.parametrize(
    ("grid", "threads", "arguments", "said"),
    [
        ((1, 1, 1), 1025, 2, "1025 threads"),
        ((1, 1, 1), 0, 2, "0 threads"),
        ((1, 65536, 1), 32, 2, "(1, 65536, 1) blocks"),
        ((0, 1, 1), 32, 2, "(0, 1, 1) blocks"),
        ((1, 1, 1), 32, 3, "3"),
        ((1, 1, 1), 32, 1, "1"),
    ],
)
def test_a_launch_that_no_gpu_would_do(
    compiler: Compiler, device_header: str, grid: tuple[int, int, int], threads: int, arguments: int, said: str
) -> None:
    machine = EmulatorMachine(compiler=compiler)
    faulty = machine.compile(device_header + kernel(""), ["faulty"])["faulty"]
    memory = machine.allocate(4 * 2048)
    with pytest.raises(KernelError) as caught:
        machine.launch(faulty, grid, threads, [memory.address] * (arguments - 1) + [1])
    assert said in caught.value.actual


def test_addresses_of_launches_and_copies_are_checked(compiler: Compiler, device_header: str) -> None:
    machine = EmulatorMachine(compiler=compiler)
    faulty = machine.compile(device_header + kernel(""), ["faulty"])["faulty"]
    memory = machine.allocate(512)
    host = np.zeros(128, np.float32)
    machine.upload(memory.address, host)
    for address in (memory.address + 4, memory.address - 4, host.ctypes.data):
        with pytest.raises(ValueError, match="upload of 512 bytes"):
            machine.upload(address, host)
        with pytest.raises(ValueError, match="download of 512 bytes"):
            machine.download(address, host)
    with pytest.raises(KernelError, match="not in device memory"):
        machine.launch(faulty, (1, 1, 1), 32, [host.ctypes.data, 1])
    address = memory.address
    del memory
    with pytest.raises(KernelError, match="not in device memory"):
        machine.launch(faulty, (1, 1, 1), 32, [address, 1])


def test_copies_want_arrays_in_one_piece(compiler: Compiler) -> None:
    machine = EmulatorMachine(compiler=compiler)
    memory = machine.allocate(4096)
    columns = np.zeros((8, 8), np.float32)[:, :4]
    with pytest.raises(ValueError, match="C-contiguous"):
        machine.upload(memory.address, columns)
    with pytest.raises(ValueError, match="C-contiguous"):
        machine.download(memory.address, columns)
    constant = np.zeros(8, np.float32)
    constant.flags.writeable = False
    with pytest.raises(ValueError, match="writable"):
        machine.download(memory.address, constant)


def test_what_cannot_be_had_is_a_memory_error(compiler: Compiler) -> None:
    with pytest.raises(MemoryError, match="bytes"):
        EmulatorMachine(compiler=compiler).allocate(1 << 60)
