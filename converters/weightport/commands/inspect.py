"""``weightport inspect``: what a checkpoint holds."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from ._common import print_json, with_architecture, with_json


@click.command(short_help="Show what a checkpoint holds.")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("layer", required=False)
@click.option("--from", "framework", metavar="FRAMEWORK", help="Whose layouts the file follows.")
@with_architecture
@with_json
def inspect(file: Path, layer: str | None, *, framework: str | None, architecture: Path | None, as_json: bool) -> None:
    """Show the layers of FILE: kinds, shapes, dtypes, roles and gate order. With LAYER, its gates apart.

    \b
    Examples:
      weightport inspect model.keras
      weightport inspect model.keras lstm
      weightport inspect model.pt --json
    """
    from ..inspection import inspect_gates, inspect_layers
    from ..opening import open_checkpoint

    checkpoint = open_checkpoint(file, framework, architecture)
    if layer is not None:
        blocks = inspect_gates(checkpoint, layer)
        if as_json:
            print_json({"layer": layer, "blocks": [asdict(block) for block in blocks]})
            return
        from ..show import console, show_gates

        show_gates(console(), layer, blocks)
        return
    layers = inspect_layers(checkpoint)
    if as_json:
        contents, structure = checkpoint.contents, checkpoint.structure
        facts = {"file": contents.origin, "format": contents.format, "framework": checkpoint.framework}
        listed = {"skipped": dict(structure.skipped), "unknown": dict(structure.unknown)}
        print_json({**facts, "layers": [asdict(info) for info in layers], **listed})
        return
    from ..show import console, show_layers

    show_layers(console(), checkpoint, layers)
