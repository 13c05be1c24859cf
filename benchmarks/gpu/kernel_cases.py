"""The convolutions and poolings that the GPU benchmark times one by one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np

from benchmarks.gpu.workloads import Precision

Pass = Literal["forward", "data gradient", "weight gradient", "backward"]

ELEMENT_BYTES: Mapping[Precision, int] = MappingProxyType({"fp32": 4, "tf32": 4, "bf16": 2})


TOLERANCES: Mapping[Precision, float] = MappingProxyType({"fp32": 1e-4, "tf32": 5e-3, "bf16": 2e-2})
"""How far a kernel's result may be from another's, relative to it."""

SAMPLES = 1000


@dataclass(frozen=True)
class Work:
    """What a pass has to do at least: arithmetic, and bytes that are read or written, each value once."""

    flops: int
    nbytes: int


@dataclass(frozen=True)
class ConvCase:
    """A convolution without bias; images and kernel are square."""

    name: str
    batch: int
    in_channels: int
    size: int
    out_channels: int
    kernel: int
    stride: int = 1
    padding: int = 0

    passes: tuple[Pass, ...] = ("forward", "data gradient", "weight gradient")
    precisions: tuple[Precision, ...] = ("fp32", "tf32", "bf16")

    @property
    def x_shape(self) -> tuple[int, ...]:
        """The images."""
        return (self.batch, self.in_channels, self.size, self.size)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """The kernels."""
        return (self.out_channels, self.in_channels, self.kernel, self.kernel)

    @property
    def y_shape(self) -> tuple[int, ...]:
        """The result."""
        size = (self.size + 2 * self.padding - self.kernel) // self.stride + 1
        return (self.batch, self.out_channels, size, size)

    @property
    def title(self) -> str:
        """As the report shows it."""
        window = f"{self.kernel}×{self.kernel}{f' stride {self.stride}' if self.stride > 1 else ''}"
        return f"conv {self.in_channels}→{self.out_channels} {window}, {self.batch} of {self.size}²"

    def work(self, which: Pass, precision: Precision) -> Work:
        """Return what a pass has to do: all three multiply as often, and have the same three arrays."""
        elements = sum(map(math.prod, (self.x_shape, self.weight_shape, self.y_shape)))
        flops = 2 * math.prod(self.y_shape) * math.prod(self.weight_shape[1:])
        return Work(flops, elements * ELEMENT_BYTES[precision])


@dataclass(frozen=True)
class PoolCase:
    """Pooling; images and windows are square."""

    name: str
    kind: Literal["max", "average"]
    batch: int
    channels: int
    size: int
    window: int
    stride: int
    padding: int = 0

    passes: tuple[Pass, ...] = ("forward", "backward")
    precisions: tuple[Precision, ...] = ("fp32", "bf16")

    @property
    def x_shape(self) -> tuple[int, ...]:
        """The images."""
        return (self.batch, self.channels, self.size, self.size)

    @property
    def y_shape(self) -> tuple[int, ...]:
        """The result."""
        size = (self.size + 2 * self.padding - self.window) // self.stride + 1
        return (self.batch, self.channels, size, size)

    @property
    def title(self) -> str:
        """As the report shows it."""
        return (
            f"{self.kind} pool {self.window}×{self.window}/{self.stride}, {self.batch}×{self.channels} of {self.size}²"
        )

    def work(self, which: Pass, precision: Precision) -> Work:
        """Return what a pass has to do; with max-pooling, a byte for each window's position goes with the values."""
        pooled = math.prod(self.y_shape)
        positions = pooled if self.kind == "max" else 0
        nbytes = (math.prod(self.x_shape) + pooled) * ELEMENT_BYTES[precision] + positions
        return Work(pooled * self.window**2, nbytes)


KernelCase = ConvCase | PoolCase


_ALL: tuple[KernelCase, ...] = (
    ConvCase("lenet-conv1", 100, 1, 28, 6, 5, padding=2),
    ConvCase("lenet-conv2", 100, 6, 14, 16, 5),
    ConvCase("resnet-64", 64, 64, 56, 64, 3, padding=1),
    ConvCase("resnet-128", 64, 128, 28, 128, 3, padding=1),
    ConvCase("resnet-256", 64, 256, 14, 256, 3, padding=1),
    ConvCase("resnet-512", 64, 512, 7, 512, 3, padding=1),
    ConvCase("resnet-stride", 64, 64, 56, 128, 3, stride=2, padding=1),
    ConvCase("resnet-1x1", 64, 64, 56, 256, 1),
    ConvCase("resnet-1x1-late", 64, 1024, 14, 256, 1),
    PoolCase("lenet-pool1", "max", 100, 6, 28, 2, 2),
    PoolCase("lenet-pool2", "max", 100, 16, 10, 2, 2),
    PoolCase("resnet-pool", "max", 64, 64, 112, 3, 2, padding=1),
    PoolCase("lenet-average", "average", 100, 6, 28, 2, 2),
    PoolCase("resnet-average", "average", 64, 512, 7, 7, 7),
)

CASES: Mapping[str, KernelCase] = MappingProxyType({case.name: case for case in _ALL})
"""The cases by name: those of LeNet, and of ResNets."""


def arrays_of(case: KernelCase) -> dict[str, np.ndarray]:
    """Return what a case reads, the same for all: "x", "dy" and, for a convolution, "weight"."""
    generator = np.random.default_rng(0)
    shapes = {"x": case.x_shape, "dy": case.y_shape}
    if isinstance(case, ConvCase):
        shapes["weight"] = case.weight_shape
    return {name: generator.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def sample_of(result: np.ndarray) -> list[float]:
    """Return some elements of a result, by which it is compared with another's."""
    flat = result.reshape(-1)
    return [float(value) for value in flat[:: max(1, flat.size // SAMPLES)]]


def difference(one: Sequence[float], other: Sequence[float]) -> float:
    """Return how far two samples are from each other, relative to the second.

    Examples
    --------
    >>> difference([3.0, 4.0], [3.0, 4.5])
    0.09245003270420485
    """
    expected = np.asarray(other)
    return float(np.linalg.norm(np.asarray(one) - expected) / np.linalg.norm(expected))


def case_of(name: str, batch: int | None) -> KernelCase:
    """Return a case, with another batch if one is given."""
    return CASES[name] if batch is None else replace(CASES[name], batch=batch)
