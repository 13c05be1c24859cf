"""Random graphs on the C target against their plain meaning, new values of variables included."""

from __future__ import annotations

import numpy as np
import pytest

import graphnn as gn
from graphnn.compiler.reference import evaluate
from graphnn.compiler.targets.c.toolchain import find_compiler, unavailable_reason
from random_graphs import TOLERANCE, random_graph

pytestmark = pytest.mark.skipif(find_compiler() is None, reason=f"no C compiler: {unavailable_reason()}")


def check(seed: int) -> None:
    graph, fetches, feeds, updates = random_graph(seed)
    expected = evaluate([*fetches, *updates], feeds, training=True)
    executor = gn.Executor(list(fetches), updates=updates, training=True, max_batch=32, verify=True)
    assert executor.plan.target == "c"
    actual = [*executor.run(feeds), *(graph.get_value(update.inputs[0]) for update in updates)]
    for wanted, value in zip(expected, actual, strict=True):
        if wanted.dtype.kind == "f":
            scale = max(float(np.abs(wanted).max()) if wanted.size else 0.0, TOLERANCE)
            np.testing.assert_allclose(value, wanted, rtol=TOLERANCE, atol=TOLERANCE * scale)
        else:
            np.testing.assert_array_equal(value, wanted)


@pytest.mark.parametrize("seed", range(30))
def test_random_graph(seed: int) -> None:
    check(seed)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(30, 400))
def test_more_random_graphs(seed: int) -> None:
    check(seed)
