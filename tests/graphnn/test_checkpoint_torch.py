"""Weights from PyTorch and to it, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import graphnn as gn
from checkpoint_graphs import graph_of
from graphnn import dtypes


def lenet() -> tuple[gn.Graph, gn.Node]:
    with gn.Graph(seed=1) as graph:
        logits = gn.models.lenet()(gn.placeholder("images", (None, 1, 28, 28)))
    return graph, logits


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.safetensors"


def test_pytorchs_names_without_pytorch(path: Path) -> None:
    graph, _ = lenet()
    generator = np.random.default_rng(0)
    state = {
        name: generator.normal(size=node.spec.static_shape).astype(np.float16) for name, node in graph.variables.items()
    }
    safetensors.numpy.save_file(state, path)

    gn.load(graph, path)

    assert {"conv1.weight", "conv1.bias", "fc3.weight"} <= set(state)
    for name, value in state.items():
        np.testing.assert_array_equal(graph.get_value(name), value)


def test_lenet_to_pytorch_and_back(path: Path) -> None:
    torch: Any = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    torch.manual_seed(0)
    layers = torch.nn.ModuleDict(
        {
            "conv1": torch.nn.Conv2d(1, 6, 5, padding=2),
            "conv2": torch.nn.Conv2d(6, 16, 5),
            "fc1": torch.nn.Linear(400, 120),
            "fc2": torch.nn.Linear(120, 84),
            "fc3": torch.nn.Linear(84, 10),
        }
    )

    def forward(x: Any) -> Any:
        for name in ("conv1", "conv2"):
            x = torch.nn.functional.max_pool2d(layers[name](x).relu(), 2)
        return layers["fc3"](layers["fc2"](layers["fc1"](x.flatten(1)).relu()).relu())

    def of_ours() -> np.ndarray:
        return gn.Executor(logits, device="numpy", max_batch=4).run({"images": images})

    def of_theirs() -> np.ndarray:
        with torch.no_grad():
            return forward(torch.from_numpy(images)).numpy()

    graph, logits = lenet()
    images = np.random.default_rng(0).normal(size=(4, 1, 28, 28)).astype(np.float32)

    gn.save(graph, path)
    own = of_ours()
    layers.load_state_dict(load_file(path))
    np.testing.assert_allclose(of_theirs(), own, rtol=1e-4, atol=1e-5)

    for parameter in layers.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    save_file(layers.state_dict(), path)
    gn.load(graph, path)
    np.testing.assert_allclose(of_ours(), of_theirs(), rtol=1e-4, atol=1e-5)
    assert np.abs(own - of_ours()).max() > 0.1


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float64", "int64", "uint8", "bool"])
def test_pytorchs_bytes(name: str, path: Path) -> None:
    torch: Any = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    tensor = torch.tensor([0, 1, 1], dtype=getattr(torch, name))
    save_file({"w": tensor}, path)
    with gn.Graph() as graph:
        gn.variable("w", np.zeros(3, dtypes.as_dtype(name).interface), dtype=name)

    gn.load(graph, path)
    gn.save(graph, path)

    np.testing.assert_array_equal(graph.get_value("w"), [0, 1, 1])
    assert torch.equal(load_file(path)["w"], tensor)


def test_pytorchs_count_of_batches_is_passed_over(path: Path) -> None:
    state = {"norm.running_mean": np.ones(2, np.float32), "norm.num_batches_tracked": np.array(7)}
    safetensors.numpy.save_file(state, path)

    assert not gn.load(graph_of(**{"norm.running_mean": [0.0, 0.0]}), path)
    misfits = gn.load(graph_of(other=1.0), path, strict=False)
    assert set(misfits.unexpected) == {"norm.num_batches_tracked", "norm.running_mean"}
    counting = graph_of(**{"norm.running_mean": [0.0, 0.0], "norm.num_batches_tracked": 0})
    gn.load(counting, path)
    assert counting.get_value("norm.num_batches_tracked") == 7
