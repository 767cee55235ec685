"""``weightport map``: how the layers of two models may be paired, as a mapping file to look over and edit."""

from __future__ import annotations

from pathlib import Path

import click

from ._common import print_json, with_json


@click.command(short_help="Propose a mapping file.")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("template", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the file here.")
@click.option("--from", "from_framework", metavar="FRAMEWORK", help="Whose layouts SOURCE follows.")
@click.option("--to", "to_framework", metavar="FRAMEWORK", help="Whose layouts TEMPLATE follows.")
@click.option("--overwrite", is_flag=True, help="Replace an existing FILE.")
@with_json
def map(
    source: Path,
    template: Path,
    *,
    output: Path | None,
    from_framework: str | None,
    to_framework: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Propose which layer of SOURCE goes into which layer of TEMPLATE, as a TOML file for --map.

    Each line says why its two layers are a pair. What could go two ways is marked "?" with its candidates, for you to
    settle; a conversion is refused until it is. The same file works in the other direction.

    \b
    Examples:
      weightport map model.keras handwritten.pt -o names.toml
      weightport convert model.keras trained.pt --into handwritten.pt --map names.toml
    """
    from ..proposal import propose_mapping
    from ..staging import staged

    proposal = propose_mapping(source, template, from_framework=from_framework, to_framework=to_framework)
    if output is not None:
        with staged(output, overwrite=overwrite) as path:
            path.write_text(proposal.to_toml(), encoding="utf-8")
    if as_json:
        print_json(proposal.to_json())
    elif output is None:
        click.echo(proposal.to_toml(), nl=False)
    if not as_json and proposal.unsettled:
        where = output or "the file"
        click.echo(f'weightport: {proposal.unsettled} entries of {where} are "?", for you to settle', err=True)
