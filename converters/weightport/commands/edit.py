"""``weightport edit``: one gate set to a value."""

from __future__ import annotations

from pathlib import Path

import click

from ._common import print_json, with_json


@click.command(short_help="Set one gate's weights to a value.")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--set",
    "assignments",
    multiple=True,
    required=True,
    metavar="'LAYER.ROLE[LABEL]=VALUE'",
    help="Which block becomes which value; may be given several times.",
)
@click.option("--from", "framework", metavar="FRAMEWORK", help="Whose layouts FILE follows.")
@click.option("--overwrite", is_flag=True, help="Replace an existing OUT.")
@with_json
def edit(
    file: Path, out: Path, *, assignments: tuple[str, ...], framework: str | None, overwrite: bool, as_json: bool
) -> None:
    """Write FILE to OUT with blocks of weights set to a value; everything else is carried bit for bit.

    \b
    Examples:
      weightport edit model.keras patient.keras --set 'lstm.bias[forget]=5.0'
      weightport edit model.pt out.pt --set 'rnn.bias[forget, layer 0]=1' --set 'rnn.bias[forget, layer 1]=1'
    """
    from ..editing import edit as run

    done = run(file, out, assignments, from_framework=framework, overwrite=overwrite)
    if as_json:
        print_json({"file": str(file), "out": str(out), "set": done})
        return
    for line in done:
        click.echo(line)
