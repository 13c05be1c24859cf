"""A competitor's training in the GPU benchmark, in its own process."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.peers import Training
from benchmarks.gpu.workloads import Workload, workload_of
from benchmarks.networks import initial_weights
from benchmarks.worker import Answer


class TrainingWorker:
    """A training, its data set and the orders of its epochs.

    Parameters
    ----------
    module, variant : str
        The competitor.
    network, precision, images, batch : str
        The workload.
    device : str
        graphnn's name of it.
    folder : str
        Where `benchmarks.gpu.workloads.write_data` wrote the data set.
    """

    def __init__(
        self, module: str, variant: str, network: str, precision: Any, images: str, batch: str, device: str, folder: str
    ) -> None:
        self._start: Callable[..., Training] = importlib.import_module(f"benchmarks.gpu.peers.{module}").start
        self._variant = variant
        self._workload: Workload = workload_of(network, precision, int(images), int(batch))
        self._device = device
        self._folder = Path(folder)
        self._rows = cache(self._place)

    def build(self) -> Answer:
        """Build the training and do its first step; tell the time from the described network to the end of the step."""
        images, labels, self._orders = (
            np.load(self._folder / f"{name}.npy") for name in ("images", "labels", "orders")
        )
        weights = initial_weights(self._workload.network)
        started = time.perf_counter()
        self._training = self._start(self._workload, weights, images, labels, self._variant, self._device)
        first = self.train(0, 0, 1)
        seconds = time.perf_counter() - started
        about, note = self._training.about, self._training.note
        return {"about": about, "note": note, "seconds": seconds, "loss": first["loss"]}

    def train(self, epoch: int, first: int, count: int) -> Answer:
        """Do `count` steps of an epoch from the step `first` on; tell how long they took and the mean loss."""
        rows = self._rows(epoch, first, count)
        started = time.perf_counter()
        loss = self._training.train(rows)
        return {"seconds": time.perf_counter() - started, "loss": loss}

    def _place(self, epoch: int, first: int, count: int) -> Any:
        batch = self._workload.network.batch
        order = self._orders[epoch % len(self._orders)]
        return self._training.place(order[first * batch : (first + count) * batch].reshape(count, batch))
