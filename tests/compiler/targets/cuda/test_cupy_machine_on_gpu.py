"""The machine that is a GPU, on a GPU: what its stand-in can't vouch for."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from cuda_programs import ADD, BROKEN
from graphnn.compiler.targets.c.build import BuildError
from graphnn.compiler.targets.cuda.cupy_machine import CupyMachine, machine
from graphnn.ops.errors import CompileError

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def real() -> CupyMachine:
    return machine()


def test_addition(real: CupyMachine) -> None:
    kernel = real.compile(ADD, ["add"])["add"]
    count = 3_000_001
    memory = [real.allocate(4 * count) for _ in range(3)]
    rng = np.random.default_rng(0)
    x0, x1 = rng.standard_normal((2, count), np.float32)
    got = np.empty(count, np.float32)
    real.upload(memory[0].address, x0)
    real.upload(memory[1].address, x1)

    real.launch(kernel, (-(-count // 256), 1, 1), 256, [*(part.address for part in memory), count])
    real.download(memory[2].address, got)

    np.testing.assert_array_equal(got, x0 + x1)


def test_replay_counts_in_the_cards_memory(real: CupyMachine) -> None:
    kernel = real.compile(ADD, ["count"])["count"]
    memory = real.allocate(4)
    seen = real.pinned(4).view(np.int32)
    real.upload(memory.address, np.zeros(1, np.int32))

    def work() -> None:
        real.launch(kernel, (1, 1, 1), 32, [memory.address, 3])
        real.launch(kernel, (1, 1, 1), 32, [memory.address, 4])
        real.download_later(memory.address, seen)

    replay = real.record([work])
    for expected in (7, 14, 21):
        replay()
        real.synchronize()
        assert seen == expected


def test_failed_recordings_leave_the_stream_usable(real: CupyMachine) -> None:
    memory = real.allocate(4)
    number = np.zeros(1, np.int32)
    with pytest.raises(CompileError, match="can be recorded"):
        real.record([lambda: real.upload(memory.address, number)])
    with pytest.raises(real._runtime.CUDARuntimeError):
        real.record([real._stream.synchronize])
    real.upload(memory.address, number)
    kernel = real.compile(ADD, ["count"])["count"]
    real.record([lambda: real.launch(kernel, (1, 1, 1), 32, [memory.address, 2])])()
    real.download(memory.address, number)
    assert number == 2


def test_out_of_memory(real: CupyMachine) -> None:
    free, whole = real.memory_bytes
    assert 0 < free <= whole
    with pytest.raises(MemoryError, match="bytes of memory of the GPU"):
        real.allocate(2 * whole)
    assert real.allocate(1000).address % 256 == 0


def test_memory_comes_back(real: CupyMachine) -> None:
    before, _ = real.memory_bytes
    memory = real.allocate(1 << 28)
    assert real.memory_bytes[0] <= before - (1 << 28)
    del memory
    assert real.memory_bytes[0] >= before - (1 << 24)


def test_compile_error(real: CupyMachine) -> None:
    with pytest.raises(BuildError) as caught:
        real.compile(BROKEN, ["k1_add"])
    assert caught.value.message == "NVRTC failed on kernel k1_add - Add"
    assert caught.value.actual == 'line 5: error: identifier "nonsense" is undefined'


def test_missing_kernel(real: CupyMachine) -> None:
    with pytest.raises(CompileError, match="has no kernel 'subtract'"):
        real.compile(ADD, ["subtract"])


def test_timed(real: CupyMachine) -> None:
    assert real.timed(lambda: None) >= 0


def test_threads_share_it(real: CupyMachine) -> None:
    kernel = real.compile(ADD, ["count"])["count"]
    memory = real.allocate(4)
    number = np.zeros(1, np.int32)
    real.upload(memory.address, number)

    def work() -> None:
        for _ in range(50):
            real.record([lambda: real.launch(kernel, (1, 1, 1), 32, [memory.address, 1])])()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    real.download(memory.address, number)
    assert number == 200


def test_one_machine_a_card(real: CupyMachine) -> None:
    assert machine() is machine(0) is real
