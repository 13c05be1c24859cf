"""Graphs of many small cases on the C target: for any vector width and number of threads, and under the sanitizers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

import graphnn as gn
from compiled_kernels import run_with_sanitizers_loaded, sanitizing
from graphnn.compiler.reference import evaluate
from graphnn.compiler.targets import devices
from graphnn.compiler.targets.c.toolchain import find_compiler
from sample_families import differs

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


@dataclass
class Cases:
    """Values to compute, by name, and how each input's values are drawn."""

    fetches: dict[str, gn.Node] = field(default_factory=dict)
    draws: dict[gn.Node, Draw] = field(default_factory=dict)

    def given(self, shape: tuple[int | None, ...], draw: Draw, dtype: str = "float32") -> gn.Node:
        """Return a placeholder."""
        node = gn.placeholder(f"x{len(self.draws)}", shape, dtype)
        self.draws[node] = draw
        return node

    def add(self, name: str, value: gn.Node, *by: gn.Node) -> None:
        """Take in a value, and its gradients by some inputs, where each element of it counts differently."""
        self.fetches[name] = value
        if by:
            with value.graph:
                loss = (value * value).sum()
                for place, slope in enumerate(gn.gradients(loss, by)):
                    self.fetches[f"{name}, gradient {place}"] = slope

    def feeds(self, batch: int, seed: int = 0) -> dict[gn.Node, np.ndarray]:
        """Return values for all inputs."""
        generator = np.random.default_rng(seed)
        return {
            node: draw(generator, node.spec.bind(batch).static_shape).astype(str(node.dtype))
            for node, draw in self.draws.items()
        }


def cases_of(*parts: Callable[[Cases], None]) -> Cases:
    """Return the cases that functions add, all of one graph."""
    cases = Cases()
    with gn.Graph():
        for part in parts:
            part(cases)
    return cases


def normal(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw normal numbers."""
    return generator.standard_normal(shape)


def between(low: int, high: int) -> Draw:
    """Return a function that draws integers from `low` up to, not including, `high`."""
    return lambda generator, shape: generator.integers(low, high, shape)


def batches(lanes: int) -> tuple[int, ...]:
    """Return sizes of less than a block, a block, more, and several."""
    return (1, lanes - 1, lanes, lanes + 1, 3 * lanes + 2)


def compiled(cases: Cases, lanes: int, threads: int, with_sanitizers: bool = False) -> gn.Executor:
    """Return an executor for vectors of so many numbers."""
    compiler = find_compiler()
    assert compiler is not None
    changed = replace(sanitizing(compiler) if with_sanitizers else compiler, vector_bytes=4 * lanes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "find_compiler", lambda: changed)
        return gn.Executor(cases.fetches, max_batch=max(batches(lanes)), device="cpu", threads=threads, verify=True)


def check_cases(cases: Cases, executor: gn.Executor, lanes: int) -> None:
    """Require that all is compiled, and that values are right for several batch sizes."""
    assert all(step.kernel.startswith("segment_") for step in executor.plan.steps)
    for batch in batches(lanes):
        feeds = cases.feeds(batch, seed=batch)
        expected = evaluate(list(cases.fetches.values()), feeds)
        actual = executor.run(feeds)
        wrong = [name for name, value in zip(cases.fetches, expected, strict=True) if differs(value, actual[name])]
        assert not wrong, f"{lanes} lanes, batch {batch}"


def check_threads(cases: Cases, lanes: int, threads: tuple[int, ...]) -> None:
    """Require the same bits from any number of threads."""
    feeds = cases.feeds(max(batches(lanes)))
    runs = [compiled(cases, lanes, count).run(feeds) for count in threads]
    for name in cases.fetches:
        for run in runs[1:]:
            np.testing.assert_array_equal(run[name], runs[0][name], err_msg=name)


def check_under_sanitizers(module: str, function: str) -> None:
    """Call a module's function in a process in which what is compiled with sanitizers can be loaded."""
    compiler = find_compiler()
    assert compiler is not None
    run_with_sanitizers_loaded(compiler, f"import runpy; runpy.run_path({module!r})[{function!r}]()")
