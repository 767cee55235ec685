"""What the terminal shows of a comparison. Text out, nothing decided here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from .differences import DIFFERING, INCOMPLETE, MISSING, SAME, Comparison, LayerComparison, PlaceDifference
from .show import by_reason, labels_text, new_table

if TYPE_CHECKING:
    from rich.console import Console

_STYLES = {SAME: "green", DIFFERING: "red", MISSING: "red", INCOMPLETE: "yellow"}
_PLACES = 8
"""Places of one layer that are listed before the rest is counted."""


def show_comparison(out: Console, found: Comparison) -> None:
    """One line a layer, then each difference, what explains it, and the settings that differ."""
    from rich.markup import escape

    out.print(f"A: [bold]{escape(found.a)}[/] ({found.framework_a})")
    out.print(f"B: [bold]{escape(found.b)}[/] ({found.framework_b})")
    if found.layers:
        _show_layers(out, found)
    for layer in found.layers:
        _show_layer(out, layer)
    _show_settings(out, found)
    for side, uncovered in (("A", found.uncovered_a), ("B", found.uncovered_b)):
        for reason, names in by_reason(uncovered).items():
            out.print(f"[yellow]not compared, of {side}: {escape(', '.join(names))}: {escape(reason)}[/]")
    out.print(f"[{_STYLES[found.verdict]}]{_VERDICTS[found.verdict]}[/]: {_totals(found)}")


_VERDICTS: Mapping[str, str] = {
    SAME: "the same",
    DIFFERING: "different",
    INCOMPLETE: "not all could be compared",
}


def _totals(found: Comparison) -> str:
    compared = sum(layer.elements for layer in found.layers)
    differing = sum(layer.differing for layer in found.layers)
    missing = sum(layer.verdict == MISSING for layer in found.layers)
    words = [f"{differing:,} of {compared:,} values differ" if differing else f"{compared:,} values are the same"]
    if missing:
        words.append(f"{missing} layers are on one side only")
    return ", ".join(words)


def _show_layers(out: Console, found: Comparison) -> None:
    from rich.markup import escape

    rows = new_table(
        "layer of A", "layer of B", "kind", "paired by", "compared", "verdict", "values", "differing", "max |A - B|"
    )
    for layer in found.layers:
        rows.add_row(
            escape(layer.a),
            escape(layer.b),
            layer.kind,
            layer.paired_by,
            _precision(layer),
            f"[{_STYLES[layer.verdict]}]{layer.verdict}[/]",
            f"{layer.elements:,}",
            f"{layer.differing:,}" if layer.differing else "",
            f"{layer.largest:.3g}" if layer.differing else "",
        )
    out.print(rows)


def _show_layer(out: Console, layer: LayerComparison) -> None:
    """What differs in one layer, and why."""
    from rich.markup import escape

    remarks = list(_remarks(layer))
    if layer.verdict == SAME and not remarks:
        return
    if layer.paired_by:
        out.print(f"[bold]{escape(layer.name)}[/]")
    for remark in remarks:
        out.print(f"  {escape(remark)}")
    places = [(role.role, place) for role in layer.roles for place in role.places]
    if places:
        _show_places(out, places[:_PLACES])
    if len(places) > _PLACES:
        out.print(f"  and {len(places) - _PLACES} more places")
    for sentence in layer.diagnosis:
        out.print(f"  [yellow]{escape(sentence)}[/]")


def _precision(layer: LayerComparison) -> str:
    dtypes = dict.fromkeys(dtype for role in layer.roles for dtype in role.precision.split(", ") if dtype)
    return f"to {' and '.join(dtypes)}" if dtypes else "exactly" if layer.roles else ""


def _remarks(layer: LayerComparison) -> Iterator[str]:
    yield from layer.problems
    yield from layer.notes
    if layer.doubt:
        yield layer.doubt
    for role in layer.roles:
        if role.note:
            yield f"{role.role}: {role.note}"
        if role.nan:
            yield f"{role.role}: {role.nan} NaN, in the same places"


def _show_places(out: Console, places: list[tuple[str, PlaceDifference]]) -> None:
    rows = new_table("  parameter", "place", "differing", "max |A - B|", "at", "A", "B")
    last = ""
    for role, place in places:
        rows.add_row(
            f"  {role}" if role != last else "",
            labels_text(place.labels),
            f"{place.differing:,} of {place.elements:,}",
            f"{place.largest:.3g}",
            ", ".join(f"{axis} {index}" for axis, index in zip(place.axes, place.index, strict=True)),
            f"{place.a:.6g}",
            f"{place.b:.6g}",
        )
        last = role
    out.print(rows)


def _show_settings(out: Console, found: Comparison) -> None:
    from rich.markup import escape

    stated = [(layer.name, setting) for layer in found.layers for setting in layer.settings]
    if stated:
        out.print("Settings that differ, which no weights can make up for:")
    for name, setting in stated:
        out.print(f"  {escape(name)}: {escape(str(setting))}")
