"""Hessian-free optimisation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from graphnn.compiler.gradients import gradients
from graphnn.ops.comparison import where
from graphnn.ops.elementwise import clip, negative
from graphnn.ops.errors import GraphError
from graphnn.ops.node import Node
from graphnn.ops.source import caller
from graphnn.ops.state import assign, constant, variable
from graphnn.optim.curvature import (
    Product,
    Vector,
    conjugate_gradients,
    dot,
    elsewhere,
    gauss_newton_product,
    hessian_product,
    moved,
)
from graphnn.optim.optimizer import GradientPair, Optimizer, Schedule

DAMPING = (1e-12, 1e12)
"""Within which the damping is adapted."""


@dataclass(eq=False)
class HessianFree(Optimizer):
    """Newton's method with conjugate gradients instead of the matrix of second derivatives (Martens, 2010).

    With the gradient g of the weights w, and their curvature B, each run goes to ::

        d ≈ -(B + damping · I)⁻¹ g                     by conjugate gradients, from 0
        w ← w + lr · d                                 unless the loss would not fall

    and adjusts the damping by how well the quadratic model of the loss foretold its fall (Levenberg and Marquardt): it
    is multiplied by 2/3 where more than 3/4 came true, by 3/2 where less than 1/4 did. It is kept, as a float64 scalar,
    as ``hessianfree.damping``.

    Each iteration costs about two gradients, all of the same batch, which should be large. B is never made: products
    with it are gradients of gradients, and so are nodes of the graph.

    Parameters
    ----------
    lr : float or schedule
        The share of the way to the model's lowest point; see `Optimizer`.
    iterations : int
        Of the conjugate gradients. They are laid out in the graph, one after the other.
    damping : float
        What is added to all curvatures, at first.
    adapt_damping : bool
        Whether the damping changes, and a step on which the loss does not fall is left out; otherwise neither, and
        the loss at the end of the step is not computed.
    outputs : Node, optional
        The network's outputs, such as logits. B is then the generalised Gauss-Newton matrix, which has no negative
        curvatures if the loss is convex in them; by default the Hessian, whose first direction of negative curvature
        ends the iterations.

    Raises
    ------
    GraphError
        If a number is out of its range; or for groups, clipping and weight decay, which it does not have: add
        ``0.5 * decay * (w * w).sum()`` to the loss.

    Examples
    --------
    >>> import graphnn as gn
    >>> with gn.Graph() as graph:
    ...     w = gn.variable("w", [5.0, -3.0])
    ...     loss = (gn.constant([1.0, 100.0]) * (w - 1) ** 2).sum()
    ...     train = gn.optim.HessianFree(iterations=2, damping=0.0).minimize(loss)
    >>> gn.Executor(loss, updates=train, device="numpy").run()
    array(1616., dtype=float32)
    >>> graph.get_value(w).round(3)
    array([1., 1.], dtype=float32)
    """

    lr: float | Schedule = 1.0
    iterations: int = 10
    damping: float = 1.0
    adapt_damping: bool = True
    outputs: Node | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_range(self.iterations >= 1, "iterations", "an integer of 1 or more")
        self.require_range(self.damping >= 0, "damping")
        for option in ("groups", "clip_norm", "clip_value", "weight_decay"):
            self.require(not getattr(self, option), f"it has no {option}", "one step for all weights", "leave it out")

    def assigns(self, pairs: Sequence[GradientPair], learning_rate: Node, step: Node | None) -> Iterator[Node]:
        """Raise a GraphError: gradients alone do not tell the curvature."""
        raise GraphError(
            f"{self.label}: gradients alone do not tell the curvature",
            expected="a loss",
            where=str(caller()),
            hint="call minimize(loss)",
        )

    def updates(self, loss: Node, variables: Sequence[Node]) -> list[Node]:
        """Build the assigns of the variables, the damping and the number of runs."""
        with self.own_scope(loss.graph, self.counts_runs) as step:
            self._learning_rate = rate = self.make_learning_rate(step)
            damping = self._make_damping()
            downhill = [negative(gradient) for gradient in gradients(loss, variables)]
            direction, rest = conjugate_gradients(self._damped(loss, variables, damping), downhill, self.iterations)
            new = moved(variables, rate, direction)
            own = [] if step is None else [assign(step, step + 1)]
            if self.adapt_damping:
                fall = loss.astype("float64") - elsewhere(loss, dict(zip(variables, new, strict=True))).astype(
                    "float64"
                )
                new = [where(fall > 0, better, weight) for better, weight in zip(new, variables, strict=True)]
                foretold = _foretold_fall(downhill, rest, direction, rate, damping)
                own.append(assign(damping, _adapted(damping, fall, foretold)))
            return [*map(assign, variables, new), *own]

    def _make_damping(self) -> Node:
        if self.adapt_damping:
            return variable("damping", self.damping, trainable=False, dtype="float64")
        return constant(self.damping, "float64")

    def _damped(self, loss: Node, variables: Vector, damping: Node) -> Product:
        """Return the function from a vector to the damped curvature times it."""
        if self.outputs is None:
            product = hessian_product(loss, variables)
        else:
            product = gauss_newton_product(loss, self.outputs, variables)
        return lambda vector: moved(product(vector), damping, vector)


def _foretold_fall(downhill: Vector, rest: Vector, direction: Vector, rate: Node, damping: Node) -> Node:
    """Return by how much the quadratic model of the loss, without damping, falls along a step.

    That is ``lr · downhillᵀ d - lr² / 2 · dᵀ B d``, where ``B d = downhill - rest - damping · d`` needs no product.
    """
    slope = dot(downhill, direction)
    bend = slope - dot(rest, direction) - damping * dot(direction, direction)
    return rate * slope - 0.5 * rate * rate * bend


def _adapted(damping: Node, fall: Node, foretold: Node) -> Node:
    """Return the next damping; a step that the model does not foresee to help raises it, too."""
    factor = where(fall > 0.75 * foretold, 2 / 3, where(fall >= 0.25 * foretold, constant(1.0, "float64"), 1.5))
    return clip(damping * where(foretold > 0, factor, 1.5), *DAMPING)
