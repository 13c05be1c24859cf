"""What the GPU benchmark trains: networks, precisions and data sets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np

from benchmarks.networks import CLASSES, IMAGE_SHAPE, NETWORKS, Activation, Conv, Dense, Flatten, Layer, Network, Pool
from graphnn import data

Precision = Literal["fp32", "tf32", "bf16"]

PRECISIONS: Mapping[Precision, str] = MappingProxyType(
    {
        "fp32": "float32 throughout, TF32 off",
        "tf32": "float32 in memory, products by tensor cores with factors of 10 bits",
        "bf16": "bfloat16 activations and copies of the weights, float32 weights, sums and losses",
    }
)
"""What each precision means."""

MNIST_IMAGES = 60_000
STACK_IMAGES = 12_800
ORDERS = 4
"""How many orders of the images there are; epochs go through them again and again."""


def _stack(widths: tuple[int, ...], size: int) -> dict[str, Layer]:
    """Return pairs of 3x3 convolutions, with pooling after each pair, for images of 3 channels."""
    layers: dict[str, Layer] = {}
    channels, number = 3, 0
    for stage, width in enumerate(widths, 1):
        for _ in range(2):
            number += 1
            layers |= {f"conv{number}": Conv(channels, width, 3, padding=1), f"relu{number}": Activation("relu")}
            channels = width
        layers[f"pool{stage}"] = Pool("max", 2)
    rest = size >> len(widths)
    return {**layers, "flatten": Flatten(), "fc": Dense(channels * rest * rest, CLASSES)}


STACK = Network(
    "stack",
    _stack((64, 128, 256), size=32),
    batch=128,
    learning_rate=0.002,
    image_shape=(3, 32, 32),
    gain=math.sqrt(3),  # signals reach the last layer; with more, rounding soon parts the competitors' losses
)

GPU_NETWORKS: Mapping[str, Network] = MappingProxyType(
    {**{name: NETWORKS[name] for name in ("lenet", "mnist_cnn", "simple_conv", "pure_linear")}, STACK.name: STACK}
)
"""The networks by name: those of MNIST, and a plain stack of 3x3 convolutions on images of 32x32."""


@dataclass(frozen=True)
class Workload:
    """A network's training in one precision, epoch by epoch over so many images."""

    network: Network
    precision: Precision
    images: int

    @property
    def title(self) -> str:
        """As the report calls it."""
        return f"{self.network.title}, {self.precision}"

    @property
    def steps(self) -> int:
        """Steps of an epoch; what does not fill a batch is left out."""
        return self.images // self.network.batch


def workload_of(name: str, precision: Precision, images: int | None, batch: int | None) -> Workload:
    """Return a network's workload, with as many images and as large batches as it usually has if not told."""
    network = GPU_NETWORKS[name]
    if batch is not None:
        network = Network(**{**vars(network), "batch": batch})
    usual = STACK_IMAGES if network.image_shape != IMAGE_SHAPE else MNIST_IMAGES
    return Workload(network, precision, min(images or usual, usual))


def precisions_of(name: str) -> tuple[Precision, ...]:
    """Return the precisions in which a network is trained: the stack in all, those of MNIST in float32."""
    return tuple(PRECISIONS) if name == STACK.name else ("fp32",)


def write_data(workload: Workload, folder: Path) -> Path:
    """Write images, labels and orders as NumPy files, unless they are there; return their folder.

    Images are float32: MNIST's from 0 to 1, or normal noise with labels at random where it can't be MNIST.
    """
    place = folder / f"{'x'.join(map(str, workload.network.image_shape))}-{workload.images}"
    if place.exists():
        return place
    generator = np.random.default_rng(0)
    if workload.network.image_shape == IMAGE_SHAPE:
        digits = data.mnist()
        images = digits.train_images[: workload.images].astype(np.float32).reshape(-1, *IMAGE_SHAPE) / np.float32(255)
        labels = digits.train_labels[: workload.images].astype(np.int32)
    else:
        images = generator.standard_normal((workload.images, *workload.network.image_shape), np.float32)
        labels = generator.integers(0, CLASSES, workload.images, np.int32)
    place.mkdir(parents=True)
    np.save(place / "images.npy", images)
    np.save(place / "labels.npy", labels)
    np.save(place / "orders.npy", np.stack([generator.permutation(workload.images) for _ in range(ORDERS)]))
    return place
