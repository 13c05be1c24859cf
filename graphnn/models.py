"""The models that examples, tests and benchmarks use: small networks for MNIST.

All take images (N, 1, 28, 28) and return logits (N, 10). uint8 images are cast to float32 and divided by 255 inside
the graph; floating ones are used as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from graphnn.nn.activation import ReLU, Sigmoid, Tanh
from graphnn.nn.conv import Conv2d
from graphnn.nn.flatten import Flatten
from graphnn.nn.layer import Layer
from graphnn.nn.linear import Linear
from graphnn.nn.pool import MaxPool2d
from graphnn.nn.sequential import Sequential
from graphnn.ops import dtypes
from graphnn.ops.errors import DTypeError, GraphError
from graphnn.ops.node import Node
from graphnn.ops.source import caller

ACTIVATIONS: Mapping[str, type[Layer]] = MappingProxyType({"relu": ReLU, "sigmoid": Sigmoid, "tanh": Tanh})


class Pixels(Layer):
    """Turn uint8 pixels into float32 numbers from 0 to 1; leave floating ones alone.

    Raises
    ------
    DTypeError
        At the call, for other element types, whose range is not known.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph():
    ...     Pixels()(gn.placeholder("images", (None, 1, 28, 28), "uint8")).spec
    float32 (N, 1, 28, 28)
    """

    def forward(self, x: Node) -> Node:
        """Return ``x / 255`` for uint8 and `x` for floating types."""
        if x.dtype.is_floating:
            return x
        if x.dtype is dtypes.uint8:
            return x.astype("float32") / 255
        raise DTypeError(
            "these images are neither uint8 nor floating",
            expected="uint8 from 0 to 255, or a floating type",
            actual=f"{x.spec} ({x.name!r})",
            where=str(caller()),
            hint="convert them with .astype('float32') and scale them",
        )


def pure_linear(*, name: str | None = None) -> Sequential:
    """Return a network of two dense layers: 784 → 100, ReLU, 100 → 10.

    Parameters
    ----------
    name : str, optional
        Scope around the whole model.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph(seed=0) as graph:
    ...     logits = gn.models.pure_linear()(gn.placeholder("images", (None, 1, 28, 28), "uint8"))
    >>> list(graph.variables)
    ['fc1.weight', 'fc1.bias', 'fc2.weight', 'fc2.bias']
    """
    return Sequential(
        {
            "pixels": Pixels(),
            "flatten": Flatten(),
            "fc1": Linear(784, 100),
            "relu1": ReLU(),
            "fc2": Linear(100, 10),
        },
        name=name,
    )


def simple_conv(*, name: str | None = None) -> Sequential:
    """Return a network of one convolution (1 → 8 channels, 5×5, padded), ReLU, max-pooling and two dense layers.

    Parameters
    ----------
    name : str, optional
        Scope around the whole model.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph(seed=0) as graph:
    ...     logits = gn.models.simple_conv()(gn.placeholder("images", (None, 1, 28, 28), "uint8"))
    >>> logits.shape, graph["conv1.weight"].shape, graph["fc1.weight"].shape
    ((N, 10), (8, 1, 5, 5), (100, 1568))
    """
    return Sequential(
        {
            "pixels": Pixels(),
            "conv1": Conv2d(1, 8, 5, padding=2),
            "relu1": ReLU(),
            "pool1": MaxPool2d(2),
            "flatten": Flatten(),
            "fc1": Linear(1568, 100),
            "relu2": ReLU(),
            "fc2": Linear(100, 10),
        },
        name=name,
    )


def lenet(*, name: str | None = None) -> Sequential:
    """Return LeNet with ReLU and max-pooling: two convolutions (6 and 16 channels, 5×5), three dense layers.

    Parameters
    ----------
    name : str, optional
        Scope around the whole model.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph(seed=0) as graph:
    ...     logits = gn.models.lenet()(gn.placeholder("images", (None, 1, 28, 28), "uint8"))
    >>> logits.shape, graph["conv2.weight"].shape, graph["fc3.bias"].shape
    ((N, 10), (16, 6, 5, 5), (10,))
    """
    return Sequential(
        {
            "pixels": Pixels(),
            "conv1": Conv2d(1, 6, 5, padding=2),
            "relu1": ReLU(),
            "pool1": MaxPool2d(2),
            "conv2": Conv2d(6, 16, 5),
            "relu2": ReLU(),
            "pool2": MaxPool2d(2),
            "flatten": Flatten(),
            "fc1": Linear(400, 120),
            "relu3": ReLU(),
            "fc2": Linear(120, 84),
            "relu4": ReLU(),
            "fc3": Linear(84, 10),
        },
        name=name,
    )


def mnist_cnn(activation: str = "relu", *, name: str | None = None) -> Sequential:
    """Return a network of two small convolutions (4 and 8 channels, 3×3, padded) and two dense layers.

    Parameters
    ----------
    activation : {"relu", "sigmoid", "tanh"}
        What follows each layer but the last.
    name : str, optional
        Scope around the whole model.

    Raises
    ------
    GraphError
        For another activation.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph(seed=0) as graph:
    ...     images = gn.placeholder("images", (None, 1, 28, 28), "uint8")
    ...     logits = gn.models.mnist_cnn(activation="sigmoid")(images)
    >>> logits.shape, graph["conv2.weight"].shape, graph["fc1.weight"].shape
    ((N, 10), (8, 4, 3, 3), (100, 392))
    """
    if activation not in ACTIVATIONS:
        raise GraphError(
            f"there is no activation {activation!r}",
            expected="one of " + ", ".join(ACTIVATIONS),
            where=str(caller()),
        )
    make_activation = ACTIVATIONS[activation]
    return Sequential(
        {
            "pixels": Pixels(),
            "conv1": Conv2d(1, 4, 3, padding=1),
            "activation1": make_activation(),
            "pool1": MaxPool2d(2),
            "conv2": Conv2d(4, 8, 3, padding=1),
            "activation2": make_activation(),
            "pool2": MaxPool2d(2),
            "flatten": Flatten(),
            "fc1": Linear(392, 100),
            "activation3": make_activation(),
            "fc2": Linear(100, 10),
        },
        name=name,
    )


class ModelEntry(NamedTuple):
    """A model that the command line offers: how to make it, and a line about it."""

    build: Callable[[], Sequential]
    description: str


MODELS: Mapping[str, ModelEntry] = MappingProxyType(
    {
        "pure_linear": ModelEntry(pure_linear, "784 → 100 → 10, ReLU"),
        "simple_conv": ModelEntry(simple_conv, "one convolution of 8 channels, two dense layers, ReLU"),
        "lenet": ModelEntry(lenet, "LeNet: convolutions of 6 and 16 channels, three dense layers, ReLU"),
        "mnist_cnn": ModelEntry(mnist_cnn, "convolutions of 4 and 8 channels, two dense layers, any activation"),
    }
)
"""The models by name."""
