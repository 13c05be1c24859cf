"""The language of graphnn: graphs, nodes and every op, each with its shape rule, gradient and meaning in NumPy."""

from __future__ import annotations

if __name__ != "graphnn.ops":
    raise ImportError("import this package as graphnn.ops: under another name its classes would exist twice")

from graphnn.ops import dtypes, errors
from graphnn.ops.avg_pool import avg_pool2d, global_avg_pool2d
from graphnn.ops.broadcasting import cast
from graphnn.ops.comparison import equal, greater, greater_equal, less, less_equal, not_equal, where
from graphnn.ops.context import apply, current_graph
from graphnn.ops.conv import conv2d
from graphnn.ops.elementwise import (
    abs,
    add,
    clip,
    divide,
    exp,
    log,
    maximum,
    minimum,
    multiply,
    negative,
    power,
    relu,
    sigmoid,
    sign,
    sqrt,
    subtract,
    tanh,
)
from graphnn.ops.graph import Graph
from graphnn.ops.index import one_hot, take
from graphnn.ops.loss import cross_entropy, mse_loss
from graphnn.ops.matmul import matmul
from graphnn.ops.max_pool import global_max_pool2d, max_pool2d
from graphnn.ops.node import Node
from graphnn.ops.norm import log_softmax, softmax
from graphnn.ops.op import Op
from graphnn.ops.random import dropout, normal, uniform
from graphnn.ops.reduce import argmax, max, mean, min, size, sum, sum_to_size, variance
from graphnn.ops.shape import broadcast_to, expand_dims, flatten, reshape, squeeze, transpose
from graphnn.ops.slicing import concat, pad, slice
from graphnn.ops.spec import Dim, TensorSpec
from graphnn.ops.state import assign, constant, placeholder, stop_gradient, variable, when_training

__all__ = [
    "Dim",
    "Graph",
    "Node",
    "Op",
    "TensorSpec",
    "abs",
    "add",
    "apply",
    "argmax",
    "assign",
    "avg_pool2d",
    "broadcast_to",
    "cast",
    "clip",
    "concat",
    "constant",
    "conv2d",
    "cross_entropy",
    "current_graph",
    "divide",
    "dropout",
    "dtypes",
    "equal",
    "errors",
    "exp",
    "expand_dims",
    "flatten",
    "global_avg_pool2d",
    "global_max_pool2d",
    "greater",
    "greater_equal",
    "less",
    "less_equal",
    "log",
    "log_softmax",
    "matmul",
    "max",
    "max_pool2d",
    "maximum",
    "mean",
    "min",
    "minimum",
    "mse_loss",
    "multiply",
    "negative",
    "normal",
    "not_equal",
    "one_hot",
    "pad",
    "placeholder",
    "power",
    "relu",
    "reshape",
    "sigmoid",
    "sign",
    "size",
    "slice",
    "softmax",
    "sqrt",
    "squeeze",
    "stop_gradient",
    "subtract",
    "sum",
    "sum_to_size",
    "take",
    "tanh",
    "transpose",
    "uniform",
    "variable",
    "variance",
    "when_training",
    "where",
]
