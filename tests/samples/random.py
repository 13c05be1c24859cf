"""Samples of random numbers, held against Philox written once more with Python's integers."""

from __future__ import annotations

import math

import numpy as np

from graphnn.ops.context import apply
from graphnn.ops.dtypes import as_dtype
from graphnn.ops.random import Random, RandomNormal, RandomUniform
from graphnn.ops.spec import as_shape
from op_samples import Input, OpSample

SEED, STREAM = 7, 0xC0FFEE42


def philox_by_integers(counter: tuple[int, ...], key: tuple[int, ...]) -> list[int]:
    """Return the four words of Philox4x32-10, from the paper's description: ten rounds, the key bumped between them."""
    words, (k0, k1) = list(counter), key
    for number in range(10):
        low0, high0 = 0xD2511F53 * words[0] % 2**32, 0xD2511F53 * words[0] // 2**32
        low1, high1 = 0xCD9E8D57 * words[2] % 2**32, 0xCD9E8D57 * words[2] // 2**32
        round_key = (k0 + number * 0x9E3779B9) % 2**32, (k1 + number * 0xBB67AE85) % 2**32
        words = [high1 ^ words[1] ^ round_key[0], low1, high0 ^ words[3] ^ round_key[1], low0]
    return words


def element_words(index: int, step: int, seed: int = SEED, stream: int = STREAM) -> list[int]:
    """Return the words that the element of a row-major index takes in a step."""
    step %= 2**64
    counter = index % 2**32, index // 2**32, step % 2**32, step // 2**32
    return philox_by_integers(counter, (seed, stream))


SIGNIFICANDS = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}


def uniform_of(words: list[int], dtype: str) -> float:
    """Return the number in [0, 1) of two words: their first bits, as many as the type's significand has."""
    bits = SIGNIFICANDS[dtype]
    return (words[0] * 2**32 + words[1]) // 2 ** (64 - bits) / 2**bits


def normal_of(words: list[int], dtype: str) -> float:
    """Return the normal number of four words by the formula of Box and Muller."""
    if dtype == "float64":
        u1, u2 = (words[0] * 2**32 + words[1]) / 2**64 + 2.0**-65, uniform_of(words[2:], "float64")
    else:
        u1, u2 = float(np.float32(words[0])) / 2**32 + 2.0**-33, uniform_of(words[1:3], "float32")
    number = math.sqrt(-2 * math.log(min(u1, 1.0))) * math.cos(2 * math.pi * u2)
    if dtype == "bfloat16":  # NumPy has no type that would round it
        fraction, exponent = math.frexp(number)
        return math.ldexp(round(fraction * 2**8), exponent - 8)
    return number


def numbers_of(dtype: str, kind: type[Random], shape: tuple[int, ...], step: int) -> np.ndarray:
    """Return the numbers of a whole tensor, as NumPy shows them."""
    number = uniform_of if kind is RandomUniform else normal_of
    values = [number(element_words(index, step), dtype) for index in range(math.prod(shape))]
    return np.array(values, as_dtype(dtype).interface).reshape(shape)


def _step(value: int) -> Input:
    return Input((), "int64", lambda generator, shape: np.full(shape, value), differentiable=False)


def _op(kind: type[Random], shape: tuple[int | None, ...], dtype: str) -> Random:
    return kind(as_shape(shape), as_dtype(dtype), SEED, STREAM)


def _sample(kind: type[Random], name: str, shape: tuple[int, ...], dtype: str = "float32", step: int = 3) -> OpSample:
    return OpSample(
        f"{_op(kind, shape, dtype).label}, {name}",
        kind,
        (_step(step),),
        lambda step: apply(_op(kind, shape, dtype), step),
        lambda step: numbers_of(dtype, kind, shape, int(step)),
        gradient=False,
        second_gradient=False,
    )


def _batch_sample(kind: type[Random], dtype: str) -> OpSample:
    """Numbers for a batch, whose size another input gives: the result is their product."""
    shape = (None, 4)
    return OpSample(
        f"{_op(kind, shape, dtype).label}, {dtype} times a batch",
        kind,
        (_step(3), Input(shape)),
        lambda step, x: x * apply(_op(kind, shape, dtype), step),
        lambda step, x: x * numbers_of(dtype, kind, x.shape, int(step)),
        second_gradient=False,
    )


SAMPLES = [
    sample
    for kind in (RandomUniform, RandomNormal)
    for sample in (
        *(_sample(kind, f"{dtype}, two axes", (3, 4), dtype) for dtype in SIGNIFICANDS),
        *(_batch_sample(kind, dtype) for dtype in SIGNIFICANDS),
        _sample(kind, "a scalar", ()),
        _sample(kind, "an empty axis", (2, 0)),
        _sample(kind, "three axes", (2, 3, 4)),
        _sample(kind, "the first step", (5,), step=0),
        _sample(kind, "a step of 34 bits", (5,), step=2**33 + 5),
        _sample(kind, "a negative step", (5,), step=-1),
    )
]
