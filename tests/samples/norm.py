"""Samples of softmax and its logarithm."""

from __future__ import annotations

import numpy as np

from graphnn.ops.norm import LogSoftmax, Softmax, log_softmax, softmax
from op_samples import Input, OpSample


def _softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """Divide the exponentials by their sum, one vector after the other, in float64, whose range needs no shift."""
    result = np.empty_like(x)
    rows, out = np.moveaxis(x, axis, -1), np.moveaxis(result, axis, -1)
    for place in np.ndindex(rows.shape[:-1]):
        exponentials = [np.exp(np.float64(value)) for value in rows[place]]
        out[place] = [exponential / sum(exponentials) for exponential in exponentials]
    return result


def _log_softmax(x: np.ndarray, axis: int) -> np.ndarray:
    result = np.empty_like(x)
    rows, out = np.moveaxis(x, axis, -1), np.moveaxis(result, axis, -1)
    for place in np.ndindex(rows.shape[:-1]):
        total = sum(np.exp(np.float64(value)) for value in rows[place])
        out[place] = [value - np.log(total) for value in rows[place]]
    return result


def _large(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers whose exponentials overflow float32, though not float64."""
    return 500 + generator.standard_normal(shape)


def _masked(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Minus infinity above the diagonal, as in causal attention."""
    return np.where(np.tri(shape[-2], shape[-1]) > 0, generator.standard_normal(shape), -np.inf)


def _softmax_sample(name: str, given: Input, axis: int = -1) -> OpSample:
    return OpSample(
        f"softmax, {name}",
        Softmax,
        (given,),
        lambda x: softmax(x, axis),
        lambda x: _softmax(x, axis),
        lambda x: x.softmax(axis),
    )


def _log_softmax_sample(name: str, given: Input, axis: int = -1) -> OpSample:
    return OpSample(
        f"log_softmax, {name}",
        LogSoftmax,
        (given,),
        lambda x: log_softmax(x, axis),
        lambda x: _log_softmax(x, axis),
        lambda x: x.log_softmax(axis),
    )


SAMPLES = [
    _softmax_sample("rows of a batch", Input((None, 5))),
    _softmax_sample("along the batch", Input((None, 4)), axis=0),
    _softmax_sample("a middle axis", Input((2, 3, 4)), axis=1),
    _softmax_sample("a negative axis", Input((None, 3, 2, 2)), axis=-3),
    _softmax_sample("one vector", Input((6,)), axis=0),
    _softmax_sample("an axis of size 1", Input((None, 1))),
    _softmax_sample("numbers whose exponentials overflow", Input((None, 5), values=_large)),
    _softmax_sample("masked by minus infinity", Input((2, 4, 4), values=_masked)),
    _log_softmax_sample("rows of a batch", Input((None, 5))),
    _log_softmax_sample("along the batch", Input((None, 4)), axis=0),
    _log_softmax_sample("a middle axis", Input((2, 3, 4)), axis=1),
    _log_softmax_sample("a negative axis", Input((None, 3, 2, 2)), axis=-3),
    _log_softmax_sample("one vector", Input((6,)), axis=0),
    _log_softmax_sample("an axis of size 1", Input((None, 1))),
    _log_softmax_sample("numbers whose exponentials overflow", Input((None, 5), values=_large)),
]
