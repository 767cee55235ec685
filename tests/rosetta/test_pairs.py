"""Any pair: a recorded layer goes into every other layout of its kind and computes the same there, or is refused for
a reason that the two layouts give."""

from __future__ import annotations

import re
from itertools import product

import numpy as np
import pytest

import weightport as wp
from recordings import RECORDINGS, output_of
from weightport.errors import RefusedError
from weightport.explain import sample_view
from weightport.families import stored_when
from weightport.layouts import all_layouts, layout_named
from weightport.views import view_of

PAIRS = [
    (recording, target)
    for recording in RECORDINGS
    for target in all_layouts().values()
    if target.kind.name == layout_named(recording.layout).kind.name
]


def sizes_of(recording):
    """What one flat buffer does not show of itself."""
    layout = layout_named(recording.layout)
    shapes = {name: array.shape for name, array in recording.tensors.items()}
    view = view_of(layout, shapes, recording.settings, recording.storage, recording.sizes)
    return {
        **view.counts,
        **{axis: view.sizes[0][axis] for axis in ("unit", "head", "repeat") if axis in view.sizes[0]},
    }


def needs_sizes(layout):
    """Whether its shapes do not tell all: a whole layer in one buffer, heads that are flattened into features."""
    groups = [group for tensor in layout.tensors for part in tensor.parts for group in part.dimensions]
    return any(len(tensor.parts) > 1 for tensor in layout.tensors) or any({"head", "key"} <= set(g) for g in groups)


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name)
def test_a_recording_computes_the_same_in_every_layout_of_its_kind(recording):
    source = layout_named(recording.layout)
    same, refused = [], []
    for target in (target for candidate, target in PAIRS if candidate is recording):
        try:
            there = wp.translate(
                recording.tensors,
                source.name,
                target.name,
                sizes=recording.sizes,
                storage=recording.storage,
                **recording.settings,
            )
        except RefusedError as error:
            assert reasons_hold(recording, source, target, error), f"{target.name}: {error}"
            refused.append(target.name)
            continue
        sizes = sizes_of(recording) if needs_sizes(target) else {}
        ours = output_of(target, recording, there, sizes=sizes, storage=first_form(target, there))
        np.testing.assert_allclose(ours, recording.outputs, rtol=0, atol=recording.tolerance, err_msg=target.name)
        same.append(target.name)
        back = back_again(recording, source, target, there, sizes)
        if back is not None:
            for name, array in recording.tensors.items():
                assert back[name].tobytes() == array.tobytes(), f"{target.name} and back: {name}"
    assert source.name in same


def back_again(recording, source, target, there, sizes):
    """The way back, where it is exact both ways: where neither way sums, adds or drops anything."""
    if not (keeps_apart(source) and keeps_apart(target)) or source.adds or target.adds:
        return None
    storage = first_form(target, there)
    back = wp.translate(there, target.name, source.name, sizes=sizes, storage=storage, **recording.settings)
    if recording.storage not in ({}, first_form(source, back)) or set(back) != set(recording.tensors):
        return None
    return back


def first_form(layout, names):
    """The form in which a layer is laid out anew: the first of the layout's that has tensors of these names."""
    forms = [dict(zip(layout.storage, values, strict=True)) for values in product(*layout.storage.values())]
    fitting = [form for form in forms if set(names) <= {t.name for t in layout.tensors if stored_when(t, form)}]
    return fitting[0] if layout.storage else {}


def keeps_apart(layout):
    """Whether the layout stores the two sides of a bias in tensors or rows of their own."""
    biases = [part for tensor in layout.tensors for part in tensor.parts if part.role == "bias"]
    return all("side" in part.fixed or "side" in part.axes for part in biases)


def reasons_hold(recording, source, target, error):
    """Whether each reason is one that the two layouts and the recorded values really give."""
    text = str(error)
    stored = {role for tensor in source.tensors for role in tensor.roles}
    for name, value in recording.settings.items():
        if f"{name} is {value}" in text:
            limits = target.settings.get(name)
            return (
                (limits is not None and value not in limits)
                or value in target.lacks.get(name, ())
                or name
                in (
                    *target.ties,
                    *target.ties.values(),
                )
            )
    place = re.search(r"has no place for ([a-z_]+)((?: [a-z]+)*)", text)
    if place:
        labels = set(place[2].split()) - {"forward", "backward", "layer"}
        return place[1] in stored and not has_place(target, place[1], labels, recording.settings)
    return (
        "holds one" in text or "has one size for" in text or "of one size only" in text or "cannot hold parts" in text
    )


def has_place(layout, role, labels, settings):
    """Whether some tensor of the layout holds the place of a role that these labels name."""
    view = sample_view(layout, {**settings, **layout.forced_settings()})
    covers = [set(map(str, place)) for block in view.blocks if block.role == role for place in block.covers]
    return any(labels <= cover for cover in covers)


def test_every_ordered_pair_of_layouts_of_a_kind_is_covered():
    """Where both layouts are recorded or can be a target, some recording takes the way."""
    taken = {(recording.layout, target.name) for recording, target in PAIRS}
    recorded = {recording.layout for recording in RECORDINGS}
    for source in recorded:
        for target in all_layouts().values():
            if target.kind.name == layout_named(source).kind.name:
                assert (source, target.name) in taken
