"""Whether cuDNN computes a convolution: what was seen to be faster, and kept; on a stand-in, and by ``-m gpu``."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

import graphnn as gn
from cudnn_doubles import CudnnDouble, EmulatorWithCudnn
from graphnn.compiler.targets import devices
from graphnn.compiler.targets.c.cache import cache_folder
from graphnn.compiler.targets.c.toolchain import find_compiler, unavailable_reason
from graphnn.compiler.targets.devices import Precision

pytestmark = pytest.mark.skipif(find_compiler() is None, reason=f"no C compiler: {unavailable_reason()}")

BATCH = 6
WINS, LOSES = (1.0, 2.0), (1.99, 2.0)
"""Seconds with cuDNN and without: a lead of 0.5 % is none."""


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let each test begin without choices, but with the programs that others have compiled."""
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    monkeypatch.setattr("graphnn.compiler.targets.cuda.choice.cache_folder", lambda: folder)
    yield
    assert not list(folder.glob("*.part"))


def choices(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").glob("*.json"))


def small_net() -> tuple[gn.Node, gn.Node, gn.Node, list[gn.Node]]:
    """Return two inputs, the loss and the updates of a network whose convolutions have all kinds of epilogues."""
    with gn.Graph(seed=1):
        x = gn.placeholder("x", (None, 2, 8, 8))
        labels = gn.placeholder("labels", (None,), "int32")
        hidden = gn.ops.relu(gn.nn.Conv2d(2, 4, 3, padding=1)(x))
        hidden = gn.ops.tanh(gn.nn.Conv2d(4, 4, 3, stride=2, groups=2)(hidden))
        logits = gn.nn.Linear(36, 3)(hidden.reshape((-1, 36)))
        loss = gn.ops.cross_entropy(logits, labels)
        updates = gn.optim.SGD(0.1, momentum=0.9).minimize(loss)
    return x, labels, loss, updates


def executor(machine: EmulatorWithCudnn | None, max_batch: int = BATCH) -> tuple[gn.Executor, gn.Node, gn.Node]:
    x, labels, loss, updates = small_net()
    if machine is None:
        return gn.Executor(loss, updates, max_batch=max_batch, device="numpy"), x, labels
    with patch.object(devices, "_emulator", lambda: machine):
        return gn.Executor(loss, updates, max_batch=max_batch, device="cuda-emulator", verify=True), x, labels


def train(given: tuple[gn.Executor, gn.Node, gn.Node]) -> tuple[list[float], dict[str, np.ndarray]]:
    """Return the losses and the variables of some steps with batches of several sizes."""
    run, x, labels = given
    generator = np.random.default_rng(0)
    losses = []
    for batch in (BATCH, 2, BATCH, 1, 2, BATCH):
        images = generator.standard_normal((batch, 2, 8, 8)).astype(np.float32)
        losses.append(float(run.run({x: images, labels: generator.integers(0, 3, batch).astype(np.int32)})))
    return losses, {name: x.graph.store.read(name).copy() for name in x.graph.variables}


def by_cudnn(given: tuple[gn.Executor, gn.Node, gn.Node]) -> list[str]:
    """Return the names of the steps that cuDNN computes."""
    return [step.kernel for step in given[0].plan.steps if step.kernel.endswith("_cudnn")]


def require_equal(found: tuple[list[float], dict[str, np.ndarray]]) -> None:
    losses, variables = train(executor(None))
    np.testing.assert_allclose(found[0], losses, rtol=1e-5)
    for name, value in variables.items():
        np.testing.assert_allclose(found[1][name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_training_by_cudnn_is_that_of_numpy() -> None:
    module = CudnnDouble()
    given = executor(EmulatorWithCudnn(module, WINS))
    names = [name.partition("_")[2] for name in by_cudnn(given)]
    assert sorted(names) == [
        *("conv2d_cudnn", "conv2d_cudnn", "conv2d_data_gradient_cudnn"),
        *("conv2d_weight_gradient_cudnn", "conv2d_weight_gradient_cudnn"),
    ]
    assert all(name in str(given[0].plan) for name in by_cudnn(given))
    before = module.runs

    require_equal(train(given))

    assert module.runs - before == 5 * (6 + 3)  # six steps, and one before the recording for each batch size
    assert sorted({graph.tensors[1].dim[0] for graph in module.graphs}) == [1, 2, BATCH]


@pytest.mark.parametrize(("dtype", "precision"), [("float32", "tf32"), ("bfloat16", "float32"), ("float64", "float32")])
def test_inputs_and_results_with_other_views(dtype: str, precision: Precision) -> None:
    """The input is turned, the result is flattened before more is done with it."""
    images = np.random.default_rng(0).standard_normal((BATCH, 6, 5, 2))
    found, steps = [], []
    machine = EmulatorWithCudnn(CudnnDouble(), WINS)
    for device in ("numpy", "cuda-emulator"):
        with gn.Graph(seed=3):
            x = gn.placeholder("x", (None, 6, 5, 2), dtype)
            weight = gn.variable("weight", np.random.default_rng(1).standard_normal((4, 2, 3, 3)), dtype=dtype)
            bias = gn.variable("bias", np.arange(48) / 10, dtype=dtype)
            y = gn.ops.conv2d(x.transpose((0, 3, 1, 2)), weight).reshape((-1, 48))
            y = gn.ops.relu(y + bias)
        with patch.object(devices, "_emulator", lambda: machine):
            run = gn.Executor(y, max_batch=BATCH, device=device, precision=precision, verify=True)
        steps.append([step.kernel for step in run.plan.steps])
        found.append(np.asarray(run.run({x: images.astype(x.dtype.interface)}), np.float64))
    assert steps[1][-2:] == ["k1_conv2d_cudnn", "k2_add_relu"]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-2 if dtype == "bfloat16" else 1e-5, atol=1e-5)


def test_what_is_not_faster_is_not_taken(tmp_path: Path) -> None:
    machine = EmulatorWithCudnn(CudnnDouble(), LOSES)
    given = executor(machine)
    assert not by_cudnn(given)
    assert machine.timings
    assert {json.loads(file.read_text())["winner"] for file in choices(tmp_path)} == {"graphnn"}
    require_equal(train(given))


def test_machines_without_cudnn_measure_nothing(tmp_path: Path) -> None:
    *_, loss, updates = small_net()
    gn.Executor(loss, updates, max_batch=BATCH, device="cuda-emulator")
    assert not choices(tmp_path)


@pytest.mark.parametrize("seconds", [WINS, LOSES])
def test_choices_are_kept(tmp_path: Path, seconds: tuple[float, float]) -> None:
    first = EmulatorWithCudnn(CudnnDouble(), seconds)
    names = by_cudnn(executor(first))
    files = choices(tmp_path)
    assert len(files) == 5
    assert all(json.loads(file.read_text())["seconds"] for file in files)

    later = EmulatorWithCudnn(CudnnDouble(), seconds[::-1])
    assert by_cudnn(executor(later)) == names
    assert not later.timings
    assert choices(tmp_path) == files


@pytest.mark.parametrize("change", ["card", "batch"])
def test_other_circumstances_are_measured_anew(tmp_path: Path, change: str) -> None:
    executor(EmulatorWithCudnn(CudnnDouble(), WINS))
    later = EmulatorWithCudnn(CudnnDouble(), LOSES, "another card" if change == "card" else "a card")
    given = executor(later, BATCH + (change == "batch"))
    assert not by_cudnn(given)
    assert len(choices(tmp_path)) == 10


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"winner": "torch"}', '{"winner": ["cudnn"]}', "\udcff"])
def test_damaged_files_are_measured_anew(tmp_path: Path, damage: str) -> None:
    executor(EmulatorWithCudnn(CudnnDouble(), LOSES))
    for file in choices(tmp_path):
        file.write_bytes(damage.encode("utf-8", "surrogateescape"))
    later = EmulatorWithCudnn(CudnnDouble(), WINS)
    assert len(by_cudnn(executor(later))) == 5
    assert later.timings
    assert {json.loads(file.read_text())["winner"] for file in choices(tmp_path)} == {"cudnn"}


def test_without_a_folder_choices_are_made_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nowhere = tmp_path / "file"
    nowhere.write_text("in the way")
    monkeypatch.setattr("graphnn.compiler.targets.cuda.choice.cache_folder", lambda: nowhere)
    assert len(by_cudnn(executor(EmulatorWithCudnn(CudnnDouble(), WINS)))) == 5


def test_what_cudnn_fails_at_is_ours(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    refusing = CudnnDouble(refused=[BATCH])
    with caplog.at_level(logging.WARNING, "graphnn"):
        given = executor(EmulatorWithCudnn(refusing, WINS))
    assert not by_cudnn(given)
    assert not choices(tmp_path)
    assert len(caplog.messages) == 1
    assert "No valid engine configs" in caplog.text
    require_equal(train(given))


@pytest.mark.parametrize("factor", [1.001, np.nan])
def test_wrong_results_are_not_taken(factor: float, caplog: pytest.LogCaptureFixture) -> None:
    module = CudnnDouble()
    module.factor = factor  # as far off as TF32 is
    machine = EmulatorWithCudnn(module, WINS)
    with caplog.at_level(logging.WARNING, "graphnn"):
        assert not by_cudnn(executor(machine))
    assert not machine.timings
    assert "cuDNN's result is not that of graphnn's kernel" in caplog.text


def test_a_batch_size_that_cudnn_refuses_is_ours() -> None:
    module = CudnnDouble()
    given = executor(EmulatorWithCudnn(module, WINS))
    assert len(by_cudnn(given)) == 5
    module.refused = [2]
    require_equal(train(given))
    assert 2 not in {graph.tensors[1].dim[0] for graph in module.graphs}


def test_the_cache_is_the_users() -> None:
    from graphnn.compiler.targets.cuda import choice

    with patch.object(choice, "cache_folder", cache_folder):
        assert choice._file("0" * 64) == cache_folder() / f"{'0' * 64}.json"


@pytest.mark.gpu
def test_on_a_gpu(tmp_path: Path) -> None:
    pytest.importorskip("cudnn")
    x, labels, loss, updates = small_net()
    given = gn.Executor(loss, updates, max_batch=BATCH, device="cuda"), x, labels
    assert choices(tmp_path)  # cuDNN may refuse some, but not all
    require_equal(train(given))
