"""What all optimisers share: which variables to train, where their state lives, the learning rate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar

import numpy as np

from graphnn.compiler.gradients import gradients
from graphnn.ops import dtypes
from graphnn.ops.broadcasting import Cast
from graphnn.ops.context import apply
from graphnn.ops.errors import DTypeError, GraphError, ShapeError
from graphnn.ops.graph import Graph
from graphnn.ops.node import Node
from graphnn.ops.source import caller
from graphnn.ops.state import Variable, assign, constant, variable
from graphnn.optim.ancestors import differentiable_ancestors, updates_of
from graphnn.optim.clipping import clip_grad_value, clipped_by_norm
from graphnn.optim.groups import Group, ParameterGroup, parameter_groups

Schedule = Callable[[Node], Node | float]
"""From the number of runs so far, a float64 scalar, to the learning rate of this run."""

GradientPair = tuple[Node, Node]
"""A gradient and its variable."""


@dataclass(eq=False)
class Optimizer:
    """Base of the optimisers: a dataclass whose fields are its options.

    All of an optimiser's nodes lie in a scope named after its class, such as ``sgd``; a second one in the same graph,
    or a second call, has a number added. In it, ``sgd.learning_rate`` is the learning rate, a float64 scalar to be
    fetched like any other node; ``sgd.step`` counts the runs, where a schedule or the formula needs that; and what is
    kept for a variable is named after both, as in ``sgd.momentum.conv1.weight``. All of that is saved with the graph.

    A subclass defines `assigns`; one with options of its own is a dataclass, too, so that groups can change them.

    Parameters
    ----------
    lr : float or schedule
        The learning rate, or a function from the number of runs so far (a float64 scalar node) to a scalar node, such
        as those that `graphnn.optim.schedules` makes.
    weight_decay : float
        Multiple of each variable that is added to its gradient.
    clip_norm : float, optional
        What the norm of all gradients together may be at most; see `clip_grad_norm`. The norm before is
        ``sgd.gradient_norm``.
    clip_value : float, optional
        What the size of each element of a gradient may be at most; see `clip_grad_value`. That comes first.
    groups : sequence of dict
        Options for some of the variables, as in ``{"params": [conv.weight], "lr": 0.01, "weight_decay": 0}``. Under
        ``"params"`` stand variables or their names, or a function that says whether a variable belongs to the group;
        the rest replaces the optimiser's own options. ``"optimizer"`` replaces the optimiser itself. A group's
        learning rate is ``sgd.learning_rate_1``, and so on in the order of the groups.

    Raises
    ------
    GraphError
        If a number is out of its range, or a group has an option that the optimiser has not.

    Examples
    --------
    >>> import graphnn as gn
    >>> class SignDescent(gn.optim.Optimizer):
    ...     def assigns(self, pairs, learning_rate, step):
    ...         for gradient, weight in pairs:
    ...             change = learning_rate.astype(weight.dtype) * gn.ops.sign(gradient)
    ...             yield gn.ops.assign(weight, weight - change)
    >>> with gn.Graph() as graph:
    ...     w = gn.variable("w", [2.0, -3.0])
    ...     loss = (w * w).sum()
    ...     train = SignDescent(0.5).minimize(loss)
    >>> gn.Executor(loss, updates=train, device="numpy").run()
    array(13., dtype=float32)
    >>> graph.get_value(w)
    array([ 1.5, -2.5], dtype=float32)
    """

    lr: float | Schedule
    weight_decay: float = field(default=0.0, kw_only=True)
    clip_norm: float | None = field(default=None, kw_only=True)
    clip_value: float | None = field(default=None, kw_only=True)
    groups: Sequence[Group] = field(default=(), kw_only=True)

    decouples_weight_decay: ClassVar[bool] = False
    """Whether weights shrink by themselves (Loshchilov and Hutter, 2019) instead of through their gradients."""

    def __post_init__(self) -> None:
        rate = self.lr
        self.require(callable(rate) or _is_rate(rate), f"lr is {rate!r}", "a number of 0 or more, or a schedule")
        self.require_range(self.weight_decay >= 0, "weight_decay")
        for name in ("clip_norm", "clip_value"):
            limit = getattr(self, name)
            self.require_range(limit is None or limit > 0, name, "a number above 0, or None")
        self._learning_rate: Node | None = None
        self._groups: tuple[ParameterGroup, ...] = parameter_groups(self)

    def require(self, condition: bool, message: str, expected: str, hint: str = "") -> None:
        """Raise a GraphError that names the optimiser unless the condition holds."""
        if not condition:
            raise GraphError(f"{self.label}: {message}", expected=expected, where=str(caller()), hint=hint)

    def require_range(self, condition: bool, option: str, expected: str = "a number of 0 or more") -> None:
        """Raise a GraphError that shows an option unless the condition holds."""
        self.require(condition, f"{option} is {getattr(self, option)}", expected)

    @property
    def counts_runs(self) -> bool:
        """Whether the number of runs is needed: by a schedule, or by the formula."""
        return callable(self.lr)

    @property
    def label(self) -> str:
        """How errors name the optimiser."""
        return type(self).__name__

    @property
    def learning_rate(self) -> Node:
        """The learning rate of each run, as a node of the graph that was last optimised; groups may have their own.

        Examples
        --------
        >>> import graphnn as gn
        >>> with gn.Graph():
        ...     w = gn.variable("w", 1.0)
        ...     sgd = gn.optim.SGD(gn.optim.schedules.cosine(0.1, total_steps=2))
        ...     train = sgd.minimize(w * w)
        >>> executor = gn.Executor(sgd.learning_rate, updates=train, device="numpy")
        >>> [round(float(executor.run()), 6) for _ in range(4)]
        [0.1, 0.05, 0.0, 0.0]
        """
        if self._learning_rate is None:
            raise GraphError(
                f"{self.label} has no learning rate in a graph yet",
                where=str(caller()),
                hint="call minimize(loss) first",
            )
        return self._learning_rate

    def minimize(self, loss: Node, variables: Iterable[Node] | None = None) -> list[Node]:
        """Build the nodes that make a loss smaller in each run that has them among its updates.

        With the optimiser's own assigns come those that layers registered with `graph.add_update`, if they belong to
        the loss: if every placeholder and every variable that such an assign is computed from is one that the loss is
        computed from, too. Variables that registered assigns write do not count, so that a running mean belongs to
        the loss that its layer leads to, and a mere counter to every loss.

        Parameters
        ----------
        loss : Node
            A scalar of a floating type.
        variables : iterable of Node, optional
            What to change. By default all trainable variables that the loss depends on, in order of creation; those
            that it reaches through `ops.stop_gradient` alone stay as they are.

        Returns
        -------
        list of Node
            Assigns, for ``Executor(..., updates=...)``.

        Raises
        ------
        ShapeError, DTypeError
            If the loss is no scalar, or not of a floating type.
        GraphError
            If there is nothing to train, or the loss does not depend on a variable that was asked for.

        Examples
        --------
        >>> import graphnn as gn
        >>> with gn.Graph() as graph:
        ...     w = gn.variable("w", 4.0)
        ...     train = gn.optim.SGD(0.25).minimize(w * w)
        >>> gn.Executor(w, updates=train, device="numpy").run()
        array(4., dtype=float32)
        >>> graph.get_value(w)
        array(2., dtype=float32)
        """
        self._require_loss(loss)
        trained = self._trainable(loss) if variables is None else self._checked(loss, variables)
        return [*self.updates(loss, trained), *updates_of(loss)]

    def updates(self, loss: Node, variables: Sequence[Node]) -> list[Node]:
        """Build the optimiser's own assigns for a loss and variables that `minimize` has looked at."""
        return self.apply_gradients(zip(gradients(loss, variables), variables, strict=True))

    def apply_gradients(self, pairs: Iterable[GradientPair]) -> list[Node]:
        """Build the optimiser's assigns from gradients, which may have been clipped or scaled before.

        Parameters
        ----------
        pairs : iterable of (gradient, variable)
            Each gradient has its variable's shape and element type.

        Returns
        -------
        list of Node
            Assigns; those that layers registered are not among them.

        Raises
        ------
        GraphError
            If there are no pairs, or a variable is none or occurs twice; ShapeError and DTypeError if a gradient does
            not fit.

        Examples
        --------
        >>> import graphnn as gn
        >>> with gn.Graph() as graph:
        ...     w = gn.variable("w", 4.0)
        ...     (gradient,) = gn.gradients(w * w, [w])
        ...     train = gn.optim.SGD(0.25).apply_gradients([(gn.ops.clip(gradient, -1, 1), w)])
        >>> gn.Executor(w, updates=train, device="numpy").run()
        array(4., dtype=float32)
        >>> graph.get_value(w)
        array(3.75, dtype=float32)
        """
        given = list(pairs)
        self.require(bool(given), "there are no gradients to apply", "pairs of a gradient and its variable")
        for gradient, weight in given:
            self._require_fit(gradient, weight)
        names = [weight.name for _, weight in given]
        twice = next((name for name in names if names.count(name) > 1), None)
        self.require(twice is None, f"variable {twice!r} occurs twice", "one gradient for each variable")
        rules = {weight: self._rule_of(weight) for _, weight in given}
        counted = any(rule.counts_runs for rule in (self, *(group.rule for group in self._groups)))
        with self.own_scope(given[0][1].graph, counted) as step:
            rates = self._rates(step)
            clipped = self._clipped(given)
            own: list[Node] = []
            for rule in dict.fromkeys(rules.values()):
                own += rule.assigns([pair for pair in clipped if rules[pair[1]] is rule], rates[rule], step)
            return own if step is None else [*own, assign(step, step + 1)]

    def assigns(self, pairs: Sequence[GradientPair], learning_rate: Node, step: Node | None) -> Iterator[Node]:
        """Yield the assigns for all variables; each optimiser has its own formula.

        Parameters
        ----------
        pairs : sequence of (gradient, variable)
            What to change, and by what.
        learning_rate : Node
            A float64 scalar.
        step : Node or None
            The number of runs so far, an int64 scalar; None unless it is counted.
        """
        raise NotImplementedError(f"{type(self).__name__} has no assigns(self, pairs, learning_rate, step)")

    def state(self, name: str, weight: Node, initial: float = 0.0) -> Node:
        """Make a variable that is kept for `weight`, of its shape and filled with one number, for use in `assigns`."""
        values = np.full(weight.spec.static_shape, initial, weight.dtype.interface)
        return variable(f"{name}.{weight.name}", values, trainable=False, dtype=weight.dtype)

    def decayed(self, gradient: Node, weight: Node) -> Node:
        """Return the gradient with the weight decay added, unless that is decoupled."""
        coupled = self.weight_decay and not self.decouples_weight_decay
        return gradient + self.weight_decay * weight if coupled else gradient

    def shrinking(self, learning_rate: Node) -> Callable[[Node], Node]:
        """Return the function from a variable w to ``(1 - lr · weight_decay) · w``, what decoupled decay leaves."""
        if not self.weight_decay or not self.decouples_weight_decay:
            return lambda weight: weight
        share_as = cache((1 - learning_rate * self.weight_decay).astype)
        return lambda weight: share_as(weight.dtype) * weight

    @contextmanager
    def own_scope(self, graph: Graph, counted: bool) -> Iterator[Node | None]:
        """Let nodes made inside be the optimiser's; yields the number of runs so far, or None unless it is counted."""
        with graph, graph.scope(graph.unique_scope(type(self).__name__.lower())):
            yield variable("step", 0, trainable=False) if counted else None

    def _rule_of(self, weight: Node) -> Optimizer:
        """Return the optimiser whose formula and options hold for a variable: that of its group, or this one."""
        found = [group for group in self._groups if group.holds(weight)]
        self.require(len(found) < 2, f"variable {weight.name!r} is in {len(found)} groups", "one group, or none")
        return found[0].rule if found else self

    def _clipped(self, pairs: list[GradientPair]) -> list[GradientPair]:
        slopes, weights = [gradient for gradient, _ in pairs], [weight for _, weight in pairs]
        if self.clip_value is not None:
            slopes = clip_grad_value(slopes, self.clip_value)
        if self.clip_norm is not None:
            slopes, _ = clipped_by_norm(slopes, self.clip_norm, name="gradient_norm")
        return list(zip(slopes, weights, strict=True))

    def _rates(self, step: Node | None) -> dict[Optimizer, Node]:
        """Make the learning rates: of the optimiser, and of each group that has another one."""
        self._learning_rate = self.make_learning_rate(step)
        rates = {self: self._learning_rate}
        for number, group in enumerate(self._groups, start=1):
            own = group.rule.lr is not self.lr
            name = f"learning_rate_{number}"
            rates[group.rule] = group.rule.make_learning_rate(step, name) if own else self._learning_rate
        return rates

    def make_learning_rate(self, step: Node | None, name: str = "learning_rate") -> Node:
        """Make the node of this run's learning rate."""
        if callable(self.lr):
            assert step is not None
            rate = self.lr(step.astype("float64"))
        else:
            rate = self.lr
        if not isinstance(rate, Node):
            self.require(_is_rate(rate), f"the learning rate is {rate!r}", "a scalar node, or a number of 0 or more")
            return constant(float(rate), "float64", name=name)
        if rate.shape != ():
            raise ShapeError(
                f"{self.label}: the schedule gives no scalar",
                expected="shape ()",
                actual=str(rate.spec),
                where=str(caller()),
            )
        return apply(Cast(dtypes.float64), rate, name=name)

    # Checks.

    def _require_loss(self, loss: object) -> None:
        if not isinstance(loss, Node):
            raise GraphError(f"{self.label}.minimize takes a node", actual=repr(loss), where=str(caller()))
        if loss.shape != ():
            raise ShapeError(
                f"{self.label}.minimize: the loss {loss.name!r} is no scalar",
                expected="shape ()",
                actual=str(loss.spec),
                where=str(caller()),
                hint="take its .mean() or .sum()",
            )
        if not loss.dtype.is_floating:
            raise DTypeError(
                f"{self.label}.minimize: the loss {loss.name!r} is not of a floating type",
                actual=str(loss.spec),
                where=str(caller()),
            )

    def _trainable(self, loss: Node) -> list[Node]:
        reached = differentiable_ancestors(loss)
        known = [node for node in loss.graph.variables.values() if node in reached]
        trained = [node for node in known if isinstance(node.op, Variable) and node.op.trainable]
        self.require(
            bool(trained),
            f"there is nothing to train: {loss.name!r} depends on no trainable variable",
            "at least one, with a gradient",
            f"it depends on {known[0].name!r}, which is not trainable" if known else "make one with gn.variable or nn",
        )
        return trained

    def _checked(self, loss: Node, variables: Iterable[Node]) -> list[Node]:
        chosen = list(variables)
        self.require(bool(chosen), "there is nothing to train: no variables were given", "at least one")
        reached = differentiable_ancestors(loss)
        for node in chosen:
            self._require_variable(node)
            self.require(
                node in reached,
                f"the loss {loss.name!r} does not depend on variable {node.name!r}",
                "variables through which the loss can be changed",
                "leave it out of `variables`",
            )
        return chosen

    def _require_variable(self, node: object) -> None:
        is_variable = isinstance(node, Node) and isinstance(node.op, Variable)
        self.require(is_variable, f"{node!r} is no variable", "a variable", "graph.variables lists them by name")

    def _require_fit(self, gradient: Node, weight: Node) -> None:
        self._require_variable(weight)
        if gradient.spec != weight.spec:
            kind = ShapeError if gradient.shape != weight.shape else DTypeError
            raise kind(
                f"{self.label}: the gradient {gradient.name!r} does not fit variable {weight.name!r}",
                expected=str(weight.spec),
                actual=str(gradient.spec),
                where=str(caller()),
            )


def _is_rate(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and bool(value >= 0)
