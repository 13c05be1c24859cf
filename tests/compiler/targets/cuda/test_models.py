"""The four models train on the CUDA target as on NumPy; nvcc and NVIDIA's checker find nothing in their programs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from cuda_devices import DEVICES, kernels, use_emulator
from cuda_kernels import ARCHITECTURES, check_with_nvcc, needs_emulator, needs_nvcc
from graphnn import ops, optim
from graphnn.compiler.targets.cuda import loaded
from graphnn.compiler.targets.cuda.emulator.machine import EmulatorMachine, Order
from graphnn.models import MODELS
from graphnn.ops.state import Assign
from module_names import ROOT

KERNEL = "/* kernel: "
OPTIMIZERS: dict[str, Callable[[], optim.Optimizer]] = {
    "sgd": lambda: optim.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=1e-4),
    "adam": lambda: optim.Adam(1e-3),
}


def training(model: str, optimizer: str, device: str, max_batch: int = 4, **options: Any) -> gn.Executor:
    with gn.Graph(seed=0):
        images = gn.placeholder("images", (None, 1, 28, 28), "uint8")
        labels = gn.placeholder("labels", (None,), "int32")
        loss = ops.cross_entropy(MODELS[model].build()(images), labels)
        train = OPTIMIZERS[optimizer]().minimize(loss)
    return gn.Executor([loss], train, device=device, max_batch=max_batch, **options)


def batch(size: int, seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (size, 1, 28, 28)).astype(np.uint8)
    return {"images": images, "labels": generator.integers(0, 10, size).astype(np.int32)}


def variables(executor: gn.Executor) -> dict[str, np.ndarray]:
    graph = executor.plan.subgraph.nodes[0].graph
    return {name: graph.get_value(name) for name in graph.variables}


def train(executor: gn.Executor) -> tuple[list[float], dict[str, np.ndarray]]:
    """Return the losses of two steps and of one on a smaller batch, and what became of the variables."""
    losses = [float(executor.run(batch(size, number))[0]) for number, size in enumerate((4, 4, 3))]
    return losses, variables(executor)


def compare(model: str, optimizer: str, device: str, tolerance: float = 1e-5, **options: Any) -> gn.Executor:
    executor = training(model, optimizer, device, **options)
    losses, values = train(executor)
    expected, wanted = train(training(model, optimizer, "numpy"))
    np.testing.assert_allclose(losses, expected, rtol=tolerance)
    for name, value in values.items():
        scale = float(np.abs(wanted[name]).max())
        np.testing.assert_allclose(value, wanted[name], rtol=0, atol=10 * tolerance * max(scale, 1e-4), err_msg=name)
    return executor


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("model", MODELS)
def test_models_train_as_on_numpy(model: str, optimizer: str, device: str) -> None:
    executor = compare(model, optimizer, device, verify=True)
    assert not [name for name in kernels(executor) if "(host)" in name]  # the whole step is on the device
    updates = [step for step in executor.plan.steps if any(isinstance(node.op, Assign) for node in step.nodes)]
    assert len(updates) == {"sgd": 1, "adam": 2}[optimizer]  # Adam's count of steps is needed before


@needs_emulator
@pytest.mark.parametrize("order", ["forward", "reverse", 1])
@pytest.mark.parametrize("model", MODELS)
def test_no_order_of_threads_or_kernels_matters(model: str, order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    use_emulator(monkeypatch, EmulatorMachine(order))
    _, values = train(training(model, "sgd", "cuda-emulator"))
    use_emulator(monkeypatch, EmulatorMachine(2))
    _, others = train(training(model, "sgd", "cuda-emulator"))
    for name, value in values.items():
        np.testing.assert_array_equal(value, others[name], name)


@needs_emulator
def test_an_order_matters_where_pieces_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the emulator would not run them in another order, and the test above could not fail."""
    _, expected = train(training("mnist_cnn", "sgd", "cuda-emulator"))
    monkeypatch.setattr(loaded, "waits", lambda accesses: [()] * len(accesses))
    use_emulator(monkeypatch, EmulatorMachine("reverse"))
    _, values = train(training("mnist_cnn", "sgd", "cuda-emulator"))
    assert any(not np.array_equal(value, expected[name]) for name, value in values.items())


@pytest.mark.parametrize("device", DEVICES)
def test_tensor_cores_train_nearly_alike(device: str) -> None:
    executor = compare("simple_conv", "sgd", device, tolerance=1e-2, precision="tf32")
    assert "gn_mma_tf32" in executor.source.split(KERNEL, 1)[1]


@pytest.mark.gpu
@pytest.mark.parametrize("model", MODELS)
def test_the_same_bits_again_on_a_card(model: str) -> None:
    found = []
    for _ in range(3):
        executor = training(model, "adam", "cuda", max_batch=100)
        for number, size in enumerate((100, 37, 100, 1, 100)):
            executor.run(batch(size, number))
        found.append(variables(executor))
    for other in found[1:]:
        for name, value in found[0].items():
            np.testing.assert_array_equal(value, other[name], name)


@needs_emulator
@needs_nvcc
@pytest.mark.parametrize("model", MODELS)
def test_training_programs_compile_without_spills(model: str, tmp_path: Path) -> None:
    def compile_for(architecture: int) -> None:
        folder = tmp_path / str(architecture)
        folder.mkdir()
        check_with_nvcc(text, architecture, folder)

    programs = [training(model, name, "cuda-emulator", max_batch=100).source for name in OPTIMIZERS]
    text = both(*programs)
    assert text.count("GN_KERNEL(") < sum(program.count("GN_KERNEL(") for program in programs)
    with ThreadPoolExecutor() as pool:
        list(pool.map(compile_for, ARCHITECTURES))


def both(one: str, other: str) -> str:
    """Return a program with the kernels of one, and those of another that it has not got."""
    text, *known = one.split(KERNEL)
    names = re.compile(r"\bk(?=[0-9]+_)")
    unnumbered = re.compile(r"\bk[0-9]+_")
    seen = {unnumbered.sub("", kernel) for kernel in known}
    new = [kernel for kernel in other.split(KERNEL)[1:] if unnumbered.sub("", kernel) not in seen]
    return KERNEL.join([text, *known, *(names.sub("other", kernel) for kernel in new)])


@pytest.mark.gpu
@pytest.mark.skipif(not shutil.which("compute-sanitizer"), reason="compute-sanitizer is not installed")
@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "synccheck"])
@pytest.mark.parametrize("model", ["lenet", "mnist_cnn"])
def test_nvidias_checker_finds_nothing(model: str, tool: str) -> None:
    script = f"import runpy; runpy.run_path({__file__!r})['train_on_a_card']({model!r})"
    command = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "9", sys.executable, "-c", script]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert "trained" in done.stdout


def environment() -> dict[str, str]:
    """Return the environment of a program that imports graphnn and the modules of tests."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}


def train_on_a_card(model: str) -> None:
    compare(model, "sgd", "cuda")
    sys.stdout.write("trained\n")
