"""Arguments and options that several commands share."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

DEBUG = "graphnn.debug"
"""Key under which a context's `meta` keeps whether tracebacks are wanted."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop", "adagrad", "lion", "muon", "hessian-free")
"""What ``--optimizer`` takes."""

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


Check = Callable[[click.Context, click.Parameter, str], str]


def _one_of(kind: str, known: Callable[[], Iterable[str]], hint: str = "") -> Check:
    """Return a check of names, which are asked for only when they are needed: heavy modules know them."""

    def check(_: click.Context, __: click.Parameter, value: str) -> str:
        names = sorted(known())
        if value not in names:
            near = difflib.get_close_matches(value, names, n=1, cutoff=0.7)
            meant = f" Did you mean {near[0]}?" if near else ""
            raise click.BadParameter(f"there is no {kind} {value!r}.{meant} There are: {', '.join(names)}.{hint}")
        return value

    return check


def _models() -> Iterable[str]:
    from graphnn.models import MODELS

    return MODELS


def _devices() -> Iterable[str]:
    from graphnn.compiler.targets.devices import DEVICES

    return DEVICES


def _data_set_or_folder(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    """Return the name of a data set, or the path of a folder that is there."""
    from graphnn.data import DATASETS

    if value not in DATASETS and Path(value).is_dir():
        return value
    return _one_of("data set or folder", lambda: DATASETS)(ctx, parameter, value)


class ModelCommand(click.Command):
    """A command whose help ends with the list of models."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the names of the models and what they are."""
        from graphnn.models import MODELS

        with formatter.section("Models"):
            own = ("SCRIPT.py:FUNCTION", "your own: a function that returns inputs, labels, loss and logits")
            formatter.write_dl([*((name, entry.description) for name, entry in MODELS.items()), own])
        super().format_epilog(ctx, formatter)


def _remember_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta[DEBUG] = True


def debug_option(command: Decorated) -> Decorated:
    """Add ``--debug``, which may stand before or after a command's name."""
    return click.option(
        "--debug", is_flag=True, expose_value=False, callback=_remember_debug, help="Show the traceback of an error."
    )(command)


def is_script(model: str) -> bool:
    """Whether a MODEL is a function of the user's, as in ``path/to/script.py:build``.

    Examples
    --------
    >>> is_script("models.py:build"), is_script("models.py"), is_script("lenet")
    (True, True, False)
    """
    return model.endswith(".py") or ".py:" in model


def _model_or_script(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    return value if is_script(value) else _one_of("model", _models)(ctx, parameter, value)


def model_argument(command: Decorated) -> Decorated:
    """Add the argument MODEL."""
    return click.argument("model", callback=_model_or_script)(command)


def batch_option(command: Decorated) -> Decorated:
    """Add ``--batch``."""
    return click.option(
        "--batch",
        "--batch-size",
        type=click.IntRange(min=1),
        metavar="N",
        help="Images in a step.  [default: 100, of mnist_cnn 16]",
    )(command)


def data_option(command: Decorated) -> Decorated:
    """Add ``--data``."""
    return click.option(
        "--data",
        callback=_data_set_or_folder,
        default="mnist",
        show_default=True,
        metavar="NAME|FOLDER",
        help="mnist, fashion_mnist or cifar10, of which the last two are downloaded once; or a folder with the files "
        "of MNIST or CIFAR-10, or files named and made as those.",
    )(command)


def device_option(command: Decorated) -> Decorated:
    """Add ``--device``."""
    return click.option(
        "--device",
        callback=_one_of("device", _devices, " `graphnn doctor` says what can run here."),
        default="cpu",
        show_default=True,
        metavar="NAME",
        help="Where to run: cpu is the fastest that the processor can do here, numpy is the reference.",
    )(command)


def optimizer_option(command: Decorated) -> Decorated:
    """Add ``--optimizer``."""
    return click.option(
        "--optimizer",
        type=click.Choice(OPTIMIZERS),
        default="sgd",
        show_default=True,
        help="sgd has a momentum of 0.9 unless --momentum says another; muon leaves vectors to adamw.",
    )(command)


def seed_option(command: Decorated) -> Decorated:
    """Add ``--seed``."""
    return click.option(
        "--seed",
        type=click.IntRange(0, 2**32 - 1),
        default=0,
        show_default=True,
        metavar="N",
        help="Of the first weights and of the order of the images.",
    )(command)
