"""Make ``docs/layers.md``, every layer that carries weights, from the layout files and the classes that the frameworks'
readers know: ``python docs/generate_layers.py [FOLDER]``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from weightport.frameworks._keras_classes import KIND_OF_CLASS
from weightport.frameworks._keras_config import OWN_NAME
from weightport.frameworks._onnx_layers import KIND_OF_OPERATOR
from weightport.frameworks.torch import _KIND_OF_MODULE
from weightport.kinds import Kind, all_kinds
from weightport.layouts import Layout, all_layouts

FRAMEWORKS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "keras": ("Keras", KIND_OF_CLASS),
    "torch": ("torch.nn", _KIND_OF_MODULE),
    "onnx": ("ONNX", KIND_OF_OPERATOR),
}
INTRODUCTION = """\
# Every layer that carries weights

<!-- Made from the layout files by docs/generate_layers.py; change those, then run `make docs`. -->

One row a kind of layer: the classes, modules and operators that are of that kind, and the name under which each
framework keeps each parameter. Any two of a row convert into each other. Where a side lacks a parameter that has a
value for its absence, it is that value there; where it has no place for one, the value must be that, or the layer is
refused. Axes and the order of gates are in the [Rosetta table](rosetta.md).

In Keras, `Bidirectional`, `TimeDistributed`, `RNN` with one or several cells, and `SpectralNormalization` are seen
through to the layers inside them, and models are taken apart at any depth. Where torch.nn has no module for a kind, a
module of one's own that keeps the parameters under the names given here is found by them.
"""


def generate(folder: Path) -> None:
    """Write the page into ``folder``."""
    (folder / "layers.md").write_text("\n".join(page()) + "\n", encoding="utf-8")


def page() -> Iterator[str]:
    """The page, line by line."""
    yield from INTRODUCTION.splitlines()
    yield ""
    yield f"| kind | {' | '.join(title for title, _ in FRAMEWORKS.values())} | parameters | limits |"
    yield "|---|---|---|---|---|---|"
    for kind in all_kinds().values():
        cells = [f"`{kind.name}`", *(classes(kind, known) for _, known in FRAMEWORKS.values())]
        yield f"| {' | '.join([*cells, parameters(kind), limits(kind)])} |"


def classes(kind: Kind, known: Mapping[str, str]) -> str:
    """The classes of one framework that are of the kind."""
    exported = {own_name: name for name, own_name in OWN_NAME.items()}
    return ", ".join(f"`{exported.get(name, name)}`" for name, of in known.items() if of == kind.name) or "–"


def parameters(kind: Kind) -> str:
    """Each parameter with its name in each framework, one a line."""
    return "<br>".join(parameter(kind, role) for role in kind.roles)


def parameter(kind: Kind, role: str) -> str:
    """One parameter: what stands for its absence, and its tensors."""
    absent = kind.roles[role].absent
    value = "" if absent is None else f" (absent: {absent:g})"
    names = {
        title: dict.fromkeys(
            tensor.name for layout in own(kind, key) for tensor in layout.tensors if role in tensor.roles
        )
        for key, (title, _) in FRAMEWORKS.items()
    }
    kept = [f"{title} {' or '.join(f'`{name}`' for name in found)}" for title, found in names.items() if found]
    return f"`{role}`{value}: {', '.join(kept) or 'other frameworks only'}"


def limits(kind: Kind) -> str:
    """What a framework cannot express, as its layout says."""
    lines: dict[str, None] = {}
    for key, (title, _) in FRAMEWORKS.items():
        for layout in own(kind, key):
            which = title if layout.table == kind.name else f"{title}, {layout.table}"
            lines |= dict.fromkeys(f"{which}: {line}" for line in limits_of(layout))
    return "<br>".join(lines) or "–"


def limits_of(layout: Layout) -> Iterator[str]:
    """The settings and sizes that a layout's framework holds the layer to."""
    for name, values in layout.settings.items():
        yield f"{name} only {' or '.join(map(shown, values))}"
    for name, values in layout.lacks.items():
        yield f"no {name} {' or '.join(map(shown, values))}"
    for axis, factors in layout.equal.items():
        yield f"{axis.strip('.')} = {' × '.join(factors).replace('...', 'kernel') or '1'}"


def shown(value: object) -> str:
    """A setting's value in words."""
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def own(kind: Kind, framework: str) -> list[Layout]:
    """The framework's layouts of a kind."""
    return [one for one in all_layouts().values() if one.framework == framework and one.kind.name == kind.name]


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
