"""A comparison of two models on the terminal: the verdict, the outputs, the layers, the causes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .measure import Difference
from .result import AGREES, DIFFERS, UNREACHED, LayerParity, Parity

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_STYLES = {AGREES: "green", DIFFERS: "bold red", UNREACHED: "dim"}


def show_parity(out: Console, parity: Parity) -> None:
    """The verdict first, then what it rests on."""
    from rich.markup import escape

    for side, name, framework in zip("AB", (parity.one, parity.other), parity.frameworks, strict=True):
        out.print(f"{side}: [bold]{escape(name)}[/] ({framework})")
    out.print(f"[{'bold green' if parity.passed else 'bold red'}]{escape(parity.summary)}[/]")
    for depth in parity.depths:
        reason = f": {escape(depth.reason)}" if depth.reason else ""
        out.print(f"  {depth.name}: [{_STYLES[depth.verdict]}]{depth.verdict}[/]{reason}")
    for name, order in parity.inputs.items():
        out.print(f"  {escape(name)} is turned for B: {order}")
    if parity.outputs:
        out.print(_outputs(parity))
    if parity.layers:
        out.print(_layers(parity))
    if parity.tolerance:
        out.print(f"tolerance: {escape(parity.tolerance)}; inputs: {escape(' | '.join(parity.cases))}")
    for number, cause in enumerate(parity.causes, 1):
        out.print(f"[bold]{number}.[/] {escape(cause)}")


def _outputs(parity: Parity) -> Table:
    from rich.markup import escape

    table = _table("output", "max |Δ|", "mean |Δ|", "tolerance", "relative", "ULPs", "cosine", "worst at", "case", "")
    for output in parity.outputs:
        difference = output.difference
        table.add_row(
            escape(output.name if output.name == output.other else f"{output.name} / {output.other}"),
            *_numbers(difference),
            escape(output.case),
            _verdict(difference.agrees),
        )
    return table


def _layers(parity: Parity) -> Table:
    from rich.markup import escape

    table = _table("layer", "kind", "weights", "max |Δ|", "tolerance", "worst at", "by", "", "remarks")
    for layer in parity.layers:
        is_first = parity.first in (layer.name, layer.other) and layer.verdict == DIFFERS
        remarks = [*(["first that diverges"] if is_first else []), *_settings(layer), *layer.remarks]
        row = [escape(layer.shown_name), layer.kind, layer.weights, *_layer_numbers(layer)]
        table.add_row(*row, f"[{_STYLES[layer.verdict]}]{layer.verdict}[/]", escape("; ".join(remarks)))
    return table


def _settings(layer: LayerParity) -> list[str]:
    """What differs, without the advice: the causes give it where it matters."""
    return [setting.partition(": ")[0] for setting in layer.settings]


def _layer_numbers(layer: LayerParity) -> list[str]:
    difference = layer.measured
    if difference is None:
        return ["", "", "", ""]
    how = "its run" if layer.difference is not None else "reference"
    if difference.problem:
        return [difference.problem, "", "", how]
    return [f"{difference.maximum:.1e}", f"{difference.tolerance:.1e}", _place(difference), how]


def _numbers(difference: Difference) -> list[str]:
    if difference.problem:
        return [difference.problem, "", "", "", "", "", ""]
    return [
        f"{difference.maximum:.1e}",
        f"{difference.mean:.1e}",
        f"{difference.tolerance:.1e}",
        f"{difference.relative:.1e}",
        f"{difference.ulps:.1f}",
        f"{difference.cosine:.9f}",
        _place(difference),
    ]


def _place(difference: Difference) -> str:
    return "\\[" + ", ".join(map(str, difference.place)) + "]"


def _verdict(agrees: bool) -> str:
    return f"[{_STYLES[AGREES]}]{AGREES}[/]" if agrees else f"[{_STYLES[DIFFERS]}]{DIFFERS}[/]"


def _table(*columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
