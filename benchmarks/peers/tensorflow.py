"""TensorFlow's graph mode in the CPU benchmark: tf.function, the same through XLA, and the Session of TensorFlow 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.networks import (
    BETAS,
    EPSILON,
    IMAGE_SHAPE,
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


class Model:
    """The variables and the ops of a step, which any of the graph modes traces."""

    def __init__(self, network: Network, weights: Arrays, xla: bool) -> None:
        self._network = network
        self._xla = xla
        chosen = channels_last(network, weights)
        self._weights = {name: tf.Variable(value, name=name.replace(".", "_")) for name, value in chosen.items()}
        slots = 2 if network.optimizer == "adam" else 1
        self._slots = {name: [tf.Variable(np.zeros_like(v)) for _ in range(slots)] for name, v in chosen.items()}
        self._run = tf.Variable(np.float32(0))

    def step(self, images: Any, labels: Any) -> tuple[Any, list[Any]]:
        """Return the loss and the ops that update the variables."""
        with tf.GradientTape() as tape:
            logits = self._logits(images)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        gradients = tape.gradient(loss, self._weights)
        update = self._adam() if self._network.optimizer == "adam" else self._momentum
        return loss, [update(name, gradient) for name, gradient in gradients.items()]

    def _momentum(self, name: str, gradient: Any) -> Any:
        (momentum,) = self._slots[name]
        return tf.raw_ops.ResourceApplyMomentum(
            var=self._weights[name].handle,
            accum=momentum.handle,
            lr=self._network.learning_rate,
            grad=gradient,
            momentum=MOMENTUM,
        )

    def _adam(self) -> Callable[[str, Any], Any]:
        beta1, beta2 = BETAS
        run = self._run.assign_add(1.0, read_value=True)
        power1, power2 = tf.pow(beta1, run), tf.pow(beta2, run)

        def update(name: str, gradient: Any) -> Any:
            mean, square = self._slots[name]
            return tf.raw_ops.ResourceApplyAdam(
                var=self._weights[name].handle,
                m=mean.handle,
                v=square.handle,
                beta1_power=power1,
                beta2_power=power2,
                lr=self._network.learning_rate,
                beta1=beta1,
                beta2=beta2,
                # TensorFlow adds epsilon before it corrects the bias, the others after.
                epsilon=EPSILON * tf.sqrt(1 - power2),
                grad=gradient,
            )

        return update

    def _logits(self, x: Any) -> Any:
        for name, layer in self._network.layers.items():
            match layer:
                case Conv():
                    x = self._convolved(x, layer, self._weights[f"{name}.weight"]) + self._weights[f"{name}.bias"]
                case Pool():
                    pool = tf.nn.max_pool2d if layer.kind == "max" else tf.nn.avg_pool2d
                    x = pool(x, layer.window, layer.window, "VALID")
                case Dense():
                    x = x @ self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]
                case Activation():
                    x = {"relu": tf.nn.relu, "tanh": tf.tanh, "sigmoid": tf.sigmoid}[layer.kind](x)
                case Flatten():
                    x = tf.reshape(x, (self._network.batch, -1))
        return x

    def _convolved(self, x: Any, layer: Conv, kernel: Any) -> Any:
        """Return the convolution. Without XLA, TensorFlow has no gradient for groups and dilation on a CPU."""
        sides = [[0, 0], [layer.padding] * 2, [layer.padding] * 2, [0, 0]]
        if self._xla or layer.groups == layer.dilation == 1:
            return tf.nn.conv2d(x, kernel, layer.stride, sides, dilations=layer.dilation)
        if layer.groups == layer.in_channels == layer.out_channels and layer.dilation == 1:
            kernel = tf.transpose(kernel, (0, 1, 3, 2))
            return tf.nn.depthwise_conv2d(x, kernel, (1, layer.stride, layer.stride, 1), sides)
        parts = zip(tf.split(tf.pad(x, sides), layer.groups, 3), tf.split(kernel, layer.groups, 3), strict=True)
        if layer.dilation == 1:
            return tf.concat([tf.nn.conv2d(a, b, layer.stride, "VALID") for a, b in parts], 3)
        return tf.concat([tf.nn.atrous_conv2d(a, b, layer.dilation, "VALID") for a, b in parts], 3)


class FunctionTraining:
    """A step as a tf.function."""

    def __init__(self, network: Network, weights: Arrays, xla: bool) -> None:
        self.about = f"TensorFlow {tf.__version__}"
        model = Model(network, weights, xla)
        self._function = tf.function(
            # The updates are no result; tf.function carries them out all the same, in order.
            lambda images, labels: model.step(images, labels)[0],
            [tf.TensorSpec(shape, dtype) for shape, dtype in _inputs(network)],
            autograph=False,
            jit_compile=xla,
        ).get_concrete_function()

    def place(self, images: np.ndarray, labels: np.ndarray) -> tuple[Any, Any]:
        return tf.constant(images.transpose(0, 2, 3, 1)), tf.constant(labels)

    def step(self, batch: tuple[Any, Any]) -> Any:
        return self._function(*batch)

    def loss(self, result: Any) -> float:
        return float(result)


class SessionTraining:
    """A step as a graph of TensorFlow 1, in a Session."""

    def __init__(self, network: Network, weights: Arrays, threads: int) -> None:
        self.about = f"TensorFlow {tf.__version__}"
        v1 = tf.compat.v1
        with tf.Graph().as_default() as graph:
            feeds = [v1.placeholder(dtype, shape) for shape, dtype in _inputs(network)]
            loss, updates = Model(network, weights, xla=False).step(*feeds)
            fetches = [loss, tf.group(updates)]
            initialize = v1.global_variables_initializer()
        config = v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads)
        session = v1.Session(graph=graph, config=config)
        session.run(initialize)
        # `make_callable` leaves out what `run` does to find its fetches anew each time.
        self._run = session.make_callable(fetches, feeds)

    def place(self, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.ascontiguousarray(images.transpose(0, 2, 3, 1)), labels

    def step(self, batch: tuple[np.ndarray, np.ndarray]) -> Any:
        return self._run(*batch)[0]

    def loss(self, result: Any) -> float:
        return float(result)


def start(network: Network, weights: Arrays, threads: int, variant: str) -> Training:
    """Return the training; variants are "function", "xla" and "session"."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    if variant == "session":
        return SessionTraining(network, weights, threads)
    return FunctionTraining(network, weights, xla=variant == "xla")


def _inputs(network: Network) -> tuple[tuple[tuple[int, ...], Any], ...]:
    channels, height, width = IMAGE_SHAPE
    return ((network.batch, height, width, channels), tf.float32), ((network.batch,), tf.int32)
