"""Any sizes, any pair: there and back again is the identity where nothing is computed, and the mathematics is the same
in any case."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from weightport.engine import execute, settle
from weightport.errors import RefusedError
from weightport.explain import assumed_settings
from weightport.layouts import all_layouts
from weightport.logical import logical_arrays
from weightport.plan import EXACT, Plan
from weightport.planner import Part, plan_layer
from weightport.settings import unsupported
from weightport.views import view_for

RECURRENT = ("lstm", "gru", "rnn", "mgu")
LAYOUTS = [layout for layout in all_layouts().values() if layout.kind.name in RECURRENT]


@st.composite
def pairs(draw):
    """Two layouts of one kind, settings that both can have, and random counts and sizes."""
    source = draw(st.sampled_from(LAYOUTS))
    target = draw(st.sampled_from([layout for layout in LAYOUTS if layout.kind.name == source.kind.name]))
    counts = {"layer": draw(st.integers(1, 3)), "direction": draw(st.integers(1, 2))}
    unit, features = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    first = {"in": features, "unit": unit, "hidden": unit, "cell": unit}
    above = {**first, "in": counts["direction"] * unit}
    sizes = [first, *[above] * (counts["layer"] - 1)]
    chosen = {**assumed_settings(source), **source.forced_settings()}
    if "reset" in chosen and "reset" not in source.settings:
        chosen["reset"] = draw(st.sampled_from(["after", "before"]))
    return source, target, counts, sizes, chosen, draw(st.integers(0, 2**32 - 1))


def carried(source, target, conditions, read):
    """The target's tensors and the settled verdict of the way there."""
    names = [{name: name for name in view.shapes} for view in (source, target)]
    parts = [Part(view.layout.name, view, same) for view, same in zip((source, target), names, strict=True)]
    plan = settle(Plan((plan_layer(parts[:1], parts[1:], conditions, lambda _: np.dtype(np.float64)),)), read)
    tensors = {}
    for tensor in plan.tensors:
        tensors[tensor.name] = np.full(tensor.shape, np.nan)
        execute(tensor, read, tensors[tensor.name])
    return tensors, plan.layers[0].verdict


@settings(max_examples=400, deadline=None, derandomize=True)
@given(pairs())
def test_there_and_back(case):
    source, target, counts, sizes, chosen, seed = case
    if unsupported(target, chosen):
        return
    optional = {name for name, role in source.kind.roles.items() if role.optional}
    roles = {role for tensor in source.tensors for role in tensor.roles} - optional
    try:
        here = view_for(source, roles, counts, sizes, chosen)
        there = view_for(target, here.roles, counts, sizes, chosen)
        generator = np.random.default_rng(seed)
        tensors = {name: generator.normal(size=shape) for name, shape in here.shapes.items()}
        moved, way_there = carried(here, there, chosen, tensors.__getitem__)
    except RefusedError:
        return
    assert not any(np.isnan(array).any() for array in moved.values()), "an element was never written"
    same_mathematics(here, tensors, there, moved)
    try:
        back, way_back = carried(there, here, chosen, moved.__getitem__)
    except RefusedError:
        return
    if way_there == way_back == EXACT and set(back) == set(tensors):
        for name, array in tensors.items():
            assert back[name].tobytes() == array.tobytes(), f"{source.name} to {target.name} and back: {name}"


def same_mathematics(here, tensors, there, moved):
    """Both sides mean the same parameters, sums taken where the kind takes them."""
    for ours, theirs in zip(meaning(here, tensors), meaning(there, moved), strict=True):
        for role in {*ours, *theirs}:
            np.testing.assert_allclose(ours.get(role, 0), theirs.get(role, 0), rtol=0, atol=1e-14, err_msg=role)


def meaning(view, tensors):
    """The logical arrays, with the sides of a bias summed where only their sum counts."""
    kind = view.layout.kind
    for layer in logical_arrays(view, tensors.__getitem__):
        bias = layer.get("bias")
        if bias is not None:
            axis = [a for a in kind.roles["bias"].axes if a != "layer"].index("side")
            apart = kind.roles["bias"].apart
            active = apart and all(view.settings.get(key) == value for key, value in apart.when.items())
            kept = [gate in apart.labels for gate in kind.labels["gate"]] if active else []
            summed = bias.sum(axis)
            sides = np.moveaxis(bias, axis, 0)
            layer["bias"] = (
                np.stack([np.stack([*sides[:, ..., index, :]]).sum(0) for index in range(len(kept))])
                if kept
                else summed
            )
            if kept:
                layer["bias apart"] = np.stack(
                    [sides[:, ..., index, :] for index, apart_gate in enumerate(kept) if apart_gate]
                )
        yield layer
