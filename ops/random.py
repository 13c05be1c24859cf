"""Random numbers as pure functions of a seed, a stream, a step and the element's place.

The generator is Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3",
SC 2011). Nothing is carried from one number to the next, so that every target, thread and block computes any element
on its own, and a run is repeated by repeating its step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphnn.ops import dtypes
from graphnn.ops.broadcasting import Gradient, require_floating
from graphnn.ops.comparison import greater_equal
from graphnn.ops.context import apply, current_graph
from graphnn.ops.dtypes import DType, DTypeLike
from graphnn.ops.errors import DTypeError, GraphError, ShapeError
from graphnn.ops.node import Node
from graphnn.ops.op import Op
from graphnn.ops.shape import located
from graphnn.ops.spec import Extent, Shape, TensorSpec
from graphnn.ops.state import constant, when_training

Words = tuple[np.ndarray, ...]

_ROUNDS = 10
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_INCREMENTS = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))
_WORD_BITS = np.uint64(32)
_WORD_MASK = np.uint64(0xFFFFFFFF)


def philox4x32(counter: Iterable[np.ndarray | int], key: Iterable[np.ndarray | int]) -> Words:
    """Return the four random words that Philox4x32-10 makes of a counter and a key.

    Each of ten rounds turns the counter (c0, c1, c2, c3) into ::

        high(M1 · c2) ^ c1 ^ k0,  low(M1 · c2),  high(M0 · c0) ^ c3 ^ k1,  low(M0 · c0)

    where high and low are the upper and lower 32 bits of a product; the key then grows by constants modulo 2**32.

    Parameters
    ----------
    counter : four arrays or integers
        Words from 0 to 2**32 - 1; arrays broadcast.
    key : two arrays or integers
        Likewise.

    Returns
    -------
    tuple of four numpy.ndarray
        uint32, each of the broadcast shape.

    Examples
    --------
    >>> [hex(word) for word in philox4x32((0, 0, 0, 0), (0, 0))]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    c0, c1, c2, c3 = (np.asarray(word, np.uint64) for word in counter)
    k0, k1 = (np.asarray(word, np.uint64) for word in key)
    for _ in range(_ROUNDS):
        product0, product1 = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2  # 64 bits hold the whole products
        c0, c1 = (product1 >> _WORD_BITS) ^ c1 ^ k0, product1 & _WORD_MASK
        c2, c3 = (product0 >> _WORD_BITS) ^ c3 ^ k1, product0 & _WORD_MASK
        k0, k1 = (k0 + _KEY_INCREMENTS[0]) & _WORD_MASK, (k1 + _KEY_INCREMENTS[1]) & _WORD_MASK
    return tuple(word.astype(np.uint32) for word in (c0, c1, c2, c3))


@dataclass(frozen=True)
class Random(Op):
    """Base of the ops that draw numbers: a function of the attributes and the step alone.

    The element with the row-major index i (0 for the first) takes the words of Philox at the counter
    (i mod 2**32, i div 2**32, step mod 2**32, step div 2**32) under the key (seed, stream). With the batch as the
    first axis, an example's numbers thus do not depend on the batch size.
    """

    shape: Shape
    dtype: DType
    seed: int
    stream: int
    input_names: ClassVar[tuple[str, ...]] = ("step",)

    def infer(self, step: TensorSpec) -> TensorSpec:
        if step.shape != ():
            raise ShapeError("the step is not a scalar", expected="shape ()", hint="pass graph.random_step")
        if step.dtype is not dtypes.int64:
            raise DTypeError("the step is not an int64", expected="int64", hint="pass graph.random_step")
        if not self.dtype.is_floating:
            raise DTypeError(
                "random numbers are of a floating type",
                expected="float16, bfloat16, float32 or float64",
                actual=str(self.dtype),
                hint="ops.cast converts the drawn numbers",
            )
        return TensorSpec(self.shape, self.dtype)

    def gradient(self, node: Node, dy: Node) -> Gradient:
        return (None,)

    def words(self, out: TensorSpec, step: np.ndarray) -> Words:
        """Return the four random words of each element."""
        index = np.arange(out.elements(1), dtype=np.uint64).reshape(out.static_shape)
        step = step.astype(np.uint64)
        counter = (index & _WORD_MASK, index >> _WORD_BITS, step & _WORD_MASK, step >> _WORD_BITS)
        return philox4x32(counter, (self.seed, self.stream))

    def flops(self, out: TensorSpec, *inputs: TensorSpec) -> int:
        # A round of Philox is two products, four exclusive ors and two sums; the rest is small beside ten of them.
        return 8 * _ROUNDS * out.elements(1)


@dataclass(frozen=True)
class RandomUniform(Random):
    """Uniform numbers in [0, 1) (ONNX RandomUniform).

    The value is (w0 · 2**32 + w1) / 2**64, rounded down to a multiple of 2**-p, where w0 and w1 are the element's
    first words and p the bits of the type's significand: 11, 8, 24 and 53 for float16, bfloat16, float32 and float64.
    Hence 1 never occurs and every target gives the same bits.
    """

    def evaluate(self, out: TensorSpec, step: np.ndarray) -> np.ndarray:
        return _fraction(self.words(out, step)[:2], out.dtype)


@dataclass(frozen=True)
class RandomNormal(Random):
    """Normal numbers of mean 0 and standard deviation 1 (ONNX RandomNormal), by the method of Box and Muller.

    The value is ``sqrt(-2 · log(u1)) · cos(2π · u2)``, computed in float32 (for float64 in float64). In float32,
    u1 = float32(w0) · 2**-32 + 2**-33, which is in (0, 1], and u2 is the uniform number of the word w1. In float64,
    u1 = float64(w0 · 2**32 + w1) · 2**-64 + 2**-65 and u2 is the uniform number of the words w2 and w3. Up to log and
    cos every target has the same bits; from there on float32 stays within 8 ulp of the exact value.
    """

    def evaluate(self, out: TensorSpec, step: np.ndarray) -> np.ndarray:
        w0, w1, w2, w3 = self.words(out, step)
        if out.dtype is dtypes.float64:
            number, bits, u2 = _join(w0, w1), 64, _fraction((w2, w3), dtypes.float64)
        else:
            number, bits, u2 = w0, 32, _fraction((w1, w2), dtypes.float32)
        real = u2.dtype.type
        u1 = number.astype(real) * real(2.0**-bits) + real(2.0 ** (-bits - 1))
        return np.sqrt(real(-2) * np.log(u1)) * np.cos(real(2 * math.pi) * u2)


def _join(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    return (upper.astype(np.uint64) << _WORD_BITS) | lower


def _fraction(words: Words, dtype: DType) -> np.ndarray:
    """Return (w0 · 2**32 + w1) / 2**64, rounded down to as many bits as the type's significand has."""
    bits = _significand_bits(dtype)
    upper = _join(*words) >> np.uint64(64 - bits)
    return upper.astype(dtype.interface) * dtype.interface.type(2.0**-bits)


def _significand_bits(dtype: DType) -> int:
    return 8 if dtype is dtypes.bfloat16 else np.finfo(dtype.storage).nmant + 1


# The functions that users call.


def uniform(shape: Iterable[Extent | None], low: float = 0.0, high: float = 1.0, dtype: DTypeLike = "float32") -> Node:
    """Draw numbers uniformly from [low, high): ``low + (high - low) · u``; rounding may give `high` itself.

    Every run draws new numbers, which the graph's seed, the place of this call in the graph and the number of the run
    decide. No gradient flows into them.

    Parameters
    ----------
    shape : sequence of int or None
        ``None`` may stand first and is the batch size.
    low, high : float
        The limits.
    dtype : DType or str
        A floating element type.

    Raises
    ------
    GraphError
        Outside of all graphs, or if low > high; ShapeError and DTypeError for a shape or a type that can't be.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph(seed=0):
    ...     x = gn.ops.uniform((None, 3), -1.0, 1.0)
    >>> x
    <add 'add': float32 (N, 3)>
    """
    with located("uniform"):
        if not (low <= high and math.isfinite(high - low)):
            raise GraphError(
                "this is no interval",
                expected="finite limits with low <= high",
                actual=f"low = {low}, high = {high}",
                hint="ops.uniform(shape, low, high)",
            )
    numbers = _draw(RandomUniform, shape, dtype)
    return numbers if (low, high) == (0, 1) else numbers * (high - low) + low


def normal(shape: Iterable[Extent | None], mean: float = 0.0, std: float = 1.0, dtype: DTypeLike = "float32") -> Node:
    """Draw numbers from the normal distribution: ``mean + std · z``, where z is of mean 0 and standard deviation 1.

    Every run draws new numbers, which the graph's seed, the place of this call in the graph and the number of the run
    decide. No gradient flows into them.

    Parameters
    ----------
    shape : sequence of int or None
        ``None`` may stand first and is the batch size.
    mean, std : float
        Mean and standard deviation.
    dtype : DType or str
        A floating element type.

    Raises
    ------
    GraphError
        Outside of all graphs, or if std < 0; ShapeError and DTypeError for a shape or a type that can't be.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph(seed=0):
    ...     noise = gn.ops.normal((None, 3), dtype="float64")
    >>> noise
    <random_normal 'random_normal': float64 (N, 3)>
    """
    with located("normal"):
        if not (std >= 0 and math.isfinite(std) and math.isfinite(mean)):
            raise GraphError(
                "there is no such normal distribution",
                expected="a finite mean and a finite std of 0 or more",
                actual=f"mean = {mean}, std = {std}",
                hint="ops.normal(shape, mean, std)",
            )
    numbers = _draw(RandomNormal, shape, dtype)
    return numbers if (mean, std) == (0, 1) else numbers * std + mean


def _draw(kind: type[Random], shape: Iterable[Extent | None], dtype: DTypeLike) -> Node:
    graph = current_graph()
    with located("random numbers"):
        spec = TensorSpec(shape, dtype)
    return apply(kind(spec.shape, spec.dtype, graph.seed, graph.next_stream()), graph.random_step)


def dropout(x: Node, p: float = 0.5) -> Node:
    """Zero each element with probability p in training and divide the others by 1 - p; in evaluation return `x`.

    In training the result is ``x · mask / (1 - p)``, where the mask is 1 with probability 1 - p and drawn anew in each
    run, so that the expectation stays x; for p = 1 it is 0 everywhere.

    Parameters
    ----------
    x : Node
        Any shape, of a floating type.
    p : float
        Probability from 0 to 1 of an element to be dropped. For 0 nothing is added to the graph.

    Raises
    ------
    GraphError
        If p is not from 0 to 1; DTypeError if `x` is not of a floating type.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph(seed=0):
    ...     y = gn.ops.dropout(gn.constant([1.0, 2.0, 3.0]), p=0.5)
    >>> gn.Executor(y, training=False, device="numpy").run({})
    array([1., 2., 3.], dtype=float32)
    """
    with located("dropout", x):
        if not 0 <= p <= 1:
            raise GraphError(
                f"p is {p}", expected="a probability from 0 to 1", hint="p is the share of elements that become 0"
            )
        require_floating(x.spec)
    if p == 0:
        return x
    with x.graph:
        if p == 1:
            return when_training(constant(0.0, x.dtype).broadcast_to(x.shape), x)
        # One mask for all element types: float32 gives it 24 bits.
        kept = greater_equal(uniform(x.shape), p)
        return when_training(x * kept / (1 - p), x)
