"""What the terminal shows: tables and pictures of reports, checkpoints and layouts. Text out, nothing decided here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from .errors import printable
from .plan import EXACT

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

    from .checkpoint import Checkpoint, Setting
    from .coverage import Coverage
    from .explain import Cell, Explanation, Picture, Step
    from .inspection import BlockInfo, LayerInfo
    from .layouts import Layout
    from .plan import Plan
    from .report import Report

GATE_STYLES = {
    "input": "black on bright_blue",
    "forget": "black on bright_red",
    "candidate": "black on bright_green",
    "output": "black on bright_yellow",
    "update": "black on bright_magenta",
    "reset": "black on bright_cyan",
}
_PLAIN_STYLE = "black on white"


def console() -> Console:
    """Standard output, with colour where it is a terminal. A pipe gets lines as long as they need to be.

    Names in files are shown with what is not printable in them escaped: they could steer the terminal."""
    import sys

    from rich.console import Console

    class Printable(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str("\n".join(map(printable, text.split("\n"))), **options)

    return Printable(width=None if sys.stdout.isatty() else 160, highlight=False, soft_wrap=False)


def show_report(out: Console, report: Report) -> None:
    """A conversion: one line a layer, then what is worth knowing."""
    from rich.markup import escape

    out.print(
        f"[bold]{escape(report.source)}[/] ({report.source_framework}) to [bold]{escape(report.target)}[/] "
        f"({report.target_framework})" + ("" if report.written else ", not written")
    )
    if report.layers:
        table = new_table("layer", "kind", "becomes", "paired by", "verdict", "remarks")
        for layer in report.layers:
            remarks = [*layer.notes, *_folded(layer.folded)]
            verdict = f"[green]{layer.verdict}[/]" if layer.verdict == EXACT else f"[yellow]{layer.verdict}[/]"
            sources, targets = " + ".join(layer.sources), " + ".join(layer.targets)
            table.add_row(
                escape(sources), layer.kind, escape(targets), layer.paired_by, verdict, escape("; ".join(remarks))
            )
        out.print(table)
    _show_settings(out, report)
    for note in report.notes:
        out.print(escape(note))
    for reason, names in by_reason(report.skipped).items():
        out.print(f"{len(names)} tensors skipped: {escape(reason)}")
    for title, listed in (("unused", report.unused), ("unfilled", report.unfilled)):
        if listed:
            out.print(f"{title}, as allowed: {escape(', '.join(listed))}")
    for name, count in report.nan.items():
        out.print(f"[yellow]{escape(name)} has {count} NaN, carried as they are[/]")
    if report.disagreements:
        out.print("Settings that must agree between the two models and do not:")
    for line in report.disagreements:
        out.print(f"[yellow]  {escape(line)}[/]")
    out.print(f"Coverage: {_coverage(report.coverage)}")


def show_plan(out: Console, plan: Plan) -> None:
    """Every move of a plan, by target tensor."""
    from rich.markup import escape

    table = new_table("target tensor", "block", "from", "how")
    for tensor in plan.tensors:
        name = f"{tensor.name} {tensor.dtype}{list(tensor.shape)}"
        for move in tensor.moves:
            sources = " + ".join(("-" if source.sign < 0 else "") + source.tensor for source in move.sources)
            how = _how(move.target.names, move.sources[0].block.names if move.sources else None)
            constant = f"{move.constant:+g}" if move.sources and move.constant else f"{move.constant:g}"
            filled = constant if not move.sources or move.constant else ""
            table.add_row(
                escape(name), escape(move.what), escape(sources or filled), escape(how if sources else "filled")
            )
            name = ""
    out.print(table)


def show_layers(out: Console, checkpoint: Checkpoint, layers: Sequence[LayerInfo]) -> None:
    """A checkpoint: one line a tensor, grouped by layer."""
    from rich.markup import escape

    contents = checkpoint.contents
    out.print(
        f"[bold]{escape(contents.origin)}[/]: {contents.format}, {checkpoint.framework}, "
        f"{len(checkpoint.tensors)} tensors in {len(layers)} layers"
    )
    table = new_table("layer", "kind", "tensor", "role", "axes", "shape", "dtype", "gates")
    for layer in layers:
        name, kind = layer.name or "(root)", " or ".join(layer.kinds)
        for tensor in layer.tensors:
            shape = " x ".join(map(str, tensor.shape)) or "scalar"
            table.add_row(
                escape(name),
                kind,
                escape(tensor.local),
                ", ".join(tensor.roles),
                escape(tensor.axes),
                shape,
                tensor.dtype,
                _gates(tensor.gates),
            )
            name = kind = ""
        if layer.problem:
            table.add_row("", "", f"[red]{escape(layer.problem)}[/]")
    if layers:
        out.print(table)
    for layer in layers:
        stated = [*_stated(layer.settings), *layer.notes]
        if stated:
            out.print(f"  {escape(layer.name)}: {escape(', '.join(stated))}")
    structure = checkpoint.structure
    for reason, names in by_reason(structure.skipped).items():
        out.print(f"{len(names)} tensors skipped: {escape(reason)}")
    for name, reason in structure.unknown.items():
        out.print(f"[yellow]no layer has {escape(name)}: {escape(reason)}[/]")


def show_gates(out: Console, layer: str, blocks: Sequence[BlockInfo]) -> None:
    """One layer, gate by gate."""
    table = new_table("parameter", "block", "stored in", "shape", "mean", "std", "min", "max", "NaN", title=layer)
    last = ""
    for block in blocks:
        numbers = [f"{value:.6g}" for value in (block.mean, block.std, block.minimum, block.maximum)]
        shape = " x ".join(map(str, block.shape)) or "scalar"
        table.add_row(
            block.role if block.role != last else "",
            labels_text(block.labels),
            block.tensor,
            shape,
            *numbers,
            str(block.nan or ""),
        )
        last = block.role
    out.print(table)


def show_layouts(out: Console, layouts: Iterable[Layout]) -> None:
    """One line a layout."""
    table = new_table("layout", "kind", "gate order", "tensors", "verified")
    for layout in layouts:
        names = ", ".join(dict.fromkeys(tensor.name for tensor in layout.tensors))
        table.add_row(layout.name, layout.kind.name, _gates(layout.orders.get("gate", ())), names, layout.verified)
    out.print(table)


def show_layout(out: Console, layout: Layout) -> None:
    """One layout with its tensors."""
    from rich.markup import escape

    out.print(
        f"[bold]{layout.name}[/]: {layout.kind.name} of {escape(layout.title)}, {layout.verified}"
        + (f", {escape(layout.source)}" if layout.source else "")
    )
    if "gate" in layout.orders:
        out.print("gates ", _gates(layout.orders["gate"]), sep="")
    table = new_table("tensor", "role", "axes", "fixed", "only when")
    for tensor in layout.tensors:
        name = tensor.name
        for part in tensor.parts:
            fixed = [*(f"{axis} {label}" for axis, label in part.fixed.items())]
            fixed += [f"{axis} {' '.join(labels)}" for axis, labels in part.partial.items()]
            fixed += [f"{axis} from {first} on" for axis, first in part.first.items()]
            table.add_row(escape(name), part.role, escape(part.axes), ", ".join(fixed), ", ".join(_stated(tensor.when)))
            name = ""
    out.print(table)
    for role, constants in layout.adds.items():
        added = ", ".join(f"{constant:+g} to {gate}" for gate, constant in constants.items())
        out.print(f"added at run time to {role}: {added}")
    if layout.negates:
        out.print(f"written with the opposite sign: {', '.join(sorted(layout.negates))}")
    for name, values in layout.settings.items():
        out.print(f"{name}: only {' or '.join(map(_value, values))}")


def show_explanation(out: Console, explanation: Explanation) -> None:
    """Both layouts of a small layer, element by element, and what happens between them."""
    from rich.table import Table

    source, target = explanation.source.name, explanation.target.name
    out.print(f"[bold]{source}[/] to [bold]{target}[/]")
    for step in explanation.steps:
        out.print(f"\n[bold]{step.role}[/]" + (f": {'; '.join(step.how)}" if step.how else ""))
        grid = Table.grid(padding=(0, 3))
        for ours, theirs in zip_longest(step.sources, step.targets):
            grid.add_row("  ", _drawn(ours), "->" if theirs and ours else "", _drawn(theirs))
            grid.add_row()
        out.print(grid)
    out.print(_legend(explanation.steps))
    for line in explanation.conditions:
        out.print(f"[yellow]only if:[/] {line}")
    for line in explanation.refused:
        out.print(f"[red]refused:[/] {line}")


def _drawn(picture: Picture | None) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    if picture is None:
        return ""
    shape = " x ".join(map(str, picture.shape)) or "scalar"
    rows = [Text.assemble(*((f"{cell.letter} ", _style(cell)) for cell in row)) for row in picture.rows()]
    return Group(Text(picture.name, style="bold"), Text(f"{picture.axes}  ({shape})", style="dim"), *rows)


def _style(cell: Cell) -> str:
    return GATE_STYLES.get(cell.gate, _PLAIN_STYLE)


def _legend(steps: Iterable[Step]) -> Text:
    from rich.text import Text

    cells = {cell for step in steps for picture in (*step.sources, *step.targets) for cell in picture.cells}
    gates = [gate for gate in GATE_STYLES if any(cell.gate == gate for cell in cells)]
    words = [piece for gate in gates for piece in ((f"{gate[0]} ", GATE_STYLES[gate]), f" {gate}  ")]
    if any(cell.side == "recurrent" and cell.gate for cell in cells):
        words.append("capitals: the recurrent side's")
    return Text.assemble(*words)


def _show_settings(out: Console, report: Report) -> None:
    from rich.markup import escape

    stated = [(layer, _stated(layer.settings)) for layer in report.layers if layer.settings]
    if stated:
        out.print("What the weights cannot carry; the target's model has to be built so:")
    for layer, settings in stated:
        out.print(f"  {escape(' + '.join(layer.targets))}: {escape(', '.join(settings))}")


def _stated(settings: Mapping[str, Setting]) -> list[str]:
    return [f"{name} {_value(value)}" for name, value in settings.items()]


def _value(value: Setting) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _coverage(coverage: Coverage) -> str:
    """What became of every tensor, in tensors and in values."""
    carried = f"{coverage.carried.tensors} tensors with {coverage.carried.elements:,} values carried"
    shares = [(coverage.folded, "folded"), (coverage.unused, "unused"), (coverage.unfilled, "unfilled")]
    if coverage.constant.tensors:
        shares.insert(1, (coverage.constant, "filled with a constant"))
    return ", ".join([carried, *(f"{share.tensors} ({share.elements:,}) {what}" for share, what in shares)])


def _folded(blocks: Sequence[str]) -> list[str]:
    return [f"{len(blocks)} blocks summed or shifted: {blocks[0]} ..."] if blocks else []


def _how(target: Sequence[str], source: Sequence[str] | None) -> str:
    if source is None or tuple(source) == tuple(target):
        return "copied"
    return f"turned: {' '.join(source)} to {' '.join(target)}"


def by_reason(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    """The names that each reason stands for."""
    grouped: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        grouped.setdefault(reason, []).append(name)
    return grouped


def _gates(gates: Iterable[str]) -> Text:
    from rich.text import Text

    words = [piece for gate in gates for piece in ((f" {gate} ", GATE_STYLES.get(gate, _PLAIN_STYLE)), " ")]
    return Text.assemble(*words[:-1])


def labels_text(labels: Sequence[str]) -> Text:
    """Labels, each gate in its colour."""
    from rich.text import Text

    words = [piece for label in labels for piece in ((label, GATE_STYLES.get(label, "")), " ")]
    return Text.assemble(*words[:-1])


def new_table(*columns: str, title: str | None = None) -> Table:
    """An empty table with these columns."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
