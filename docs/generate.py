"""Make ``docs/rosetta.md`` and its pictures from the layout files: ``python docs/generate.py [FOLDER]``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from weightport.kinds import Kind, all_kinds
from weightport.layouts import Layout, all_layouts
from weightport.picture import kind_svg

TITLES = {
    "lstm": "LSTM",
    "gru": "GRU",
    "rnn": "Simple (Elman) RNN",
    "mgu": "Minimal gated unit",
    "conv_lstm": "Convolutional LSTM",
    "dense": "Dense",
    "conv": "Convolution",
    "batch_norm": "Batch normalisation",
    "layer_norm": "Layer normalisation",
    "embedding": "Embedding",
    "multi_head_attention": "Multi-head and grouped-query attention",
    "attention": "Attention between inputs as they are",
    "additive_attention": "Additive attention",
    "group_norm": "Group and instance normalisation",
    "rms_norm": "Normalisation by the root mean square",
    "conv_transpose": "Transposed convolution",
    "prelu": "PReLU",
    "bilinear": "Bilinear",
}

INTRODUCTION = """\
How {frameworks} frameworks store the weights of each kind of layer. {recorded} of them are *recorded*: the real
framework ran the layer on random weights, and the mathematics in NumPy, read through the layout, gives the same
output. The others stand on their *source*. Any two layouts of one kind translate:

```python
wp.translate(tensors, "keras1.lstm", "mlx.lstm")
```

Axes are written as in einops: `( )` is a flattened group, its first axis slowest; `+` means one after the other,
`-` from the end to the start.
`weightport explain keras.lstm onnx.lstm` draws any way between two of them.
"""


def generate(folder: Path) -> None:
    """Write the page and one picture a kind into ``folder``."""
    (folder / "rosetta.md").write_text("\n".join(page()) + "\n", encoding="utf-8")
    for kind in all_kinds().values():
        picture = kind_svg(kind.name, layouts_of(kind))
        (folder / f"rosetta-{kind.name.replace('_', '-')}.svg").write_text(picture, encoding="utf-8")


def page() -> Iterator[str]:
    """The page, line by line."""
    layouts = all_layouts().values()
    frameworks = {layout.framework for layout in layouts}
    recorded = {layout.framework for layout in layouts if layout.verified == "recorded"}
    yield "# The Rosetta table"
    yield ""
    yield "<!-- Made from the layout files by docs/generate.py; change those, then run `make docs`. -->"
    yield ""
    yield from INTRODUCTION.format(frameworks=len(frameworks), recorded=len(recorded)).splitlines()
    for kind in all_kinds().values():
        yield ""
        yield from section(kind)


def section(kind: Kind) -> Iterator[str]:
    """One kind: its picture and its table."""
    yield f"## {TITLES[kind.name]} (`{kind.name}`)"
    yield ""
    yield f"![{kind.name} in every framework](rosetta-{kind.name.replace('_', '-')}.svg)"
    yield ""
    yield "| layout | framework | gate order | tensors | at run time | verified |"
    yield "|---|---|---|---|---|---|"
    for layout in layouts_of(kind):
        cells = (f"`{layout.name}`", layout.title, gates(layout), tensors(layout), at_run_time(layout), layout.verified)
        yield f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def layouts_of(kind: Kind) -> list[Layout]:
    """The layouts of a kind: the three that files are converted between, then the others by name."""
    first = ("keras", "torch", "onnx")
    own = [layout for layout in all_layouts().values() if layout.kind.name == kind.name]
    return sorted(own, key=lambda layout: first.index(layout.framework) if layout.framework in first else len(first))


def gates(layout: Layout) -> str:
    """The order of the gates inside tensors."""
    return " ".join(layout.orders.get("gate", ())) or "–"


def tensors(layout: Layout) -> str:
    """Every tensor with its axes, one a line."""
    described = []
    for tensor in layout.tensors:
        when = ", ".join(f"{name} {value}" for name, value in tensor.when.items())
        each = {axis for run in tensor.runs for axis in run.each}
        axes = f"for each {' and '.join(sorted(each, reverse=True))}: {tensor.axes}" if each else tensor.axes
        described.append(f"`{tensor.name}`: {axes or 'scalar'}" + (f" ({when})" if when else ""))
    return "<br>".join(described)


def at_run_time(layout: Layout) -> str:
    """What the framework adds or writes the other way round."""
    adds = [
        f"{constant:+g} to the {gate} {role}"
        for role, constants in layout.adds.items()
        for gate, constant in constants.items()
    ]
    return "; ".join([*adds, *(f"{gate} gate reversed" for gate in sorted(layout.negates))]) or "–"


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
