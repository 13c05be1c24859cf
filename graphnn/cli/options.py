"""Arguments and options that several commands share."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

DEBUG = "graphnn.debug"
"""Key under which a context's `meta` keeps whether tracebacks are wanted."""

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Known(click.ParamType):
    """One of several names, which are asked for only when they are needed: the modules that know them are heavy."""

    def __init__(self, name: str, known: Callable[[], Iterable[str]], hint: str = "") -> None:
        self.name = name
        self._known = known
        self._hint = hint

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name, or fail with the one that was perhaps meant, and with all of them."""
        known = sorted(self._known())
        if value in known:
            return str(value)
        near = difflib.get_close_matches(str(value), known, n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        self.fail(f"there is no {self.name} {value!r}.{meant} There are: {', '.join(known)}.{self._hint}", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the names that begin like this."""
        return [CompletionItem(name) for name in sorted(self._known()) if name.startswith(incomplete)]


def _models() -> Iterable[str]:
    from graphnn.models import MODELS

    return MODELS


def _devices() -> Iterable[str]:
    from graphnn.compiler.targets.devices import DEVICES

    return DEVICES


class ModelCommand(click.Command):
    """A command whose help ends with the list of models."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the names of the models and what they are."""
        from graphnn.models import MODELS

        with formatter.section("Models"):
            formatter.write_dl([(name, entry.description) for name, entry in MODELS.items()])
        super().format_epilog(ctx, formatter)


def _remember_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta[DEBUG] = True


def debug_option(command: Decorated) -> Decorated:
    """Add ``--debug``, which may stand before or after a command's name."""
    return click.option(
        "--debug", is_flag=True, expose_value=False, callback=_remember_debug, help="Show the traceback of an error."
    )(command)


def model_argument(command: Decorated) -> Decorated:
    """Add the argument MODEL."""
    return click.argument("model", type=Known("model", _models))(command)


def batch_option(command: Decorated) -> Decorated:
    """Add ``--batch``."""
    return click.option(
        "--batch", type=click.IntRange(min=1), default=100, show_default=True, metavar="N", help="Images in a step."
    )(command)


def device_option(command: Decorated) -> Decorated:
    """Add ``--device``."""
    return click.option(
        "--device",
        type=Known("device", _devices, " `graphnn doctor` says what can run here."),
        default="cpu",
        show_default=True,
        metavar="NAME",
        help="Where to run: cpu is the fastest that the processor can do here, numpy is the reference.",
    )(command)


def optimizer_option(command: Decorated) -> Decorated:
    """Add ``--optimizer``."""
    return click.option(
        "--optimizer",
        type=click.Choice(["sgd", "adam"]),
        default="sgd",
        show_default=True,
        help="sgd has a momentum of 0.9.",
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
