"""The first form of the compiler: the part of a graph that a plan computes, rewritten by passes.

Nodes are never changed. A pass returns a new `Subgraph` whose nodes are the user's own, or new ones that say whom
they stand for (`Node.origin`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter

from graphnn.ops.errors import CompileError, GraphError
from graphnn.ops.node import Node
from graphnn.ops.op import Op
from graphnn.ops.spec import TensorSpec
from graphnn.ops.state import Assign, Placeholder, Variable, WhenTraining


@dataclass(frozen=True)
class Subgraph:
    """What a plan computes: nodes to fetch, assigns to carry out, and all that they depend on.

    Attributes
    ----------
    fetches : tuple of Node
        Whose values the user gets, in the user's order.
    updates : tuple of Node
        Assign nodes. No other node takes an assign as input: whoever used its value uses the value itself.
    """

    fetches: tuple[Node, ...]
    updates: tuple[Node, ...] = ()

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes, each after its inputs."""
        return topological((*self.fetches, *self.updates))

    def of_op(self, *kinds: type[Op]) -> Iterator[Node]:
        """Yield the nodes whose op is of one of these classes."""
        return (node for node in self.nodes if isinstance(node.op, kinds))

    def rewrite(self, rule: Callable[[Node, tuple[Node, ...]], Node]) -> Subgraph:
        """Rebuild from the sources on: `rule` gets each node with its new inputs and returns what stands for it."""
        new: dict[Node, Node] = {}
        for node in self.nodes:
            new[node] = rule(node, tuple(new[given] for given in node.inputs))
        return Subgraph(tuple(new[node] for node in self.fetches), tuple(new[node] for node in self.updates))


def inputs_in_mode(training: bool) -> Callable[[Node], tuple[Node, ...]]:
    """Return the function from a node to what it reads in training or evaluation: one branch of `ops.when_training`."""
    branch = slice(0, 1) if training else slice(1, 2)
    return lambda node: node.inputs[branch] if isinstance(node.op, WhenTraining) else node.inputs


def topological(
    roots: Iterable[Node], inputs_of: Callable[[Node], tuple[Node, ...]] = attrgetter("inputs")
) -> tuple[Node, ...]:
    """Return the roots and all they depend on, each after its inputs; `inputs_of` says what a node depends on.

    Raises
    ------
    CompileError
        If a node depends on itself.
    """
    order: list[Node] = []
    state: dict[Node, bool] = {}  # False while the node's inputs are being visited, True afterwards
    stack = list(reversed(list(roots)))
    while stack:
        node = stack[-1]
        if node not in state:
            state[node] = False
            for given in reversed(inputs_of(node)):
                if state.get(given) is False:
                    raise CompileError(f"node {given.name!r} depends on itself", where=str(given.source))
                if given not in state:
                    stack.append(given)
        else:
            stack.pop()
            if not state[node]:
                state[node] = True
                order.append(node)
    return tuple(order)


def with_inputs(node: Node, inputs: tuple[Node, ...]) -> Node:
    """Return the node itself where its inputs are these already, else one like it that stands for it."""
    return node if inputs == node.inputs else replacement(node, node.op, inputs)


def replacement(
    node: Node, op: Op, inputs: tuple[Node, ...], spec: TensorSpec | None = None, name: str | None = None
) -> Node:
    """Return a node outside the user's graph that stands for `node`: its place, line and gradient relation are kept."""
    return Node(
        node.graph,
        op,
        inputs,
        spec or node.spec,
        name=name or node.name,
        source=node.source,
        index=node.index,
        grad_of=node.grad_of,
        origin=node.users_nodes,
    )


def verify_subgraph(subgraph: Subgraph, stage: str, original: Subgraph | None = None) -> None:
    """Check the form: shape rules hold, updates are assigns to different variables, results kept their specs.

    Raises
    ------
    CompileError
        Naming `stage` (the pass that ran last) and the first node that breaks a rule.
    """
    for node in subgraph.nodes:
        try:
            spec = node.op.infer(*(given.spec for given in node.inputs))
        except GraphError as error:
            raise _broken(stage, node, f"has inputs that its op refuses: {error.message}") from None
        if spec != node.spec:
            raise _broken(stage, node, f"says {node.spec}, its op gives {spec}")
        if any(isinstance(given.op, Assign) for given in node.inputs):
            raise _broken(stage, node, "takes an assign as input")
    _verify_updates(subgraph, stage)
    if original is not None:
        _verify_interface(subgraph, stage, original)


def _verify_updates(subgraph: Subgraph, stage: str) -> None:
    targets: set[Node] = set()
    for update in subgraph.updates:
        if not isinstance(update.op, Assign) or not isinstance(update.inputs[0].op, Variable):
            raise _broken(stage, update, "is among the updates but assigns to no variable")
        if update.inputs[0] in targets:
            raise _broken(stage, update, f"assigns to {update.inputs[0].name!r} a second time")
        targets.add(update.inputs[0])


def _verify_interface(subgraph: Subgraph, stage: str, original: Subgraph) -> None:
    if len(subgraph.fetches) != len(original.fetches):
        raise CompileError(f"after {stage}: the number of fetches changed")
    for before, after in zip(original.fetches, subgraph.fetches, strict=True):
        if before.spec != after.spec:
            raise _broken(stage, after, f"stands for the fetch {before.name!r} of another spec, {before.spec}")
    added = set(subgraph.of_op(Placeholder)) - set(original.of_op(Placeholder))
    if added:
        raise _broken(stage, next(iter(added)), "is a placeholder that the user's graph does not need")
    written = {update.inputs[0] for update in subgraph.updates}
    for update in original.updates:
        if update.inputs[0] not in written:
            raise _broken(stage, update, "is no longer carried out")


def _broken(stage: str, node: Node, what: str) -> CompileError:
    return CompileError(
        f"after {stage}: {node.op.label} {node.name!r} {what}",
        where=str(node.source),
        hint="this is a fault of graphnn; please report it with the graph",
    )
