"""The GPU benchmark's command line and its trainings, on devices that every machine has."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.competitors import OURS, Competitor
from benchmarks.gpu import __main__ as command_line
from benchmarks.gpu import card as card_module
from benchmarks.gpu import parts
from benchmarks.gpu.competitors import NEEDS_GPU, PEERS, USUAL_PEERS
from benchmarks.gpu.report import Report
from benchmarks.gpu.training_race import EpochResult, TrainingRace
from benchmarks.gpu.training_report import training_parts
from benchmarks.gpu.workloads import (
    GPU_NETWORKS,
    ORDERS,
    Precision,
    Workload,
    precisions_of,
    workload_of,
    write_data,
)
from benchmarks.networks import Arrays, Network, initial_weights
from benchmarks.result import compare_losses
from markdown_tables import table_rows

BATCH, STEPS = 4, 6


def result(name: str, losses: list[float], microseconds: float) -> EpochResult:
    competitor = OURS if name == "graphnn" else PEERS[name]
    return EpochResult(competitor, name, losses=losses, step_seconds=[microseconds / 1e6] * 3, last_loss=0.5)


def losses_of(module: str, variant: str, workload: Workload, data: tuple[np.ndarray, ...], device: str) -> list[float]:
    start: Any = importlib.import_module(f"benchmarks.gpu.peers.{module}").start
    training = start(workload, initial_weights(workload.network), *data, variant, device)
    rows = np.random.default_rng(1).permutation(BATCH * STEPS).reshape(STEPS, BATCH)
    first = [training.train(training.place(rows[number : number + 1])) for number in range(3)]
    return [*first, training.train(training.place(rows[3:]))]


def small_data(network: Network) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    images = generator.standard_normal((BATCH * STEPS, *network.image_shape), np.float32)
    return images, generator.integers(0, 10, BATCH * STEPS).astype(np.int32)


def test_command_line(report_of: Callable[..., str]) -> None:
    arguments = ["--device", "numpy", "--networks", "pure_linear", "--peers", "--images", "23", "--batch", "5"]

    text = report_of("benchmarks.gpu", *arguments, "--rounds", "1")

    assert 'no GPU: device "numpy"' in text
    assert "20 images, 4 steps an epoch" in text
    (summary,) = table_rows(text, "network")
    (row,) = table_rows(text, "competitor")
    assert summary["network"] == "pure_linear, batch 5, SGD with momentum 0.9, fp32"
    assert float(row["median ms"]) == float(summary["graphnn ms"]) > 0
    assert "fed from the host" in text
    assert "No kernels: device 'numpy' has no kernels to be timed." in text


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command_line, "NEEDED", ("numpy", "no_such_package"))

    assert command_line.main([]) == 1

    assert capsys.readouterr().err == "graphnn needs what is not installed here: no_such_package\n"


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.setattr(parts, "reason_against", lambda device: "there is no NVIDIA driver")

    assert command_line.main(["--peers", "--out", str(tmp_path / "report.md")]) == 1

    assert capsys.readouterr().err == "graphnn can't run on 'cuda': there is no NVIDIA driver\n"
    assert not (tmp_path / "report.md").exists()


def test_card(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = "NVIDIA H200, 580.159.04, 143771 MiB\nNVIDIA H200, 580.159.04, 143771 MiB\n"
    monkeypatch.setattr(card_module, "QUERY", (sys.executable, "-c", f"print({answer!r}, end='')"))
    assert card_module.card("cuda") == "NVIDIA H200, 143771 MiB, driver 580.159.04"
    assert card_module.card("numpy") == 'no GPU: device "numpy"'


def test_usual_peers() -> None:
    assert set(USUAL_PEERS) < set(PEERS)
    assert set(PEERS) - set(USUAL_PEERS) == {
        "pytorch-reduce-overhead-channels-last",
        "pytorch-max-autotune-channels-last",
    }
    assert {"pytorch-graph", "pytorch-graph-channels-last"} == NEEDS_GPU


def test_workloads() -> None:
    lenet = workload_of("lenet", "fp32", None, None)
    assert (lenet.images, lenet.steps, lenet.network) == (60_000, 600, GPU_NETWORKS["lenet"])
    stack = workload_of("stack", "bf16", images=10**9, batch=100)
    assert (stack.images, stack.steps, stack.network.batch) == (12_800, 128, 100)
    assert stack.title == "stack, batch 100, SGD with momentum 0.9, bf16"
    assert precisions_of("stack") == ("fp32", "tf32", "bf16")
    assert precisions_of("lenet") == ("fp32",)


@pytest.mark.parametrize("name", ["lenet", "stack"])
def test_data(name: str, tmp_path: Path) -> None:
    workload = workload_of(name, "fp32", images=30, batch=10)

    folder = write_data(workload, tmp_path)

    images, labels, orders = (np.load(folder / f"{array}.npy") for array in ("images", "labels", "orders"))
    assert images.shape == (30, *workload.network.image_shape)
    assert (images.dtype, labels.dtype) == (np.float32, np.int32)
    assert set(labels) <= set(range(10))
    np.testing.assert_array_equal(np.sort(orders, axis=1), np.tile(np.arange(30), (ORDERS, 1)))
    assert not np.array_equal(orders[0], orders[1])
    assert write_data(workload, tmp_path) == folder


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_peers_compute_the_same(precision: Precision) -> None:
    pytest.importorskip("torch")
    lenet = replace(GPU_NETWORKS["lenet"], batch=BATCH)
    workload, data = Workload(lenet, precision, BATCH * STEPS), small_data(lenet)

    ours = losses_of("graphnn", "", workload, data, "numpy")

    tolerance = {"fp32": 1e-5, "bf16": 0.02}[precision]
    for variant in ("eager", "eager channels-last"):
        np.testing.assert_allclose(losses_of("pytorch", variant, workload, data, "cpu"), ours, rtol=tolerance)


def test_jax_computes_the_same() -> None:
    pytest.importorskip("jax")
    network = replace(GPU_NETWORKS["pure_linear"], batch=BATCH)
    workload, data = Workload(network, "fp32", BATCH * STEPS), small_data(network)

    ours = losses_of("graphnn", "", workload, data, "numpy")

    for variant in ("step", "scan", "scan channels-last"):
        np.testing.assert_allclose(losses_of("jax", variant, workload, data, "cpu"), ours, rtol=1e-5)


def test_pytorch_forgets_the_steps_before_a_capture() -> None:
    pytest.importorskip("torch")
    from benchmarks.gpu.peers.pytorch import TorchTraining

    network = replace(GPU_NETWORKS["lenet"], batch=BATCH)
    workload = Workload(network, "fp32", BATCH * STEPS)
    training = TorchTraining(workload, initial_weights(network), *small_data(network), "eager", False, "cpu")
    rows = training.place(np.arange(BATCH * STEPS).reshape(STEPS, BATCH))
    before = training.weights()
    first = [training.train(rows[:3]), training.train(rows[3:])]

    training.forget_steps(before)

    assert [training.train(rows[:3]), training.train(rows[3:])] == first


def test_weights_of_the_stack_are_larger() -> None:
    def largest(weights: Arrays) -> float:
        return float(np.abs(weights["conv1.weight"]).max())

    stack = GPU_NETWORKS["stack"]
    usual = largest(initial_weights(replace(stack, gain=1.0)))
    assert largest(initial_weights(stack)) == pytest.approx(np.sqrt(3) * usual)


def test_a_competitor_that_fails_is_left_out(tmp_path: Path) -> None:
    nobody = Competitor("nobody", "Nobody", "sys", "no_such_module", "", caches=False)
    workload = workload_of("pure_linear", "fp32", images=10, batch=5)

    ours, theirs = TrainingRace(workload, [nobody], "numpy", tmp_path).run(rounds=2)

    assert ours.counts
    assert len(ours.step_seconds) == 2
    assert len(ours.losses) == 2
    assert theirs.failure == "ModuleNotFoundError: No module named 'benchmarks.gpu.peers.no_such_module'"
    text = "\n\n".join(training_parts([(workload, [ours, theirs])]))
    assert f"- Nobody failed: {theirs.failure}" in text
    assert table_rows(text, "competitor")[1]["median ms"] == "failed"


def test_report_of_trainings() -> None:
    workload = workload_of("lenet", "fp32", images=1000, batch=None)
    results = [
        result("graphnn", [2.0, 1.0], 100.0),
        result("pytorch-graph", [2.0, 1.00001], 250.0),
        result("jax-scan", [2.0, 1.3], 50.0),
    ]
    compare_losses(results, 1e-4)

    text = "\n\n".join(training_parts([(workload, results)]))

    (summary,) = table_rows(text, "network")
    assert (summary["graphnn ms"], summary["best peer"]) == ("1.00", "PyTorch, torch.cuda.graph")
    assert (summary["its ms"], summary["times faster"]) == ("2.50", "2.50")
    ours, graph, scan = table_rows(text, "competitor")
    assert (ours["µs a step"], ours["× best peer"], ours["last"]) == ("100.0", "0.40", "0.5000")
    assert graph["× best peer"] == "1.00"
    assert scan["losses"].startswith("**failed")


def test_report_is_written_as_it_grows(tmp_path: Path) -> None:
    out = tmp_path / "folder" / "report.md"
    report = Report("a card", [PEERS["jax"]], rounds=3, out=out)

    report.put("training", ["## Training", "one"], ["graphnn 1"])
    report.put("kernels", ["## Kernels"], ["graphnn 1", "PyTorch 2"])
    report.put("training", ["## Training", "one", "two"])

    text = out.read_text(encoding="utf-8")
    assert text == report.text
    assert text.endswith("## Training\n\none\n\ntwo\n\n## Kernels\n")
    assert "- graphnn 1, PyTorch 2\n" in text
    assert "- JAX, a jitted step: not installed, or needs a GPU" in text
