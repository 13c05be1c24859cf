"""The command ``graphnn`` itself: its subcommands, and what becomes of errors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

import graphnn
from graphnn.cli.doctor import doctor
from graphnn.cli.options import DEBUG, debug_option
from graphnn.cli.plan import plan
from graphnn.cli.show import show
from graphnn.cli.train import train

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


class CommandLine(click.Group):
    """A group of commands whose known errors are shown without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a GraphError ends it with exit code 1, Ctrl-C with 130."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except Exception as error:
            # Not at the top: NumPy comes with it, and help must be quick.
            from graphnn.ops.errors import GraphError

            if not isinstance(error, GraphError) or ctx.meta.get(DEBUG):
                raise
            click.secho(f"error: {_without_click(error)}", fg="red", err=True)
            ctx.exit(1)


def _without_click(error: Any) -> Any:
    """Return an error without its place if that is click, which calls the commands: no one wrote that line."""
    if error.where.startswith(str(Path(click.__file__).parent)):
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
