"""``graphnn train``: train a model and print a line an epoch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import click

from graphnn.cli.options import (
    INTERRUPTED,
    Decorated,
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

AUGMENTATIONS = ("crop", "flip", "cutout")
"""What ``--augment`` takes."""

_EVERY = re.compile(r"(?P<count>\d+(\.\d+)?)(?P<unit>|s|min|h)")
_SECONDS = {"s": 1, "min": 60, "h": 3600}


def _finite(_: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        what = "learning rate" if parameter.name == "lr" else "number to compute with"
        raise click.BadParameter(f"{value} is no {what}.")
    return value


def _every(_: click.Context, __: click.Parameter, value: str | None) -> dict[str, float]:
    """Return when to write checkpoints, as options of `graphnn.trainer.Checkpoints`."""
    if value is None:
        return {}
    match = _EVERY.fullmatch(value)
    count = float(match["count"]) if match else 0.0
    if match and match["unit"] and count:
        return {"every_seconds": count * _SECONDS[match["unit"]]}
    if match and count and count.is_integer():
        return {"every_steps": int(count)}
    raise click.BadParameter(f"{value!r} is neither a number of steps, such as 500, nor a time, such as 30s or 5min.")


def _augmentations(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...]:
    names = tuple(value.split(",")) if value else ()
    for name in names:
        if name not in AUGMENTATIONS:
            raise click.BadParameter(f"there is no {name!r}. There are: {', '.join(AUGMENTATIONS)}.")
    return names


def _number(name: str, text: str, least: float = 0.0, *, above: bool = True) -> Any:
    kind = click.FloatRange(min=least, min_open=above)
    return click.option(name, type=kind, callback=_finite, metavar="NUMBER", help=text)


_OPTIMISATION = (
    click.option(
        "--lr",
        type=click.FloatRange(min=0, min_open=True),
        callback=_finite,
        metavar="RATE",
        help="Learning rate; of a schedule, the highest.  [default: by model and optimizer]",
    ),
    click.option(
        "--schedule",
        type=click.Choice(["constant", "step", "cosine", "one-cycle"]),
        default="one-cycle",
        show_default=True,
        help="Course of the learning rate.",
    ),
    _number("--momentum", "Share of the previous direction that is kept, of sgd, rmsprop and muon.", above=False),
    _number("--weight-decay", "How much weights are pulled to zero.  [default: by optimizer]", above=False),
    _number("--clip-norm", "What the norm of all gradients together may be at most."),
    click.option(
        "--accumulate",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        metavar="K",
        help="Batches from one update to the next: as one that is K times as large.",
    ),
    click.option(
        "--average",
        type=click.FloatRange(0, 1, max_open=True),
        metavar="DECAY",
        help="Measure and save moving averages of the weights; 0.999 is common.",
    ),
)

_DATA = (
    data_option,
    click.option(
        "--augment",
        callback=_augmentations,
        metavar="NAME,…",
        help="Change training images at random: crop (shifted by up to an eighth of the height), flip (left and "
        "right), cutout (without a square of a quarter of the height).",
    ),
)

_FILES = (
    click.option("--checkpoint", type=click.Path(), metavar="FOLDER", help="Write checkpoints there, an epoch each."),
    click.option(
        "--checkpoint-every",
        callback=_every,
        metavar="N|TIME",
        help="Also after so many steps (500), or so much time (30s, 5min, 1h).",
    ),
    click.option("--resume", is_flag=True, help="Go on from the newest checkpoint in the folder, if there is one."),
    click.option("--save", type=click.Path(), metavar="FILE", help="Write the weights to a .safetensors file."),
    click.option("--history", type=click.Path(), metavar="FILE", help="Write the table to a .csv or .json file."),
    click.option(
        "--plot",
        "--curves",
        type=click.Path(),
        metavar="FILE",
        help="Draw the curves of loss and error to a .png, .svg or .pdf file.",
    ),
)


def _all(*options: Callable[[Decorated], Decorated]) -> Callable[[Decorated], Decorated]:
    """Return a decorator that adds options, shown in this order."""

    def decorate(command: Decorated) -> Decorated:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@click.command(cls=ModelCommand)
@model_argument
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Times to go through all images.  [default: {EPOCHS}, of mnist_cnn 10; fewer on the NumPy target]",
)
@batch_option
@click.option(
    "--activation",
    type=click.Choice(["relu", "sigmoid", "tanh"]),
    help="What follows the layers of mnist_cnn; other models have no choice.  [default: relu]",
)
@optimizer_option
@_all(*_OPTIMISATION)
@seed_option
@device_option
@click.option(
    "--threads", type=click.IntRange(min=1), metavar="N", help="Threads of compiled code.  [default: one for each core]"
)
@_all(*_DATA, *_FILES)
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
      graphnn train simple_conv --data fashion_mnist --augment crop,flip
      graphnn train mnist_cnn --optimizer adam --lr 0.001 --schedule cosine
      graphnn train lenet --checkpoint checkpoints --resume --save lenet.safetensors
    """  # noqa: D301  # click reads \b
    from graphnn.cli.training import Settings, run

    if not run(Settings(**settings)):
        ctx.exit(INTERRUPTED)
