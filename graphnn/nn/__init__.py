"""Layers: callables that add nodes and variables to the open graph, with PyTorch's names, layouts and defaults."""

from graphnn.nn import init
from graphnn.nn.activation import ELU, GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh
from graphnn.nn.conv import Conv1d, Conv2d, ConvTranspose2d
from graphnn.nn.dropout import Dropout
from graphnn.nn.embedding import Embedding
from graphnn.nn.flatten import Flatten
from graphnn.nn.layer import Layer
from graphnn.nn.linear import Linear
from graphnn.nn.module import Module
from graphnn.nn.pool import AvgPool1d, AvgPool2d, MaxPool1d, MaxPool2d
from graphnn.nn.sequential import Sequential

__all__ = [
    "ELU",
    "GELU",
    "AvgPool1d",
    "AvgPool2d",
    "Conv1d",
    "Conv2d",
    "ConvTranspose2d",
    "Dropout",
    "Embedding",
    "Flatten",
    "Layer",
    "LeakyReLU",
    "Linear",
    "MaxPool1d",
    "MaxPool2d",
    "Module",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Tanh",
    "init",
]
