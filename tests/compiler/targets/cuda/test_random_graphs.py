"""Random graphs on the CUDA target against their plain meaning, new values of variables included."""

from __future__ import annotations

import pytest

import graphnn as gn
from cuda_devices import DEVICES
from cuda_kernels import needs_emulator
from graphnn.compiler.reference import evaluate
from graphnn.compiler.verification import agree
from random_graphs import random_graph

CANCELLING = {63}
"""One fetch is the sum of what a mean was taken off: nothing but rests of rounding, some larger than is allowed."""


def check(seed: int, device: str) -> None:
    graph, fetches, feeds, updates = random_graph(seed)
    expected = evaluate([*fetches, *updates], feeds, training=True)
    executor = gn.Executor(list(fetches), updates=updates, training=True, max_batch=32, verify=True, device=device)
    assert executor.plan.target == device
    actual = [*executor.run(feeds), *(graph.get_value(update.inputs[0]) for update in updates)]
    for node, wanted, value in zip([*fetches, *updates], expected, actual, strict=True):
        assert agree(wanted, value, node.dtype), f"{node}:\n{value}\ninstead of\n{wanted}"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("seed", range(30))
def test_random_graph(seed: int, device: str) -> None:
    check(seed, device)


@needs_emulator
@pytest.mark.full
@pytest.mark.parametrize("seed", sorted({*range(30, 400)} - CANCELLING))
def test_more_random_graphs(seed: int) -> None:
    check(seed, "cuda-emulator")
