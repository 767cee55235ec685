"""``weightport explain``: how one layout becomes another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..errors import UsageError
from ._common import print_json, with_json


@click.command(short_help="Show how one layout becomes another.")
@click.argument("source", metavar="SOURCE.KIND")
@click.argument("target", metavar="TARGET.KIND")
@click.option("--with", "settings", multiple=True, metavar="SETTING=VALUE", help="Of a layer that has this setting.")
@click.option("--svg", type=click.Path(path_type=Path), metavar="FILE", help="Draw it into an SVG file, too.")
@click.option("--overwrite", is_flag=True, help="Replace an existing FILE.")
@with_json
def explain(
    source: str, target: str, *, settings: tuple[str, ...], svg: Path | None, overwrite: bool, as_json: bool
) -> None:
    """Show how SOURCE becomes TARGET on a small layer: blocks, order, transposition, what folds, what is refused.

    \b
    Examples:
      weightport explain keras.lstm torch.lstm
      weightport explain keras.gru torch.gru --with reset=before
      weightport explain keras.lstm onnx.lstm --svg lstm.svg
    """
    from ..explain import explain as run

    explanation = run(source, target, **dict(map(_setting, settings)))
    if svg is not None:
        from ..picture import explanation_svg
        from ..staging import staged

        with staged(svg, overwrite=overwrite) as path:
            path.write_text(explanation_svg(explanation), encoding="utf-8")
    if as_json:
        print_json(explanation.to_json())
        return
    from ..show import console, show_explanation

    show_explanation(console(), explanation)


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--with {text!r}: write SETTING=VALUE, as in reset=before")
    return name.strip(), {"true": True, "false": False}.get(value.strip(), value.strip())
