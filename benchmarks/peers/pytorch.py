"""PyTorch in the CPU benchmark: eager, with channels last, and compiled by inductor."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from benchmarks.networks import (
    BETAS,
    EPSILON,
    MOMENTUM,
    Activation,
    Arrays,
    Conv,
    Dense,
    Flatten,
    Layer,
    Network,
    Pool,
)
from benchmarks.peers import Training


class TorchTraining:
    """A `torch.nn.Sequential`, autograd and a fused optimiser."""

    def __init__(self, network: Network, weights: Arrays, memory_format: Any, compiled: bool) -> None:
        self.about = f"PyTorch {torch.__version__}"
        self._memory_format = memory_format
        model = model_of(network, weights).to(memory_format=memory_format)
        self._optimizer = optimizer_of(network, model.parameters())

        def loss_of(images: Any, labels: Any) -> Any:
            return torch.nn.functional.cross_entropy(model(images), labels)

        self._loss_of = torch.compile(loss_of) if compiled else loss_of

    def place(self, images: np.ndarray, labels: np.ndarray) -> tuple[Any, Any]:
        pixels = torch.from_numpy(images).contiguous(memory_format=self._memory_format)
        return pixels, torch.from_numpy(labels.astype(np.int64))

    def step(self, batch: tuple[Any, Any]) -> Any:
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._loss_of(*batch)
        loss.backward()
        self._optimizer.step()
        return loss

    def loss(self, result: Any) -> float:
        return float(result.item())


def start(network: Network, weights: Arrays, threads: int, variant: str) -> Training:
    """Return the training; variants are "eager", "compile", "channels-last" and "compile-channels-last"."""
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(threads)
    memory_format = torch.channels_last if variant.endswith("channels-last") else torch.contiguous_format
    return TorchTraining(network, weights, memory_format, compiled=variant.startswith("compile"))


def model_of(network: Network, weights: Arrays) -> Any:
    """Return the network as a `torch.nn.Sequential`."""
    model = torch.nn.Sequential()
    for name, layer in network.layers.items():
        model.add_module(name, _layer(layer))
    model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return model


def _layer(layer: Layer) -> Any:
    nn = torch.nn
    match layer:
        case Conv():
            return nn.Conv2d(
                layer.in_channels,
                layer.out_channels,
                layer.kernel,
                layer.stride,
                layer.padding,
                layer.dilation,
                layer.groups,
            )
        case Pool(kind="max"):
            return nn.MaxPool2d(layer.window)
        case Pool():
            return nn.AvgPool2d(layer.window)
        case Dense():
            return nn.Linear(layer.in_features, layer.out_features)
        case Activation():
            return {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}[layer.kind]()
        case Flatten():
            return nn.Flatten()


def optimizer_of(network: Network, parameters: Any) -> Any:
    """Return the network's optimiser, fused."""
    if network.optimizer == "adam":
        return torch.optim.Adam(parameters, network.learning_rate, BETAS, EPSILON, fused=True)
    return torch.optim.SGD(parameters, network.learning_rate, MOMENTUM, fused=True)
