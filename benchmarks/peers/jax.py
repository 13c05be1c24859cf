"""JAX in the CPU benchmark: one jitted function for the whole step, with images in either layout."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.networks import (
    BETAS,
    EPSILON,
    MOMENTUM,
    Activation,
    Arrays,
    Conv,
    Dense,
    Flatten,
    Network,
    Pool,
    channels_last,
)
from benchmarks.peers import Training

Weights = dict[str, jax.Array]


class JaxTraining:
    """Weights and the optimiser's state go through the step and are donated to it."""

    def __init__(self, network: Network, weights: Arrays, last: bool) -> None:
        self.about = f"JAX {jax.__version__}"
        self._last = last
        chosen = channels_last(network, weights) if last else weights
        self._weights: Weights = {name: jnp.array(value) for name, value in chosen.items()}
        self._state = initial_state(network, self._weights)

        def step(weights: Weights, state: Any, images: Any, labels: Any) -> tuple[Weights, Any, Any]:
            def loss_of(weights: Weights) -> Any:
                logs = jax.nn.log_softmax(logits_of(network, weights, images, last))
                return -jnp.take_along_axis(logs, labels[:, None], axis=1).mean()

            loss, gradients = jax.value_and_grad(loss_of)(weights)
            return *updated(network, weights, state, gradients), loss

        self._step = jax.jit(step, donate_argnums=(0, 1))

    def place(self, images: np.ndarray, labels: np.ndarray) -> tuple[Any, Any]:
        ordered = images.transpose(0, 2, 3, 1) if self._last else images
        return jnp.array(ordered), jnp.array(labels)

    def step(self, batch: tuple[Any, Any]) -> Any:
        self._weights, self._state, loss = self._step(self._weights, self._state, *batch)
        return loss

    def loss(self, result: Any) -> float:
        jax.block_until_ready((self._weights, self._state))
        return float(result)


def start(network: Network, weights: Arrays, threads: int, variant: str) -> Training:
    """Return the training; variants are "channels-first" and "channels-last".

    JAX has no function that sets its threads: the worker's processor affinity does it.
    """
    return JaxTraining(network, weights, last=variant == "channels-last")


def logits_of(network: Network, weights: Weights, x: Any, last: bool) -> Any:
    """Return the network's outputs for images in either layout."""
    for name, layer in network.layers.items():
        match layer:
            case Conv():
                order = ("NHWC", "HWIO", "NHWC") if last else ("NCHW", "OIHW", "NCHW")
                x = lax.conv_general_dilated(
                    x,
                    weights[f"{name}.weight"],
                    window_strides=(layer.stride,) * 2,
                    padding=((layer.padding, layer.padding),) * 2,
                    rhs_dilation=(layer.dilation,) * 2,
                    dimension_numbers=order,
                    feature_group_count=layer.groups,
                )
                bias = weights[f"{name}.bias"]
                x = x + (bias if last else bias[:, None, None])
            case Pool():
                x = _pooled(x, layer, last)
            case Dense():
                weight = weights[f"{name}.weight"]
                x = x @ (weight if last else weight.T) + weights[f"{name}.bias"]
            case Activation():
                x = {"relu": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid}[layer.kind](x)
            case Flatten():
                x = x.reshape(x.shape[0], -1)
    return x


def _pooled(x: Any, layer: Pool, last: bool) -> Any:
    sizes = (layer.window, layer.window)
    window = (1, *sizes, 1) if last else (1, 1, *sizes)
    if layer.kind == "max":
        return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")
    return lax.reduce_window(x, 0.0, lax.add, window, window, "VALID") / layer.window**2


def initial_state(network: Network, weights: Weights) -> Any:
    """Return the optimiser's state before the first step."""
    # Nothing may be shared: what is donated is donated once.
    if network.optimizer == "adam":
        return jnp.zeros(()), jax.tree.map(jnp.zeros_like, weights), jax.tree.map(jnp.zeros_like, weights)
    return jax.tree.map(jnp.zeros_like, weights)


def updated(network: Network, weights: Weights, state: Any, gradients: Weights) -> tuple[Weights, Any]:
    """Return weights and state after the optimiser's step."""
    rate = network.learning_rate
    if network.optimizer == "sgd":
        momentum = jax.tree.map(lambda m, g: MOMENTUM * m + g, state, gradients)
        return jax.tree.map(lambda w, m: w - rate * m, weights, momentum), momentum
    (beta1, beta2), (run, mean, square) = BETAS, state
    run = run + 1
    mean = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, mean, gradients)
    square = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, square, gradients)
    size, root = rate / (1 - beta1**run), jnp.sqrt(1 - beta2**run)
    moved = jax.tree.map(lambda w, m, v: w - size * m / (jnp.sqrt(v) / root + EPSILON), weights, mean, square)
    return moved, (run, mean, square)
