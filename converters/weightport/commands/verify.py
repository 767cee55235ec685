"""``weightport verify``: do two models compute the same?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ._common import print_json, with_json


@click.command(short_help="Check that two models compute the same.")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--inputs", type=click.Path(path_type=Path), metavar="FILE.npz", help="What both models are run on.")
@click.option(
    "--model", "factory", metavar="MODULE:FACTORY", help="Makes the module that runs a PyTorch file's weights."
)
@click.option("--map", "mapping", type=click.Path(path_type=Path), metavar="FILE", help="Pairs of layer names, TOML.")
@click.option("--from-a", metavar="FRAMEWORK", help="Whose layouts A follows.")
@click.option("--from-b", metavar="FRAMEWORK", help="Whose layouts B follows.")
@click.option("--rtol", type=float, help="Allow this much of the largest value; by default what rounding can do.")
@click.option("--atol", type=float, help="Allow this much.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the first random inputs.")
@click.option("--allow", multiple=True, metavar="GLOB", help="Layers that may be missing or hold other weights.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write the result as a page, too.")
@click.option("--overwrite", is_flag=True, help="Replace an existing page.")
@click.option("--no-layers", is_flag=True, help="Compare the outputs only.")
@with_json
def verify(
    a: Path,
    b: Path,
    *,
    inputs: Path | None,
    factory: str | None,
    html: Path | None,
    overwrite: bool,
    no_layers: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Run the models A and B on the same inputs and compare every output and layer. Exit status 1 where they differ.

    A Keras file runs in Keras, an ONNX file in ONNX Runtime, where they are installed. A PyTorch file has no code:
    --model names the module's class or a function that makes it. A .py is a program of yours, and is run: its
    load() gives the module.

    \b
    Examples:
      weightport verify model.keras model.onnx
      weightport verify model.keras model.py
      weightport verify model.keras model.safetensors --model mymodels:Twin
      weightport verify model.onnx model.pt --model mymodels:Twin --inputs batch.npz --json
      weightport verify model.keras model.onnx --html parity.html
    """
    from ..parity.factories import model_with_weights
    from ..parity.verification import verify as run
    from ..staging import refuse_existing, staged

    one, other = (_model(path, factory, model_with_weights) for path in (a, b))
    if html is not None:
        refuse_existing(html, overwrite=overwrite)
    parity = run(one, other, inputs, layers=not no_layers, **options)
    if html is not None:
        from ..parity.page import parity_page

        with staged(html, overwrite=overwrite) as path:
            path.write_text(parity_page(parity), encoding="utf-8")
    if as_json:
        print_json(parity.to_json())
    else:
        from ..parity.terminal import show_parity
        from ..show import console

        show_parity(console(), parity)
    sys.exit(0 if parity.passed else 1)


def _model(path: Path, factory: str | None, make: Any) -> Any:
    """The path itself, or the module that the factory makes for a file of weights without code."""
    from ..formats import format_of_file
    from ..parity.factories import is_source

    weights = factory and not is_source(path) and format_of_file(path).FRAMEWORK == "torch"
    return make(factory, path) if weights else path
