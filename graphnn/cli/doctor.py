"""``graphnn doctor``: what is installed, which devices and data there are, and what to do."""

from __future__ import annotations

import click

from graphnn.cli.options import debug_option


@click.command()
@debug_option
@click.pass_context
def doctor(ctx: click.Context) -> None:
    """Say what is installed, which devices and data there are, and what to do.

    The exit code is 0 if graphnn works here; extras that are missing do not count.
    """
    from graphnn.cli.examination import Finding, examine

    colors = {"right": "green", "absent": "yellow", "wrong": "red", "known": None}

    def show(finding: Finding) -> None:
        text = click.style(finding.text, fg=colors[finding.state])
        click.echo(f"  {finding.subject:<13} {text}")
        if finding.advice:
            click.echo(f"  {'':<13} → {finding.advice}")

    wrong = []
    for section, findings in examine():
        click.echo(section)
        for finding in findings:
            show(finding)
            if finding.state == "wrong":
                wrong.append(finding.subject)
        click.echo()
    if wrong:
        click.secho(f"graphnn does not work here: see {', '.join(wrong)} above.", fg="red")
        ctx.exit(1)
    click.secho("graphnn works here. Next: graphnn train lenet", fg="green")
