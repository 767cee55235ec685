"""``weightport layouts``: how each framework stores each kind."""

from __future__ import annotations

import click

from ..errors import UsageError
from ._common import print_json, with_json


@click.command(short_help="List or describe layouts.")
@click.argument("name", required=False, metavar="[FRAMEWORK[.KIND]]")
@with_json
def layouts(name: str | None, *, as_json: bool) -> None:
    """List how each framework stores each kind of layer; with FRAMEWORK.KIND, one of them in full.

    \b
    Examples:
      weightport layouts
      weightport layouts torch
      weightport layouts onnx.lstm
    """
    from ..layouts import all_layouts, framework_files, layout_named, layouts_of

    if name and "." in name:
        chosen = [layout_named(name)]
    else:
        chosen = list((layouts_of(name) if name else all_layouts()).values())
        if not chosen:
            raise UsageError(f"no framework {name!r} has layouts; known are {', '.join(framework_files())}")
    if as_json:
        print_json({"layouts": [layout.to_json() for layout in chosen]})
        return
    from ..show import console, show_layout, show_layouts

    if name and "." in name:
        show_layout(console(), chosen[0])
    else:
        show_layouts(console(), chosen)
