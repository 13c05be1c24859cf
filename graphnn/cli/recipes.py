"""What ``graphnn train MODEL`` does when it is not told otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphnn.optim import Optimizer, Schedule

EPOCHS = 20
"""Epochs on a compiled target."""


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Attributes
    ----------
    sgd_rate, adam_rate : float
        The learning rate at its highest.
    numpy_epochs : int
        Epochs on the NumPy target, which takes long for one of a convolutional network.
    """

    sgd_rate: float = 0.1
    adam_rate: float = 0.004
    numpy_epochs: int = 2

    def rate(self, optimizer: str) -> float:
        """Return the learning rate for an optimizer."""
        return self.adam_rate if optimizer == "adam" else self.sgd_rate

    def epochs(self, target: str) -> int:
        """Return the number of epochs on a target."""
        return self.numpy_epochs if target == "numpy" else EPOCHS


RECIPES = {
    "pure_linear": Recipe(numpy_epochs=EPOCHS),
    "simple_conv": Recipe(numpy_epochs=4),
    "lenet": Recipe(numpy_epochs=2),
    "mnist_cnn": Recipe(numpy_epochs=4),
}
"""Recipes by model; a model without one has the default."""


def recipe_for(model: str) -> Recipe:
    """Return the recipe of a model."""
    return RECIPES.get(model, Recipe())


def make_optimizer(name: str, schedule: str, rate: float, steps: int) -> Optimizer:
    """Return an optimizer whose learning rate follows a schedule over so many steps."""
    from graphnn import optim

    rates: Schedule = {
        "constant": lambda: optim.schedules.constant(rate),
        "step": lambda: optim.schedules.step(rate, max(1, steps // 3), 0.1),
        "cosine": lambda: optim.schedules.cosine(rate, steps),
        "one-cycle": lambda: optim.schedules.one_cycle(rate, steps),
    }[schedule]()
    return optim.Adam(rates) if name == "adam" else optim.SGD(rates, momentum=0.9)
