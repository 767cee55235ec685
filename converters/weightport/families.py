"""Families of tensors: which tensor of a layout a name is, and every name that a layer with given counts has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from .checkpoint import Setting
from .errors import LayoutError
from .kinds import Kind, Label
from .layouts import ONLY, PLACEHOLDER, Layout, PartLayout, TensorLayout
from .notation import Dimensions, axis_names, expand, expanded_index

VARYING = ("layer", "direction")
"""Labelled axes along which a layer may have more or fewer places."""
MOST_LAYERS = 1000
"""A number beyond it is that of a damaged file, and would be counted out in vain."""


@dataclass(frozen=True)
class Instance:
    """One tensor of a family: its name, and its places on the axes that the name spells."""

    name: str
    tensor: TensorLayout
    places: Mapping[str, Label]


@dataclass(frozen=True)
class Piece:
    """One part of one tensor: its places on all axes that are outside the tensor, and its dimensions."""

    part: PartLayout
    places: Mapping[str, Label]
    dimensions: Dimensions

    @property
    def layer(self) -> int:
        """The stacked layer whose sizes it has (the first one, where it has several)."""
        return int(self.places.get("layer", self.part.first.get("layer", 0)))

    def outside_or_inside(self) -> set[str]:
        """Every axis that the piece has or has a place of."""
        return {*axis_names(self.dimensions), *self.places}


def check_counts(layout: Layout, counts: Mapping[str, int]) -> None:
    """Raise LayoutError for a number of layers or directions that no layer has, before anything is counted out."""
    for axis in VARYING:
        most = len(layout.kind.labels.get(axis, ())) or MOST_LAYERS
        if not 1 <= counts.get(axis, 1) <= most:
            raise LayoutError(f"{layout.name}: {counts[axis]} places along {axis}, where there are 1 to {most}")


def full_counts(kind: Kind, counts: Mapping[str, int]) -> dict[str, int]:
    """The number of places of every varying axis of the kind; one where nothing is known."""
    return {axis: counts.get(axis, 1) for axis in VARYING if kind.is_labelled(axis)}


def labels(layout: Layout, part: PartLayout, axis: str, counts: Mapping[str, int]) -> Sequence[Label]:
    """The places of a labelled axis that a part has, in its own order."""
    if axis in layout.kind.counted:
        return range(part.first.get(axis, 0), counts[axis])
    order = layout.order(part, axis)
    if axis not in counts or axis in part.partial:
        return order
    return [label for label in order if label in layout.kind.labels[axis][: counts[axis]]]


def pieces(layout: Layout, instance: Instance, counts: Mapping[str, int], spatial: int) -> Iterator[Piece]:
    """The parts of a tensor in the order in which they follow one another."""
    for run in instance.tensor.runs:
        choices = [_places_of(layout.kind, axis, counts) for axis in run.each]
        for chosen in product(*choices):
            for part in run.parts:
                places = {**part.fixed, **instance.places, **dict(zip(run.each, chosen, strict=True))}
                yield Piece(part, places, expand(part.dimensions, spatial))


def along(tensor: TensorLayout, spatial: int) -> int:
    """The dimension along which the parts of a tensor follow one another."""
    return expanded_index(tensor.parts[0].dimensions, tensor.along, spatial)


def expected(layout: Layout, counts: Mapping[str, int], conditions: Mapping[str, Setting]) -> Iterator[Instance]:
    """Every tensor that a layer with these counts has."""
    for tensor in layout.tensors:
        if not stored_when(tensor, conditions):
            continue
        axes = tensor.spelled_axes
        for chosen in product(*(_spelled_labels(layout, tensor, axis, counts) for axis in axes)):
            places = dict(zip(axes, chosen, strict=True))
            instance = Instance(layout.tensor_name(tensor, places, counts), tensor, places)
            if _has_elements(layout, instance, counts):
                yield instance


def stored_when(tensor: TensorLayout, conditions: Mapping[str, Setting]) -> bool:
    """Whether a tensor is stored this way under these settings; an unknown setting does not rule it out."""
    return all(conditions.get(name, value) == value for name, value in tensor.when.items())


def parse_names(layout: Layout, names: Iterable[str], directions: int) -> dict[str, list[Instance]]:
    """What each name can be in this layout. Raises LayoutError for a name that is nothing in it.

    ``directions`` decodes numbers that count places on several axes."""
    parsed: dict[str, list[Instance]] = {}
    for name in names:
        matches = [(pattern.fullmatch(name), tensor) for pattern, tensor in _patterns(layout)]
        found = [
            Instance(name, tensor, _read_places(layout, tensor, match.groups(), directions))
            for match, tensor in matches
            if match
        ]
        if not found:
            known = ", ".join(dict.fromkeys(tensor.name for tensor in layout.tensors))
            raise LayoutError(f"{layout.name} has no tensor {name!r}; it has {known}")
        parsed[name] = found
    return parsed


def tensors_named(layout: Layout, name: str) -> list[TensorLayout]:
    """The tensors, or families of them, that have this name in the layout."""
    return [tensor for pattern, tensor in _patterns(layout) if pattern.fullmatch(name)]


@lru_cache(maxsize=1024)
def _patterns(layout: Layout) -> tuple[tuple[re.Pattern[str], TensorLayout], ...]:
    return tuple((re.compile(_pattern(layout, tensor)), tensor) for tensor in layout.tensors)


def counts_by_number(layout: Layout) -> bool:
    """Whether some name counts places on several axes, so that the number of directions must be known to read it."""
    return any(len(axes) > 1 for tensor in layout.tensors for axes in tensor.placeholders)


def counts_from_names(layout: Layout, instances: Sequence[Instance]) -> dict[str, int]:
    """How many places of the varying axes the names show."""
    counts: dict[str, int] = {}
    for axis in VARYING:
        found = {instance.places[axis] for instance in instances if axis in instance.places}
        if not found:
            continue
        if ONLY in found and len(found) > 1:
            raise LayoutError(f"{layout.name}: tensors of one {axis} and of several stand together")
        counts[axis] = 1 + max(int(label) for label in found) if axis in layout.kind.counted else len(found)
    return counts


def without_only(layout: Layout, instance: Instance) -> Instance:
    """The instance with the place of a single label written as that label."""
    first = {axis: layout.kind.labels[axis][0] for axis, label in instance.places.items() if label == ONLY}
    return Instance(instance.name, instance.tensor, {**instance.places, **first})


def _places_of(kind: Kind, axis: str, counts: Mapping[str, int]) -> Sequence[Label]:
    return range(counts[axis]) if axis in kind.counted else kind.labels[axis][: counts.get(axis)]


def _spelled_labels(layout: Layout, tensor: TensorLayout, axis: str, counts: Mapping[str, int]) -> Sequence[Label]:
    if axis in layout.kind.counted:
        return range(tensor.parts[0].first.get(axis, 0), counts[axis])
    words = tensor.spellings.get(axis)
    chosen = [label for label in layout.order(tensor.parts[0], axis) if words is None or label in words]
    return chosen[: counts[axis]] if axis in counts else chosen


def _has_elements(layout: Layout, instance: Instance, counts: Mapping[str, int]) -> bool:
    """Whether the tensor has any place: one that holds the layers from the second on has none in a single layer."""
    inside = [(part, axis) for part in instance.tensor.parts for axis in axis_names(part.dimensions)]
    return all(labels(layout, part, axis, counts) for part, axis in inside if axis in layout.kind.counted)


def _pattern(layout: Layout, tensor: TensorLayout) -> str:
    """A pattern for the tensor's names with one group for each placeholder."""
    split = PLACEHOLDER.split(tensor.name)
    return "".join(
        _placeholder_pattern(layout, tensor, piece.split()) if index % 2 else re.escape(piece)
        for index, piece in enumerate(split)
    )


def _placeholder_pattern(layout: Layout, tensor: TensorLayout, axes: Sequence[str]) -> str:
    if len(axes) > 1 or axes[0] in layout.kind.counted:
        return "(0|[1-9][0-9]{0,5})"
    words = layout.words(tensor, axes[0])
    own = tensor.spellings.get(axes[0]) or layout.order(tensor.parts[0], axes[0])
    spelled = {words.get(label, label) for label in own} | {text for label, text in words.items() if label == ONLY}
    return f"({'|'.join(re.escape(text) for text in sorted(spelled, key=len, reverse=True))})"


def _read_places(layout: Layout, tensor: TensorLayout, texts: Sequence[str], directions: int) -> dict[str, Label]:
    places: dict[str, Label] = {}
    for axes, text in zip(tensor.placeholders, texts, strict=True):
        if len(axes) > 1:
            places.update(_from_number(layout, axes, int(text), directions))
        elif axes[0] in layout.kind.counted:
            places[axes[0]] = int(text)
        else:
            places[axes[0]] = _label_of(layout, tensor, axes[0], text)
    return places


def _label_of(layout: Layout, tensor: TensorLayout, axis: str, text: str) -> Label:
    words = layout.words(tensor, axis)
    own = tensor.spellings.get(axis) or layout.kind.labels[axis]
    found = [label for label in own if label != ONLY and words.get(label, label) == text]
    return found[0] if found else ONLY


def _from_number(layout: Layout, axes: Sequence[str], number: int, directions: int) -> dict[str, Label]:
    places: dict[str, Label] = {}
    for axis in reversed(axes):
        if axis in layout.kind.counted:
            places[axis] = number
        else:
            number, index = divmod(number, directions)
            places[axis] = layout.kind.labels[axis][index]
    return places
