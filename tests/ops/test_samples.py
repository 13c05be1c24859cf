"""Every op by its samples: value, gradients, element types, batch sizes, and PyTorch's opinion."""

from __future__ import annotations

import importlib
import importlib.util

import pytest

from graphnn.ops import Op
from graphnn.ops.state import Assign, Placeholder, Source, Variable
from module_names import module_names
from op_checks import (
    BuiltSample,
    assert_fits_spec,
    check_dtype,
    check_flops,
    check_gradient,
    check_second_gradient,
    check_specs,
    check_torch_gradient,
    check_torch_value,
    check_value,
    draw,
)
from op_samples import BATCH, OpSample, all_samples

SAMPLES = all_samples()
NOT_SAMPLED = {Source, Placeholder, Variable, Assign}
"""Their values come from outside a run or go there: tests/ops/test_state.py."""

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")


def over(samples: list[OpSample]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("sample", samples, ids=str)


def single_threaded_torch() -> None:
    import torch

    torch.set_num_threads(1)  # these tensors are too small to share among threads


@over([sample for sample in SAMPLES if sample.reference is not None])
def test_value_is_that_of_the_reference(sample: OpSample) -> None:
    check_value(sample)


@needs_torch
@over([sample for sample in SAMPLES if sample.torch is not None])
def test_value_and_type_are_those_of_torch(sample: OpSample) -> None:
    single_threaded_torch()
    check_torch_value(sample)


@over([sample for sample in SAMPLES if sample.gradient])
def test_gradient_is_that_of_finite_differences(sample: OpSample) -> None:
    check_gradient(sample)


@needs_torch
@over([sample for sample in SAMPLES if sample.gradient and sample.torch is not None])
def test_gradient_is_that_of_torch(sample: OpSample) -> None:
    single_threaded_torch()
    check_torch_gradient(sample)


@over([sample for sample in SAMPLES if sample.gradient and sample.second_gradient])
def test_second_gradient_is_that_of_finite_differences(sample: OpSample) -> None:
    check_second_gradient(sample)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@over([sample for sample in SAMPLES if any(given.dtype == "float32" for given in sample.inputs)])
def test_all_floating_types_agree(sample: OpSample, dtype: str) -> None:
    check_dtype(sample, dtype)


@pytest.mark.parametrize("batch", [1, BATCH])
@over(SAMPLES)
def test_each_node_keeps_its_promises(sample: OpSample, batch: int) -> None:
    built = BuiltSample.of(sample)
    check_specs(built, batch)
    check_flops(built, batch)


@over([sample for sample in SAMPLES if any(None in given.shape for given in sample.inputs)])
def test_larger_batches_give_the_inferred_shape(sample: OpSample) -> None:
    built = BuiltSample.of(sample)
    assert_fits_spec(built.output, built.value(draw(sample, batch=5)), batch=5)


@over(SAMPLES)
def test_sample_shows_its_op(sample: OpSample) -> None:
    assert any(isinstance(node.op, sample.op) for node in BuiltSample.of(sample).nodes)


def concrete_ops() -> set[type[Op]]:
    """Return the op classes of graphnn.ops that are no base of others."""
    for name in module_names():
        if name.startswith("graphnn.ops"):
            importlib.import_module(name)
    found, stack = set(), [Op]
    while stack:
        kind = stack.pop()
        derived = [child for child in kind.__subclasses__() if child.__module__.startswith("graphnn.ops.")]
        stack.extend(derived)
        if not derived:
            found.add(kind)
    return found - NOT_SAMPLED


def test_every_op_has_a_sample() -> None:
    missing = concrete_ops() - {sample.op for sample in SAMPLES}
    assert not missing, f"no sample: {', '.join(sorted(kind.__name__ for kind in missing))}"
