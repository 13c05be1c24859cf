"""How a sample of an op is checked: its value, its gradients by finite differences, and what PyTorch says.

Every check takes the meaning of a graph from `graphnn.compiler.reference.evaluate`, so that it needs no plan. The
functions raise AssertionError with what differs; tests/ops/test_samples.py runs them over all samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from graphnn.compiler.gradients import gradients
from graphnn.compiler.reference import evaluate
from graphnn.ops import Graph, Node, dtypes, placeholder
from graphnn.ops.evaluation import evaluate_op
from op_samples import BATCH, OpSample

Array = np.ndarray

TOLERANCE = {"float16": 4e-3, "bfloat16": 3e-2, "float32": 1e-5, "float64": 1e-12}
"""How far a value may be from the exact one, relative to the largest value of the result; about four roundings.

A sample that allows more than 1e-5 in float32 is allowed as many times more in the other types.
"""

STEP = 1e-5
"""Half the distance of central differences: near the cube root of float64's precision, where both errors balance."""

DIRECTIONS = 12
"""Inputs with more elements than this are differentiated along so many random directions, not by each element."""


@dataclass(frozen=True)
class BuiltSample:
    """A sample's graph.

    Parameters
    ----------
    sample : OpSample
        What was built.
    inputs : tuple of Node
        The placeholders.
    output : Node
        The result.
    """

    sample: OpSample
    inputs: tuple[Node, ...]
    output: Node

    @classmethod
    def of(cls, sample: OpSample, dtype: str | None = None) -> BuiltSample:
        """Build the graph of a sample; `dtype` replaces float32."""
        with Graph(seed=0):
            inputs = tuple(
                placeholder(f"input{position}", given.shape, _replaced(given.dtype, dtype))
                for position, given in enumerate(sample.inputs)
            )
            return cls(sample, inputs, sample.build(*inputs))

    @property
    def graph(self) -> Graph:
        """The graph that holds all nodes."""
        return self.output.graph

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes that the result depends on, itself included, in order of creation."""
        found: set[Node] = set()
        stack = [self.output]
        while stack:
            node = stack.pop()
            if node not in found:
                found.add(node)
                stack.extend(node.inputs)
        return tuple(sorted(found, key=lambda node: node.index))

    @property
    def differentiable(self) -> tuple[int, ...]:
        """Positions of the inputs whose gradient is checked."""
        return tuple(
            position
            for position, (given, node) in enumerate(zip(self.sample.inputs, self.inputs, strict=True))
            if given.differentiable and node.dtype.is_floating
        )

    def feeds(self, arrays: Sequence[Array]) -> dict[Node, Array]:
        """Return a feed of arrays for the inputs."""
        return dict(zip(self.inputs, arrays, strict=True))

    def value(self, arrays: Sequence[Array]) -> Array:
        """Return the result for the inputs' arrays."""
        return evaluate([self.output], self.feeds(arrays))[0]


def _replaced(dtype: str, replacement: str | None) -> str:
    return replacement if replacement is not None and dtype == "float32" else dtype


def draw(sample: OpSample, seed: int = 0, batch: int = BATCH, dtype: str | None = None) -> list[Array]:
    """Return read-only arrays for a sample's inputs; where `dtype` is bfloat16, float32 arrays of bfloat16 values."""
    arrays = sample.draw(seed, batch, dtype)
    for position, (given, array) in enumerate(zip(sample.inputs, arrays, strict=True)):
        if _replaced(given.dtype, dtype) == "bfloat16":
            arrays[position] = dtypes.bfloat16_to_float32(dtypes.float32_to_bfloat16(array))
        arrays[position].flags.writeable = False
    return arrays


# Comparison.


def tolerance(sample: OpSample, dtype: str) -> float:
    """Return the relative tolerance of a sample's values of a floating type."""
    return TOLERANCE[dtype] * max(1.0, sample.tolerance / TOLERANCE["float32"])


def assert_close(actual: Array, expected: Array, relative: float, what: str = "value") -> None:
    """Compare by the difference relative to the largest finite expected value; integers and bools must be equal.

    Infinities and NaN must stand in the same places.
    """
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, expected {expected.shape}"
    if not np.issubdtype(actual.dtype, np.floating):
        np.testing.assert_array_equal(actual, expected, err_msg=what)
        return
    finite = np.abs(expected[np.isfinite(expected)].astype(np.float64))
    scale = max(1.0, float(finite.max())) if finite.size else 1.0
    np.testing.assert_allclose(
        actual.astype(np.float64), expected.astype(np.float64), rtol=relative, atol=relative * scale, err_msg=what
    )


def assert_fits_spec(node: Node, value: Array, batch: int) -> None:
    """Compare a value's shape and element type with what the shape rule of the node's op promised."""
    assert value.shape == node.spec.bind(batch).static_shape, f"{node!r}: shape {value.shape} at batch {batch}"
    assert value.dtype == node.dtype.interface, f"{node!r}: element type {value.dtype}"


# Values.


def check_value(sample: OpSample) -> None:
    """Compare a sample's value with its reference."""
    assert sample.reference is not None
    built = BuiltSample.of(sample)
    arrays = draw(sample)
    relative = tolerance(sample, built.output.dtype.name) if built.output.dtype.is_floating else 0.0
    assert_close(built.value(arrays), np.asarray(sample.reference(*arrays)), relative)


def check_specs(built: BuiltSample, batch: int) -> None:
    """Check for every node that its value has the inferred shape and type and that its op leaves its inputs alone."""
    feeds = built.feeds(draw(built.sample, batch=batch))
    values = dict(zip(built.nodes, evaluate(built.nodes, feeds), strict=True))
    for node, value in values.items():
        assert_fits_spec(node, value, batch)
        value.flags.writeable = False
    for node, value in values.items():
        if node.op.is_stateful or type(node.op).__name__ == "WhenTraining":
            continue  # its value comes from elsewhere
        stored = [dtypes.to_storage(values[given], given.dtype) for given in node.inputs]
        for array in stored:
            array.flags.writeable = False  # an op that writes to its input raises here
        again = evaluate_op(node.op, node.spec.bind(batch), stored, [given.spec for given in node.inputs])
        np.testing.assert_array_equal(dtypes.to_interface(again, node.dtype), value, err_msg=repr(node))


def check_flops(built: BuiltSample, batch: int = BATCH) -> None:
    """Check that the arithmetic of every node is counted: an integer that is not negative."""
    for node in built.nodes:
        count = node.op.flops(node.spec.bind(batch), *(given.spec.bind(batch) for given in node.inputs))
        assert type(count) is int, f"{node!r}: flops is a {type(count).__name__}"
        assert count >= 0, f"{node!r}: flops is {count}"


def check_dtype(sample: OpSample, dtype: str) -> None:
    """Check a sample with float32 replaced, against the same numbers computed in float64."""
    built = BuiltSample.of(sample, dtype)
    arrays = draw(sample, dtype=dtype)
    actual = built.value(arrays)
    assert_fits_spec(built.output, actual, BATCH)
    exact = BuiltSample.of(sample, "float64")
    wide = [array.astype(node.dtype.interface) for array, node in zip(arrays, exact.inputs, strict=True)]
    name = built.output.dtype.name
    coarsest = max((dtype, name), key=lambda known: TOLERANCE.get(known, 0.0))
    expected = exact.value(wide)
    if built.output.dtype.is_floating:
        assert_close(actual, expected, tolerance(sample, coarsest))
    else:
        assert_close(actual, expected.astype(actual.dtype), 0.0)


# Gradients.


def numeric_derivative(
    function: Callable[[list[Array]], float], arrays: Sequence[Array], position: int, direction: Array
) -> float:
    """Return the derivative of a function of arrays along a direction of one of them, by central differences."""
    moved = list(arrays)
    moved[position] = arrays[position] + STEP * direction
    above = function(moved)
    moved[position] = arrays[position] - STEP * direction
    return (above - function(moved)) / (2 * STEP)


def directions(generator: np.random.Generator, shape: tuple[int, ...]) -> list[Array]:
    """Return the directions along which an input is differentiated: each element's own, or random ones."""
    size = int(np.prod(shape))
    if size <= DIRECTIONS:
        return list(np.eye(size).reshape(size, *shape))
    return list(generator.choice([-1.0, 1.0], (DIRECTIONS, *shape)))


def assert_derivatives(
    function: Callable[[list[Array]], float],
    arrays: Sequence[Array],
    derivatives: Mapping[int, Array],
    what: str,
    noise: float,
) -> None:
    """Compare derivatives of a function of float64 arrays, by position, with central differences.

    `noise` is the size of the numbers that the function sums up, on which the rounding of differences depends.
    """
    generator = np.random.default_rng(1)
    for position, derivative in derivatives.items():
        assert derivative.shape == arrays[position].shape, f"{what} by input {position}: shape {derivative.shape}"
        for direction in directions(generator, derivative.shape):
            numeric = numeric_derivative(function, arrays, position, direction)
            analytic = float(np.sum(derivative * direction))
            scale = float(np.sum(np.abs(derivative * direction)))
            allowed = 1e-6 * (scale + np.abs(numeric)) + 1e-9 * (1 + noise)
            assert np.abs(analytic - numeric) <= allowed, (
                f"{what} by input {position} of shape {derivative.shape}, along {direction.tolist()}: "
                f"{analytic} from the graph, {numeric} from differences"
            )


@dataclass(frozen=True)
class Differentiated:
    """Sums of weighted nodes of a float64 graph, and their gradients by the sample's inputs.

    Parameters
    ----------
    built : BuiltSample
        The graph.
    ys : tuple of Node
        The nodes that are differentiated.
    weights : dict
        A feed of a random weight for each element of each y.
    grads : tuple of Node
        The gradient of the weighted sum by each differentiable input.
    """

    built: BuiltSample
    ys: tuple[Node, ...]
    weights: dict[Node, Array]
    grads: tuple[Node, ...]

    @classmethod
    def of(cls, built: BuiltSample, ys: Sequence[Node], name: str, seed: int) -> Differentiated:
        """Add random weights and gradients to a sample's graph."""
        generator = np.random.default_rng(seed)
        with built.graph:
            nodes = [placeholder(f"{name}{number}", y.shape, "float64") for number, y in enumerate(ys)]
        weights = {node: generator.standard_normal(node.spec.bind(BATCH).static_shape) for node in nodes}
        xs = [built.inputs[position] for position in built.differentiable]
        return cls(built, tuple(ys), weights, gradients(ys, xs, grad_ys=nodes, allow_unused=True))

    def weighted(self, feeds: Mapping[Node, Array]) -> list[Array]:
        """Return each y times its weights."""
        values = evaluate(self.ys, feeds)
        return [value * weight for value, weight in zip(values, self.weights.values(), strict=True)]

    def check(self, arrays: Sequence[Array], fixed: Mapping[Node, Array], what: str) -> None:
        """Hold the gradients against finite differences of the weighted sum; `fixed` feeds other placeholders."""

        def total(moved: list[Array]) -> float:
            return float(sum(part.sum() for part in self.weighted({**self.built.feeds(moved), **fixed})))

        feeds = {**self.built.feeds(arrays), **fixed}
        values = evaluate(self.grads, {**feeds, **self.weights})
        derivatives = dict(zip(self.built.differentiable, values, strict=True))
        noise = float(sum(np.abs(part).sum() for part in self.weighted(feeds)))
        assert_derivatives(total, arrays, derivatives, what, noise)


def differentiate(sample: OpSample) -> Differentiated:
    """Return a sample's graph in float64 with the gradients of its randomly weighted result."""
    built = BuiltSample.of(sample, "float64")
    assert built.output.dtype is dtypes.float64, f"the result is {built.output.dtype}: set gradient=False"
    assert built.differentiable, "no input is differentiable: set gradient=False"
    return Differentiated.of(built, [built.output], "weight", seed=2)


def check_gradient(sample: OpSample) -> None:
    """Hold a sample's gradients against central differences in float64."""
    differentiate(sample).check(draw(sample, dtype="float64"), {}, "gradient")


def check_second_gradient(sample: OpSample) -> None:
    """Hold the gradients of a random projection of a sample's gradients against central differences of those."""
    first = differentiate(sample)
    second = Differentiated.of(first.built, first.grads, "projection", seed=3)
    second.check(draw(sample, dtype="float64"), first.weights, "second gradient")


# PyTorch.


def to_torch(array: Array, dtype: str, requires_grad: bool = False) -> Any:
    """Return a PyTorch tensor of the element type of that name."""
    import torch

    return torch.tensor(array, dtype=getattr(torch, dtype), requires_grad=requires_grad)


def check_torch_value(sample: OpSample) -> None:
    """Compare a sample's value and element type with PyTorch's."""
    assert sample.torch is not None
    built = BuiltSample.of(sample)
    arrays = draw(sample)
    expected: Any = sample.torch(
        *(to_torch(array, node.dtype.name) for array, node in zip(arrays, built.inputs, strict=True))
    )
    assert str(expected.dtype) == f"torch.{built.output.dtype}", f"PyTorch gives {expected.dtype}"
    name = built.output.dtype.name
    assert_close(
        built.value(arrays),
        expected.float().numpy() if name == "bfloat16" else expected.numpy(),
        tolerance(sample, name) if built.output.dtype.is_floating else 0.0,
    )


def check_torch_gradient(sample: OpSample) -> None:
    """Compare a sample's gradients in float64 with PyTorch's."""
    import torch

    assert sample.torch is not None
    first = differentiate(sample)
    arrays = draw(sample, dtype="float64")
    actual = evaluate(first.grads, {**first.built.feeds(arrays), **first.weights})
    positions = first.built.differentiable
    tensors = [
        to_torch(array, node.dtype.name, requires_grad=position in positions)
        for position, (array, node) in enumerate(zip(arrays, first.built.inputs, strict=True))
    ]
    (weight,) = first.weights.values()
    expected = torch.autograd.grad(
        sample.torch(*tensors),
        [tensors[position] for position in positions],
        grad_outputs=to_torch(weight, "float64"),
        allow_unused=True,
    )
    for position, value, grad in zip(positions, actual, expected, strict=True):
        other = np.zeros_like(value) if grad is None else grad.numpy()
        assert_close(value, other, 1e-9 * max(1.0, sample.tolerance / 1e-5), f"gradient by input {position}")


# For tests of what samples cannot express.


def compute(build: Callable[..., Node], *arrays: Array) -> Array:
    """Return the value of the node that `build` makes from placeholders for arrays."""
    return compute_with_gradients(build, *arrays, wanted=())[0]


def compute_with_gradients(build: Callable[..., Node], *arrays: Array, wanted: Sequence[int] = (0,)) -> list[Array]:
    """Return the value of what `build` makes, and the gradients of its sum by the placeholders at some positions."""
    with Graph(seed=0):
        inputs = [placeholder(f"input{position}", array.shape, array.dtype) for position, array in enumerate(arrays)]
        output = build(*inputs)
        grads = gradients(output, [inputs[position] for position in wanted], allow_unused=True) if wanted else ()
    return evaluate([output, *grads], dict(zip(inputs, arrays, strict=True)))
