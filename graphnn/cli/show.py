"""``graphnn show``: a model's graph as a file."""

from __future__ import annotations

import click

from graphnn.cli.options import (
    ModelCommand,
    batch_option,
    debug_option,
    device_option,
    model_argument,
    optimizer_option,
)


@click.command(cls=ModelCommand)
@model_argument
@click.option("--out", type=click.Path(), required=True, metavar="FILE", help="A .dot file (Graphviz) or a .json file.")
@click.option("--training", is_flag=True, help="With gradients and updates.")
@click.option("--compiled", "as_compiled", is_flag=True, help="As it runs: after the compiler's passes, by groups.")
@batch_option
@optimizer_option
@device_option
@debug_option
def show(
    model: str, out: str, training: bool, as_compiled: bool, batch: int | None, optimizer: str, device: str
) -> None:
    """Write the graph of MODEL to a file.

    \b
    Examples:
      graphnn show lenet --out lenet.dot
      graphnn show lenet --training --compiled --out lenet.json
    """  # noqa: D301  # click reads \b
    from graphnn import viz
    from graphnn.cli.program import batch_for, compiled, program_for, updates_for

    program, size = program_for(model), batch_for(model, batch)
    if as_compiled:
        viz.export(compiled(program, optimizer if training else None, size, device), out)
    else:
        if training:
            updates_for(program, optimizer, size)
        viz.export(program.graph, out)
    click.echo(f"written: {out}", err=True)
