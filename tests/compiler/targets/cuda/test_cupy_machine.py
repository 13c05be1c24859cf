"""The machine that is a GPU, on a stand-in for CuPy that is late with everything."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cuda_doubles import Card, CudaRuntimeError
from cuda_programs import ADD, BROKEN
from cudnn_doubles import CudnnDouble
from graphnn.compiler.targets.c.build import BuildError
from graphnn.compiler.targets.cuda.availability import GpuUnavailableError, describe
from graphnn.compiler.targets.cuda.cupy_machine import OPTIONS, STAGE_BYTES, CupyMachine, machine
from graphnn.compiler.targets.cuda.machine import Replay
from graphnn.ops.errors import CompileError


def floats(address: int, count: int) -> np.ndarray:
    return np.ctypeslib.as_array((ctypes.c_float * count).from_address(address))


def add(x0: int, x1: int, y0: int, n: int) -> None:
    floats(y0, int(n))[:] = floats(x0, int(n)) + floats(x1, int(n))


def count(y0: int, n: int) -> None:
    floats(y0, 1).view(np.int32)[0] += n


@pytest.fixture
def card() -> Card:
    return Card({ADD: {"add": add, "count": count}})


@pytest.fixture
def gpu(card: Card) -> CupyMachine:
    return CupyMachine(card, 1)  # not the current device


def test_facts(card: Card, gpu: CupyMachine) -> None:
    assert (gpu.name, gpu.architecture, gpu.multiprocessors) == ("cuda", 90, 132)
    assert gpu.memory_bytes == (card.whole, card.whole)


@pytest.mark.parametrize("count", [0, 1, STAGE_BYTES - 1, STAGE_BYTES, 3 * STAGE_BYTES + 5])
def test_what_goes_up_comes_down(gpu: CupyMachine, count: int) -> None:
    memory = gpu.allocate(count + 8)
    given = np.random.default_rng(count).integers(0, 256, count, np.uint8)
    sent = given.copy()
    gpu.upload(memory.address + 8, sent)
    sent[:] = 0  # it may be changed at once

    got = np.empty_like(given)
    gpu.download(memory.address + 8, got)

    np.testing.assert_array_equal(got, given)


def test_arrays_of_any_shape_are_copied(gpu: CupyMachine) -> None:
    memory = gpu.allocate(1000)
    for given in (np.array(2.5), np.ones((3, 4), bool), np.arange(6.0).reshape(2, 3), np.empty((0, 3), np.float32)):
        gpu.upload(memory.address, given)
        got = np.empty_like(given)
        gpu.download(memory.address, got)
        np.testing.assert_array_equal(got, given)


def test_gaps_are_refused(gpu: CupyMachine) -> None:
    memory = gpu.allocate(100)
    array = np.zeros((4, 4), np.uint8)[:, ::2]
    for copy in (gpu.upload, gpu.download, gpu.upload_later, gpu.download_later):
        with pytest.raises(ValueError, match="C-contiguous"):
            copy(memory.address, array)


def test_launch(card: Card, gpu: CupyMachine) -> None:
    kernels = gpu.compile(ADD, ["add"])
    assert set(kernels) == {"add"}
    assert card.options == OPTIONS
    memory = gpu.allocate(2400)
    x0, x1, y0 = (memory.address + 800 * place for place in range(3))
    gpu.upload(x0, np.arange(200, dtype=np.float32))
    gpu.upload(x1, np.full(200, 2, np.float32))

    gpu.launch(kernels["add"], (1, 1, 1), 256, [x0, x1, y0, 200])

    got = np.empty(200, np.float32)
    gpu.download(y0, got)
    np.testing.assert_array_equal(got, np.arange(2, 202))


def test_recorded_work_runs_only_when_replayed(gpu: CupyMachine) -> None:
    kernels = gpu.compile(ADD, ["count"])
    memory = gpu.allocate(4)
    number, seen = np.zeros(1, np.int32), gpu.pinned(4).view(np.int32)
    gpu.upload(memory.address, number)

    def work() -> None:
        gpu.launch(kernels["count"], (1, 1, 1), 32, [memory.address, 3])
        gpu.download_later(memory.address, seen)

    replay = gpu.record([work])
    gpu.download(memory.address, number)
    assert number == 0
    for expected in (3, 6, 9):
        replay()
        gpu.synchronize()
        assert seen == expected


def test_pinned_arrays_are_read_when_their_turn_comes(gpu: CupyMachine) -> None:
    memory = gpu.allocate(8)
    feed = gpu.pinned(8)
    replay = gpu.record([lambda: gpu.upload_later(memory.address, feed)])
    got = np.empty(8, np.uint8)
    for value in (1, 2):
        feed[:] = value
        replay()
        gpu.download(memory.address, got)
        np.testing.assert_array_equal(got, value)


def test_recordings_keep_what_they_use(gpu: CupyMachine) -> None:
    memory = gpu.allocate(4)

    def recording() -> tuple[Replay, list[weakref.ref[object]]]:
        kernel, zero = gpu.compile(ADD, ["count"])["count"], gpu.pinned(4)
        zero[:] = 0

        def work() -> None:
            gpu.upload_later(memory.address, zero)
            gpu.launch(kernel, (1, 1, 1), 32, [memory.address, 7])

        return gpu.record([work]), [weakref.ref(zero), weakref.ref(kernel)]

    replay, used = recording()
    gc.collect()
    assert all(reference() is not None for reference in used)

    number = np.empty(1, np.int32)
    replay()
    gpu.download(memory.address, number)
    assert number == 7
    del replay
    gc.collect()
    assert all(reference() is None for reference in used)


def test_libraries_work_on_the_stream_and_are_recorded(card: Card, gpu: CupyMachine) -> None:
    asked: list[int] = []

    def recording() -> tuple[Replay, weakref.ref[object]]:
        def work(stream: int) -> None:
            asked.append(stream)
            card.streams[0].ask(lambda: asked.append(-1))

        gpu.call(work)
        gpu.synchronize()
        assert asked == [card.streams[0].ptr, -1]
        return gpu.record([lambda: gpu.call(work)]), weakref.ref(work)

    replay, used = recording()
    gc.collect()
    assert used() is not None
    gpu.synchronize()
    assert asked == [card.streams[0].ptr, -1, card.streams[0].ptr]
    replay()
    gpu.synchronize()
    assert asked[3:] == [-1]


def test_cudnn_is_opened_once(card: Card, gpu: CupyMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cudnn", CudnnDouble())
    found = gpu.cudnn
    assert found is not None
    assert found.identity == "NVIDIA H200, driver 13000, CuPy 14.2.0, cuDNN 9.99.0 (frontend 1.99)"
    assert gpu.cudnn is found


def test_pinned_memory_lives_until_its_copy_is_done(gpu: CupyMachine) -> None:
    memory = gpu.allocate(4)
    feed = gpu.pinned(4)
    gpu.upload_later(memory.address, feed)
    used = weakref.ref(feed)
    del feed
    gc.collect()
    assert used() is not None

    gpu.synchronize()
    gc.collect()
    assert used() is None


@pytest.mark.parametrize("asked", ["upload", "download", "allocate", "compile", "synchronize", "timed", "record"])
def test_what_cannot_be_replayed_is_refused_and_the_stream_usable(gpu: CupyMachine, asked: str) -> None:
    memory = gpu.allocate(8)
    array = np.zeros(8, np.uint8)
    calls: dict[str, Callable[[], Any]] = {
        "upload": lambda: gpu.upload(memory.address, array),
        "download": lambda: gpu.download(memory.address, array),
        "allocate": lambda: gpu.allocate(1),
        "compile": lambda: gpu.compile(ADD, []),
        "synchronize": gpu.synchronize,
        "timed": lambda: gpu.timed(lambda: None),
        "record": lambda: gpu.record([lambda: None]),
    }
    with pytest.raises(CompileError, match="can be recorded"):
        gpu.record([calls[asked]])

    calls[asked]()


def test_a_failed_recording_leaves_the_stream_usable(card: Card, gpu: CupyMachine) -> None:
    kernels = gpu.compile(ADD, ["count"])
    memory = gpu.allocate(4)
    number = np.zeros(1, np.int32)
    gpu.upload(memory.address, number)

    def work() -> None:
        gpu.launch(kernels["count"], (1, 1, 1), 32, [memory.address, 5])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gpu.record([work])
    with pytest.raises(CudaRuntimeError):
        gpu.record([card.streams[0].synchronize])  # CUDA makes the capture invalid

    gpu.record([lambda: gpu.launch(kernels["count"], (1, 1, 1), 32, [memory.address, 4])])()
    gpu.download(memory.address, number)
    assert number == 4


def test_only_one_thread_records_at_a_time(gpu: CupyMachine) -> None:
    kernels = gpu.compile(ADD, ["count"])
    memory = gpu.allocate(4)
    gpu.upload(memory.address, np.zeros(1, np.int32))
    other = threading.Thread(target=gpu.launch, args=(kernels["count"], (1, 1, 1), 32, [memory.address, 100]))

    def work() -> None:
        other.start()
        gpu.launch(kernels["count"], (1, 1, 1), 32, [memory.address, 1])
        other.join(0.05)
        assert other.is_alive()  # it waits for its turn

    replay = gpu.record([work])
    other.join()
    replay()
    replay()
    number = np.empty(1, np.int32)
    gpu.download(memory.address, number)
    assert number == 102


def test_time_is_the_devices(card: Card, gpu: CupyMachine) -> None:
    def slow(n: int) -> None:
        card.seconds += 0.25

    card.programs = {"slow": {"slow": slow}}
    kernels = gpu.compile("slow", ["slow"])
    assert gpu.timed(lambda: gpu.launch(kernels["slow"], (1, 1, 1), 32, [1])) == 0.25


def test_memory_is_freed_when_nothing_uses_it(card: Card, gpu: CupyMachine) -> None:
    kernels = gpu.compile(ADD, ["count"])
    memory = gpu.allocate(1000)
    assert (memory.address % 256, memory.nbytes, card.free) == (0, 1000, card.whole - 1000)

    gpu.launch(kernels["count"], (1, 1, 1), 32, [memory.address, 1])
    del memory
    gc.collect()

    assert card.free == card.whole
    assert not card.freed_while_busy


def test_memory_that_dies_during_a_recording_is_freed_afterwards(card: Card, gpu: CupyMachine) -> None:
    memories = [gpu.allocate(1000)]
    gpu.record([memories.clear])
    gc.collect()
    assert card.free == card.whole - 1000

    assert gpu.memory_bytes == (card.whole, card.whole)
    assert not card.freed_while_busy


def test_memory_that_cannot_be_had(gpu: CupyMachine) -> None:
    with pytest.raises(MemoryError, match=r"can't have 9,999,999,999 bytes of memory.*1,073,741,824 are free"):
        gpu.allocate(9_999_999_999)
    with pytest.raises(MemoryError, match="bytes of pinned memory"):
        gpu.pinned(9_999_999_999)
    assert gpu.allocate(0).nbytes == 0
    assert gpu.pinned(0).size == 0


@pytest.mark.parametrize(
    ("complaint", "message", "actual"),
    [
        (
            '/tmp/x/1a.cu(5): error: identifier "nonsense" is undefined\n  y0[0] = nonsense;\n\n1 error detected\n',
            "NVRTC failed on kernel k1_add - Add",
            'line 5: error: identifier "nonsense" is undefined',
        ),
        (
            "/a(1): warning #177-D: unused\n/a(3): catastrophic error: no\n",
            "NVRTC failed on kernel k0_relu - Relu",
            "line 3",
        ),
        ("/a(1): error: no\n", "NVRTC failed", "line 1: error: no"),
        (
            "ptxas error   : Entry function 'k2_mul' uses too much shared data (0x13880 bytes, 0xc000 max)\n\0",
            "NVRTC failed on kernel k2_mul",
            "ptxas error   : Entry function 'k2_mul' uses too much shared data (0x13880 bytes, 0xc000 max)",
        ),
        (
            "nvrtc: error: unrecognized option --x found\n",
            "NVRTC failed",
            "nvrtc: error: unrecognized option --x found",
        ),
    ],
)
def test_compile_errors_name_the_kernel(complaint: str, message: str, actual: str) -> None:
    gpu = CupyMachine(Card({}, complaint))
    with pytest.raises(BuildError) as caught:
        gpu.compile(BROKEN, ["k1_add"])
    assert caught.value.message == message
    assert caught.value.actual.startswith(actual)
    assert caught.value.output == complaint.rstrip("\0\n")
    assert "report it" in caught.value.hint


def test_a_kernel_that_is_not_in_the_program(gpu: CupyMachine) -> None:
    with pytest.raises(CompileError, match="has no kernel 'subtract'"):
        gpu.compile(ADD, ["add", "subtract"])


def test_text_reaches_the_compiler_as_ascii(card: Card, gpu: CupyMachine) -> None:
    card.programs = {"// model.py:3: \\xb5 = \\u03b1": {}}
    assert gpu.compile("// model.py:3: µ = α", []) == {}


def runs_here() -> bool:
    return "runs on" in describe()[-1].finding


@pytest.mark.skipif(runs_here(), reason="there is a GPU, and CuPy")
def test_without_a_gpu_the_error_says_what_is_missing() -> None:
    with pytest.raises(GpuUnavailableError) as caught:
        machine()
    assert caught.value.expected
    assert caught.value.hint
    assert __file__ in caught.value.where
