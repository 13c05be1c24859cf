"""Elementwise ops in C: none of these families cuts a native segment."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import graphnn as gn
from graphnn.compiler.targets.c.expressions import C_TYPES, has_expression
from graphnn.compiler.targets.c.toolchain import find_compiler, unavailable_reason
from graphnn.ops.broadcasting import Elementwise
from op_checks import BuiltSample
from op_samples import OpSample

FAMILIES = ("arithmetic", "elementwise", "comparison", "logical", "special", "trigonometry", "rounding", "activation")


@pytest.mark.parametrize("family", FAMILIES)
def test_each_elementwise_op_has_an_expression(family: str) -> None:
    samples: list[OpSample] = importlib.import_module(f"samples.{family}").SAMPLES
    nodes = [node for sample in samples for node in BuiltSample.of(sample).nodes if isinstance(node.op, Elementwise)]
    known = [node for node in nodes if all(spec.dtype in C_TYPES for spec in (node, *node.inputs))]
    assert known
    assert not {type(node.op).__name__ for node in known if not has_expression(node)}


@pytest.mark.skipif(find_compiler() is None, reason=f"no C compiler: {unavailable_reason()}")
@pytest.mark.parametrize("layer", [gn.nn.GELU, gn.nn.SiLU, gn.nn.Softplus, gn.nn.LeakyReLU, gn.nn.ELU])
def test_a_network_trains_in_one_native_segment(layer: type[gn.nn.Layer]) -> None:
    with gn.Graph(seed=0):
        x = gn.placeholder("x", (None, 6))
        y = gn.nn.Sequential(gn.nn.Linear(6, 8), layer(), gn.nn.Linear(8, 1))(x)
        loss = (y * y).mean()
        updates = gn.optim.SGD(0.01).minimize(loss)
        executor = gn.Executor(loss, updates=updates, max_batch=8)
    assert executor.plan.target == "c"
    assert [step.kernel for step in executor.plan.steps] == ["segment_0"]
    losses = [float(executor.run({x: np.ones((8, 6), np.float32)})) for _ in range(5)]
    assert losses == sorted(losses, reverse=True)
