"""What ``graphnn train`` does once its options are read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import click

from graphnn.cli.display import Display
from graphnn.cli.pace import Pace
from graphnn.cli.program import Program, program_for
from graphnn.cli.recipes import Recipe, make_optimizer, recipe_for
from graphnn.cli.training_data import dataset_for, transform_for
from graphnn.compiler.targets.devices import target_for
from graphnn.data import Dataset
from graphnn.files import require_suffix, require_writable
from graphnn.optim import Optimizer, WeightAverage
from graphnn.trainer import Checkpoints, Log, Phase, Trainer
from graphnn.trainer.history import FORMATS
from graphnn.viz.curves import require_plot

PASSES: tuple[Phase, ...] = ("training", "train figures", "test figures")


@dataclass(frozen=True)
class Settings:
    """The options of the command; None where the model's recipe or an optimizer decides."""

    model: str
    epochs: int | None
    batch: int | None
    activation: str | None
    optimizer: str
    lr: float | None
    schedule: str
    momentum: float | None
    weight_decay: float | None
    clip_norm: float | None
    accumulate: int
    average: float | None
    seed: int
    device: str
    threads: int | None
    data: str
    augment: tuple[str, ...]
    checkpoint: str | None
    checkpoint_every: Mapping[str, float]
    resume: bool
    save: str | None
    history: str | None
    plot: str | None

    @property
    def recipe(self) -> Recipe:
        """What holds where an option says nothing."""
        return recipe_for(self.model, self.activation)

    @property
    def rate(self) -> float:
        """The learning rate."""
        return self.recipe.rate(self.optimizer) if self.lr is None else self.lr

    @property
    def batch_size(self) -> int:
        """Images in a step."""
        return self.batch or self.recipe.batch

    @property
    def number_of_epochs(self) -> int:
        """How many epochs to train: without being told, as many as the device does in reasonable time."""
        if self.epochs is not None:
            return self.epochs
        return self.recipe.epochs(target_for(self.device).name)

    @property
    def checkpoints(self) -> Checkpoints | None:
        """Where and when to write checkpoints."""
        if self.checkpoint is None:
            return None
        steps, seconds = self.checkpoint_every.get("every_steps"), self.checkpoint_every.get("every_seconds")
        return Checkpoints(self.checkpoint, None if steps is None else int(steps), seconds)


def run(settings: Settings) -> bool:
    """Train, with the table on standard output; return False if Ctrl-C ended it."""
    _require_files(settings)
    program = program_for(settings.model, settings.seed, settings.activation)
    dataset = dataset_for(program, settings.data)
    trainer = _trainer(settings, program, dataset)
    finished = _fit(trainer, dataset, settings)
    _write_files(trainer, settings)
    return finished


def _require_files(settings: Settings) -> None:
    """Find out what can't be written: a training is too long to find that out at its end."""
    if settings.checkpoint is None and (settings.resume or settings.checkpoint_every):
        raise click.UsageError("--resume and --checkpoint-every need a folder: --checkpoint FOLDER.")
    if settings.plot is not None:
        require_plot(settings.plot)
    if settings.history is not None:
        require_suffix(settings.history, FORMATS, "the history")
        require_writable(settings.history)
    if settings.save is not None:
        require_suffix(settings.save, (".safetensors",), "weights")
        require_writable(settings.save)


def _write_files(trainer: Trainer, settings: Settings) -> None:
    if settings.save is not None:
        trainer.save(settings.save)
        click.echo(f"weights: {settings.save}", err=True)
    if settings.history is not None:
        trainer.save_history(settings.history)
        click.echo(f"history: {settings.history}", err=True)
    if settings.plot is not None and trainer.history:
        trainer.save_curves(settings.plot)
        click.echo(f"curves: {settings.plot}", err=True)


def _optimizer(settings: Settings, program: Program, images: int) -> Optimizer:
    batches = math.ceil(images / settings.batch_size)
    steps = settings.number_of_epochs * math.ceil(batches / settings.accumulate)
    return make_optimizer(
        settings.optimizer,
        settings.schedule,
        settings.rate,
        max(1, steps),
        program.logits,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        clip_norm=settings.clip_norm,
    )


def _trainer(settings: Settings, program: Program, dataset: Dataset) -> Trainer:
    """Compile the model, and say what is going to happen."""
    trainer = Trainer(
        program.loss,
        program.logits,
        inputs=program.images,
        labels=program.labels,
        optimizer=_optimizer(settings, program, len(dataset.train_labels)),
        batch_size=settings.batch_size,
        accumulate=settings.accumulate,
        average=None if settings.average is None else WeightAverage(settings.average),
        transform=transform_for(settings.augment, program),
        device=settings.device,
        threads=settings.threads,
        seed=settings.seed,
    )
    plan = trainer.executor.plan
    click.echo(
        f"{settings.model}: {program.parameters:,} parameters; device {settings.device}, target {plan.target}; "
        f"arena {plan.arena_bytes:,} bytes; {plan.flops:,} FLOP a step"
    )
    batch = f"{settings.batch_size}" if settings.accumulate == 1 else f"{settings.accumulate} × {settings.batch_size}"
    epochs = settings.number_of_epochs
    click.echo(
        f"{settings.optimizer}, learning rate {settings.rate:g} ({settings.schedule}), batch {batch}, "
        f"{_epochs(epochs)}, seed {settings.seed}"
    )
    usual = settings.recipe.compiled_epochs
    if settings.epochs is None and epochs < usual:
        click.echo(f"only {_epochs(epochs)}, since NumPy is slow at this; for the usual {usual}: --epochs {usual}")
    return trainer


def _epochs(number: int) -> str:
    return "1 epoch" if number == 1 else f"{number} epochs"


def _fit(trainer: Trainer, dataset: Dataset, settings: Settings) -> bool:
    epochs = settings.number_of_epochs
    try:
        with Display() as display:
            pace = Pace(PASSES)

            def on_batch(phase: Phase, done: int, total: int) -> None:
                pace.advance(phase, done, total)
                number = len(trainer.history) + 1
                examples = trainer.batch_size if phase == "training" else trainer.evaluation_batch_size
                what = f"epoch {number}/{epochs}, {phase}"
                display.progress(what, done, total, lambda: pace.note(examples, epochs - number))

            trainer.fit(
                (dataset.train_images, dataset.train_labels),
                (dataset.test_images, dataset.test_labels),
                epochs,
                callbacks=[Log(display.line)],
                on_batch=on_batch,
                checkpoint=settings.checkpoints,
                resume=settings.resume,
            )
    except KeyboardInterrupt:
        click.echo(f"stopped in epoch {len(trainer.history) + 1} of {epochs}", err=True)
        if settings.checkpoint is not None:
            click.echo(f"go on: the same command with --resume (checkpoints in {settings.checkpoint})", err=True)
        return False
    return True
