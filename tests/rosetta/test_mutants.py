"""A wrong layout never passes: every mutant of every recorded layout makes one of its recordings fail."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from itertools import combinations, pairwise
from typing import Any

import pytest

from recordings import RECORDINGS, distance
from weightport.errors import WeightportError
from weightport.kinds import all_kinds, layouts_folder, read_toml
from weightport.layout_file import layouts_from
from weightport.layouts import all_layouts

Table = dict[str, Any]


HEADS_TURNED = {
    "(head repeat)": "(repeat head)",
    "(head key)": "(key head)",
    "(head value)": "(value head)",
    "(head repeat key)": "(key head repeat)",
    "(head repeat value)": "(value head repeat)",
}


def mutants(table: Table, summed_only: bool) -> Iterator[tuple[str, Table]]:
    """Every mutant of one layout's table, with words that say what is wrong in it.

    ``summed_only``: the kind only ever uses the sum of the two sides of a bias, so that swapping them is no fault."""
    for axis in ("gate", "direction", *(() if summed_only else ("side",))):
        yield from swapped_labels(table, axis)
    for key in ("adds", "negates"):
        if table.get(key):
            yield f"without {key}", {name: value for name, value in table.items() if name != key}
    yield from swapped_roles(table)
    for path, entry in entries(table["tensors"]):
        for what, changed in entry_mutants(entry, summed_only):
            yield f"{'/'.join(map(str, path))}: {what}", replaced(table, path, changed)


def swapped_roles(table: Table) -> Iterator[tuple[str, Table]]:
    """Two parameters of one shape, each taken for the other."""
    found = [(path, entry) for path, entry in entries(table["tensors"]) if isinstance(entry["role"], str)]
    for (path, entry), (other_path, other) in combinations(found, 2):
        if entry["axes"] == other["axes"] and entry["role"] != other["role"]:
            changed = replaced(table, path, {**entry, "role": other["role"]})
            yield (
                f"{path[-1]} and {other_path[-1]} swapped",
                replaced(changed, other_path, {**other, "role": entry["role"]}),
            )


def swapped_labels(table: Table, axis: str) -> Iterator[tuple[str, Table]]:
    labels = table.get(axis)
    if isinstance(labels, list):
        for index in range(len(labels) - 1):
            order = [*labels[:index], labels[index + 1], labels[index], *labels[index + 2 :]]
            yield f"{axis} {labels[index]} and {labels[index + 1]} swapped", {**table, axis: order}
    elif isinstance(labels, dict):
        names = [name for name in labels if name != "only"]
        for one, other in pairwise(names):
            swapped = {**labels, one: labels[other], other: labels[one]}
            yield f"{axis} {one} and {other} spelled the other way round", {**table, axis: swapped}


def entries(tensors: Any, path: tuple[Any, ...] = ("tensors",)) -> Iterator[tuple[tuple[Any, ...], Table]]:
    """Every table that describes a tensor or a part of one."""
    items = tensors.items() if isinstance(tensors, dict) else enumerate(tensors)
    for key, value in items:
        if isinstance(value, dict) and "role" in value:
            yield (*path, key), value
        if isinstance(value, dict) and "parts" in value:
            yield from entries(value["parts"], (*path, key, "parts"))
        if isinstance(value, list) and value and isinstance(value[0], dict):
            yield from entries(value, (*path, key))


def entry_mutants(entry: Table, summed_only: bool) -> Iterator[tuple[str, Table]]:
    if isinstance(entry["role"], list):
        yield "parts in the other order", {**entry, "role": entry["role"][::-1], "axes": turned_sum(entry["axes"])}
    if "(gate unit)" in entry["axes"]:
        yield "gates interleaved", {**entry, "axes": entry["axes"].replace("(gate unit)", "(unit gate)")}
    elif "(unit gate)" in entry["axes"]:
        yield "gates in blocks", {**entry, "axes": entry["axes"].replace("(unit gate)", "(gate unit)")}
    if entry["axes"] in {"... in out", "-... in out", "out in ..."}:
        yield "turned", {**entry, "axes": entry["axes"].replace("in out", "out in").replace("out in ...", "in out ...")}
    if entry["axes"] in {"... out in", "-... out in", "in out ..."}:
        yield "turned", {**entry, "axes": entry["axes"].replace("out in", "in out").replace("in out ...", "out in ...")}
    for one, other in (
        ("in", "unit"),
        ("hidden", "unit"),
        ("unit", "cell"),
        ("in", "out"),
        ("token", "feature"),
        ("first", "second"),
    ):
        if entry["axes"].split() in ([one, other], [other, one]):
            yield "turned", {**entry, "axes": " ".join(reversed(entry["axes"].split()))}
    yield from turned_heads(entry)
    if "..." in entry["axes"].split() and entry["role"] != "slope":  # of one place, where it is shared
        yield "from end to start", {**entry, "axes": re.sub(r"(?<!\S)\.\.\.(?!\S)", "-...", entry["axes"])}
    if "-..." in entry["axes"]:
        yield "from start to end", {**entry, "axes": entry["axes"].replace("-...", "...")}
    if "memory" in entry:
        yield "plain rows", {key: value for key, value in entry.items() if key != "memory"}
    if "side" in entry and isinstance(entry["side"], str) and not summed_only:
        yield "the other side", {**entry, "side": {"input": "recurrent", "recurrent": "input"}[entry["side"]]}
    if "side gate" in entry["axes"] and not summed_only:
        yield "sides inside", {**entry, "axes": entry["axes"].replace("side gate unit", "gate unit side")}
    yield from swapped_labels(entry, "gate")


def turned_heads(entry: Table) -> Iterator[tuple[str, Table]]:
    """The axes of an attention flattened in another order, where that changes something: the bias of the keys adds one
    number to all scores of a query."""
    for heads, turned in HEADS_TURNED.items() if entry["role"] != "key_bias" else ():
        if heads in entry["axes"]:
            yield f"{heads} turned", {**entry, "axes": entry["axes"].replace(heads, turned)}


def turned_sum(axes: str) -> str:
    return axes.replace("(in + hidden)", "(hidden + in)")


def replaced(table: Table, path: tuple[Any, ...], entry: Table) -> Table:
    changed = copy.deepcopy(table)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = entry
    return changed


def all_mutants() -> Iterator[Any]:
    for path in sorted(layouts_folder().glob("*.toml")):
        if path.name == "kinds.toml":
            continue
        content = read_toml(path)
        for layout in all_layouts().values():
            if layout.framework != path.stem or not recordings_of(layout.name):
                continue
            bias = layout.kind.roles.get("bias")
            for what, table in mutants(content[layout.table], bias is None or bias.apart is None):
                yield pytest.param(layout.name, {**content, layout.table: table}, id=f"{layout.name}: {what}")


def recordings_of(name: str) -> list[Any]:
    return [recording for recording in RECORDINGS if recording.layout == name]


@pytest.mark.parametrize(("name", "content"), all_mutants())
def test_a_mutant_fails_a_recording(name, content):
    try:
        mutant = layouts_from(content, name.split(".")[0], all_kinds())[name]
    except WeightportError:
        return
    assert any(not agrees(mutant, recording) for recording in recordings_of(name))


def agrees(layout, recording) -> bool:
    try:
        return distance(layout, recording) <= recording.tolerance
    except WeightportError:
        return False
