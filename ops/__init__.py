"""The language of graphnn: graphs, nodes and every op, each with its shape rule, gradient and meaning in NumPy."""

from __future__ import annotations

if __name__ != "graphnn.ops":
    raise ImportError("import this package as graphnn.ops: under another name its classes would exist twice")

from graphnn.ops import dtypes, errors
from graphnn.ops.activation import elu, gelu, hardtanh, leaky_relu, relu6, silu, softplus
from graphnn.ops.aggregation import all, any, logsumexp, std
from graphnn.ops.avg_pool import avg_pool2d, global_avg_pool2d
from graphnn.ops.broadcasting import cast
from graphnn.ops.comparison import equal, greater, greater_equal, less, less_equal, not_equal, where
from graphnn.ops.context import apply, current_graph
from graphnn.ops.conv import conv2d
from graphnn.ops.conv1d import avg_pool1d, conv1d, max_pool1d
from graphnn.ops.conv_transpose import conv_transpose2d
from graphnn.ops.diagonal import diagonal, trace, tril, triu
from graphnn.ops.einsum import einsum
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
from graphnn.ops.elementwise_loss import (
    binary_cross_entropy_with_logits,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    smooth_l1_loss,
)
from graphnn.ops.finiteness import isfinite, isinf, isnan
from graphnn.ops.gather import gather, scatter_add
from graphnn.ops.graph import Graph
from graphnn.ops.index import one_hot, take
from graphnn.ops.logical import logical_and, logical_not, logical_or, logical_xor
from graphnn.ops.loss import cross_entropy, nll_loss
from graphnn.ops.matmul import matmul
from graphnn.ops.max_pool import global_max_pool2d, max_pool2d
from graphnn.ops.node import Node
from graphnn.ops.norm import log_softmax, softmax
from graphnn.ops.op import Op
from graphnn.ops.powers import reciprocal, rsqrt, square
from graphnn.ops.product import prod
from graphnn.ops.random import dropout, normal, uniform
from graphnn.ops.rearrange import flip, repeat_interleave, roll, tile
from graphnn.ops.reduce import argmax, max, mean, min, size, sum, sum_to_size, variance
from graphnn.ops.rounding import ceil, floor, floor_divide, fmod, remainder, round, trunc
from graphnn.ops.scan import cumprod, cumsum
from graphnn.ops.shape import broadcast_to, expand_dims, flatten, reshape, squeeze, transpose
from graphnn.ops.slicing import concat, pad, slice
from graphnn.ops.sort import argsort, sort, topk
from graphnn.ops.spec import Dim, TensorSpec
from graphnn.ops.special import erf, expm1, log1p
from graphnn.ops.split import chunk, split, stack, unstack
from graphnn.ops.state import assign, constant, placeholder, stop_gradient, variable, when_training
from graphnn.ops.trigonometry import acos, acosh, asin, asinh, atan, atan2, atanh, cos, cosh, sin, sinh, tan
from graphnn.ops.vector_norm import norm

__all__ = [
    "Dim",
    "Graph",
    "Node",
    "Op",
    "TensorSpec",
    "abs",
    "acos",
    "acosh",
    "add",
    "all",
    "any",
    "apply",
    "argmax",
    "argsort",
    "asin",
    "asinh",
    "assign",
    "atan",
    "atan2",
    "atanh",
    "avg_pool1d",
    "avg_pool2d",
    "binary_cross_entropy_with_logits",
    "broadcast_to",
    "cast",
    "ceil",
    "chunk",
    "clip",
    "concat",
    "constant",
    "conv1d",
    "conv2d",
    "conv_transpose2d",
    "cos",
    "cosh",
    "cross_entropy",
    "cumprod",
    "cumsum",
    "current_graph",
    "diagonal",
    "divide",
    "dropout",
    "dtypes",
    "einsum",
    "elu",
    "equal",
    "erf",
    "errors",
    "exp",
    "expand_dims",
    "expm1",
    "flatten",
    "flip",
    "floor",
    "floor_divide",
    "fmod",
    "gather",
    "gelu",
    "global_avg_pool2d",
    "global_max_pool2d",
    "greater",
    "greater_equal",
    "hardtanh",
    "huber_loss",
    "isfinite",
    "isinf",
    "isnan",
    "kl_div",
    "l1_loss",
    "leaky_relu",
    "less",
    "less_equal",
    "log",
    "log1p",
    "log_softmax",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "logsumexp",
    "matmul",
    "max",
    "max_pool1d",
    "max_pool2d",
    "maximum",
    "mean",
    "min",
    "minimum",
    "mse_loss",
    "multiply",
    "negative",
    "nll_loss",
    "norm",
    "normal",
    "not_equal",
    "one_hot",
    "pad",
    "placeholder",
    "power",
    "prod",
    "reciprocal",
    "relu",
    "relu6",
    "remainder",
    "repeat_interleave",
    "reshape",
    "roll",
    "round",
    "rsqrt",
    "scatter_add",
    "sigmoid",
    "sign",
    "silu",
    "sin",
    "sinh",
    "size",
    "slice",
    "smooth_l1_loss",
    "softmax",
    "softplus",
    "sort",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "std",
    "stop_gradient",
    "subtract",
    "sum",
    "sum_to_size",
    "take",
    "tan",
    "tanh",
    "tile",
    "topk",
    "trace",
    "transpose",
    "tril",
    "triu",
    "trunc",
    "uniform",
    "unstack",
    "variable",
    "variance",
    "when_training",
    "where",
]
