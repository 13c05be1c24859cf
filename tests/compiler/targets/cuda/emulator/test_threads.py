"""Blocks and threads: each runs once, in the order asked for, and barriers hold them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from graphnn.compiler.targets.c.build import Compiler

Emulate = Callable[..., list[np.ndarray]]

ORDERS = ("forward", "reverse", 0, 1, 2, 2**63)

ADD = """
GN_KERNEL(128) add(const float *x0, const float *x1, float *y0, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y0[i] = x0[i] + x1[i];
}
"""

# Where each thread ran, and when.
PLACES = """
GN_KERNEL(64) places(int *y0, int *counter, int n)
{
    const int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    y0[block * blockDim.x + threadIdx.x] = counter[0]++;
}
"""

SUM = """
GN_KERNEL(256) sum(const float *x0, float *y0, int n)
{
    GN_SHARED(float, part, 256);
    const int thread = threadIdx.x;
    part[thread] = x0[blockIdx.x * 256 + thread];
    gn_barrier();
    for (int half = 128; half; half /= 2) {
        if (thread < half) part[thread] += part[thread + half];
        BARRIER;
    }
    if (thread == 0) y0[blockIdx.x] = part[0];
}
"""

# Threads read what threads before them wrote: right without the barrier as long as they run one after another.
BEHIND = """
GN_KERNEL(256) behind(const float *x0, float *y0, int n)
{
    GN_SHARED(float, part, 256);
    part[threadIdx.x] = x0[threadIdx.x];
    BARRIER;
    y0[threadIdx.x] = part[threadIdx.x / 2];
}
"""

EARLY = """
GN_KERNEL(100) early(const float *x0, float *y0, int n)
{
    GN_SHARED(float, part, 100);
    const int thread = threadIdx.x;
    if (thread >= n) return;
    part[thread] = x0[thread];
    gn_barrier();
    y0[thread] = part[n - 1 - thread];
    gn_warp_barrier();
}
"""

UNSET = """
GN_KERNEL(32) unset(float *y0, int n)
{
    GN_SHARED(float, part, 32);
    y0[blockIdx.x * 32 + threadIdx.x] = part[threadIdx.x];
    part[threadIdx.x] = 1;
}
"""


def numbers(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(-8, 8, count).astype(np.float32)  # sums are exact in every order


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("n", [1, 127, 128, 300])
def test_adds_vectors(emulate: Emulate, order: str, n: int) -> None:
    x, y = numbers(400), numbers(400)[::-1].copy()
    _, _, out = emulate(
        ADD, "add", x, y, np.zeros(400, np.float32), n=n, grid=(-(-n // 128), 1, 1), threads=128, order=order
    )
    np.testing.assert_array_equal(out[:n], (x + y)[:n])
    np.testing.assert_array_equal(out[n:], 0)


@pytest.mark.parametrize("order", ORDERS)
def test_runs_every_thread_of_every_block_once(emulate: Emulate, order: str) -> None:
    grid, threads = (3, 2, 5), 45
    when, counter = emulate(
        PLACES,
        "places",
        np.full(30 * 45, -1, np.int32),
        np.zeros(1, np.int32),
        n=1,
        grid=grid,
        threads=threads,
        order=order,
    )
    assert counter[0] == 30 * 45
    assert sorted(when) == list(range(30 * 45))
    if order == "forward":
        np.testing.assert_array_equal(when, np.arange(30 * 45))
    elif order == "reverse":
        np.testing.assert_array_equal(when, np.arange(30 * 45)[::-1])
    else:
        assert np.abs(np.diff(when.reshape(30, 45).min(axis=1))).max() > 45, "blocks come in order"
        assert len({tuple(np.argsort(row)) for row in when.reshape(30, 45)}) > 25, "lanes come in the same order"


def test_a_seed_gives_the_same_order_again_and_no_seed_another(emulate: Emulate) -> None:
    def when(order: int | None) -> list[int]:
        empty = np.zeros(64, np.int32), np.zeros(1, np.int32)
        return emulate(PLACES, "places", *empty, n=1, threads=64, order=order)[0].tolist()

    assert when(5) == when(5) != when(6)
    assert when(None) == when(None) == when(1), "the first launch of each machine"


@pytest.mark.parametrize("order", ORDERS)
def test_barriers_hold_a_block(emulate: Emulate, order: str) -> None:
    x = numbers(1024)
    text = SUM.replace("BARRIER", "gn_barrier()")
    _, out = emulate(text, "sum", x, np.zeros(4, np.float32), n=4, grid=(4, 1, 1), threads=256, order=order)
    np.testing.assert_array_equal(out, x.reshape(4, 256).sum(axis=1))


@pytest.mark.parametrize("order", ["forward", 0, 1, 2])  # the other way round every sum finds its parts
def test_a_missing_barrier_gives_a_wrong_sum(emulate: Emulate, order: str) -> None:
    x = numbers(1024)
    text = SUM.replace("BARRIER", "")
    _, out = emulate(text, "sum", x, np.zeros(4, np.float32), n=4, grid=(4, 1, 1), threads=256, order=order)
    assert not np.array_equal(out, x.reshape(4, 256).sum(axis=1))


@pytest.mark.parametrize("barrier", ["gn_barrier()", "gn_warp_barrier()", ""])
def test_a_barrier_is_missed_only_in_some_orders(emulate: Emulate, barrier: str) -> None:
    x = np.arange(256, dtype=np.float32)
    text = BEHIND.replace("BARRIER", barrier)
    right = []
    for order in ORDERS:
        _, out = emulate(text, "behind", x, np.zeros_like(x), n=1, threads=256, order=order)
        right.append(np.array_equal(out, x // 2))
    assert right == ([True] * 6 if barrier == "gn_barrier()" else [True] + [False] * 5)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("n", [1, 31, 33, 64, 99, 100])
def test_threads_that_have_ended_hold_nobody(emulate: Emulate, order: str, n: int) -> None:
    x = numbers(100)
    _, out = emulate(EARLY, "early", x, np.zeros(100, np.float32), n=n, threads=100, order=order)
    np.testing.assert_array_equal(out[:n], x[:n][::-1])
    np.testing.assert_array_equal(out[n:], 0)


def test_shared_memory_is_garbage_in_each_block(emulate: Emulate) -> None:
    (out,) = emulate(UNSET, "unset", np.zeros(96, np.float32), n=1, grid=(3, 1, 1))
    assert np.isnan(out).all()


def test_barriers_hold_where_the_system_switches_stacks(emulate: Emulate, compiler: Compiler) -> None:
    other = replace(compiler, flags=(*compiler.flags, "-DGN_UCONTEXT"))
    x = numbers(1024)
    text = SUM.replace("BARRIER", "gn_barrier()")
    out = emulate(text, "sum", x, np.zeros(4, np.float32), n=4, grid=(4, 1, 1), threads=256, compiler=other)[1]
    np.testing.assert_array_equal(out, x.reshape(4, 256).sum(axis=1))
