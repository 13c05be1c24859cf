"""All samples of a family of ops as one graph, so that a target compiles them once."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import numpy as np

import graphnn as gn
from graphnn.compiler.reference import evaluate
from op_samples import OpSample

TOLERANCES = {"float16": 1e-2, "float32": 1e-4, "float64": 1e-10}


@dataclass
class Family:
    """All samples of a family as one graph."""

    executor: gn.Executor
    fetches: dict[str, gn.Node]
    inputs: list[tuple[OpSample, list[gn.Node]]]

    @classmethod
    def build(cls, name: str, device: str = "cpu", threads: int | None = None) -> Family:
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
        return cls(gn.Executor(fetches, max_batch=11, device=device, threads=threads), fetches, inputs)

    def feeds(self, batch: int) -> dict[gn.Node, np.ndarray]:
        drawn: dict[gn.Node, np.ndarray] = {}
        for sample, nodes in self.inputs:
            drawn |= dict(zip(nodes, sample.draw(batch=batch), strict=True))
        return drawn

    def wrong_values(self, batch: int) -> list[str]:
        """Return the names of the values that a run gets wrong."""
        feeds = self.feeds(batch)
        expected = evaluate(list(self.fetches.values()), feeds)
        actual = self.executor.run(feeds)
        return [label for label, value in zip(self.fetches, expected, strict=True) if differs(value, actual[label])]


def differs(expected: np.ndarray, actual: np.ndarray) -> bool:
    if expected.dtype.kind != "f":
        return not np.array_equal(expected, actual)
    finite = np.abs(expected[np.isfinite(expected)].astype(np.float64))
    tolerance = TOLERANCES[expected.dtype.name]
    scale = max(float(finite.max()) if finite.size else 0.0, 1e-2)
    return not np.allclose(actual, expected, rtol=tolerance, atol=tolerance * scale, equal_nan=True)
