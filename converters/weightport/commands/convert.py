"""``weightport convert``: checkpoint in, checkpoint out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ._common import print_json, progress_bar, with_architecture, with_json

if TYPE_CHECKING:
    from ..parity.result import Parity
    from ..report import Report


@click.command(short_help="Convert a checkpoint.")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--into", type=click.Path(path_type=Path), metavar="TEMPLATE", help="A file with the target's structure.")
@click.option(
    "--map", "mapping", type=click.Path(path_type=Path), metavar="FILE", help="Pairs of layer names, as TOML."
)
@click.option("--from", "from_framework", metavar="FRAMEWORK", help="Whose layouts the source follows.")
@click.option("--to", "to_framework", metavar="FRAMEWORK", help="Whose layouts the target follows.")
@with_architecture
@click.option("--dtype", help="What floating-point tensors become (float16, bfloat16, float32 ...).")
@click.option("--shard-size", metavar="SIZE", help="The most of a shard (5GB), for a target named like an index.")
@click.option("--allow", multiple=True, metavar="SETTING", help="Carry weights that need a setting the target lacks.")
@click.option("--allow-unused", multiple=True, metavar="GLOB", help="Source tensors that may stay behind.")
@click.option("--allow-missing", multiple=True, metavar="GLOB", help="Target tensors that may keep their values.")
@click.option("--dry-run", is_flag=True, help="Print the plan and write nothing.")
@click.option("--opset", type=int, metavar="N", help="The version of ONNX' operators in a model that is built.")
@click.option("--channels-last", is_flag=True, help="Keep the channels last inside PyTorch source, too, as in Keras.")
@click.option("--verify", is_flag=True, help="Run both models on the same inputs, where they can run, and compare.")
@click.option("--overwrite", is_flag=True, help="Replace an existing target.")
@with_json
def convert(source: Path, target: Path, *, as_json: bool, dry_run: bool, verify: bool, **options: Any) -> None:
    """Convert the checkpoint SOURCE into TARGET, whose suffix says its format.

    \b
    .keras .weights.h5 .h5           Keras      (needs --into, unless the source is Keras)
    .pt .pth .safetensors            PyTorch
    .safetensors.index.json          PyTorch, in shards (--shard-size)
    .py                              PyTorch source, and its weights beside it (from a Keras model)
    .onnx                            ONNX       (a whole model from a Keras one; needs --into for weights of others)
    .npz .msgpack                    any framework that --to names: flax, mlx, haiku ...

    \b
    Examples:
      weightport convert model.keras model.safetensors
      weightport convert model.keras model.onnx --verify
      weightport convert model.onnx model.pt
      weightport convert old.h5 new.keras                      (Keras 1 or 2 to Keras 3)
      weightport convert weights.h5 new.keras --architecture model.json
      weightport convert model.pt trained.keras --into untrained.keras
      weightport convert model.keras model.msgpack --to flax
      weightport convert model.keras model.safetensors --dry-run
    """
    from ..conversion import convert as run

    if verify and dry_run:
        raise UsageError("a dry run writes nothing that could be verified; leave out --dry-run or --verify")
    with progress_bar(quiet=as_json or dry_run) as progress:
        tried = _tried(source, target, options) if verify else None
        if tried is None or tried[1].passed:
            report = run(source, target, dry_run=dry_run, progress=progress, **options)
        else:
            report = tried[0]
    parity = tried[1] if tried else None
    if as_json:
        more = {"plan": report.plan.to_json()} if dry_run else {"parity": parity.to_json()} if parity else {}
        print_json({**report.to_json(), **more})
    else:
        _show(report, parity, dry_run=dry_run)
    sys.exit(0 if parity is None or parity.passed else 1)


def _tried(source: Path, target: Path, options: Mapping[str, Any]) -> tuple[Report, Parity]:
    """A conversion into a folder of its own, and how its result compares: what computes something else never becomes
    the target. Outputs are compared and not layers, since one layer may become several nodes."""
    from ..conversion import convert as run
    from ..parity.verification import verify
    from ..staging import refuse_existing

    refuse_existing(target, overwrite=options["overwrite"])
    with TemporaryDirectory(prefix="weightport-") as folder:
        trial = Path(folder) / target.name
        report = run(source, trial, **options)
        frameworks = {"from_a": options["from_framework"], "from_b": options["to_framework"]}
        parity = verify(source, trial, layers=False, allow=("*",), **frameworks)
        return replace(report, target=str(target), written=False), replace(parity, other=str(target))


def _show(report: Report, parity: Parity | None, *, dry_run: bool) -> None:
    from ..show import console, show_plan, show_report

    if dry_run:
        show_plan(console(), report.plan)
    show_report(console(), report)
    if parity is not None:
        from ..parity.terminal import show_parity

        show_parity(console(), parity)
