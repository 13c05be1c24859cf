"""Learning rates that change from run to run: functions from the number of runs so far to a node.

What these functions return goes to an optimiser, as in ``SGD(schedules.cosine(0.1, total_steps=6000))``. Any function
of the user's own does as well: it gets the number of runs so far as a float64 scalar node, 0 in the first run, and
returns a scalar node, as in ``Adam(lambda step: 0.1 / (1 + step / 100))``.
"""

from __future__ import annotations

import math

from graphnn.ops import state
from graphnn.ops.comparison import where
from graphnn.ops.elementwise import clip
from graphnn.ops.errors import GraphError
from graphnn.ops.node import Node
from graphnn.ops.source import caller
from graphnn.ops.trigonometry import cos
from graphnn.optim.optimizer import Schedule


def constant(lr: float) -> Schedule:
    """Keep one learning rate.

    Examples
    --------
    >>> import graphnn as gn
    >>> optimizer = gn.optim.SGD(constant(0.1))
    """
    _require("constant", lr=lr)
    return lambda step: state.constant(lr, "float64")


def step(lr: float, step_size: int, gamma: float = 0.1) -> Schedule:
    """Multiply by `gamma` after every `step_size` runs: ``lr · gamma ** floor(step / step_size)``, as PyTorch's StepLR.

    Parameters
    ----------
    lr : float
        Learning rate of the first `step_size` runs.
    step_size : int
        Runs with the same learning rate.
    gamma : float
        Factor from one stage to the next.

    Raises
    ------
    GraphError
        If a number is out of its range.

    Examples
    --------
    >>> import graphnn as gn
    >>> optimizer = gn.optim.SGD(step(0.1, step_size=1000, gamma=0.5))
    """
    _require("step", lr=lr, gamma=gamma)
    _require_count("step", "step_size", step_size)

    def rate(step: Node) -> Node:
        stage = (step / step_size).astype("int64").astype("float64")
        return lr * gamma**stage

    return rate


def cosine(lr: float, total_steps: int, final: float = 0.0) -> Schedule:
    """Fall from `lr` to `final` along half a cosine, as PyTorch's CosineAnnealingLR.

    ``final + (lr - final) · (1 + cos(π · step / total_steps)) / 2``; from run `total_steps` on it stays at `final`
    (PyTorch's would rise again).

    Parameters
    ----------
    lr, final : float
        Learning rates of run 0 and of run `total_steps`, counted from 0.
    total_steps : int
        Runs from the one to the other.

    Raises
    ------
    GraphError
        If a number is out of its range.

    Examples
    --------
    >>> import graphnn as gn
    >>> optimizer = gn.optim.SGD(cosine(0.1, total_steps=6000))
    """
    _require("cosine", lr=lr, final=final)
    _require_count("cosine", "total_steps", total_steps)
    return lambda step: final + (lr - final) * _half_cosine(step / total_steps)


def one_cycle(
    max_lr: float, total_steps: int, pct_start: float = 0.3, div_factor: float = 25.0, final_div_factor: float = 1e4
) -> Schedule:
    """Rise to `max_lr` and fall far below the start, both along half a cosine (Smith, 2018), as PyTorch's OneCycleLR.

    It goes from ``initial = max_lr / div_factor`` in run 0 to `max_lr` at ``pct_start · total_steps - 1`` and down to
    ``initial / final_div_factor`` in run ``total_steps - 1``, the last, where it stays (PyTorch's would raise an
    error). The momentum is left alone, as with PyTorch's ``cycle_momentum=False``.

    Parameters
    ----------
    max_lr : float
        The highest learning rate.
    total_steps : int
        Number of runs.
    pct_start : float
        Share of the runs that rise, from 0 to 1.
    div_factor, final_div_factor : float
        By what the highest is divided for the first, and the first for the last learning rate.

    Raises
    ------
    GraphError
        If a number is out of its range.

    Examples
    --------
    >>> import graphnn as gn
    >>> optimizer = gn.optim.SGD(one_cycle(0.1, total_steps=6000), momentum=0.9)
    """
    _require("one_cycle", max_lr=max_lr, pct_start=pct_start)
    _require_count("one_cycle", "total_steps", total_steps)
    if pct_start > 1 or min(div_factor, final_div_factor) <= 0:
        raise GraphError(
            "schedules.one_cycle: a number is out of its range",
            expected="pct_start from 0 to 1, div_factor and final_div_factor above 0",
            actual=f"pct_start = {pct_start}, div_factor = {div_factor}, final_div_factor = {final_div_factor}",
            where=str(caller()),
        )
    initial = max_lr / div_factor
    final = initial / final_div_factor
    peak, last = pct_start * total_steps - 1, total_steps - 1

    def rate(step: Node) -> Node:
        is_rising = step <= peak
        # A phase of no length has no run in it; dividing by anything but 0 will do.
        done = where(is_rising, step / (peak or 1), (step - peak) / (last - peak or 1))
        falling = _half_cosine(done)
        return where(is_rising, max_lr - (max_lr - initial) * falling, final + (max_lr - final) * falling)

    return rate


def _half_cosine(done: Node) -> Node:
    """Return ``(1 + cos(π · done)) / 2``, from 1 to 0, for a share done from 0 to 1; what exceeds it is 1."""
    return (1 + cos(math.pi * clip(done, 0, 1))) / 2


def _require(label: str, **numbers: float) -> None:
    for name, number in numbers.items():
        if not number >= 0 or math.isinf(number):
            raise GraphError(
                f"schedules.{label}: {name} is {number}", expected="a finite number of 0 or more", where=str(caller())
            )


def _require_count(label: str, name: str, count: object) -> None:
    if not isinstance(count, int) or count < 1:
        raise GraphError(
            f"schedules.{label}: {name} is {count!r}", expected="an integer of 1 or more", where=str(caller())
        )
