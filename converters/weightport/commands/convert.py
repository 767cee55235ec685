"""``weightport convert``: checkpoint in, checkpoint out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ._common import print_json, progress_bar, with_json


@click.command(short_help="Convert a checkpoint.")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--into", type=click.Path(path_type=Path), metavar="TEMPLATE", help="A file with the target's structure.")
@click.option(
    "--map", "mapping", type=click.Path(path_type=Path), metavar="FILE", help="Pairs of layer names, as TOML."
)
@click.option("--from", "from_framework", metavar="FRAMEWORK", help="Whose layouts the source follows.")
@click.option("--to", "to_framework", metavar="FRAMEWORK", help="Whose layouts the target follows.")
@click.option("--dtype", help="What floating-point tensors become (float16, bfloat16, float32 ...).")
@click.option("--shard-size", metavar="SIZE", help="The most of a shard (5GB), for a target named like an index.")
@click.option("--allow", multiple=True, metavar="SETTING", help="Carry weights that need a setting the target lacks.")
@click.option("--allow-unused", multiple=True, metavar="GLOB", help="Source tensors that may stay behind.")
@click.option("--allow-missing", multiple=True, metavar="GLOB", help="Target tensors that may keep their values.")
@click.option("--dry-run", is_flag=True, help="Print the plan and write nothing.")
@click.option("--overwrite", is_flag=True, help="Replace an existing target.")
@with_json
def convert(source: Path, target: Path, *, as_json: bool, dry_run: bool, **options: Any) -> None:
    """Convert the checkpoint SOURCE into TARGET, whose suffix says its format.

    \b
    .keras .weights.h5 .h5           Keras      (needs --into, unless the source is Keras)
    .pt .pth .safetensors            PyTorch
    .safetensors.index.json          PyTorch, in shards (--shard-size)
    .onnx                            ONNX       (needs --into)

    \b
    Examples:
      weightport convert model.keras model.safetensors
      weightport convert model.onnx model.pt
      weightport convert old.h5 new.keras                      (Keras 1 or 2 to Keras 3)
      weightport convert model.pt trained.keras --into untrained.keras
      weightport convert model.keras model.safetensors --dry-run
    """
    from ..conversion import convert as run

    with progress_bar(quiet=as_json or dry_run) as progress:
        report = run(source, target, dry_run=dry_run, progress=progress, **options)
    if as_json:
        print_json({**report.to_json(), **({"plan": report.plan.to_json()} if dry_run else {})})
        return
    from ..show import console, show_plan, show_report

    if dry_run:
        show_plan(console(), report.plan)
    show_report(console(), report)
