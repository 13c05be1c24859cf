"""Shuffles and votes, against NumPy on the 32 lanes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

Emulate = Callable[..., list[np.ndarray]]

TYPES = {
    "float": np.float32,
    "double": np.float64,
    "int32_t": np.int32,
    "uint32_t": np.uint32,
    "int64_t": np.int64,
    "uint64_t": np.uint64,
}
LANES = np.arange(32)
BLOCK = 64

SHUFFLES = """
GN_KERNEL(64) shuffles(const TYPE *x0, TYPE *y0, int n)
{
    const int thread = threadIdx.x;
    for (int i = 0; i < n; i++) {
        y0[(0 * n + i) * 64 + thread] = gn_shuffle(x0[thread], i);
        y0[(1 * n + i) * 64 + thread] = gn_shuffle_down(x0[thread], i);
        y0[(2 * n + i) * 64 + thread] = gn_shuffle_xor(x0[thread], i);
        y0[(3 * n + i) * 64 + thread] = gn_shuffle(x0[thread], (thread * 7 + i) % 32);
    }
}
"""

VOTES = """
GN_KERNEL(64) votes(const int *x0, uint32_t *y0, int n)
{
    for (int i = 0; i < n; i++) {
        const bool value = x0[i * 64 + threadIdx.x] != 0;
        uint32_t *to = y0 + (i * 64 + threadIdx.x) * 3;
        to[0] = gn_ballot(value);
        to[1] = gn_any(value);
        to[2] = gn_all(value);
    }
}
"""


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("order", ["forward", 3])
def test_shuffles_give_what_another_lane_has(emulate: Emulate, kind: str, order: str) -> None:
    bits = np.random.default_rng(0).integers(1, 1 << 30, BLOCK)
    x = (bits if kind != "double" else bits / 3).astype(TYPES[kind])
    if kind in ("int64_t", "uint64_t"):
        x <<= 32  # the upper half comes along
    text = SHUFFLES.replace("TYPE", kind)
    _, out = emulate(text, "shuffles", x, np.zeros((4, 32, BLOCK), x.dtype), n=32, threads=BLOCK, order=order)
    for i in range(32):
        sources = [np.full(32, i), np.where(LANES + i < 32, LANES + i, LANES), LANES ^ i, (LANES * 7 + i) % 32]
        for got, source in zip(out[:, i], sources, strict=True):
            np.testing.assert_array_equal(got, np.concatenate([x[source], x[source + 32]]))


def test_votes_count_the_lanes_of_one_warp(emulate: Emulate) -> None:
    generator = np.random.default_rng(1)
    x = np.stack([np.zeros(BLOCK), np.ones(BLOCK), *(generator.random((20, BLOCK)) < 0.9), LANES[[0] * BLOCK]])
    x[-1, 63] = 1  # one lane of one warp
    x = x.astype(np.int32)
    _, out = emulate(VOTES, "votes", x, np.zeros((*x.shape, 3), np.uint32), n=len(x), threads=BLOCK)
    for row, got in zip(x, out, strict=True):
        for warp in (slice(0, 32), slice(32, 64)):
            ballot = sum(1 << lane for lane in LANES if row[warp][lane])
            expected = np.array([ballot, row[warp].any(), row[warp].all()])
            np.testing.assert_array_equal(got[warp], np.tile(expected, (32, 1)))
