"""What ``graphnn train MODEL`` does when it is not told otherwise."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from graphnn.ops import Node
    from graphnn.optim import Optimizer, Schedule

EPOCHS = 20
"""Epochs that most models are trained for on a compiled target."""

BATCH = 100
"""Images in a step of most models."""


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Attributes
    ----------
    sgd_rate, adam_rate : float
        The learning rate at its highest.
    batch : int
        Images in a step.
    compiled_epochs, numpy_epochs : int
        Epochs on a compiled target, and on NumPy, which takes long for one of a convolutional network.
    """

    sgd_rate: float = 0.1
    adam_rate: float = 0.004
    batch: int = BATCH
    compiled_epochs: int = EPOCHS
    numpy_epochs: int = 2

    def rate(self, optimizer: str) -> float:
        """Return the learning rate for an optimizer."""
        if optimizer == "sgd":
            return self.sgd_rate
        return self.adam_rate if optimizer in ("adam", "adamw") else OTHER_RATES[optimizer]

    def epochs(self, target: str) -> int:
        """Return the number of epochs on a target."""
        return self.numpy_epochs if target == "numpy" else self.compiled_epochs


OTHER_RATES = {"adagrad": 0.02, "hessian-free": 1.0, "lion": 0.0004, "muon": 0.02, "rmsprop": 0.002}
"""Learning rates of optimizers for which a model has none of its own."""

RECIPES = {
    "pure_linear": Recipe(numpy_epochs=EPOCHS),
    "simple_conv": Recipe(numpy_epochs=4),
    "lenet": Recipe(numpy_epochs=2),
    # At batch 16, which is usual for it, a rate of 0.1 kills its ReLUs.
    "mnist_cnn": Recipe(sgd_rate=0.02, adam_rate=0.001, batch=16, compiled_epochs=10, numpy_epochs=2),
}
"""Recipes by model; a model without one has the default."""


SMOOTH = ("sigmoid", "tanh")
"""Activations that no learning rate kills, and that take larger ones."""


def recipe_for(model: str, activation: str | None = None) -> Recipe:
    """Return the recipe of a model; what is known of its ReLUs does not hold with another activation."""
    recipe = RECIPES.get(model, Recipe())
    return replace(recipe, sgd_rate=Recipe().sgd_rate) if activation in SMOOTH else recipe


def make_optimizer(
    name: str, schedule: str, rate: float, steps: int, logits: Node | None = None, **options: float | None
) -> Optimizer:
    """Return an optimizer whose learning rate follows a schedule over so many steps.

    Parameters
    ----------
    name, schedule : str
        As the command line spells them.
    rate : float
        The learning rate at its highest.
    steps : int
        How many there will be.
    logits : Node, optional
        The network's outputs, for those that look at curvatures.
    **options : float or None
        Others by their names, such as ``weight_decay``; None leaves one as it is without being told.

    Raises
    ------
    click.UsageError
        If the optimizer has no such option.
    """
    from graphnn import optim

    def rates(highest: float) -> Schedule:
        makers = {
            "constant": lambda: optim.schedules.constant(highest),
            "step": lambda: optim.schedules.step(highest, max(1, steps // 3), 0.1),
            "cosine": lambda: optim.schedules.cosine(highest, steps),
            "one-cycle": lambda: optim.schedules.one_cycle(highest, steps),
        }
        return makers[schedule]()

    kinds: dict[str, type[Optimizer]] = {
        "sgd": optim.SGD,
        "adam": optim.Adam,
        "adamw": optim.AdamW,
        "rmsprop": optim.RMSprop,
        "adagrad": optim.Adagrad,
        "lion": optim.Lion,
        "muon": optim.Muon,
        "hessian-free": optim.HessianFree,
    }
    kind = kinds[name]
    given: dict[str, Any] = {option: value for option, value in options.items() if value is not None}
    _require_options(name, kind, given)
    if name == "sgd":
        given.setdefault("momentum", 0.9)
    if name == "muon":  # which is for matrices
        vectors = optim.AdamW(rates(Recipe().adam_rate))
        given["groups"] = [{"params": lambda variable: variable.rank < 2, "optimizer": vectors}]
    if name == "hessian-free":
        given["outputs"] = logits
    return kind(rates(rate), **given)


def _require_options(name: str, kind: type[Optimizer], given: dict[str, Any]) -> None:
    known = {field.name for field in fields(kind)}
    for option in given:
        if option not in known:
            raise click.UsageError(f"--optimizer {name} has no --{option.replace('_', '-')}.")
