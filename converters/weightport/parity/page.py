"""A comparison of two models as one page of HTML that needs nothing else: no script, no network, light and dark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from .measure import Difference
from .page_style import STYLE
from .result import DIFFERS, HeatMap, LayerParity, Parity

_LABELS = {"agrees": "agrees", "differs": "differs", "not reached": "not reached"}
_CELL = 14


def parity_page(parity: Parity) -> str:
    """The whole page."""
    title = f"{parity.one} and {parity.other}: {'the same' if parity.passed else 'different'}"
    sections = [
        _verdict(parity),
        *_causes(parity),
        _outputs(parity),
        _layers(parity),
        *_settings(parity),
        *_heat(parity),
    ]
    body = "\n".join(section for section in sections if section)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _verdict(parity: Parity) -> str:
    sides = "".join(
        f"<div><dt>{side}</dt><dd><code>{escape(name)}</code> <span>{escape(framework)}</span></dd></div>"
        for side, name, framework in zip("AB", (parity.one, parity.other), parity.frameworks, strict=True)
    )
    depths = "".join(
        f"<li><b>{depth.name}</b> {_badge(depth.verdict)} <span>{escape(depth.reason)}</span></li>"
        for depth in parity.depths
    )
    kind = "pass" if parity.passed else "fail"
    return (
        f'<header class="{kind}"><p class="eyebrow">weightport parity</p>'
        f'<h1 id="verdict">{escape(parity.summary)}</h1><dl>{sides}</dl><ul class="depths">{depths}</ul></header>'
    )


def _causes(parity: Parity) -> Iterator[str]:
    if parity.causes:
        listed = "".join(f"<li>{escape(cause)}</li>" for cause in parity.causes)
        yield f'<section id="causes"><h2>Why</h2><ol>{listed}</ol></section>'


def _outputs(parity: Parity) -> str:
    if not parity.outputs:
        return ""
    rows = []
    for output in parity.outputs:
        name = output.name if output.name == output.other else f"{output.name} / {output.other}"
        numbers = _numbers(output.difference)
        rows.append(
            _row([f"<code>{escape(name)}</code>", *numbers, escape(output.case), _agreement(output.difference)])
        )
    head = ("output", "max |Δ|", "mean |Δ|", "tolerance", "relative", "ULPs", "cosine", "worst at", "in the case", "")
    turned = "".join(
        f"<li>{escape(name)} is turned for B: {escape(order)}</li>" for name, order in parity.inputs.items()
    )
    notes = f"<li>Tolerance: {escape(parity.tolerance)}</li><li>Inputs: {escape(' | '.join(parity.cases))}</li>{turned}"
    return f'<section id="outputs"><h2>Outputs</h2>{_table(head, rows)}<ul class="notes">{notes}</ul></section>'


def _numbers(difference: Difference) -> list[str]:
    if difference.problem:
        return [escape(difference.problem), *[""] * 6]
    return [
        _number(difference.maximum),
        _number(difference.mean),
        _number(difference.tolerance),
        _number(difference.relative),
        f"{difference.ulps:.1f}",
        f"{difference.cosine:.9f}",
        escape(str(list(difference.place))),
    ]


def _layers(parity: Parity) -> str:
    if not parity.layers:
        return ""
    scale = _Scale.of(parity.layers)
    rows = [_layer_row(layer, scale, is_first=_is_first(layer, parity)) for layer in parity.layers]
    head = ("layer", "kind", "weights", f"error, {scale.words}", "max |Δ|", "tolerance", "seen in", "")
    return f'<section id="layers"><h2>Layers</h2>{_table(head, rows)}</section>'


def _is_first(layer: LayerParity, parity: Parity) -> bool:
    return layer.verdict == DIFFERS and parity.first in (layer.name, layer.other)


def _layer_row(layer: LayerParity, scale: _Scale, *, is_first: bool) -> str:
    difference = layer.measured
    numbers = ["", "", ""]
    if difference is not None:
        numbers = [_number(difference.maximum), _number(difference.tolerance)]
        numbers += ["the models' run" if layer.difference is not None else "the NumPy reference"]
    name = f"<code>{escape(layer.shown_name)}</code>" + (" <em>first that diverges</em>" if is_first else "")
    remarks = [*layer.remarks, *([difference.problem] if difference and difference.problem else [])]
    name += "".join(f"<small>{escape(remark)}</small>" for remark in remarks)
    cells = [name, escape(layer.kind), escape(layer.weights), scale.bar(difference), *numbers, _badge(layer.verdict)]
    return _row(cells, "first" if is_first else "")


class _Scale:
    """Errors on a logarithmic scale, from one decade below the smallest to one above the largest."""

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high

    @classmethod
    def of(cls, layers: Sequence[LayerParity]) -> _Scale:
        found = [layer.measured for layer in layers if layer.measured is not None]
        values = [value for difference in found for value in (difference.maximum, difference.tolerance)]
        decades = [math.floor(math.log10(value)) for value in values if value > 0 and math.isfinite(value)]
        return cls(min(decades, default=-9) - 1, max(decades, default=0) + 1)

    @property
    def words(self) -> str:
        return f"10<sup>{self.low}</sup> to 10<sup>{self.high}</sup>"

    def bar(self, difference: Difference | None) -> str:
        """A bar as long as the error, and a tick at the tolerance."""
        if difference is None:
            return ""
        length = self.high - self.low
        error = 100.0 if difference.problem else self._at(difference.maximum)
        ticks = "".join(
            f'<rect class="grid" x="{100 * n / length:.2f}" width=".3" height="12"/>' for n in range(1, length)
        )
        label = f"error {_number(difference.maximum)}, tolerance {_number(difference.tolerance)}"
        kind = "agrees" if difference.agrees else "differs"
        return (
            f'<svg class="bar {kind}" viewBox="0 0 100 12" preserveAspectRatio="none" role="img" aria-label="{label}">'
            f"<title>{label}</title>{ticks}"
            f'<rect class="error" y="2" width="{error:.2f}" height="8" rx=".6"/>'
            f'<rect class="tolerance" x="{self._at(difference.tolerance):.2f}" width=".8" height="12"/></svg>'
        )

    def _at(self, value: float) -> float:
        """Where a value is, in hundredths of the scale; zero is left of it."""
        if value <= 0:
            return 0.0
        place = (math.log10(value) - self.low) / (self.high - self.low) if math.isfinite(value) else 1.0
        return 100 * min(max(place, 0.0), 1.0)


def _settings(parity: Parity) -> Iterator[str]:
    rows = [
        _row([f"<code>{escape(layer.shown_name)}</code>", escape(setting)])
        for layer in parity.layers
        for setting in layer.settings
    ]
    if rows:
        yield f'<section id="settings"><h2>Settings that differ</h2>{_table(("layer", "setting"), rows)}</section>'


def _heat(parity: Parity) -> Iterator[str]:
    figures = [_figure(layer, heat) for layer in parity.layers for heat in layer.heat]
    if figures:
        maps = f'<div class="maps">{"".join(figures)}</div>'
        yield f'<section id="heat"><h2>Where recurrent layers differ</h2>{maps}</section>'


def _figure(layer: LayerParity, heat: HeatMap) -> str:
    """One heat map: the darker, the larger, each decade a step; its largest value is said."""
    largest = max((value for row in heat.values for value in row), default=0.0)
    width, height = len(heat.values[0]) * _CELL if heat.values else 0, len(heat.values) * _CELL
    cells = "".join(
        f'<rect x="{x * _CELL}" y="{y * _CELL}" width="{_CELL - 1}" height="{_CELL - 1}" '
        f'fill-opacity="{_shade(value, largest):.2f}"><title>{escape(row)}, {x}: {_number(value)}</title></rect>'
        for y, (row, values) in enumerate(zip(heat.rows, heat.values, strict=True))
        for x, value in enumerate(values)
    )
    labels = "".join(
        f'<text x="-6" y="{y * _CELL + _CELL - 4}" text-anchor="end">{escape(row)}</text>'
        for y, row in enumerate(heat.rows)
    )
    name, what = escape(layer.shown_name), escape(heat.what)
    caption = f"<code>{name}</code> {what} ({escape(heat.columns)}), largest {_number(largest)}"
    size = f'width="{width + 84}" height="{height}" viewBox="-84 0 {width + 84} {height}"'
    svg = f'<svg class="heat" role="img" {size} aria-label="{name} {what}">{labels}{cells}</svg>'
    return f"<figure><figcaption>{caption}</figcaption>{svg}</figure>"


def _shade(value: float, largest: float) -> float:
    """1 for the largest, a sixth less for each decade below it, almost nothing for zero."""
    if value <= 0 or largest <= 0:
        return 0.05
    return max(1 + math.log10(value / largest) / 6, 0.08) if math.isfinite(value) else 1.0


def _agreement(difference: Difference) -> str:
    return _badge("agrees" if difference.agrees else "differs")


def _badge(verdict: str) -> str:
    return f'<span class="badge {verdict.replace(" ", "-")}">{escape(_LABELS.get(verdict, verdict))}</span>'


def _number(value: float) -> str:
    return f"{value:.1e}" if math.isfinite(value) else str(value)


def _table(head: Iterable[str], rows: Iterable[str]) -> str:
    cells = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    return f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _row(cells: Iterable[str], kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f"<tr{attribute}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
