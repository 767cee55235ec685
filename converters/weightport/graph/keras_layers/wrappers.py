"""Layers around other layers: both directions of a recurrent one, and one layer at every time step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...frameworks._keras_config import Entry, joined
from ..keras_call import Call, Nested, flat, translates
from ..operations import Value
from .recurrent import KIND_OF_CLASS, STATE_NAMES, Steps, cell_settings

_LAST_AXIS_ONLY = {"Dense", "Dropout", "ReLU", "LeakyReLU", "ELU"}


@translates("Bidirectional")
def bidirectional(call: Call) -> Nested:
    """One operation of two directions where they are alike, else two and their sum, product or concatenation."""
    forward = call.entry.inner("layer")
    if forward is None:
        raise call.refused("its config has no layer")
    backward = _zeroing(call.entry.inner("backward_layer") or _turned(forward))
    forward = _zeroing(forward)
    merge_mode = call.config.get("merge_mode", "concat") or "none"
    if forward.class_name in KIND_OF_CLASS and _are_alike(call, forward, backward):
        return _in_one(call, forward, merge_mode)
    return _in_two(call, forward, backward, merge_mode)


def _in_one(call: Call, entry: Entry, merge_mode: str) -> Nested:
    steps = Steps.of(replace(call, entry=entry))
    kind = KIND_OF_CLASS[entry.class_name]
    settings = {
        **cell_settings(call, entry),
        "direction": "bidirectional",
        "return_sequences": steps.return_sequences,
        "return_state": True,
        "merge_mode": merge_mode,
        "zero_output_for_mask": steps.zeros_masked,
    }
    names = [f"{direction}.{state}" for direction in ("forward", "backward") for state in STATE_NAMES[kind]]
    states = list(steps.states)
    if steps.stateful and not states:
        for direction in ("forward", "backward"):
            states += steps.own_states(call, kind, f"{call.name}.{direction}", settings["units"])
    outputs = call.add_all(
        kind,
        [steps.x, steps.mask, *states],
        settings,
        weights=call.weights.of(call.name),
        layout=call.weights.layout(call.name, kind),
        ends=[*(["backward"] if merge_mode == "none" else []), *(f"last_{name}" for name in names)],
    )
    count = 2 if merge_mode == "none" else 1
    half = len(STATE_NAMES[kind])
    for index, direction in enumerate(("forward", "backward")):
        own = outputs[count + index * half : count + (index + 1) * half]
        steps.keep_states(call, kind, f"{call.name}.{direction}", own)
    return _given(call, steps, outputs[:count], outputs[count:])


def _in_two(call: Call, forward: Entry, backward: Entry, merge_mode: str) -> Nested:
    """The two layers apart, then merged."""
    results = []
    states = call.argument(1, "initial_state")
    halves: list[Any] = [None, None]
    if states:
        half = len(states) // 2
        halves = [states[:half], states[half:]]
    steps = Steps.of(replace(call, entry=forward))
    for entry, part, own in ((forward, "forward_layer", halves[0]), (backward, "backward_layer", halves[1])):
        arguments = (steps.x, own) if own else (steps.x,)
        results.append(list(flat(call.models.inner(entry, joined(call.name, part), arguments, steps.mask))))
    (y, *ends), (reverse, *reverse_ends) = results
    if steps.return_sequences:
        reverse = call.add("flip", [reverse], {"axes": (1,)}, suffix="in_order")
    outputs = (y, reverse) if merge_mode == "none" else (_merged(call, y, reverse, merge_mode),)
    return _given(call, steps, outputs, (*ends, *reverse_ends))


def _merged(call: Call, y: Value, reverse: Value, mode: str) -> Value:
    if mode == "concat":
        return call.add("concatenate", [y, reverse], {"axis": y.rank - 1})
    kinds = {"sum": "add", "ave": "average", "mul": "multiply"}
    if mode not in kinds:
        raise call.refused(f"merge_mode {mode!r} is not known")
    return call.add(kinds[mode], [y, reverse], {})


def _given(call: Call, steps: Steps, outputs: tuple[Value, ...], states: tuple[Value, ...]) -> Nested:
    if steps.return_sequences and steps.passed_mask is not None:
        for output in outputs:
            call.builder.masks[output.name] = steps.passed_mask
    given = [*outputs, *(states if steps.return_state else ())]
    return given if len(given) > 1 else given[0]


def _turned(entry: Entry) -> Entry:
    """The layer that Bidirectional makes of a copy for the other direction."""
    return replace(entry, config={**entry.config, "go_backwards": True})


def _zeroing(entry: Entry) -> Entry:
    """The layer as Bidirectional sets it: masked steps of a sequence give zeros, whatever its own config says."""
    return replace(entry, config={**entry.config, "zero_output_for_mask": bool(entry.config.get("return_sequences"))})


def _are_alike(call: Call, one: Entry, other: Entry) -> bool:
    """Whether the two layers are the two directions of one, the first of them forwards."""
    if one.class_name != other.class_name or one.config.get("go_backwards") or not other.config.get("go_backwards"):
        return False
    same = ("return_sequences", "return_state", "stateful", "use_bias", "zero_output_for_mask")
    return cell_settings(call, one) == cell_settings(call, other) and all(
        one.config.get(key) == other.config.get(key) for key in same
    )


@translates("TimeDistributed")
def time_distributed(call: Call) -> Nested:
    """A layer at every step: the steps are samples of their own while it runs."""
    inner = call.entry.inner("layer")
    if inner is None:
        raise call.refused("its config has no layer")
    x = call.x
    if inner.class_name in _LAST_AXIS_ONLY:
        return call.models.inner(inner, call.name, (x,), None)
    if call.mask(x) is not None and inner.class_name in (*KIND_OF_CLASS, "RNN", "Bidirectional"):
        raise call.refused("a mask on a recurrent layer at every step is not supported")
    folded = call.add("fold_time", [x], {}, suffix="steps")
    outputs = call.models.inner(inner, call.name, (folded,), None)
    unfolded = [call.add("unfold_time", [y, x], {}, suffix="in_time") for y in flat(outputs)]
    mask = call.mask(x)
    if mask is not None:
        call.builder.masks[unfolded[0].name] = mask
    return unfolded[0] if isinstance(outputs, Value) else unfolded
