"""``graphnn train``: train a model and print a line an epoch."""

from __future__ import annotations

import math
from typing import Any

import click

from graphnn.cli.options import (
    INTERRUPTED,
    ModelCommand,
    batch_option,
    data_option,
    debug_option,
    device_option,
    model_argument,
    optimizer_option,
    seed_option,
)
from graphnn.cli.recipes import EPOCHS


def _finite(_: click.Context, __: click.Parameter, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is no learning rate.")
    return value


@click.command(cls=ModelCommand)
@model_argument
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Times to go through all images.  [default: {EPOCHS}, on the NumPy target fewer for slow models]",
)
@batch_option
@optimizer_option
@click.option(
    "--lr",
    type=click.FloatRange(min=0, min_open=True),
    callback=_finite,
    metavar="RATE",
    help="Learning rate; of a schedule, the highest.  [default: by model and optimizer]",
)
@click.option(
    "--schedule",
    type=click.Choice(["constant", "step", "cosine", "one-cycle"]),
    default="one-cycle",
    show_default=True,
    help="Course of the learning rate.",
)
@seed_option
@device_option
@data_option
@click.option(
    "--plot",
    type=click.Path(),
    metavar="FILE",
    help="Draw the curves of loss and error to a .png, .svg or .pdf file.",
)
@debug_option
@click.pass_context
def train(ctx: click.Context, /, **settings: Any) -> None:
    """Train MODEL on labelled images and print a line an epoch.

    Loss and error (the fraction of wrong answers) are those of full passes over all images after the epoch; Epoch
    Time is the training pass alone, in seconds. Ctrl-C stops after the step.

    \b
    Examples:
      graphnn train lenet
      graphnn train pure_linear --epochs 5 --plot curves.png
      graphnn train simple_conv --data fashion_mnist
      graphnn train mnist_cnn --optimizer adam --lr 0.001 --schedule cosine
    """  # noqa: D301  # click reads \b
    from graphnn.cli.training import Settings, run

    if not run(Settings(**settings)):
        ctx.exit(INTERRUPTED)
