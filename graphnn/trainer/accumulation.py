"""Gradients added up over several runs, so that a batch may be larger than memory allows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from graphnn.compiler.gradients import gradients
from graphnn.ops import dtypes
from graphnn.ops.node import Node
from graphnn.ops.reduce import size
from graphnn.ops.state import assign, constant, variable
from graphnn.optim import HessianFree, Optimizer
from graphnn.optim.ancestors import updates_of


class Accumulation(Optimizer):
    """An optimiser that is given the mean gradient over the examples of several runs.

    With the gradient g of a mean loss over n examples, a collecting run does ::

        s ← s + n · g,    c ← c + n                    (s and c start at 0)

    and the run that updates gives the optimiser ``(s + n · g) / (c + n)`` and clears s and c: the gradient of one
    batch that has the examples of all these runs. The s are kept as ``accumulation.gradient.NAME``, of float32 for
    halves, and c as ``accumulation.count``.

    Parameters
    ----------
    optimizer : Optimizer
        What is given the gradients.
    inputs : Node
        Whose first axis is the number of examples in a run.

    Raises
    ------
    GraphError
        For `HessianFree`, which needs more than gradients.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph() as graph:
    ...     x = gn.placeholder("x", (None,))
    ...     w = gn.variable("w", 0.0)
    ...     several = Accumulation(gn.optim.SGD(1.0), x)
    ...     updates = several.minimize((w * x).mean())
    >>> collector = gn.Executor([], several.collecting, device="numpy", max_batch=3)
    >>> updater = gn.Executor([], updates, device="numpy", max_batch=3)
    >>> (
    ...     collector.run({x: [1.0, 2.0, 3.0]}),
    ...     updater.run({x: [6.0]}),
    ...     graph.get_value(w),
    ... )  # the mean of all four
    ([], [], array(-3., dtype=float32))
    """

    def __init__(self, optimizer: Optimizer, inputs: Node) -> None:
        super().__init__(optimizer.lr)
        is_possible = not isinstance(optimizer, HessianFree)
        optimizer.require(is_possible, "it can't accumulate gradients", "accumulate=1", "raise batch_size instead")
        self.optimizer = optimizer
        self.inputs = inputs
        self.collecting: list[Node] = []
        """The assigns of a run that collects, once `minimize` was called."""
        self.kept: list[Node] = []
        """The variables that such runs write, 0 before the first of them."""

    @property
    def label(self) -> str:
        """How errors name the optimiser."""
        return self.optimizer.label

    def updates(self, loss: Node, variables: Sequence[Node]) -> list[Node]:
        """Build the assigns of a run that updates, and those of one that collects."""
        with loss.graph as graph, graph.scope(graph.unique_scope("accumulation")):
            count = variable("count", 0, trainable=False)
            examples = size(self.inputs, 0)
            total = count + examples
            examples_as, total_as = cache(examples.astype), cache(total.astype)
            self.kept, self.collecting = [count], [assign(count, total)]
            pairs = []
            for gradient, weight in zip(gradients(loss, variables), variables, strict=True):
                wide = dtypes.promote(weight.dtype, dtypes.float32)
                zeros = np.zeros(weight.spec.static_shape, wide.interface)
                kept = variable(f"gradient.{weight.name}", zeros, trainable=False, dtype=wide)
                collected = kept + examples_as(wide) * gradient.astype(wide)
                self.kept.append(kept)
                self.collecting.append(assign(kept, collected))
                pairs.append(((collected / total_as(wide)).astype(weight.dtype), weight))
            clearing = [assign(kept, constant(0, kept.dtype).broadcast_to(kept.shape)) for kept in self.kept]
        self.collecting += updates_of(loss)
        return [*self.optimizer.apply_gradients(pairs), *clearing]
