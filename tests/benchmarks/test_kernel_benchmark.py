from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks import kernels as kernel_benchmark
from benchmarks.kernel_report import report
from benchmarks.kernel_times import Kernel, NetworkTimes
from benchmarks.networks import NETWORKS
from benchmarks.peaks import Loops, PeakMeter, Peaks, Work, triad_sizes
from benchmarks.processors import cache_sizes
from graphnn.compiler.targets.c.build import Compiler
from graphnn.compiler.targets.c.toolchain import find_compiler, unavailable_reason
from graphnn.profile import Profile, ProfileRow
from markdown_tables import table_rows

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason=f"no C compiler: {unavailable_reason()}")

PEAKS = Peaks(flops=100e9, cache_bytes=50e9, memory_bytes=10e9)
COMPILER = Compiler(("cc",), "cc 1.0", "some processor", vector_bytes=32)


def row(kernel: str, node: str, seconds: float, flops: int = 0, nbytes: int = 0) -> ProfileRow:
    return ProfileRow(kernel, node, seconds, flops, nbytes, "model.py:1")


def segment(*inner: ProfileRow) -> ProfileRow:
    return ProfileRow("segment_0", "loss", sum(part.seconds for part in inner), 0, 0, "model.py:1", inner)


@needs_compiler
def test_command_line(report_of: Callable[..., str]) -> None:
    arguments = ["--networks", "pure_linear", "--rounds", "1", "--repeats", "1", "--memory-megabytes", "1"]

    text = report_of("benchmarks.kernels", *arguments, "--threads", "2", "1")

    compiler = find_compiler()
    assert compiler is not None
    counts = ["1", "2"] if compiler.threads else ["1"]
    peaks = table_rows(text, "threads")
    assert [peak["threads"] for peak in peaks] == counts
    assert all(float(peak[name]) > 0 for peak in peaks for name in ("FMA GFLOP/s", "cache GB/s", "memory GB/s"))
    summary = table_rows(text, "network")
    assert [line["threads"] for line in summary] == counts
    assert {line["network"] for line in summary} == {"pure_linear, batch 100, SGD with momentum 0.9"}
    assert all(float(line["ms in C"]) > 0 for line in summary)
    kernels = {(line["kernel"], line["node"]): line for line in table_rows(text, "kernel")}
    assert kernels["matmul", "fc1.matmul"]["rate, 1 thread"].endswith(" GFLOP/s")
    assert kernels["pack", "images"]["rate, 1 thread"].endswith(" GB/s")


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(kernel_benchmark, "find_compiler", lambda: None)
    monkeypatch.setattr(kernel_benchmark, "unavailable_reason", lambda: "there is none; install gcc")

    assert kernel_benchmark.main([]) == 1

    assert capsys.readouterr().err == "there are no compiled kernels to measure: there is none; install gcc\n"


@needs_compiler
@pytest.mark.parametrize("threads", [1, 2])
def test_peaks_are_medians(threads: int) -> None:
    compiler = find_compiler()
    assert compiler is not None
    threads = threads if compiler.threads else 1
    meter = PeakMeter(compiler, threads, cache_bytes=1200, memory_bytes=12_000, seconds=1e-4)
    for _ in range(3):
        meter.measure()
    assert len(meter.measured) == 3
    assert all(value > 0 for peaks in meter.measured for value in (peaks.flops, peaks.cache_bytes, peaks.memory_bytes))
    assert meter.median.flops == sorted(peaks.flops for peaks in meter.measured)[1]


@needs_compiler
@pytest.mark.parametrize("threads", [1, 2])
def test_loops_of_peaks_do_what_is_counted(threads: int) -> None:
    compiler = find_compiler()
    assert compiler is not None
    threads = threads if compiler.threads else 1
    loops = Loops(compiler, threads)
    assert loops.multiply_add(100) > 0
    # x = x / 2 + 1 comes to rest at 2, in each lane of twelve sums on each thread.
    np.testing.assert_array_equal(loops.sums, np.full(threads * compiler.vector_bytes // 4, 24, np.float32))
    a, b, c = loops.arrays(1000)
    assert a.size == 1000
    b[:], c[:] = np.arange(b.size), 4
    assert loops.triad([a, b, c], 2) > 0
    np.testing.assert_array_equal(a, b + 2)


def test_work_is_repeated_until_it_can_be_timed() -> None:
    bursts = []

    def run(repeats: int) -> float:
        bursts.append(repeats)
        return repeats * 0.5 * (1 + len(bursts) % 2)  # every other one is disturbed

    work = Work(run, amount=3)
    assert work.rate(1.9) == 3 / 0.5
    assert work.repeats == 4
    assert work.rate(1.9) == 3 / 0.5
    assert (min(bursts), max(bursts), bursts[-1]) == (1, 4, 4)


def test_cache_sizes(tmp_path: Path) -> None:
    caches = [("1", "Data", "32K"), ("1", "Instruction", "64K"), ("2", "Unified", "512K"), ("3", "Unified", "32M")]
    for number, (level, kind, size) in enumerate(caches):
        folder = tmp_path / f"index{number}"
        folder.mkdir()
        for name, text in (("level", level), ("type", kind), ("size", size)):
            (folder / name).write_text(f"{text}\n")

    assert cache_sizes(tmp_path) == {1: 32 << 10, 2: 512 << 10, 3: 32 << 20}
    assert cache_sizes(tmp_path / "none") == {}
    cached, large = triad_sizes()
    assert 0 < cached < large


def test_a_kernel_is_held_against_the_peak_that_takes_longer() -> None:
    product = Kernel("matmul", "fc1", flops=1000, nbytes=100)
    update = Kernel("multiply + add", "sgd", flops=100, nbytes=1000)
    wait = Kernel("wait", "", flops=0, nbytes=0)
    assert [kernel.resource(PEAKS) for kernel in (product, update, wait)] == ["arithmetic", "data", "threads"]
    assert product.least_seconds(PEAKS) == {"arithmetic": 1000 / 100e9, "data": 100 / 50e9}


def test_rounds_are_joined_by_kernel_and_node() -> None:
    times = NetworkTimes(NETWORKS["pure_linear"], threads=1)
    for seconds in (1e-6, 9e-6, 2e-6):
        pack = row("pack", "images", seconds, nbytes=8)
        numpy = row("concat", "z", 5e-6, flops=3)
        times.add(Profile((segment(pack, row("conv2d", "conv1", seconds, 7, 2), pack), numpy), batch=4))

    packs, convolution, concat = times.kernels.values()
    assert (packs.name, packs.node, packs.nbytes, packs.seconds) == ("pack", "images", 16, [2e-6, 18e-6, 4e-6])
    assert (convolution.flops, convolution.median) == (7, 2e-6)
    assert concat.median == 5e-6
    assert times.flops == 10
    assert times.seconds == pytest.approx(11e-6)


def test_report() -> None:
    one, two = (NetworkTimes(NETWORKS["lenet"], threads) for threads in (1, 2))
    rows = [
        row("conv2d", "conv1", 80e-6, flops=4_000_000, nbytes=1000),
        row("pack", "images", 19.5e-6, nbytes=195_000),
        row("size", "size", 0.1e-6, nbytes=8),
        row("combine sums", "", 0.3e-6),
        row("wait", "", 0.1e-6),
    ]
    one.add(Profile((segment(*rows),), batch=100))
    rows[-1] = row("wait", "", 200e-6)
    two.add(Profile((segment(*rows),), batch=100))

    text = report([one, two], {1: PEAKS, 2: Peaks(200e9, 100e9, 15e9)}, COMPILER, rounds=1)

    assert "cc 1.0, vectors of 32 bytes" in text
    first, second = table_rows(text, "network")
    assert first == {
        "network": "lenet, batch 100, SGD with momentum 0.9",
        "threads": "1",
        "MFLOP": "4.00",
        "ms at FMA peak": "0.040",
        "ms in C": "0.100",
        "share of peak": "40.0%",
        "arithmetic": "80% (50%)",
        "data": "20% (20%)",
        "threads' share": "0%",
        "bound by": "arithmetic",
    }
    assert (second["share of peak"], second["bound by"]) == ("6.7%", "threads")
    convolution, pack, wait, small = table_rows(text, "kernel")
    assert list(convolution.values()) == [
        *("conv2d", "conv1"),
        *("80.0", "50.0 GFLOP/s", "50%"),
        *("80.0", "50.0 GFLOP/s", "25%"),
    ]
    assert list(pack.values())[2:5] == ["19.5", "10.0 GB/s", "20%"]
    assert list(wait.values()) == ["wait", "", "0.1", "–", "–", "200.0", "–", "–"]
    assert list(small.values()) == ["2 smaller ones", "", "0.4", "–", "–", "0.4", "–", "–"]
