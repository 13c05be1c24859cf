"""Every op sample on the C target against its plain meaning: one compiled library for each family of ops."""

import importlib
from dataclasses import dataclass

import numpy as np
import pytest

import graphnn as gn
from compiled_kernels import run_with_sanitizers_loaded, sanitizing
from graphnn.compiler.reference import evaluate
from graphnn.compiler.targets import devices
from graphnn.compiler.targets.c.toolchain import find_compiler, unavailable_reason
from op_samples import FAMILIES, OpSample

pytestmark = pytest.mark.skipif(find_compiler() is None, reason=f"no C compiler: {unavailable_reason()}")
# Composites of ops of other families, and ops that run on NumPy: their own builds under sanitizers find little more.
WITHOUT_KERNELS = {
    *("activation", "aggregation", "conv1d", "conv_transpose", "diagonal", "einsum", "elementwise_loss", "gather"),
    *("random", "rearrange", "scan", "sort", "split", "state"),
}
TOLERANCES = {"float16": 1e-2, "float32": 1e-4, "float64": 1e-10}


@dataclass
class Family:
    """All samples of a family as one graph."""

    executor: gn.Executor
    fetches: dict[str, gn.Node]
    inputs: list[tuple[OpSample, list[gn.Node]]]

    @classmethod
    def build(cls, name: str, threads: int) -> "Family":
        samples: list[OpSample] = importlib.import_module(f"samples.{name}").SAMPLES
        fetches: dict[str, gn.Node] = {}
        inputs = []
        with gn.Graph():
            for number, sample in enumerate(samples):
                nodes = [
                    gn.placeholder(f"sample{number}.x{place}", given.shape, given.dtype)
                    for place, given in enumerate(sample.inputs)
                ]
                value = sample.build(*nodes)
                fetches[sample.name] = value
                by = [
                    node
                    for node, given in zip(nodes, sample.inputs, strict=True)
                    if given.differentiable and node.dtype.is_floating
                ]
                if sample.gradient and by and value.dtype.is_floating:
                    for place, slope in enumerate(gn.gradients(value, by, allow_unused=True)):
                        fetches[f"{sample.name}: gradient {place}"] = slope
                inputs.append((sample, nodes))
        return cls(gn.Executor(fetches, max_batch=11, threads=threads), fetches, inputs)

    def feeds(self, batch: int) -> dict[gn.Node, np.ndarray]:
        drawn: dict[gn.Node, np.ndarray] = {}
        for sample, nodes in self.inputs:
            drawn |= dict(zip(nodes, sample.draw(batch=batch), strict=True))
        return drawn


def differs(expected: np.ndarray, actual: np.ndarray) -> bool:
    if expected.dtype.kind != "f":
        return not np.array_equal(expected, actual)
    finite = np.abs(expected[np.isfinite(expected)].astype(np.float64))
    tolerance = TOLERANCES[expected.dtype.name]
    scale = max(float(finite.max()) if finite.size else 0.0, 1e-2)
    return not np.allclose(actual, expected, rtol=tolerance, atol=tolerance * scale, equal_nan=True)


@pytest.mark.parametrize("name", FAMILIES)
def test_family(name: str) -> None:
    check_family(name)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.full] if name in WITHOUT_KERNELS else []) for name in FAMILIES]
)
def test_family_under_sanitizers(name: str) -> None:
    compiler = find_compiler()
    assert compiler is not None
    run_with_sanitizers_loaded(
        compiler, f"import runpy; runpy.run_path({__file__!r})['check_family_with_sanitizers']({name!r})"
    )


def check_family_with_sanitizers(name: str) -> None:
    compiler = find_compiler()
    assert compiler is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "find_compiler", lambda: sanitizing(compiler))
        check_family(name)


def check_family(name: str) -> None:
    family = Family.build(name, threads=2)
    assert family.executor.plan.target == "c"
    for batch in (1, 3, 8, 11):
        feeds = family.feeds(batch)
        expected = evaluate(list(family.fetches.values()), feeds)
        actual = family.executor.run(feeds)
        wrong = [label for label, value in zip(family.fetches, expected, strict=True) if differs(value, actual[label])]
        assert not wrong, f"batch {batch}"
