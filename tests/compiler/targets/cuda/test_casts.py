"""Conversions between element types that round."""

import numpy as np
import pytest

import graphnn as gn
from cuda_devices import DEVICES
from graphnn import ops


@pytest.mark.parametrize("device", DEVICES)
def test_float64_becomes_float16_in_one_step(device: str) -> None:
    ordered = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float64)
    halves = (ordered[1:] + ordered[:-1]) / 2
    x = np.stack([halves * (1 + 2.0**-40), halves * (1 - 2.0**-40), -halves], axis=1)
    assert np.any(x.astype(np.float16) != x.astype(np.float32).astype(np.float16))
    with gn.Graph():
        executor = gn.Executor(
            ops.cast(gn.placeholder("x", (None, 3), "float64"), "float16"), max_batch=len(x), device=device
        )
    np.testing.assert_array_equal(executor.run({"x": x}), x.astype(np.float16))
