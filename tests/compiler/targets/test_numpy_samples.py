"""Every sample of every op, with its gradients, as a verified plan on NumPy: equal to plain evaluation."""

from __future__ import annotations

import numpy as np
import pytest

import graphnn as gn
from graphnn.compiler.gradients import gradients
from graphnn.compiler.plan.verify import verify_plan
from graphnn.compiler.reference import evaluate
from graphnn.compiler.targets.numpy.target import NumpyTarget
from graphnn.ops import Node
from op_checks import TOLERANCE, BuiltSample, assert_close, draw, tolerance
from op_samples import OpSample, all_samples

MAX_BATCH = 5
BATCHES = (3, 1, MAX_BATCH)

SAMPLES = all_samples()
FLOATING = [sample for sample in SAMPLES if any(given.dtype == "float32" for given in sample.inputs)]
FIRST_OF_EACH_OP = list({sample.op: sample for sample in reversed(FLOATING)}.values())

in_other_types = pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])


def fetches_of(built: BuiltSample) -> list[Node]:
    """Return a sample's result and its gradients by all inputs that have one."""
    inputs = [built.inputs[position] for position in built.differentiable]
    if not (built.sample.gradient and inputs and built.output.dtype.is_floating):
        return [built.output]
    with built.graph:
        weighted = built.output * 1.5
    return [built.output, *gradients(weighted, inputs, allow_unused=True)]


def batches_of(sample: OpSample) -> tuple[int, ...]:
    return BATCHES if any(None in given.shape for given in sample.inputs) else BATCHES[:1]


def check(sample: OpSample, dtype: str, verify: bool) -> None:
    built = BuiltSample.of(sample, dtype)
    fetches = fetches_of(built)
    executor = gn.Executor(fetches, device="numpy", max_batch=MAX_BATCH, training=False, verify=verify)
    verify_plan(executor.plan, NumpyTarget())
    for batch in batches_of(sample):
        feeds = built.feeds(draw(sample, seed=batch, batch=batch, dtype=dtype))
        for node, wanted, actual in zip(fetches, evaluate(fetches, feeds), executor.run(feeds), strict=True):
            name = node.dtype.name
            allowed = tolerance(sample, name) if name in TOLERANCE else 0.0
            assert actual.dtype == wanted.dtype, node
            assert_close(actual, wanted, allowed, f"{node.name} at batch {batch}")


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_sample(sample: OpSample) -> None:
    check(sample, "float32", verify=True)


@in_other_types
@pytest.mark.parametrize("sample", FIRST_OF_EACH_OP, ids=str)
def test_sample_in_other_types(sample: OpSample, dtype: str) -> None:
    check(sample, dtype, verify=False)


@pytest.mark.full
@in_other_types
@pytest.mark.parametrize("sample", [sample for sample in FLOATING if sample not in FIRST_OF_EACH_OP], ids=str)
def test_all_samples_in_other_types(sample: OpSample, dtype: str) -> None:
    check(sample, dtype, verify=False)


def test_all_fetches_of_a_run_are_fresh() -> None:
    sample = next(each for each in SAMPLES if any(None in given.shape for given in each.inputs))
    built = BuiltSample.of(sample)
    executor = gn.Executor([built.output, built.output], device="numpy", max_batch=MAX_BATCH)
    feeds = built.feeds(draw(sample))
    first, second = executor.run(feeds)
    assert not np.shares_memory(first, second)
    before = first.copy()
    third, _ = executor.run(built.feeds(draw(sample, seed=1)))
    np.testing.assert_array_equal(first, before)
    assert not np.shares_memory(first, third)
