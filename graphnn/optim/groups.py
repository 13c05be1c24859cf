"""Groups of variables that are trained in another way than the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from graphnn.ops.node import Node

if TYPE_CHECKING:
    from graphnn.optim.optimizer import Optimizer

Group = Mapping[str, Any]
"""``"params"``, and options or an ``"optimizer"``; see `Optimizer`."""

_OF_ALL: dict[str, Any] = {"clip_norm": None, "clip_value": None, "groups": ()}
"""Options that concern all variables together; what they are in a group's optimiser."""


@dataclass(frozen=True, eq=False)
class ParameterGroup:
    """Which variables belong to a group, and the optimiser whose formula and options they follow."""

    holds: Callable[[Node], bool]
    rule: Optimizer


def parameter_groups(optimizer: Optimizer) -> tuple[ParameterGroup, ...]:
    """Return the groups of an optimiser, or raise a GraphError that says what is wrong with one.

    Examples
    --------
    >>> import graphnn as gn
    >>> adamw = gn.optim.AdamW(groups=[{"params": ["fc.bias"], "weight_decay": 0.0}])
    >>> (group,) = parameter_groups(adamw)
    >>> group.rule.weight_decay, group.rule.betas
    (0.0, (0.9, 0.999))
    """
    return tuple(_parameter_group(optimizer, group) for group in optimizer.groups)


def _parameter_group(optimizer: Optimizer, group: Group) -> ParameterGroup:
    given: object = group  # users pass what they like
    optimizer.require(
        isinstance(given, Mapping) and "params" in given,
        f"a group is {given!r}",
        "a dict with 'params'",
        '{"params": [weight], "lr": 0.1}',
    )
    options = {name: value for name, value in group.items() if name != "params"}
    return ParameterGroup(_membership(optimizer, group["params"]), _rule(optimizer, options))


def _membership(optimizer: Optimizer, params: object) -> Callable[[Node], bool]:
    if callable(params):
        return lambda weight: bool(params(weight))
    listed = params if isinstance(params, Iterable) and not isinstance(params, Node | str) else (params,)
    members = frozenset(listed)
    for member in members:
        optimizer.require(
            isinstance(member, Node | str),
            f"the params of a group hold {member!r}",
            "variables or their names, or a function of a variable",
            "graph.variables lists them by name",
        )
    return lambda weight: weight in members or weight.name in members


def _rule(optimizer: Optimizer, options: dict[str, Any]) -> Optimizer:
    rule = options.get("optimizer")
    if rule is None:
        known = {option.name for option in fields(optimizer) if option.init} - _OF_ALL.keys()
        unknown = sorted(options.keys() - known)
        optimizer.require(
            not unknown, f"a group has no option {', '.join(map(repr, unknown))}", ", ".join(sorted(known))
        )
        # Not by dataclasses.replace, whose line an error would take for the user's.
        own = {name: getattr(optimizer, name) for name in known}
        return type(optimizer)(**{**own, **_OF_ALL, **options})
    optimizer.require(
        len(options) == 1, "a group has an optimizer and other options", "one of both", "give them to that optimizer"
    )
    alone = all(not getattr(rule, name, None) for name in _OF_ALL)
    optimizer.require(
        hasattr(rule, "assigns") and not isinstance(rule, type) and alone,
        f"the optimizer of a group is {rule!r}",
        "an optimiser without groups and clipping of its own",
        "all gradients are clipped together, by the options of the outer optimiser",
    )
    return rule
