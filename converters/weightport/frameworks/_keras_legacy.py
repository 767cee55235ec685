"""Checkpoints that store lists of weights, one for each layer of the model: ``.h5`` of every Keras, and live models.

Within a layer only the order tells what is what: all its trained variables, then all others, of the whole layer with
everything in it (keras/src/legacy/saving/legacy_h5_format.py, _legacy_weights). Names of variables are looked at only
to refuse what contradicts them, and where a file has no config.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..checkpoint import Contents, Layer, Structure
from ..errors import CheckpointError
from ._keras_classes import Variable, Writer
from ._keras_config import MERGE, Entry, entry_of, layer_name
from ._keras_names import VARIABLE_NAMES, local_name, named_layers
from ._keras_units import Owner, Unit, Walk, layers_of


@dataclass
class _Reading:
    layers: list[Layer] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)
    kindless: dict[str, dict[str, str]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def legacy_structure(contents: Contents, writer: Writer) -> Structure:
    """The layers of a checkpoint of lists, and what its other tensors are."""
    reading = _Reading()
    description = contents.description
    root = entry_of(description.get("config"))
    entries = {entry.name: entry for entry in _grouped(root)}
    groups = {name: tuple(group["weights"]) for name, group in description.get("groups", {}).items()}
    for name in dict.fromkeys([*entries, *groups]):
        weights = groups.get(name, ())
        if not name:
            reading.unknown |= dict.fromkeys(weights, "it is a variable of the model itself")
        elif name in entries:
            _read_described(reading, contents, Walk(writer), entries[name], weights if name in groups else None)
        else:
            layers, unknown = named_layers(contents, Walk(writer), name, weights)
            reading.layers += layers
            reading.unknown |= unknown
    skipped = dict.fromkeys(description.get("optimizer", ()), "optimizer state")
    return Structure(tuple(reading.layers), {**skipped, **reading.skipped}, reading.unknown, reading.kindless)


def _grouped(root: Entry | None) -> Iterator[Entry]:
    """The layers that have a group each: a model's, and in place of a Merge with which a Sequential of Keras 1 begins,
    those that it merges (keras 1.2.2 ``models.py``, ``flattened_layers``)."""
    for entry in (root.layers if root else None) or ():
        if entry.class_name == MERGE and entry.layers is not None:
            for branch in entry.layers:
                yield from _grouped(branch) if branch.layers is not None else (branch,)
        else:
            yield entry


def _read_described(
    reading: _Reading, contents: Contents, walk: Walk, entry: Entry, weights: Sequence[str] | None
) -> None:
    """Give the weights of one of the model's layers to the layers in it, by the order of their variables."""
    units = list(walk.units(entry, layer_name(entry.name)))
    slots = _slots(units, entry, walk.writer)
    if weights is None and any(unit.kind for unit, _, _ in slots):
        raise CheckpointError(f"the config has the {entry.class_name} {entry.name!r}, and the file has no group for it")
    if not weights:  # a layer that was never built
        return
    problem = _problem(entry, units, slots, weights, walk.writer)
    if problem:
        reading.kindless |= _kindless(units, slots, weights)
        reading.unknown |= dict.fromkeys(weights, f"{layer_name(entry.name)}: {problem}")
        return
    shapes = {name: contents.tensors[name].shape for name in weights}
    for unit in units:
        own = {
            owner.prefix + variable.name: name
            for (other, owner, variable), name in zip(slots, weights, strict=True)
            if other is unit
        }
        if unit.kind and own:
            reading.layers += layers_of(unit, own, shapes)
        if not unit.kind and not unit.state and unit.told:
            reading.kindless[unit.name] = own
        if unit.state:
            reading.skipped |= dict.fromkeys(own.values(), f"{unit.name}: {unit.state}")
        elif not unit.kind:
            reading.unknown |= dict.fromkeys(own.values(), f"{unit.name}: {unit.reason}")


def _kindless(
    units: Sequence[Unit], slots: Sequence[tuple[Unit, Owner, Variable]], weights: Sequence[str]
) -> dict[str, dict[str, str]]:
    """The weights of layers of which none has a kind, by their variables' names where there are as many."""
    if any(unit.kind or not unit.told for unit in units):
        return {}
    if len(slots) != len(weights):
        return {units[0].name: {str(place): name for place, name in enumerate(weights)}} if len(units) == 1 else {}
    found: dict[str, dict[str, str]] = {unit.name: {} for unit in units}
    for (unit, owner, variable), name in zip(slots, weights, strict=True):
        found[unit.name][owner.prefix + variable.name] = name
    return found


def _slots(units: Sequence[Unit], entry: Entry, writer: Writer) -> list[tuple[Unit, Owner, Variable]]:
    """What each weight of a layer's list is, in the list's order."""
    slots = [(unit, owner, variable) for unit in units for owner in unit.owners for variable in owner.variables]
    if writer.major >= 3 and entry.frozen:
        return slots
    # Keras 3 asks each variable, and its own layer decided; in Keras 2 a frozen layer speaks for all that is in it.
    above = writer.major < 3
    return sorted(slots, key=lambda slot: not slot[2].trainable or slot[1].frozen or (above and slot[1].frozen_above))


def _problem(
    entry: Entry,
    units: Sequence[Unit],
    slots: Sequence[tuple[Unit, Owner, Variable]],
    weights: Sequence[str],
    writer: Writer,
) -> str | None:
    """Why the weights cannot be told apart, None where they can."""
    reasons = list(dict.fromkeys(unit.reason for unit in units if not (unit.kind or unit.state)))
    if all(unit.kind is None for unit in units) and reasons:
        return reasons[0]
    if len(slots) != len(weights):
        asked = f"its config has {len(slots)} variables, and the file {len(weights)}"
        return f"{asked}: {reasons[0]}" if reasons else asked
    for (unit, _, variable), weight in zip(slots, weights, strict=True):
        found, expected = local_name(weight), variable.name.rpartition("/")[2]
        same = expected in (found, found.removeprefix("depthwise_"))  # Keras 2 and 3 call that of a depthwise one so
        if unit.kind and writer.major >= 2 and found in VARIABLE_NAMES and not same:
            return f"{weight} stands where the config has the {expected} of {unit.name}"
    return None
