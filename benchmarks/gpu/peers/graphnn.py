"""graphnn in the GPU benchmark: one executor, the data set resident, a run is a step."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphnn as gn
from benchmarks.gpu.peers import Training
from benchmarks.gpu.workloads import Workload
from benchmarks.networks import Arrays, Conv, Dense, Layer, Network
from benchmarks.peers.graphnn import layer_of, optimizer_of
from graphnn import nn, ops


class GraphnnTraining:
    """Each step adds its loss to a variable, which is read at the end."""

    def __init__(
        self, workload: Workload, weights: Arrays, images: np.ndarray, labels: np.ndarray, device: str
    ) -> None:
        network = workload.network
        with gn.Graph() as self._graph:
            pixels = gn.placeholder("images", (None, *network.image_shape))
            classes = gn.placeholder("labels", (None,), "int32")
            loss = ops.cross_entropy(_logits(network, pixels, workload.precision == "bf16"), classes)
            self._total = gn.variable("total_loss", np.float32(0), trainable=False)
            updates = [*optimizer_of(network).minimize(loss), ops.assign(self._total, self._total + loss)]
        for name, value in weights.items():
            self._graph.set_value(self._graph[name], value)
        options: dict[str, Any] = {"precision": "tf32"} if workload.precision == "tf32" else {}
        executor = gn.Executor([], updates, device=device, max_batch=network.batch, **options)
        self._resident = executor.resident({pixels: images, classes: labels})
        self.about = f"graphnn {gn.__version__} (target {executor.plan.target}{_cupy(device)})"
        self.note = "" if self._resident.is_on_device else "fed from the host: the data is not resident"

    def place(self, rows: np.ndarray) -> np.ndarray:
        """Leave them where they are: their copy to the device is part of the epoch."""
        return rows

    def train(self, rows: np.ndarray) -> float:
        """Run through the order of the rows without fetching anything, then read the sum of the losses."""
        steps, batch = rows.shape
        self._graph.set_value(self._total, 0.0)
        for _ in self._resident.batches(rows.reshape(-1), batch, fetch=False):
            pass
        return float(self._graph.get_value(self._total)) / steps


def start(
    workload: Workload, weights: Arrays, images: np.ndarray, labels: np.ndarray, variant: str, device: str
) -> Training:
    """Return the compiled training; there is one variant."""
    return GraphnnTraining(workload, weights, images, labels, device)


def _logits(network: Network, pixels: gn.Node, lowered: bool) -> gn.Node:
    chosen = _lowered_layer_of if lowered else layer_of
    model = nn.Sequential({name: chosen(layer) for name, layer in network.layers.items()})
    return model(pixels.astype("bfloat16")).astype("float32") if lowered else model(pixels)


class _LoweredWeights(nn.Layer):
    """A layer that computes with bfloat16 copies of its float32 variables."""

    def variable(self, *arguments: Any, **options: Any) -> gn.Node:
        return super().variable(*arguments, **options).astype("bfloat16")


class _LoweredConv2d(_LoweredWeights, nn.Conv2d):
    pass


class _LoweredLinear(_LoweredWeights, nn.Linear):
    pass


def _lowered_layer_of(layer: Layer) -> nn.Module:
    match layer:
        case Conv(dilation=1, groups=1):
            return _LoweredConv2d(layer.in_channels, layer.out_channels, layer.kernel, layer.stride, layer.padding)
        case Dense():
            return _LoweredLinear(layer.in_features, layer.out_features)
    return layer_of(layer)


def _cupy(device: str) -> str:
    if device != "cuda":
        return ""
    import cupy

    return f", CuPy {cupy.__version__}"
