"""The command ``graphnn`` itself: its subcommands, and what becomes of errors."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

import graphnn
from graphnn.cli.doctor import doctor
from graphnn.cli.options import DEBUG, INTERRUPTED, debug_option
from graphnn.cli.plan import plan
from graphnn.cli.show import show
from graphnn.cli.train import train


class CommandLine(click.Group):
    """A group of commands whose known errors are shown without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a GraphError ends it with exit code 1, Ctrl-C with 130."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit):
            raise  # wrong use and --help, which click deals with
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except Exception as error:
            # Not at the top: NumPy comes with it, and help must be quick.
            from graphnn.ops.errors import GraphError

            if not isinstance(error, GraphError) or ctx.meta.get(DEBUG):
                raise
            click.secho(f"error: {_without_our_place(error)}", fg="red", err=True)
            ctx.exit(1)


def _without_our_place(error: Any) -> Any:
    """Return an error without its place if that is the command line or click, which calls it: no user's line."""
    ours = Path(__file__).parent, Path(click.__file__).parent
    if any(error.where.startswith(f"{folder}{os.sep}") for folder in ours):
        error.where = ""
    return error


@click.group(
    cls=CommandLine,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with `graphnn train lenet`; if something is amiss, `graphnn doctor` says what to do.",
)
@click.version_option(graphnn.__version__, prog_name="graphnn")
@debug_option
def main() -> None:
    """Train, plan and draw neural networks: static graphs, compiled before they run."""
    for stream in (sys.stdout, sys.stderr):
        # Plans have characters such as "·" in them; a terminal without them gets a "?", not a traceback.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


for command in (train, plan, show, doctor):
    main.add_command(command)
