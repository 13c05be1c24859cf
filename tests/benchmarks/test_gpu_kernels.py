"""The GPU benchmark's single kernels, on the emulator."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from benchmarks.gpu import kernel_race
from benchmarks.gpu.graphnn_kernels import GraphnnKernels, RepeatingMachine
from benchmarks.gpu.kernel_cases import CASES, TOLERANCES, ConvCase, PoolCase, Work, case_of, difference, sample_of
from benchmarks.gpu.kernel_race import Helper, KernelRace, KernelRow
from benchmarks.gpu.kernel_report import kernel_parts, launch_parts, pool_loop_parts
from benchmarks.gpu.repeats import MOST_REPEATS, repeats_for
from benchmarks.gpu.workloads import Precision
from benchmarks.process import CompetitorError
from cuda_kernels import needs_emulator
from graphnn.compiler.targets.cuda.machine import Machine
from markdown_tables import table_rows

CONV = ConvCase("conv", batch=2, in_channels=3, size=8, out_channels=5, kernel=3, stride=2, padding=1)
POOL = PoolCase("pool", "max", batch=2, channels=3, size=8, window=2, stride=2)


def test_work_of_cases() -> None:
    assert CONV.y_shape == (2, 5, 4, 4)
    elements = 2 * 3 * 8 * 8 + 5 * 3 * 3 * 3 + 2 * 5 * 4 * 4
    for which in CONV.passes:
        assert CONV.work(which, "tf32") == Work(2 * (2 * 5 * 4 * 4) * (3 * 3 * 3), 4 * elements)
        assert CONV.work(which, "bf16").nbytes == 2 * elements
    assert POOL.work("forward", "fp32") == Work(96 * 4, 4 * (384 + 96) + 96)
    assert CONV.title == "conv 3→5 3×3 stride 2, 2 of 8²"
    assert case_of("lenet-pool2", 7).y_shape == (7, 16, 5, 5)
    assert case_of("resnet-pool", None).y_shape == (64, 64, 56, 56)


def test_repeats() -> None:
    assert repeats_for(0.0) == MOST_REPEATS
    assert repeats_for(1.0) == 1


class CountingMachine:
    """Notes what it is asked for; whatever is timed takes 1 ms for each launch."""

    def __init__(self) -> None:
        self.done = 0

    def launch(self, *arguments: object) -> None:
        self.done += 1

    def record(self, pieces: list[Callable[[], None]]) -> Callable[[], None]:
        return pieces[0]

    def timed(self, work: Callable[[], None]) -> float:
        before = self.done
        work()
        return (self.done - before) * 1e-3


def test_work_is_timed_by_repetitions() -> None:
    device = CountingMachine()
    machine = RepeatingMachine(cast(Machine, device))

    assert machine.timed(lambda: machine.launch("kernel")) == pytest.approx(1e-3)

    # one to warm up, one to see how long it takes, and five in the recorded work, which is run twice
    assert machine.launches == device.done == 1 + 1 + 2 * 5


@needs_emulator
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["lenet-conv2", "lenet-pool2", "lenet-average"])
def test_kernels_give_what_pytorch_gives(name: str, precision: Precision) -> None:
    pytest.importorskip("torch")
    from benchmarks.gpu.pytorch_kernels import PytorchKernels

    answers = []
    for worker in (GraphnnKernels("cuda-emulator"), PytorchKernels("cuda-emulator")):
        samples = worker.prepare(name, 1, precision)["samples"]
        times = worker.time()["passes"]
        assert list(samples) == list(times) == list(CASES[name].passes)
        assert all(seconds > 0 for variants in times.values() for seconds in variants.values())
        answers.append(samples)

    ours, theirs = answers
    for which, sample in ours.items():
        assert len(sample) == len(theirs[which])
        assert difference(sample, theirs[which]) <= TOLERANCES[precision]


@needs_emulator
def test_every_case_has_kernels_for_all_passes() -> None:
    worker = GraphnnKernels("cuda-emulator")
    for name in ("lenet-conv1", "lenet-pool1"):
        worker.prepare(name, 1, "fp32")
        for variants in worker.time()["passes"].values():
            assert list(variants) == [""]  # not "host"


@needs_emulator
def test_pool_loop_and_launches() -> None:
    worker = GraphnnKernels("cuda-emulator")

    answer = worker.pool_loop(batch=1)
    assert answer["equal"]
    assert answer["loop"] > 0
    assert answer["kernel"] > 0

    chain = worker.launches(steps=5, repeats=2)
    assert chain["kernels"] >= 5
    assert chain["seconds"] > 0
    assert chain["run"] > 0


def row(ours: dict[str, float], theirs: dict[str, float], precision: Precision = "fp32") -> KernelRow:
    made = KernelRow(CONV, "forward", precision)
    made.ours.add(ours)
    made.theirs.add(theirs)
    return made


def test_report_of_kernels() -> None:
    work = CONV.work("forward", "fp32")
    by_flops = {"copy": 1e15, "fp32": work.flops / 10e-6}
    one = row({"": 20e-6}, {"channels first": 40e-6, "channels last": 30e-6})
    one.ours.sample, one.theirs.sample = [1.0, 1.1], [1.0, 1.0]
    host = row({"host": 1.0}, {})
    broken = row({}, {"channels first": 1e-6})
    broken.ours.failure = "CompileError: no such rule"

    text = "\n\n".join(kernel_parts([one, host, broken], by_flops))

    assert table_rows(text, "peak")[0] == {"peak": "copy", "rate": "1000000.0 GB/s"}
    first, second, third = table_rows(text, "kernel")
    assert (first["roofline µs"], first["graphnn µs"], first["of roofline"]) == ("10.0", "20.0", "50%")
    assert (first["PyTorch µs"], first["its layout"], first["of roofline, PyTorch"]) == ("30.0", "channels last", "33%")
    assert (first["times faster"], first["difference"]) == ("1.50", "**7e-02**")
    assert not one.is_fine
    assert (second["graphnn µs"], second["PyTorch µs"]) == ("1000000.0 (host)", "–")
    assert host.is_fine
    assert (third["graphnn µs"], third["times faster"]) == ("failed", "–")
    assert "- conv 3→5 3×3 stride 2, 2 of 8², fp32: graphnn failed: CompileError: no such rule" in text
    without = kernel_parts([one], {})
    assert table_rows("\n\n".join(without), "kernel")[0]["roofline µs"] == "–"
    by_bytes = {"copy": work.nbytes / 60e-6, "fp32": 1e30}
    assert table_rows("\n\n".join(kernel_parts([one], by_bytes)), "kernel")[0]["of roofline"] == "300%"


def test_report_of_loop_and_launches() -> None:
    loop, kernel = table_rows("\n".join(pool_loop_parts({"loop": 0.05, "kernel": 5e-6, "equal": True})), "what")
    assert (loop["ms"], kernel["ms"], kernel["times faster"]) == ("50.000", "0.0050", "10000")
    assert "**different**" in "\n".join(pool_loop_parts({"loop": 0.05, "kernel": 5e-6, "equal": False}))
    (line,) = table_rows("\n".join(launch_parts({"graphnn": {"kernels": 200, "seconds": 3e-4, "run": 2e-5}})), "who")
    assert (line["graph µs"], line["µs a kernel"], line["run µs"]) == ("300.0", "1.50", "20.0")


class FakeProcess:
    """A worker whose kernels take a microsecond, until it is asked for bfloat16."""

    started = 0

    def __init__(self, *_: object) -> None:
        FakeProcess.started += 1

    def __enter__(self) -> FakeProcess:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ask(self, command: str, *arguments: Any) -> dict[str, Any]:
        if command == "peaks":
            return {"copy": 1e12, "fp32": 1e13, "bf16": 1e14}
        if "bf16" in arguments:
            raise CompetitorError("no bfloat16")
        passes = CASES["lenet-pool1"].passes
        return {"samples": {which: [1.0] for which in passes}, "passes": {which: {"": 1e-6} for which in passes}}


def test_a_case_that_fails_leaves_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(kernel_race, "worker_process", FakeProcess)
    FakeProcess.started = 0

    with KernelRace("cuda", tmp_path, with_pytorch=True) as race:
        failed, fine = race.run(["lenet-pool1"], ["bf16", "fp32"], batch=None, rounds=3)

    assert FakeProcess.started == 4  # both, and both again
    assert [row.ours.failure for row in failed] == ["no bfloat16"] * 2
    assert [row.theirs.failure for row in failed] == ["no bfloat16"] * 2
    assert [row.ours.seconds for row in fine] == [{"": [1e-6] * 3}] * 2
    assert all(row.is_fine for row in fine)
    assert race.peaks == {"copy": 1e12, "fp32": 1e13, "bf16": 1e14}


def test_a_helper_reports_what_its_process_said(tmp_path: Path) -> None:
    with ExitStack() as stack:
        helper = Helper("no-such-kind", "numpy", tmp_path, stack)
        with pytest.raises(CompetitorError, match="KeyError"):
            helper.ask("about")


def test_samples() -> None:
    assert sample_of(np.arange(5, dtype=np.float32)) == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert 1000 <= len(sample_of(np.zeros((30, 50, 7)))) <= 1100
    assert difference([1.0, 2.0], [1.0, 2.0]) == 0
