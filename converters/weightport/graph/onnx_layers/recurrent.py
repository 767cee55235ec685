"""Recurrent layers as the native ``LSTM``, ``GRU`` and ``RNN``; both directions of a pair are one node.

Only activations that these do not have make a ``Scan`` of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..onnx_context import Context, plain, time_first
from ..onnx_registry import emits
from ..operations import Operation
from .masked_steps import Compact
from .reshaping import FIRST
from .scanned_recurrent import Given, scanned

if TYPE_CHECKING:
    import onnx_ir as ir

_OPERATORS = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}
_DIRECTIONS = {"forward": "forward", "backwards": "reverse", "bidirectional": "bidirectional"}
_STATES = {"lstm": 2, "gru": 1, "rnn": 1}

# The operators' own functions, and their alpha and beta.
_FUNCTIONS: Mapping[str, tuple[str, float | None, float | None]] = {
    "elu": ("Elu", 1.0, None),
    "hard_sigmoid": ("HardSigmoid", 1 / 6, 0.5),
    "hard_sigmoid_0.2": ("HardSigmoid", 0.2, 0.5),
    "leaky_relu": ("LeakyRelu", 0.2, None),
    "linear": ("Affine", 1.0, 0.0),
    "relu": ("Relu", None, None),
    "sigmoid": ("Sigmoid", None, None),
    "softplus": ("Softplus", None, None),
    "softsign": ("Softsign", None, None),
    "sparse_sigmoid": ("HardSigmoid", 0.5, 0.5),
    "tanh": ("Tanh", None, None),
}
_NAMES: Mapping[str, tuple[str, ...]] = {
    "lstm": ("recurrent_activation", "activation", "cell_activation"),
    "gru": ("recurrent_activation", "activation"),
    "rnn": ("activation",),
}
_MERGES = {"sum": "ReduceSum", "ave": "ReduceMean", "mul": "ReduceProd"}


@emits("lstm", "gru", "rnn")
def recurrent(c: Context, operation: Operation) -> None:
    """One node or a ``Scan``, what turns its steps, and what its outputs are made of."""
    settings = operation.settings
    compact = Compact.of(c, operation) if c.has(operation, 1) else None
    x = compact.steps(c, operation) if compact else c.get(operation, order=time_first(3))
    weights = {name: c.weight(operation, tensor, name) for name, tensor in _weights(c, operation).items()}
    given = Given(x, weights, compact.lengths if compact else None, _initial_states(c, operation))
    run = _native if all(settings[name] in _FUNCTIONS for name in _NAMES[operation.kind]) else scanned
    y, *last = run(c, operation, given)
    if compact:
        _put_masked(c, operation, compact, y, last[0])
    elif settings["return_sequences"]:
        _put_sequences(c, operation, y)
    else:
        _put_last(c, operation, last[0])
    _put_states(c, operation, last)


def _native(c: Context, operation: Operation, given: Given) -> Sequence[ir.Value]:
    """ONNX' own operator: ``(time, directions, batch, units)``, then the last states ``(directions, batch, units)``."""
    weights = [given.weights["W"], given.weights["R"], given.weights.get("B")]
    inputs = _without_tail([given.x, *weights, given.lengths, *given.states])
    return c.node_of_many(_OPERATORS[operation.kind], inputs, _attributes(operation), 1 + _STATES[operation.kind])


def _weights(c: Context, operation: Operation) -> dict[str, Any]:
    return dict(c.planned(operation, f"onnx.{operation.kind}"))


def _without_tail(inputs: Sequence[ir.Value | None]) -> list[ir.Value | None]:
    """The inputs without those at the end that are absent."""
    end = len(inputs)
    while inputs[end - 1] is None:
        end -= 1
    return list(inputs[:end])


def _attributes(operation: Operation) -> dict[str, Any]:
    settings = operation.settings
    directions = 2 if settings["direction"] == "bidirectional" else 1
    functions = [_FUNCTIONS[settings[name]] for name in _NAMES[operation.kind]] * directions
    attributes: dict[str, Any] = {
        "hidden_size": settings["units"],
        "direction": _DIRECTIONS[settings["direction"]],
        "activations": [name for name, _, _ in functions],
        "activation_alpha": [alpha for _, alpha, _ in functions if alpha is not None],
        "activation_beta": [beta for _, _, beta in functions if beta is not None],
        "linear_before_reset": int(settings.get("reset") == "after"),
    }
    unneeded = [key for key in ("activation_alpha", "activation_beta") if not attributes[key]]
    unneeded += [] if operation.kind == "gru" else ["linear_before_reset"]
    return {key: value for key, value in attributes.items() if key not in unneeded}


def _initial_states(c: Context, operation: Operation) -> list[ir.Value | None]:
    """``(directions, batch, units)`` each, from Keras' states: all of one direction, then all of the other."""
    count = _STATES[operation.kind]
    given = range(2, len(operation.inputs))
    if not given:
        return [None] * count
    states: list[ir.Value | None] = []
    for which in range(count):
        parts = [c.node("Unsqueeze", [c.get(operation, index), c.whole([0])]) for index in list(given)[which::count]]
        states.append(parts[0] if len(parts) == 1 else c.node("Concat", parts, {"axis": 0}))
    return states


def _put_sequences(c: Context, operation: Operation, y: ir.Value) -> None:
    """From ``(time, directions, batch, units)``, which stays with the time first."""
    settings = operation.settings
    order = time_first(3)
    if settings["direction"] != "bidirectional":
        steps = c.node("Squeeze", [y, c.whole([1])])
        if settings["direction"] == "backwards":
            steps = c.node("Slice", [steps, c.whole([-1]), c.whole([FIRST]), c.whole([0]), c.whole([-1])])
        c.put(operation, steps, order)
    elif settings["merge_mode"] == "concat":
        aside = c.node("Transpose", [y], {"perm": [0, 2, 1, 3]})
        c.put(operation, c.node("Reshape", [aside, c.whole([0, 0, 2 * settings["units"]])]), order)
    elif settings["merge_mode"] == "none":
        for index, half in enumerate(_halves(c, y, 1)):
            c.put(operation, half, order, index)
    else:
        c.put(operation, c.node(_MERGES[settings["merge_mode"]], [y, c.whole([1])], {"keepdims": 0}), order)


def _put_last(c: Context, operation: Operation, y: ir.Value) -> None:
    """From ``(directions, batch, units)``."""
    settings = operation.settings
    if settings["direction"] != "bidirectional":
        c.put(operation, c.node("Squeeze", [y, c.whole([0])]))
    elif settings["merge_mode"] == "concat":
        aside = c.node("Transpose", [y], {"perm": [1, 0, 2]})
        c.put(operation, c.node("Reshape", [aside, c.whole([0, 2 * settings["units"]])]))
    elif settings["merge_mode"] == "none":
        for index, half in enumerate(_halves(c, y, 0)):
            c.put(operation, half, plain(2), index)
    else:
        c.put(operation, c.node(_MERGES[settings["merge_mode"]], [y, c.whole([0])], {"keepdims": 0}))


def _put_states(c: Context, operation: Operation, last: Sequence[ir.Value]) -> None:
    """The last states, those of one direction after those of the other."""
    settings, count = operation.settings, _STATES[operation.kind]
    both = settings["direction"] == "bidirectional"
    start = 2 if both and settings["merge_mode"] == "none" else 1
    for which, state in enumerate(last):
        places = [start + which, *([start + count + which] if both else [])]
        if not any(c.is_used(operation, place) for place in places):
            continue
        halves = _halves(c, state, 0) if both else [c.node("Squeeze", [state, c.whole([0])])]
        for place, half in zip(places, halves, strict=True):
            c.put(operation, half, plain(2), place)


def _halves(c: Context, value: ir.Value, axis: int) -> list[ir.Value]:
    """The two directions apart."""
    parts = c.node_of_many("Split", [value, c.whole([1, 1])], {"axis": axis}, 2)
    return [c.node("Squeeze", [part, c.whole([axis])]) for part in parts]


def _put_masked(c: Context, operation: Operation, compact: Compact, y: ir.Value, last: ir.Value) -> None:
    """As without a mask, once the steps are where they were."""
    settings = operation.settings
    both = settings["direction"] == "bidirectional"
    backward = [False, True] if both else [settings["direction"] == "backwards"]
    if settings["return_sequences"]:
        sides = _halves(c, y, 1) if both else [c.node("Squeeze", [y, c.whole([1])])]
        spread = [compact.spread(c, operation, side, backward=b) for side, b in zip(sides, backward, strict=True)]
        if settings["direction"] == "backwards":
            lists = [c.whole(one) for one in ([-1], [FIRST], [1], [-1])]
            spread = [c.node("Slice", [spread[0], *lists])]
    else:
        sides = _halves(c, last, 0) if both else [c.node("Squeeze", [last, c.whole([0])])]
        spread = [compact.last(c, operation, side, backward=b) for side, b in zip(sides, backward, strict=True)]
    if settings["merge_mode"] == "none" and both:
        for index, side in enumerate(spread):
            c.put(operation, side, None, index)
    else:
        c.put(operation, _merged(c, settings["merge_mode"], spread))


def _merged(c: Context, mode: str, sides: Sequence[ir.Value]) -> ir.Value:
    if len(sides) == 1:
        return sides[0]
    if mode == "concat":
        return c.node("Concat", list(sides), {"axis": -1})
    return c.node({"sum": "Add", "ave": "Mean", "mul": "Mul"}[mode], list(sides))
