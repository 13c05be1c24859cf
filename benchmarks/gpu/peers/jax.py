"""JAX in the GPU benchmark: a jitted function for a step, or one for a whole epoch, with images in either layout."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.gpu.peers import Training
from benchmarks.gpu.workloads import Workload
from benchmarks.networks import Arrays, channels_last
from benchmarks.peers.jax import Weights, initial_state, logits_of, updated


class JaxTraining:
    """Weights, the optimiser's state, the sum of the losses and the step's number are donated from step to step."""

    def __init__(
        self, workload: Workload, weights: Arrays, images: np.ndarray, labels: np.ndarray, scanned: bool, last: bool
    ) -> None:
        # XLA takes TF32 for float32 unless it is told otherwise.
        jax.config.update("jax_default_matmul_precision", "float32" if workload.precision == "fp32" else None)
        self.about = f"JAX {jax.__version__} on {jax.devices()[0].device_kind}"
        self.note = ""
        chosen = channels_last(workload.network, weights) if last else weights
        parameters: Weights = {name: jnp.array(value) for name, value in chosen.items()}
        self._carried: Any = (parameters, initial_state(workload.network, parameters))
        self._data = jnp.array(images.transpose(0, 2, 3, 1) if last else images), jnp.array(labels)
        self._scanned = scanned
        step = _step_of(workload, last)

        def next_step(
            carried: Any, total: Any, place: Any, rows: Any, images: Any, labels: Any
        ) -> tuple[Any, Any, Any]:
            chosen = lax.dynamic_index_in_dim(rows, place, keepdims=False)
            carried, loss = step(carried, chosen, images, labels)
            return carried, total + loss, place + 1

        def epoch(carried: Any, rows: Any, images: Any, labels: Any) -> tuple[Any, Any]:
            carried, losses = lax.scan(lambda carried, chosen: step(carried, chosen, images, labels), carried, rows)
            return carried, losses.sum()

        self._step = jax.jit(next_step, donate_argnums=(0, 1, 2))
        self._epoch = jax.jit(epoch, donate_argnums=0)

    def place(self, rows: np.ndarray) -> Any:
        """Copy them to the device."""
        return jax.block_until_ready(jnp.array(rows.astype(np.int32)))

    def train(self, rows: Any) -> float:
        """Do the steps and wait for the loss and all weights."""
        if self._scanned:
            self._carried, total = self._epoch(self._carried, rows, *self._data)
        else:
            total, place = jnp.zeros(()), jnp.zeros((), jnp.int32)
            for _ in range(len(rows)):
                self._carried, total, place = self._step(self._carried, total, place, rows, *self._data)
        jax.block_until_ready(self._carried)
        return float(total) / len(rows)


def start(
    workload: Workload, weights: Arrays, images: np.ndarray, labels: np.ndarray, variant: str, device: str
) -> Training:
    """Return the training; variants are "step" and "scan", either with " channels-last".

    Which device it runs on is JAX's own choice, by the environment variable ``JAX_PLATFORMS``.
    """
    mode, _, layout = variant.partition(" ")
    return JaxTraining(workload, weights, images, labels, scanned=mode == "scan", last=layout == "channels-last")


def _step_of(workload: Workload, last: bool) -> Any:
    """Return the function from weights and state to those after a step, and its loss."""
    network, lowered = workload.network, workload.precision == "bf16"

    def loss_of(weights: Weights, images: Any, labels: Any) -> Any:
        if lowered:
            weights = jax.tree.map(lambda weight: weight.astype(jnp.bfloat16), weights)
            images = images.astype(jnp.bfloat16)
        logs = jax.nn.log_softmax(logits_of(network, weights, images, last).astype(jnp.float32))
        return -jnp.take_along_axis(logs, labels[:, None], axis=1).mean()

    def step(carried: Any, chosen: Any, images: Any, labels: Any) -> tuple[Any, Any]:
        weights, state = carried
        batch = [array.at[chosen].get(mode="promise_in_bounds") for array in (images, labels)]
        loss, gradients = jax.value_and_grad(loss_of)(weights, *batch)
        return updated(network, weights, state, gradients), loss

    return step
