"""Random graphs that are valid and tame, for holding optimised plans against plain evaluation.

A graph grows step by step out of a seed. Each step takes nodes that are there and adds a few more; their values are
computed at once, so that large ones can be tamed and the next step knows what it builds on. A finished graph is kept
only if rounding differences do not grow in it: otherwise every other order of summation would look like a fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from graphnn import ops
from graphnn.compiler.gradients import gradients
from graphnn.compiler.subgraph import topological
from graphnn.ops import Graph, Node
from graphnn.ops.evaluation import evaluate_op
from graphnn.ops.state import Assign, Placeholder, Variable, WhenTraining
from random_graph_steps import CLASSES, LARGEST, MOST_ELEMENTS, STEPS, TAMERS

T = TypeVar("T")

TOLERANCE = 1e-3
"""How far a plan's fetch may be from plain evaluation, relative to the larger of 1 and its largest value."""


class RandomGraph(NamedTuple):
    """A graph and all that a run of it needs.

    Attributes
    ----------
    graph : Graph
        Nodes, among them some that nothing needs.
    fetches : list of Node
        Floating, integer and bool results; perhaps a placeholder, a variable, an assign, one of them twice.
    feeds : dict
        An array for each placeholder; the batch size differs from seed to seed.
    updates : list of Node
        Assigns, each to another variable. Empty where the graph is one for evaluation.
    """

    graph: Graph
    fetches: list[Node]
    feeds: dict[Node, np.ndarray]
    updates: list[Node]


def random_graph(seed: int, nodes: int = 60) -> RandomGraph:
    """Return the graph of a seed, with at least so many nodes (gradients bring more)."""
    for attempt in range(100):
        generator = np.random.default_rng([seed, attempt])
        builder = GraphBuilder(generator, Graph(seed))
        with builder.graph:
            found = builder.build(nodes)
        if is_steady(found):
            return found
    raise AssertionError(f"seed {seed} gives no graph in which rounding stays small")


# Values while the graph grows.


def evaluate_into(
    values: dict[Node, np.ndarray],
    nodes: Iterable[Node],
    feeds: dict[Node, np.ndarray],
    training: bool,
    disturb: Callable[[np.ndarray, Sequence[np.ndarray]], np.ndarray] | None = None,
) -> None:
    """Add the values of nodes, given in order of creation, to those known; `disturb` may change each result."""
    batch = _batch_of(feeds)
    for node in nodes:
        inputs = [values[given] for given in node.inputs]
        match node.op:
            case Placeholder():
                values[node] = feeds[node]
            case Variable():
                values[node] = node.graph.store.read(node.name)
            case WhenTraining():
                values[node] = inputs[0 if training else 1]
            case Assign():
                values[node] = inputs[1]
            case _:
                result = evaluate_op(node.op, node.spec.bind(batch), inputs, [given.spec for given in node.inputs])
                values[node] = disturb(result, inputs) if disturb is not None else result


def _batch_of(feeds: dict[Node, np.ndarray]) -> int:
    return next((value.shape[0] for node, value in feeds.items() if node.spec.has_batch), 1)


def disturbed(result: np.ndarray, inputs: Sequence[np.ndarray]) -> np.ndarray:
    """Return a computed value with a relative error of 1e-6, the same wherever the value is the same.

    What an op merely passes on (a maximum, a slice) has no rounding error and stays.
    """
    if result.dtype.kind != "f" or not inputs:
        return result
    passed_on = np.isin(
        np.abs(result), np.concatenate([np.abs(given.astype(result.dtype)).ravel() for given in inputs])
    )
    with np.errstate(all="ignore"):
        moved = result * (1 + 1e-6 * np.cos(1e6 * result.astype(np.float64)))
    return np.where(passed_on, result, moved.astype(result.dtype))


def is_steady(found: RandomGraph) -> bool:
    """Return whether fetches and updates are finite and hardly move when every result has a small error."""
    plain: dict[Node, np.ndarray] = {}
    noisy: dict[Node, np.ndarray] = {}
    training = bool(found.updates)
    evaluate_into(plain, found.graph.nodes, found.feeds, training)
    evaluate_into(noisy, found.graph.nodes, found.feeds, training, disturbed)
    return all(_agree(plain[node], noisy[node]) for node in (*found.fetches, *found.updates))


def _agree(plain: np.ndarray, noisy: np.ndarray) -> bool:
    if plain.dtype.kind != "f":
        return bool(np.array_equal(plain, noisy))
    scale = max(1.0, float(np.abs(plain).max(initial=0.0)))
    return bool(np.isfinite(plain).all() and np.abs(noisy - plain).max(initial=0.0) < 0.2 * TOLERANCE * scale)


class GraphBuilder:
    """Adds random nodes to a graph and remembers what later steps can build on.

    Parameters
    ----------
    generator : numpy.random.Generator
        Makes all choices.
    graph : Graph
        Empty.
    """

    def __init__(self, generator: np.random.Generator, graph: Graph) -> None:
        self.generator = generator
        self.graph = graph
        self.training = self.chance(0.7)
        self.batch = int(generator.integers(1, 5))
        self.feeds: dict[Node, np.ndarray] = {}
        self.values: dict[Node, np.ndarray] = {}
        self.reals: list[Node] = []
        self.flags: list[Node] = []
        self.integers: list[Node] = []
        self.gradient_steps = 0

    # Choices.

    def chance(self, probability: float) -> bool:
        return bool(self.generator.random() < probability)

    def number(self, low: int, high: int) -> int:
        """Return an integer from `low` to `high`."""
        return int(self.generator.integers(low, high + 1))

    def one_of(self, items: Sequence[T]) -> T:
        return items[self.number(0, len(items) - 1)]

    def pick(self, accept: Callable[[Node], bool] = lambda node: True) -> Node | None:
        """Return a tame node of type float32 that is accepted, more often a late one."""
        found = [node for node in self.reals if accept(node)]
        return found[max(self.number(0, len(found) - 1), self.number(0, len(found) - 1))] if found else None

    def any(self) -> Node:
        node = self.pick()
        assert node is not None
        return node

    def deep(self) -> Node:
        """Return a node that depends on many others, so that its gradient passes through many ops."""
        return max((self.any() for _ in range(6)), key=lambda node: len(topological([node])))

    # Nodes.

    def feed(self, name: str, shape: tuple[int | None, ...], values: np.ndarray) -> Node:
        """Declare a placeholder and what it is fed with."""
        node = ops.placeholder(name, shape, values.dtype)
        self.feeds[node] = values
        return node

    def normal(self, *shape: int, scale: float = 1.0) -> np.ndarray:
        return (self.generator.standard_normal(shape) * scale).astype(np.float32)

    def weight(self, *shape: int) -> Node:
        """Return a new trainable variable."""
        name = f"weight{len(self.graph.variables)}"
        return ops.variable(name, self.normal(*shape, scale=0.5))

    def value(self, node: Node) -> np.ndarray:
        """Return the value of a node in the run that `feeds` belongs to."""
        if node not in self.values:
            evaluate_into(self.values, self.graph.nodes[len(self.values) :], self.feeds, self.training)
        return self.values[node]

    def keep(self, node: Node) -> None:
        """Let later steps build on a node, after taming it if need be."""
        value = self.value(node)
        if node.dtype.kind == "bool":
            self.flags.append(node)
        elif node.dtype.kind == "integer":
            self.integers.append(node)
        elif value.size <= MOST_ELEMENTS and np.isfinite(value).all():
            node = node.astype("float32")
            largest = float(np.abs(value).max(initial=0.0))
            self.reals.append(node if largest < LARGEST else self.one_of(TAMERS)(node, largest))

    def build(self, nodes: int) -> RandomGraph:
        """Grow the graph and choose what is fetched and updated."""
        size = 2 * self.number(2, 4)
        channels = self.number(1, 3)
        self.reals += [
            self.feed("images", (None, channels, size, size), self.normal(self.batch, channels, size, size)),
            self.feed("features", (None, 2 * size), self.normal(self.batch, 2 * size)),
            self.feed("row", (size,), self.normal(size)),
        ]
        labels = self.generator.integers(0, CLASSES, self.batch).astype(np.int32)
        self.integers.append(self.feed("labels", (None,), labels))
        while len(self.graph.nodes) < nodes:
            self.one_of(STEPS)(self)
        slopes = self.slopes()
        for node in self.feeds:
            if node in slopes:
                self.keep(slopes[node])
        updates = self.updates(slopes) if self.training else []
        return RandomGraph(self.graph, self.fetches(updates), self.feeds, updates)

    def slopes(self) -> dict[Node, Node]:
        """Return the gradients of a sum over many ends of the graph by its variables and placeholders."""
        xs = [node for node in (*self.graph.variables.values(), *self.feeds) if node.dtype.is_floating]
        used = {given for node in self.graph.nodes for given in node.inputs}
        loss = self.deep().mean()
        for end in [node for node in self.reals if node not in used and self.chance(0.5)]:
            loss = loss + (end * end).mean() * 0.3
        return dict(zip(xs, gradients(loss, xs, allow_unused=True), strict=True))

    def updates(self, slopes: dict[Node, Node]) -> list[Node]:
        """Return assigns as an optimiser makes them, and others that depend on each other's old values."""
        steps = []
        for weight, slope in slopes.items():
            if not isinstance(weight.op, Variable):
                continue
            if self.chance(0.3):
                zeros = np.zeros(weight.spec.static_shape, np.float32)
                momentum = ops.variable(f"{weight.name}.momentum", zeros, trainable=False)
                slope = momentum * 0.9 + slope
                steps.append(ops.assign(momentum, slope))
            steps.append(ops.assign(weight, weight - slope * 0.1))
        count = ops.variable("count", 0, trainable=False)
        mean = ops.variable("mean", 0.5, trainable=False)
        left, right = ops.variable("left", self.normal(3), False), ops.variable("right", self.normal(3), False)
        steps += [
            ops.assign(count, count + 1),
            ops.assign(mean, mean * 0.9 + self.any().mean() * 0.1),
            ops.assign(left, right),
            ops.assign(right, left * 2 - right),
        ]
        return [step for step in steps if self.chance(0.8)] or steps

    def fetches(self, updates: list[Node]) -> list[Node]:
        """Return some of all kinds of nodes."""
        chosen = [self.any() for _ in range(self.number(1, 3))] + [self.deep(), self.any().sum()]
        others = [self.integers, self.flags, list(self.graph.variables.values()), list(self.feeds), updates, chosen]
        return chosen + [self.one_of(kind) for kind in others if kind and self.chance(0.3)]
