"""What ``graphnn train`` does once its options are read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import click

from graphnn.cli.display import Display
from graphnn.cli.program import Program, program_for
from graphnn.cli.recipes import EPOCHS, make_optimizer, recipe_for
from graphnn.cli.table import HEADER, table_line
from graphnn.compiler.targets.devices import target_for
from graphnn.data import DATASETS, DataError, Dataset, load_dataset
from graphnn.trainer import EpochRow, Phase, Trainer
from graphnn.viz.curves import plot_history, require_plot


@dataclass(frozen=True)
class Settings:
    """The options of the command; None where the model's recipe decides."""

    model: str
    epochs: int | None
    batch: int
    optimizer: str
    lr: float | None
    schedule: str
    seed: int
    device: str
    data: str
    plot: str | None

    @property
    def rate(self) -> float:
        """The learning rate."""
        return recipe_for(self.model).rate(self.optimizer) if self.lr is None else self.lr

    @property
    def number_of_epochs(self) -> int:
        """How many epochs to train: without being told, as many as the device does in reasonable time."""
        if self.epochs is not None:
            return self.epochs
        return recipe_for(self.model).epochs(target_for(self.device).name)


def run(settings: Settings) -> bool:
    """Train, with the table on standard output; return False if Ctrl-C ended it."""
    if settings.plot is not None:
        require_plot(settings.plot)  # a training is too long to find that out at its end
    program = program_for(settings.model, settings.seed)
    dataset = _dataset_for(program, settings.data)
    trainer = _trainer(settings, program, len(dataset.train_labels))
    finished = _fit(trainer, dataset, settings.number_of_epochs)
    if settings.plot is not None and trainer.history:
        plot_history(trainer.history, settings.plot)
        click.echo(f"curves: {settings.plot}", err=True)
    return finished


def _dataset_for(program: Program, source: str) -> Dataset:
    """Return a data set whose images the model takes; one that it can't take is not downloaded first."""
    if source in DATASETS:
        _require_images(program, source, DATASETS[source].image_shape)
    dataset = load_dataset(source)
    _require_images(program, source, dataset.train_images.shape[1:])
    return dataset


def _require_images(program: Program, source: str, shape: tuple[int, ...]) -> None:
    if shape == program.images.shape[1:]:
        return
    fitting = [name for name, entry in DATASETS.items() if entry.image_shape == program.images.shape[1:]]
    raise DataError(
        f"{program.model} can't be trained on {source}: its images have another shape",
        expected=f"{program.images.shape[1:]} (channels, height, width)",
        actual=str(shape),
        hint="choose another model" + (f", or other data: --data {' or '.join(fitting)}" if fitting else ""),
    )


def _trainer(settings: Settings, program: Program, images: int) -> Trainer:
    """Compile the model, and say what is going to happen."""
    epochs = settings.number_of_epochs
    steps = epochs * max(1, math.ceil(images / settings.batch))
    trainer = Trainer(
        program.loss,
        program.logits,
        inputs=program.images,
        labels=program.labels,
        optimizer=make_optimizer(settings.optimizer, settings.schedule, settings.rate, steps),
        batch_size=settings.batch,
        device=settings.device,
        seed=settings.seed,
    )
    plan = trainer.executor.plan
    click.echo(
        f"{settings.model}: {program.parameters:,} parameters; device {settings.device}, target {plan.target}; "
        f"arena {plan.arena_bytes:,} bytes; {plan.flops:,} FLOP a step"
    )
    click.echo(
        f"{settings.optimizer}, learning rate {settings.rate:g} ({settings.schedule}), batch {settings.batch}, "
        f"{_epochs(epochs)}, seed {settings.seed}"
    )
    if settings.epochs is None and epochs < EPOCHS:
        click.echo(f"only {_epochs(epochs)}, since NumPy is slow at this; for the usual {EPOCHS}: --epochs {EPOCHS}")
    return trainer


def _epochs(number: int) -> str:
    return "1 epoch" if number == 1 else f"{number} epochs"


def _fit(trainer: Trainer, dataset: Dataset, epochs: int) -> bool:
    try:
        with Display() as display:
            display.line(HEADER)

            def on_epoch(row: EpochRow) -> None:
                display.line(table_line(row))

            def on_batch(phase: Phase, done: int, total: int) -> None:
                display.progress(f"epoch {len(trainer.history) + 1}/{epochs}, {phase}", done, total)

            train = dataset.train_images, dataset.train_labels
            test = dataset.test_images, dataset.test_labels
            trainer.fit(train, test, epochs, on_epoch=on_epoch, on_batch=on_batch)
    except KeyboardInterrupt:
        click.echo(f"stopped in epoch {len(trainer.history) + 1} of {epochs}", err=True)
        return False
    return True
