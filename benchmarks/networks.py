"""The networks of the CPU benchmark, described once: every competitor builds its own from the same description."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

IMAGE_SHAPE = (1, 28, 28)
CLASSES = 10
MOMENTUM = 0.9
BETAS = (0.9, 0.999)
EPSILON = 1e-8

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Conv:
    """A convolution with a bias; its kernel is square, and the numbers hold for height and width."""

    in_channels: int
    out_channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1


@dataclass(frozen=True)
class Pool:
    """Pooling over square windows that touch each other."""

    kind: Literal["max", "average"]
    window: int


@dataclass(frozen=True)
class Dense:
    """A matrix product with a bias."""

    in_features: int
    out_features: int


@dataclass(frozen=True)
class Activation:
    """A function of each element."""

    kind: Literal["relu", "tanh", "sigmoid"]


@dataclass(frozen=True)
class Flatten:
    """Rows of numbers out of images, channels first."""


Layer = Conv | Pool | Dense | Activation | Flatten


@dataclass(frozen=True)
class Network:
    """What is trained and how: layers by name, the batch, the optimiser."""

    name: str
    layers: Mapping[str, Layer]
    batch: int
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = 0.02
    image_shape: tuple[int, int, int] = IMAGE_SHAPE
    gain: float = 1.0
    """By how much the initial weights and biases are larger than usual; deep networks need it to pass anything on."""

    @property
    def title(self) -> str:
        """The network with what is done to it, as the report shows it."""
        optimizer = f"SGD with momentum {MOMENTUM}" if self.optimizer == "sgd" else "Adam"
        return f"{self.name}, batch {self.batch}, {optimizer}"

    @property
    def summary(self) -> str:
        """The layers in a line."""
        return " → ".join(_summary(layer) for layer in self.layers.values() if not isinstance(layer, Flatten))


def initial_weights(network: Network, seed: int = 0) -> Arrays:
    """Return weights and biases by PyTorch's names and layouts, uniform in ±gain / sqrt(inputs of one output)."""
    generator = np.random.default_rng(seed)
    weights: Arrays = {}
    for name, layer in network.layers.items():
        if isinstance(layer, Conv):
            shape: tuple[int, ...] = (
                layer.out_channels,
                layer.in_channels // layer.groups,
                layer.kernel,
                layer.kernel,
            )
        elif isinstance(layer, Dense):
            shape = (layer.out_features, layer.in_features)
        else:
            continue
        bound = network.gain / math.sqrt(math.prod(shape[1:]))
        weights[f"{name}.weight"] = generator.uniform(-bound, bound, shape).astype(np.float32)
        weights[f"{name}.bias"] = generator.uniform(-bound, bound, shape[:1]).astype(np.float32)
    return weights


def channels_last(network: Network, weights: Arrays) -> Arrays:
    """Return the same weights for images (N, H, W, C).

    Kernels become (H, W, I, O), dense weights (I, O); the inputs of a dense layer below `Flatten` are reordered, so
    that it takes rows whose channels come last.
    """
    result = dict(weights)
    for name, layer, shape in _with_input_shapes(network):
        key = f"{name}.weight"
        if isinstance(layer, Conv):
            result[key] = np.ascontiguousarray(weights[key].transpose(2, 3, 1, 0))
        elif isinstance(layer, Dense):
            by_axes = weights[key].reshape(layer.out_features, *shape)
            last = by_axes.transpose(0, 2, 3, 1) if len(shape) == 3 else by_axes
            result[key] = np.ascontiguousarray(last.reshape(layer.out_features, -1).T)
    return result


def _with_input_shapes(network: Network) -> Iterator[tuple[str, Layer, tuple[int, ...]]]:
    """Yield the layers with the shapes of their inputs; `Flatten` leaves (C, H, W) to the layer above it."""
    shape: tuple[int, ...] = network.image_shape
    for name, layer in network.layers.items():
        yield name, layer, shape
        if isinstance(layer, Conv):
            reach = layer.dilation * (layer.kernel - 1) + 1
            sizes = ((size + 2 * layer.padding - reach) // layer.stride + 1 for size in shape[1:])
            shape = (layer.out_channels, *sizes)
        elif isinstance(layer, Pool):
            shape = (shape[0], *(size // layer.window for size in shape[1:]))
        elif isinstance(layer, Dense):
            shape = (layer.out_features,)


def _summary(layer: Layer) -> str:
    if isinstance(layer, Conv):
        extras = (("stride", layer.stride, 1), ("padding", layer.padding, 0))
        more = (("dilation", layer.dilation, 1), ("groups", layer.groups, 1))
        shown = "".join(f" {name} {value}" for name, value, usual in (*extras, *more) if value != usual)
        return f"conv {layer.in_channels}→{layer.out_channels} {layer.kernel}×{layer.kernel}{shown}"
    if isinstance(layer, Pool):
        return f"{layer.kind} pool {layer.window}"
    if isinstance(layer, Dense):
        return f"dense {layer.in_features}→{layer.out_features}"
    return layer.kind if isinstance(layer, Activation) else "flatten"


_RELU = Activation("relu")
_HALVE = Pool("max", 2)

_LENET: dict[str, Layer] = {
    "conv1": Conv(1, 6, 5, padding=2),
    "relu1": _RELU,
    "pool1": _HALVE,
    "conv2": Conv(6, 16, 5),
    "relu2": _RELU,
    "pool2": _HALVE,
    "flatten": Flatten(),
    "fc1": Dense(400, 120),
    "relu3": _RELU,
    "fc2": Dense(120, 84),
    "relu4": _RELU,
    "fc3": Dense(84, CLASSES),
}

_ALL = (
    Network(
        "pure_linear",
        {"flatten": Flatten(), "fc1": Dense(784, 100), "relu1": _RELU, "fc2": Dense(100, CLASSES)},
        batch=100,
    ),
    Network(
        "mnist_cnn",
        {
            "conv1": Conv(1, 4, 3, padding=1),
            "activation1": _RELU,
            "pool1": _HALVE,
            "conv2": Conv(4, 8, 3, padding=1),
            "activation2": _RELU,
            "pool2": _HALVE,
            "flatten": Flatten(),
            "fc1": Dense(392, 100),
            "activation3": _RELU,
            "fc2": Dense(100, CLASSES),
        },
        batch=16,
    ),
    Network("lenet", _LENET, batch=100),
    Network("lenet_adam", _LENET, batch=100, optimizer="adam", learning_rate=1e-3),
    Network(
        "simple_conv",
        {
            "conv1": Conv(1, 8, 5, padding=2),
            "relu1": _RELU,
            "pool1": _HALVE,
            "flatten": Flatten(),
            "fc1": Dense(1568, 100),
            "relu2": _RELU,
            "fc2": Dense(100, CLASSES),
        },
        batch=100,
    ),
    Network(
        "odd_channels",
        {
            "conv1": Conv(1, 7, 3),
            "relu1": _RELU,
            "pool1": _HALVE,
            "conv2": Conv(7, 19, 5, stride=2, padding=2),
            "relu2": _RELU,
            "flatten": Flatten(),
            "fc1": Dense(931, 61),
            "relu3": _RELU,
            "fc2": Dense(61, CLASSES),
        },
        batch=64,
    ),
    Network(
        "strided_groups",
        {
            "conv1": Conv(1, 12, 3, stride=2, padding=1),
            "relu1": _RELU,
            "conv2": Conv(12, 24, 3, padding=2, dilation=2, groups=4),
            "relu2": _RELU,
            "conv3": Conv(24, 24, 3, padding=1, groups=24),
            "relu3": _RELU,
            "pool1": Pool("average", 2),
            "flatten": Flatten(),
            "fc1": Dense(1176, CLASSES),
        },
        batch=37,
    ),
    Network(
        "tanh_sigmoid",
        {
            "conv1": Conv(1, 5, 4, stride=2),
            "tanh1": Activation("tanh"),
            "conv2": Conv(5, 9, 3),
            "sigmoid1": Activation("sigmoid"),
            "flatten": Flatten(),
            "fc1": Dense(1089, 65),
            "tanh2": Activation("tanh"),
            "fc2": Dense(65, 33),
            "sigmoid2": Activation("sigmoid"),
            "fc3": Dense(33, CLASSES),
        },
        batch=37,
    ),
)

NETWORKS: Mapping[str, Network] = MappingProxyType({network.name: network for network in _ALL})
"""The networks by name. Nothing in graphnn was made for the last three."""
