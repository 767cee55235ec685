"""Recurrent layers in one direction: LSTM, GRU, SimpleRNN, their cells in an RNN, and stacks of cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...frameworks._keras_activations import activation_name
from ...frameworks._keras_config import Entry, joined
from ..activations import known_activation
from ..keras_call import KERAS_3, Call, Nested, flat, translates
from ..operations import Value
from .convolution import is_channels_first, many

_KINDS = {"LSTM": "lstm", "GRU": "gru", "SimpleRNN": "rnn"}
KIND_OF_CLASS = {**_KINDS, **{f"{name}Cell": kind for name, kind in _KINDS.items()}}
STATE_NAMES = {"lstm": ("hidden", "cell"), "gru": ("hidden",), "rnn": ("hidden",)}


@translates("LSTM", "GRU", "SimpleRNN")
def recurrent(call: Call) -> Nested:
    """One layer of one direction."""
    steps = Steps.of(call)
    return steps.results(call, steps.run(call, call.entry, call.name, steps.states))


@translates("RNN")
def rnn_of_cells(call: Call) -> Nested:
    """A cell, or a stack of cells of which each reads the steps that the one below gives."""
    cell = call.entry.inner("cell")
    cells = (cell.inner_list("cells") if cell and cell.class_name == "StackedRNNCells" else None) or (cell,)
    unknown = [one.class_name if one else "?" for one in cells if one is None or one.class_name not in KIND_OF_CLASS]
    if unknown:
        raise call.refused(f"the cell {unknown[0]} is not known")
    names = [call.name] if len(cells) == 1 else [joined(call.name, one.name) for one in cells if one]
    return _stack(call, [one for one in cells if one], names)


def _stack(call: Call, cells: Sequence[Entry], names: Sequence[str]) -> Nested:
    steps = Steps.of(call)
    left, x = list(steps.states), steps.x
    ends: list[Value] = []
    outputs: tuple[Value, ...] = ()
    for index, (cell, name) in enumerate(zip(cells, names, strict=True)):
        last = index == len(cells) - 1
        count = len(STATE_NAMES[KIND_OF_CLASS[cell.class_name]])
        own, left = left[:count], left[count:]
        one = replace(
            steps,
            x=x,
            return_sequences=steps.return_sequences or not last,
            backwards=steps.backwards and index == 0,
        )
        outputs = one.run(call, cell, name, own)
        x, ends = outputs[0], [*ends, *outputs[1:]]
        steps = steps.turned_mask(call) if index == 0 else steps
    return steps.results(call, (outputs[0], *ends))


@translates("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
def conv_lstm(call: Call) -> Nested:
    """An LSTM whose products are convolutions."""
    steps, config = Steps.of(call), call.config
    if steps.mask is not None:
        raise call.refused("a mask is not supported")
    rank = call.x.rank - 3
    named = {"activation": config.get("activation"), "recurrent_activation": config.get("recurrent_activation")}
    settings = {
        **{key: known_activation(activation_name(said, KERAS_3), call.name) for key, said in named.items()},
        "units": config["filters"],
        "strides": many(config.get("strides", 1), rank),
        "dilation": many(config.get("dilation_rate", 1), rank),
        "padding": str(config.get("padding", "valid")).lower(),
        "channels_first": is_channels_first(config),
        "direction": "backwards" if steps.backwards else "forward",
        "return_sequences": steps.return_sequences,
        "return_state": True,
    }
    if steps.stateful:
        raise call.refused("its states cannot be kept between calls")
    weights = call.own_weights("kernel", "recurrent_kernel", "bias")
    ends = [f"last_{name}" for name in STATE_NAMES["lstm"]]
    layout = call.weights.layout(call.name, "conv_lstm")
    return steps.results(
        call, call.add_all("conv_lstm", [steps.x, *steps.states], settings, weights=weights, layout=layout, ends=ends)
    )


@dataclass(frozen=True)
class Steps:
    """What a recurrent layer is called with, and what its call is to give.

    ``mask`` leaves steps out, ``passed_mask`` goes on with the output. They differ where there are initial states:
    Keras 3 finds a mask by itself for layers that take one tensor only (keras/src/layers/layer.py, __call__)."""

    x: Value
    mask: Value | None
    passed_mask: Value | None
    states: tuple[Value, ...]
    return_sequences: bool
    return_state: bool
    backwards: bool
    stateful: bool
    zeros_masked: bool

    @classmethod
    def of(cls, call: Call) -> Steps:
        """From a call of a recurrent layer or of what is around it."""
        x = call.x
        mask = call.argument(2, "mask")
        states = call.argument(1, "initial_state")
        if isinstance(call.arguments[0], list | tuple):  # Keras 2: [x, state, ...]
            states = states or call.arguments[0][1:]
        config = call.config
        given = mask if isinstance(mask, Value) else None
        states = tuple(flat(states))
        passed = given or call.mask(x)
        return cls(
            x=x,
            mask=given if states and not call.models.is_legacy else passed,
            passed_mask=passed,
            states=states,
            return_sequences=bool(config.get("return_sequences")),
            return_state=bool(config.get("return_state")),
            backwards=bool(config.get("go_backwards")),
            stateful=bool(config.get("stateful")),
            zeros_masked=bool(config.get("zero_output_for_mask")),
        )

    def run(self, call: Call, entry: Entry, name: str, states: Sequence[Value]) -> tuple[Value, ...]:
        """Add the operation of one layer: its output, then its last states."""
        kind = KIND_OF_CLASS[entry.class_name]
        settings = {
            **cell_settings(call, entry),
            "direction": "backwards" if self.backwards else "forward",
            "return_sequences": self.return_sequences,
            "return_state": True,
            "merge_mode": "concat",
            "zero_output_for_mask": self.zeros_masked,
        }
        given = list(states) or self.own_states(call, kind, name, settings["units"])
        own, weights = replace(call, name=name), call.weights.of(name)
        if not weights:
            raise own.unknown_weights("kernel")
        outputs = own.add_all(
            kind,
            [self.x, self.mask, *given],
            settings,
            weights=weights,
            layout=call.weights.layout(name, kind),
            ends=[f"last_{state}" for state in STATE_NAMES[kind]],
        )
        self.keep_states(call, kind, name, outputs[1:])
        return outputs

    def own_states(self, call: Call, kind: str, name: str, units: int) -> list[Value]:
        """Inputs for the states of a stateful layer, which an ONNX model or a module does not keep by itself."""
        if not self.stateful:
            return []
        if not any(note.startswith(f"{name} is stateful") for note in call.builder.notes):
            call.builder.notes.append(f"{name} is stateful: its states are inputs and outputs of the model")
        return [
            call.builder.input(f"{name}.{state}", (self.x.shape[0], units), self.x.dtype) for state in STATE_NAMES[kind]
        ]

    def keep_states(self, call: Call, kind: str, name: str, states: Sequence[Value]) -> None:
        """Results for the last states of a stateful layer."""
        if self.stateful:
            for state, value in zip(STATE_NAMES[kind], states, strict=True):
                call.builder.state(f"{name}.last_{state}", value)

    def turned_mask(self, call: Call) -> Steps:
        """After a cell that reads backwards, the steps and with them their mask stand the other way round."""
        if self.mask is None or not self.backwards:
            return self
        turned = call.add("flip", [self.mask], {"axes": (1,)}, suffix="mask")
        return replace(self, mask=turned, passed_mask=turned)

    def results(self, call: Call, outputs: Sequence[Value]) -> Nested:
        """What the layer returns; a sequence keeps the mask of the steps that it was made from."""
        if self.return_sequences and self.passed_mask is not None:
            call.builder.masks[outputs[0].name] = self.passed_mask
        return list(outputs) if self.return_state else outputs[0]


def cell_settings(call: Call, entry: Entry) -> dict[str, Any]:
    """What the mathematics of a cell depends on."""
    config: Mapping[str, Any] = entry.config
    kind = KIND_OF_CLASS[entry.class_name]
    settings: dict[str, Any] = {"units": config["units"]}
    named = {"activation": config.get("activation", "tanh")}
    if kind != "rnn":
        named["recurrent_activation"] = config.get("recurrent_activation", "sigmoid")
    for key, said in named.items():
        settings[key] = known_activation(activation_name(said, KERAS_3), call.name)
    if kind == "lstm":
        settings["cell_activation"] = settings["activation"]
    if kind == "gru":
        settings["reset"] = "after" if config.get("reset_after") else "before"
    return settings
