"""``graphnn train``: train a model and print a line an epoch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

from graphnn.cli.display import Display
from graphnn.cli.options import (
    ModelCommand,
    batch_option,
    debug_option,
    device_option,
    model_argument,
    optimizer_option,
    seed_option,
)
from graphnn.cli.recipes import EPOCHS, make_optimizer, recipe_for
from graphnn.cli.table import HEADER, table_line

if TYPE_CHECKING:
    from graphnn.cli.program import Program
    from graphnn.data import Dataset
    from graphnn.trainer import EpochRow, Phase, Trainer


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
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False),
    metavar="FOLDER",
    help="Four files named and made as those of MNIST.  [default: MNIST, which comes with graphnn]",
)
@click.option(
    "--plot",
    type=click.Path(),
    metavar="FILE",
    help="Draw the curves of loss and error to a .png, .svg or .pdf file.",
)
@debug_option
@click.pass_context
def train(
    ctx: click.Context,
    model: str,
    epochs: int | None,
    batch: int,
    optimizer: str,
    lr: float | None,
    schedule: str,
    seed: int,
    device: str,
    data: str | None,
    plot: str | None,
) -> None:
    """Train MODEL on MNIST and print a line an epoch.

    Loss and error (the fraction of wrong answers) are those of full passes over all images after the epoch; Epoch
    Time is the training pass alone, in seconds. Ctrl-C stops after the step.

    \b
    Examples:
      graphnn train lenet
      graphnn train pure_linear --epochs 5 --plot curves.png
      graphnn train mnist_cnn --optimizer adam --lr 0.001 --schedule cosine
    """  # noqa: D301  # click reads \b
    from graphnn.cli.program import program_for
    from graphnn.compiler.targets.devices import target_for
    from graphnn.data import mnist
    from graphnn.trainer import Trainer
    from graphnn.viz.curves import plot_history, require_plot

    if plot is not None:
        require_plot(plot)  # before the work, not after it
    dataset = mnist(data)
    program = program_for(model, seed)
    recipe = recipe_for(model)
    target = target_for(device).name
    number = recipe.epochs(target) if epochs is None else epochs
    rate = recipe.rate(optimizer) if lr is None else lr
    steps = number * math.ceil(len(dataset.train_labels) / batch)
    trainer = Trainer(
        program.loss,
        program.logits,
        inputs=program.images,
        labels=program.labels,
        optimizer=make_optimizer(optimizer, schedule, rate, steps),
        batch_size=batch,
        device=device,
        seed=seed,
    )
    plan = trainer.executor.plan
    click.echo(
        f"{model}: {program.parameters:,} parameters; device {device} (target {plan.target}); "
        f"arena {plan.arena_bytes:,} bytes; {plan.flops:,} FLOP a step"
    )
    click.echo(f"{optimizer}, learning rate {rate:g} ({schedule}), batch {batch}, {_epochs(number)}, seed {seed}")
    if epochs is None and number < EPOCHS:
        click.echo(f"only {_epochs(number)}, since this is NumPy; --epochs {EPOCHS} trains as long as compiled targets do")
    interrupted = not _fit(trainer, dataset, number)
    if plot is not None and trainer.history:
        plot_history(trainer.history, plot)
        click.echo(f"curves: {plot}", err=True)
    if interrupted:
        ctx.exit(130)


def _epochs(number: int) -> str:
    return "1 epoch" if number == 1 else f"{number} epochs"


def _fit(trainer: Trainer, dataset: Dataset, epochs: int) -> bool:
    """Train, showing the table as it grows; return False if it was interrupted."""
    with Display() as display:

        def on_epoch(row: EpochRow) -> None:
            display.line(table_line(row))

        def on_batch(phase: Phase, done: int, total: int) -> None:
            display.progress(f"epoch {len(trainer.history) + 1}/{epochs}, {phase}", done, total)

        display.line(HEADER)
        try:
            trainer.fit(
                (dataset.train_images, dataset.train_labels),
                (dataset.test_images, dataset.test_labels),
                epochs,
                on_epoch=on_epoch,
                on_batch=on_batch,
            )
        except KeyboardInterrupt:
            click.echo(f"stopped in epoch {len(trainer.history) + 1} of {epochs}", err=True)
            return False
    return True
