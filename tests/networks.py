"""Small networks that several tests train: built of ops alone, so that they need neither layers nor optimisers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import graphnn as gn
from graphnn import ops

Feed = dict[gn.Node, np.ndarray]


@dataclass(frozen=True)
class Network:
    """A classifier with its training step."""

    graph: gn.Graph
    images: gn.Node
    labels: gn.Node
    logits: gn.Node
    loss: gn.Node
    updates: list[gn.Node]

    def feed(self, batch: int, seed: int = 0) -> Feed:
        """Return random images and labels."""
        generator = np.random.default_rng(seed)
        shape = tuple(int(size) for size in self.images.shape[1:] if isinstance(size, int))
        return {
            self.images: generator.integers(0, 256, (batch, *shape), dtype=np.uint8),
            self.labels: generator.integers(0, 10, batch, dtype=np.int32),
        }

    def values(self) -> dict[str, np.ndarray]:
        """Return the values of all variables."""
        return {name: self.graph.get_value(name) for name in self.graph.variables}


def executor(fetches: Any, updates: Any = (), max_batch: int | None = 8, **options: Any) -> gn.Executor:
    """Return an executor on NumPy, by default for up to 8 examples."""
    return gn.Executor(fetches, updates, device="numpy", max_batch=max_batch, **options)


def lenet(seed: int = 0, size: int = 28, momentum: float = 0.9, rate: float = 0.05) -> Network:
    """Return LeNet on images of `size` by `size` pixels (28, or smaller for speed), trained by SGD with momentum."""
    with gn.Graph(seed=seed) as graph:
        images = gn.placeholder("images", (None, 1, size, size), "uint8")
        labels = gn.placeholder("labels", (None,), "int32")
        y = images.astype("float32") / 255
        for name, (channels, filters, padding) in {"conv1": (1, 6, 2), "conv2": (6, 16, 0)}.items():
            weight, bias = _weight(graph, name, (filters, channels, 5, 5)), _bias(name, (filters, 1, 1))
            y = ops.max_pool2d(ops.relu(ops.conv2d(y, weight, padding=padding) + bias), 2)
        y = y.flatten(1)
        for name, units in {"fc1": 120, "fc2": 84, "fc3": 10}.items():
            features = y.shape[1]
            assert isinstance(features, int)
            y = y @ _weight(graph, name, (features, units)) + _bias(name, (units,))
            y = y if name == "fc3" else ops.relu(y)
        loss = ops.cross_entropy(y, labels)
        weights = [node for node in graph.variables.values() if node.dtype.is_floating]
        updates = []
        for weight, slope in zip(weights, gn.gradients(loss, weights), strict=True):
            velocity = gn.variable(f"{weight.name}.momentum", np.zeros(weight.spec.static_shape, np.float32), False)
            moved = momentum * velocity + slope
            updates += [ops.assign(velocity, moved), ops.assign(weight, weight - rate * moved)]
    return Network(graph, images, labels, y, loss, updates)


def _weight(graph: gn.Graph, layer: str, shape: tuple[int, ...]) -> gn.Node:
    name = f"{layer}.weight"
    inputs = np.prod(shape[1:] if len(shape) == 4 else shape[:1])
    return gn.variable(name, (graph.generator(name).normal(size=shape) / np.sqrt(inputs)).astype(np.float32))


def _bias(layer: str, shape: tuple[int, ...]) -> gn.Node:
    return gn.variable(f"{layer}.bias", np.zeros(shape, np.float32))
