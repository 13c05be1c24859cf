"""Layers: callables that add nodes and variables to the open graph, with PyTorch's names, layouts and defaults."""

from graphnn.nn import init
from graphnn.nn.activation import ReLU, Sigmoid, Tanh
from graphnn.nn.conv import Conv2d
from graphnn.nn.dropout import Dropout
from graphnn.nn.flatten import Flatten
from graphnn.nn.layer import Layer
from graphnn.nn.linear import Linear
from graphnn.nn.module import Module
from graphnn.nn.pool import AvgPool2d, MaxPool2d
from graphnn.nn.sequential import Sequential

__all__ = [
    "AvgPool2d",
    "Conv2d",
    "Dropout",
    "Flatten",
    "Layer",
    "Linear",
    "MaxPool2d",
    "Module",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Tanh",
    "init",
]
