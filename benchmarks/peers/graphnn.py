"""graphnn in the CPU benchmark."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphnn as gn
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
from graphnn import nn, ops, optim
from graphnn.executor import Executor


class GraphnnTraining:
    """One executor: a run is a step."""

    def __init__(self, network: Network, weights: Arrays, threads: int) -> None:
        with gn.Graph() as graph:
            self._images = gn.placeholder("images", (None, *network.image_shape))
            self._labels = gn.placeholder("labels", (None,), "int32")
            logits = nn.Sequential({name: layer_of(layer) for name, layer in network.layers.items()})(self._images)
            loss = ops.cross_entropy(logits, self._labels)
            updates = optimizer_of(network).minimize(loss)
        for name, value in weights.items():
            graph.set_value(graph[name], value)
        self.executor = Executor(loss, updates, device="cpu", max_batch=network.batch, threads=threads)
        self.about = f"graphnn {gn.__version__} (target {self.executor.plan.target})"

    def place(self, images: np.ndarray, labels: np.ndarray) -> dict[Any, np.ndarray]:
        return {self._images: images, self._labels: labels}

    def step(self, batch: dict[Any, np.ndarray]) -> Any:
        return self.executor.run(batch)

    def loss(self, result: Any) -> float:
        return float(result)


def start(network: Network, weights: Arrays, threads: int, variant: str) -> Training:
    """Return the compiled training; there is one variant."""
    return GraphnnTraining(network, weights, threads)


def layer_of(layer: Layer) -> nn.Module:
    """Return a layer of a network."""
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


def optimizer_of(network: Network) -> optim.Optimizer:
    """Return the network's optimiser."""
    if network.optimizer == "adam":
        return optim.Adam(network.learning_rate, BETAS, EPSILON)
    return optim.SGD(network.learning_rate, momentum=MOMENTUM)
