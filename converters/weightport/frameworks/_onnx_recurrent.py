"""The settings of ONNX' LSTM, GRU and RNN operators. Source: onnx/docs/Operators.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..checkpoint import Setting
from ._onnx_graph import Node

# Operator -> the setting that each of its activation functions is, and the function by default.
_FUNCTIONS: Mapping[str, Mapping[str, str]] = {
    "LSTM": {"recurrent_activation": "Sigmoid", "activation": "Tanh", "cell_activation": "Tanh"},
    "GRU": {"recurrent_activation": "Sigmoid", "activation": "Tanh"},
    "RNN": {"activation": "Tanh"},
}
# Activation function -> its alpha and beta by default (onnxruntime/core/providers/cpu/rnn/rnn_helpers.cc).
_PARAMETERS: Mapping[str, Mapping[str, float]] = {
    "affine": {"alpha": 1.0, "beta": 0.0},
    "elu": {"alpha": 1.0},
    "hardsigmoid": {"alpha": 0.2, "beta": 0.5},
    "leakyrelu": {"alpha": 0.01},
    "scaledtanh": {"alpha": 1.0, "beta": 1.0},
    "thresholdedrelu": {"alpha": 1.0},
}
# The name that a setting has for a function with these parameters.
_SETTINGS: Mapping[str, tuple[str, tuple[float, ...]]] = {
    "elu": ("elu", (1.0,)),
    "hard_sigmoid": ("hardsigmoid", (1 / 6, 0.5)),
    "hard_sigmoid_0.2": ("hardsigmoid", (0.2, 0.5)),
    "leaky_relu": ("leakyrelu", (0.2,)),
    "linear": ("affine", (1.0, 0.0)),
}


def recurrent_settings(node: Node) -> Iterator[tuple[str, Setting]]:
    """The settings that a recurrent node states."""
    direction = node.text("direction", "forward")
    yield "direction", direction
    if node.op == "GRU":
        yield "reset", "after" if node.integer("linear_before_reset", 0) else "before"
    if node.op == "LSTM":
        yield "input_forget", bool(node.integer("input_forget", 0))
    settings = list(_FUNCTIONS[node.op])
    names = list(_activations(node))
    for index, setting in enumerate(settings):
        each = dict.fromkeys(names[index :: len(settings)])
        if each:
            yield setting, ", ".join(each)


def recurrent_notes(node: Node) -> Iterator[str]:
    """What a recurrent node does that no setting of its kind names."""
    settings = _FUNCTIONS[node.op]
    names = list(_activations(node))
    if any(len(set(names[index :: len(settings)])) > 1 for index in range(len(settings))):
        yield f"the two directions have different activations: {', '.join(names)}"
    if node.number("clip", 0.0):
        yield f"clip = {node.number('clip', 0.0):g}: what goes into the activations is clipped"
    if node.integer("layout", 0):
        yield "layout = 1: the batch is the first axis"


def _activations(node: Node) -> Iterator[str]:
    """The activation functions by the names that settings have, first those of the forward direction."""
    directions = 2 if node.text("direction", "forward") == "bidirectional" else 1
    names = node.texts("activations") or [*_FUNCTIONS[node.op].values()] * directions
    given = {"alpha": iter(node.numbers("activation_alpha")), "beta": iter(node.numbers("activation_beta"))}
    for name in names:
        # The lists have a value only for the functions that take one.
        defaults = _PARAMETERS.get(name.lower(), {})
        yield _setting(name.lower(), {key: next(given[key], value) for key, value in defaults.items()})


def _setting(name: str, parameters: Mapping[str, float]) -> str:
    values = tuple(parameters.values())
    for setting, (function, usual) in _SETTINGS.items():
        if function == name and all(abs(one - other) < 1e-6 for one, other in zip(usual, values, strict=True)):
            return setting
    shown = ", ".join(f"{key}={value:g}" for key, value in parameters.items())
    return f"{name}({shown})" if shown else name
