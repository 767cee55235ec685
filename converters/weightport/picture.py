"""SVG pictures of layouts: each element of a small tensor as a square, coloured by its gate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree

from .explain import Cell, Explanation, Picture, assumed_settings, pictures, sample_view
from .layouts import Layout

# Okabe and Ito's colours, which colour-blind readers can tell apart.
GATE_COLOURS = {
    "input": "#0072B2",
    "forget": "#D55E00",
    "candidate": "#009E73",
    "output": "#E69F00",
    "update": "#CC79A7",
    "reset": "#56B4E9",
}
_PLAIN = "#8C959F"
_CELL, _GAP, _LINE, _MARGIN, _FULL_WIDTH = 15, 26, 17, 16, 1100
_STYLE = """
text { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #24292F; }
.name { font-weight: bold; } .dim { fill: #57606A; } .warn { fill: #BC4C00; }
.letter { font-size: 10px; fill: #FFFFFF; text-anchor: middle; }
@media (prefers-color-scheme: dark) { text { fill: #E6EDF3; } .dim { fill: #9198A1; } .warn { fill: #F0883E; } }
"""


@dataclass
class _Canvas:
    """An SVG document that grows with what is drawn on it."""

    width: float = 0
    height: float = 0
    root: ElementTree.Element = field(default_factory=lambda: ElementTree.Element("svg"))

    def text(self, x: float, y: float, text: str, style: str = "") -> None:
        """One line of text, its baseline at ``y``."""
        element = ElementTree.SubElement(self.root, "text", x=_number(x), y=_number(y))
        if style:
            element.set("class", style)
        element.text = text
        if style != "letter":
            self._reach(x + 7.4 * len(text), y + 5)

    def cell(self, x: float, y: float, cell: Cell) -> None:
        """One element: its gate as colour, its unit as shade, its letter inside."""
        shade = ("1", "0.72", "0.5")[cell.unit % 3]
        size = _number(_CELL - 1)
        colour = GATE_COLOURS.get(cell.gate, _PLAIN)
        place = {"x": _number(x), "y": _number(y), "width": size, "height": size, "rx": "2"}
        ElementTree.SubElement(self.root, "rect", {**place, "fill": colour, "fill-opacity": shade})
        self.text(x + (_CELL - 1) / 2, y + _CELL - 4.5, cell.letter, "letter")
        self._reach(x + _CELL, y + _CELL)

    def finished(self, title: str) -> str:
        """The document as text."""
        width, height = _number(self.width + _MARGIN), _number(self.height + _MARGIN)
        attributes = {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {width} {height}", "role": "img"}
        for name, value in {**attributes, "width": width, "height": height}.items():
            self.root.set(name, value)
        for index, (tag, text) in enumerate((("title", title), ("style", _STYLE))):
            element = ElementTree.Element(tag)
            element.text = text
            self.root.insert(index, element)
        ElementTree.indent(self.root)
        return ElementTree.tostring(self.root, encoding="unicode") + "\n"

    def _reach(self, x: float, y: float) -> None:
        self.width, self.height = max(self.width, x), max(self.height, y)


def explanation_svg(explanation: Explanation) -> str:
    """How one layout becomes another, as an SVG document."""
    title = f"{explanation.source.name} to {explanation.target.name}"
    canvas = _Canvas()
    canvas.text(_MARGIN, _MARGIN + 8, title, "name")
    y = _legend(
        canvas, _MARGIN, _MARGIN + 24, [p for step in explanation.steps for p in (*step.sources, *step.targets)]
    )
    right = _MARGIN + max((_width(p) for step in explanation.steps for p in step.sources), default=0) + 3 * _GAP
    for step in explanation.steps:
        y += _GAP
        canvas.text(_MARGIN, y, step.role, "name")
        for sentence in step.how:
            y += _LINE
            canvas.text(_MARGIN, y, sentence, "dim")
        y += _LINE
        ends = [_column(canvas, x, y, side) for x, side in ((_MARGIN, step.sources), (right, step.targets))]
        if step.targets:
            canvas.text(right - 2 * _GAP, y + 2 * _LINE, "→", "name")
        y = max(ends)
    for line in (*explanation.conditions, *explanation.refused):
        y += _LINE
        canvas.text(_MARGIN, y + _LINE, line, "warn")
    return canvas.finished(title)


def kind_svg(kind: str, layouts: Sequence[Layout]) -> str:
    """Every layout of a kind side by side with the others, as an SVG document: one row a layout."""
    canvas = _Canvas()
    views = [sample_view(layout, assumed_settings(layout)) for layout in layouts]
    drawn = [[list(pictures(view, role)) for role in view.roles] for view in views]
    y = _legend(canvas, _MARGIN, _MARGIN, [picture for row in drawn for column in row for picture in column])
    for layout, row in zip(layouts, drawn, strict=True):
        y += _GAP
        canvas.text(_MARGIN, y, layout.name, "name")
        unique = {picture.name: picture for column in row for picture in column}
        y = _row(canvas, y, list(unique.values()))
    return canvas.finished(f"{kind} in every framework")


def _row(canvas: _Canvas, y: float, drawn: Iterable[Picture]) -> float:
    """Pictures beside one another, in as many lines as they need. Returns the bottom."""
    x, bottom = float(_MARGIN), y
    for picture in drawn:
        if x > _MARGIN and x + _width(picture) > _FULL_WIDTH:
            x, y = float(_MARGIN), bottom
        bottom = max(bottom, _column(canvas, x, y + _LINE, [picture]))
        x += _width(picture) + _GAP
    return bottom


def _legend(canvas: _Canvas, x: float, y: float, drawn: Iterable[Picture]) -> float:
    """The gates that are drawn, and what capitals mean. Returns the bottom."""
    cells = {cell for picture in drawn for cell in picture.cells}
    for gate in (gate for gate in GATE_COLOURS if any(cell.gate == gate for cell in cells)):
        canvas.cell(x, y, Cell("", gate))
        canvas.text(x + _CELL + 4, y + 12, gate)
        x += _CELL + 8 * len(gate) + 18
    if any(cell.side == "recurrent" and cell.gate for cell in cells):
        canvas.text(x, y + 12, "capitals: the recurrent side; lighter: the next unit", "dim")
    return y + _CELL


def _column(canvas: _Canvas, x: float, y: float, drawn: Iterable[Picture]) -> float:
    """Pictures below one another. Returns the bottom."""
    for picture in drawn:
        shape = "x".join(map(str, picture.shape)) or "scalar"
        canvas.text(x, y + 4, picture.name)
        canvas.text(x, y + 4 + _LINE - 3, f"{picture.axes}  {shape}", "dim")
        y += _LINE + 8
        for row in picture.rows():
            for column, cell in enumerate(row):
                canvas.cell(x + column * _CELL, y, cell)
            y += _CELL
        y += _LINE
    return y


def _width(picture: Picture) -> float:
    shape = "x".join(map(str, picture.shape)) or "scalar"
    text = max(len(picture.name), len(f"{picture.axes}  {shape}"))
    return max(7.4 * text, _CELL * max((len(row) for row in picture.rows()), default=1))


def _number(value: float) -> str:
    return f"{value:g}"
