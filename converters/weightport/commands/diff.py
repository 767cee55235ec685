"""``weightport diff``: two checkpoints compared as mathematics."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ._common import print_json, progress_bar, with_json


@click.command(short_help="Compare two checkpoints as mathematics.")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option(
    "--map", "mapping", type=click.Path(path_type=Path), metavar="FILE", help="Pairs of layer names, as TOML."
)
@click.option("--rtol", type=click.FloatRange(min=0), default=0.0, help="Relative difference that is still the same.")
@click.option("--atol", type=click.FloatRange(min=0), default=0.0, help="Absolute difference that is still the same.")
@click.option("--from-a", metavar="FRAMEWORK", help="Whose layouts A follows.")
@click.option("--from-b", metavar="FRAMEWORK", help="Whose layouts B follows.")
@with_json
def diff(
    a: Path,
    b: Path,
    *,
    mapping: Path | None,
    rtol: float,
    atol: float,
    from_a: str | None,
    from_b: str | None,
    as_json: bool,
) -> None:
    """Compare the weights of A and B, checkpoints of any two frameworks, as mathematics.

    Exit status: 0 the same; 1 different, or something could not be compared; 2 wrong usage.

    \b
    Examples:
      weightport diff model.keras model.safetensors
      weightport diff model.onnx model.pt --map names.toml
      weightport diff model.keras half.safetensors --json
    """
    from ..comparison import diff as run

    with progress_bar(quiet=as_json, task="comparing") as progress:
        found = run(a, b, mapping=mapping, rtol=rtol, atol=atol, from_a=from_a, from_b=from_b, progress=progress)
    if as_json:
        print_json(found.to_json())
    else:
        from ..show import console
        from ..show_diff import show_comparison

        show_comparison(console(), found)
    if not found.same:
        sys.exit(1)
