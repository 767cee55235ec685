"""Recurrent layers: those of ``torch.nn`` where they compute the same, else small modules of the file's own."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...checkpoint import Output
from ..operations import Operation
from ..torch_code import Call, Code, call
from ..torch_context import Context
from ..torch_outputs import rearranged
from ..torch_registry import emits
from .activation import function_of

_OWN = {"lstm": "nn.LSTM", "gru": "nn.GRU", "rnn": "nn.RNN"}
_PARTS = {"lstm": "lstm.LSTM", "gru": "gru.GRU", "rnn": "rnn.RNN"}
_STATES = {"lstm": 2, "gru": 1, "rnn": 1}
_DEFAULTS = {"activation": "tanh", "cell_activation": "tanh", "recurrent_activation": "sigmoid"}
_SIDES = ("forward_steps", "backward_steps")
_OVER = {"sum": "sum", "ave": "mean", "mul": "prod"}
_MERGES = {"sum": "{0} + {1}", "ave": "({0} + {1}) / 2", "mul": "{0} * {1}"}


@emits("lstm", "gru", "rnn")
def recurrent(c: Context, operation: Operation) -> None:
    """One layer, of one direction or two."""
    if _is_own(c, operation):
        _own(c, operation)
    elif operation.settings["direction"] == "bidirectional":
        _two_parts(c, operation)
    else:
        _one_part(c, operation)


def _is_own(c: Context, operation: Operation) -> bool:
    """Whether ``torch.nn`` has a layer that computes it."""
    settings = operation.settings
    activations = {key: settings[key] for key in _DEFAULTS if key in settings}
    if operation.kind == "rnn" and activations["activation"] == "relu":
        activations["activation"] = "tanh"
    usual = all(value == _DEFAULTS[key] for key, value in activations.items())
    return usual and settings.get("reset", "after") == "after" and not c.has(operation, 1)


def _own(c: Context, operation: Operation) -> None:
    settings, both = operation.settings, operation.settings["direction"] == "bidirectional"
    weights = c.planned(operation, f"torch.{operation.kind}")
    made = call(
        _OWN[operation.kind],
        weights["weight_ih_l0"].shape[1],
        settings["units"],
        nonlinearity='"relu"' if settings["activation"] == "relu" else None,
        bias=None if "bias_ih_l0" in weights else False,
        batch_first=True,
        bidirectional=True if both else None,
    )
    layer = c.layer(operation, made, weights)
    given = [_turned_steps(c, operation)]
    states = _given_states(c, operation, both=both)
    given += [states] if states else []
    if not both:
        _put_one_way(c, operation, call(layer, *given), stacked=True)
    else:
        _put_both_ways(c, operation, call(layer, *given))


def _turned_steps(c: Context, operation: Operation) -> str:
    x = c.get(operation)
    return f"{x}.flip(1)" if operation.settings["direction"] == "backwards" else x


def _given_states(c: Context, operation: Operation, *, both: bool) -> str:
    """The initial states as ``torch.nn`` takes them: ``(directions, batch, units)``."""
    names = [c.get(operation, index) for index in range(2, len(operation.inputs)) if operation.inputs[index]]
    count = _STATES[operation.kind]
    if not names:
        return ""
    if not both:
        one = [f"{name}.unsqueeze(0)" for name in names]
        return one[0] if count == 1 else f"({', '.join(one)})"
    variables = []
    for index, name in enumerate(("h", "c")[:count]):
        variables.append(c.beside(name))
        c.line(variables[-1], call("torch.stack", f"[{', '.join(names[index::count])}]"))
    return variables[0] if count == 1 else f"({', '.join(variables)})"


def _put_one_way(c: Context, operation: Operation, made: Code, *, stacked: bool) -> None:
    """The outputs of a layer of one direction; ``stacked`` states have an axis of the directions before."""
    count = _STATES[operation.kind]
    wanted = _states_are_used(c, operation)
    sequence = c.target(operation)
    states = c.beside("states") if wanted else "_"
    c.line(f"{sequence}, {states}", made, c.shape_comment(operation, 0, steps=True))
    if not operation.settings["return_sequences"]:
        c.line(sequence, f"{sequence}[:, -1]", c.shape_comment(operation, 0))
    c.hold(operation, sequence)
    for index in range(count if wanted else 0):
        held = states if count == 1 and stacked else f"{states}[{index}]"
        c.hold(operation, f"{held}[0]" if stacked else held, index=1 + index)


def _states_are_used(c: Context, operation: Operation) -> bool:
    return any(c.is_used(value.name) for value in operation.outputs[1:])


def _put_both_ways(c: Context, operation: Operation, made: Code) -> None:
    """The outputs of a bidirectional layer of ``torch.nn``: concatenated, or put together as asked for."""
    settings, count = operation.settings, _STATES[operation.kind]
    mode, units = settings["merge_mode"], settings["units"]
    merged = 2 if mode == "none" else 1
    ends_only = not settings["return_sequences"]
    wanted = ends_only or any(c.is_used(value.name) for value in operation.outputs[merged:])
    y = c.target(operation)
    states = c.beside("states") if wanted else "_"
    width = "" if ends_only else c.both_ways_comment(operation)
    c.line(f"{'_' if ends_only else y}, {states}", made, width)
    h = states if count == 1 else f"{states}[0]"
    if mode == "none":
        halves = (f"{h}[0]", f"{h}[1]") if ends_only else (f"{y}[..., :{units}]", f"{y}[..., {units}:]")
        for index, half in enumerate(halves):
            variable = c.beside(_SIDES[index])
            c.line(variable, half, c.shape_comment(operation, index))
            c.hold(operation, variable, index=index)
    else:
        if ends_only:
            both = call("torch.cat", f"[{h}[0], {h}[1]]", dim=-1) if mode == "concat" else f"{h}.{_OVER[mode]}(0)"
            c.line(y, both, c.shape_comment(operation, 0))
        elif mode != "concat":
            c.line(y, f"{y}.unflatten(-1, (2, {units})).{_OVER[mode]}(-2)", c.shape_comment(operation, 0))
        c.hold(operation, y)
    for index in range(2 * count if wanted and states != "_" else 0):
        direction, which = divmod(index, count)
        held = states if count == 1 else f"{states}[{which}]"
        c.hold(operation, f"{held}[{direction}]", index=merged + index)


def _merged(mode: str, one: str, other: str) -> Code:
    if mode == "concat":
        return Call("torch.cat", (f"[{one}, {other}]", "dim=-1"))
    return _MERGES[mode].format(one, other)


def _one_part(c: Context, operation: Operation) -> None:
    """A layer of the file's own, of one direction."""
    weights = _part_weights(c, operation)[""]
    layer = c.layer(operation, _part(c, operation, weights), weights)
    backwards = operation.settings["direction"] == "backwards"
    given = [_turned_steps(c, operation), *_extras(c, operation, backwards=backwards)]
    _put_one_way(c, operation, call(layer, *given), stacked=False)


def _extras(c: Context, operation: Operation, *, backwards: bool = False) -> list[str]:
    """Initial states and mask, where there are any."""
    states = [c.get(operation, index) for index in range(2, len(operation.inputs)) if operation.inputs[index]]
    given = [f"states=({', '.join(states)}{',' if len(states) == 1 else ''})"] if states else []
    if c.has(operation, 1):
        mask = c.get(operation, 1)
        given.append(f"mask={mask}.flip(1)" if backwards else f"mask={mask}")
    return given


def _two_parts(c: Context, operation: Operation) -> None:
    """Two layers of the file's own, one of which reads from the end."""
    settings = operation.settings
    mode, merged = settings["merge_mode"], 2 if settings["merge_mode"] == "none" else 1
    sides = _part_weights(c, operation)
    parts = [_part(c, operation, weights) for weights in sides.values()]
    weights = {f"{side}_layer.{name}": output for side, found in sides.items() for name, output in found.items()}
    layer = c.layer(operation, call(c.part("bidirectional.Bidirectional"), *parts), weights)
    made = call(layer, c.get(operation), *_extras(c, operation))
    used = any(c.is_used(value.name) for value in operation.outputs[merged:])
    y, reverse, states = c.target(operation), c.beside("reverse"), c.beside("states") if used else "_"
    c.line(f"{y}, {reverse}, {states}", made)
    for index in range(len(operation.outputs) - merged if used else 0):
        c.hold(operation, f"{states}[{index}]", index=merged + index)
    one, other = (y, reverse) if settings["return_sequences"] else (f"{y}[:, -1]", f"{reverse}[:, 0]")
    if mode == "none":
        c.hold(operation, one)
        c.hold(operation, other, index=1)
    else:
        c.line(y, _merged(mode, one, other), c.shape_comment(operation, 0))
        c.hold(operation, y)


def _part(c: Context, operation: Operation, weights: Mapping[str, Output]) -> Call:
    """A layer of the file's own."""
    settings = operation.settings
    is_before = settings.get("reset") == "before"
    weight = weights["weight_ih" if is_before else "weight_ih_l0"]
    return call(
        c.part("gru.GRUResetBefore" if is_before else _PARTS[operation.kind]),
        weight.shape[1],
        settings["units"],
        bias=None if any(name.startswith("bias") for name in weights) else False,
        **unusual_activations(c, operation),
        zero_output_for_mask=True if settings["zero_output_for_mask"] and c.has(operation, 1) else None,
    )


def unusual_activations(c: Context, operation: Operation) -> dict[str, str]:
    """The functions that are not the usual ones."""
    settings = operation.settings
    return {
        key: function_of(c, operation, settings[key])
        for key in ("activation", "recurrent_activation")
        if key in settings and settings[key] != _DEFAULTS[key]
    }


def _part_weights(c: Context, operation: Operation) -> dict[str, dict[str, Output]]:
    """The weights of each direction by the parameters' names, the forward one first."""
    if operation.settings.get("reset") != "before":
        found = c.planned(operation, f"torch.{operation.kind}")
        if operation.settings["direction"] != "bidirectional":
            return {"": found}
        ends = {"forward": "l0", "backward": "l0_reverse"}
        return {
            side: {name.removesuffix("_reverse"): output for name, output in found.items() if name.endswith(end)}
            for side, end in ends.items()
        }
    found = c.planned(operation, "keras.gru")
    names = {"kernel": "weight_ih", "recurrent_kernel": "weight_hh", "bias": "bias"}
    sides = {"": ""} if "kernel" in found else {"forward": "forward_layer/", "backward": "backward_layer/"}
    return {
        side: {
            new: rearranged(found[prefix + old], np.transpose) for old, new in names.items() if prefix + old in found
        }
        for side, prefix in sides.items()
    }
