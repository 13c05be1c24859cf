"""``graphnn plan``: what a run will do and take, before any has been made."""

from __future__ import annotations

import json

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
@batch_option
@click.option("--training", is_flag=True, help="The plan of a training step, instead of that of an evaluation.")
@optimizer_option
@device_option
@click.option("--json", "as_data", is_flag=True, help="Print JSON, for other programs.")
@debug_option
def plan(model: str, batch: int | None, training: bool, optimizer: str, device: str, as_data: bool) -> None:
    """Print the plan of MODEL: steps, buffers, bytes and arithmetic.

    \b
    Examples:
      graphnn plan lenet --batch 100 --training
      graphnn plan pure_linear --json
    """  # noqa: D301  # click reads \b
    from graphnn.cli.program import batch_for, compiled, program_for
    from graphnn.compiler.plan.report import as_json

    program = program_for(model)
    made = compiled(program, optimizer if training else None, batch_for(model, batch), device).plan
    click.echo(json.dumps(as_json(made), indent=1, ensure_ascii=False) if as_data else made)
