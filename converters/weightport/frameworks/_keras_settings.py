"""What a Keras layer's config says of the settings of its kind, and what it says that no setting names.

A key that the config does not have gives no setting: nothing is taken from a default of some Keras version.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeGuard

from ..checkpoint import Setting
from ._keras_activations import activation_name
from ._keras_classes import CUDNN_CLASSES, KIND_OF_CLASS
from ._keras_config import Entry
from ._keras_einsum import EinsumForm, einsum_form

Settings = dict[str, Setting]
_DROPS = {"dropout": "inputs", "dropout_W": "inputs", "recurrent_dropout": "states", "dropout_U": "states"}
NORMS = ("batch_norm", "layer_norm", "group_norm", "rms_norm")


def settings_of(entry: Entry, outer: Entry, major: int) -> Settings:
    """The settings of a layer. ``outer`` is the RNN around a cell, and the layer itself where there is none."""
    kind = KIND_OF_CLASS[entry.class_name]
    if entry.class_name in CUDNN_CLASSES:
        return {**_cudnn_settings(kind), **dict(_recurrent_settings(kind, outer))}
    settings = dict(_activations(kind, entry, major))
    if kind == "gru" and "activation" in entry.config:  # before Keras 2.1 a GRU had no such flag, and was "before"
        settings["reset"] = "after" if entry.flag("reset_after") else "before"
    if kind in ("lstm", "gru", "rnn", "conv_lstm"):
        settings |= dict(_recurrent_settings(kind, outer))
    if kind in ("conv", "conv_lstm", "conv_transpose"):
        settings |= dict(_convolution_settings(entry))
    if kind in NORMS:
        settings |= dict(_norm_settings(kind, entry))
    if kind == "embedding":
        settings |= {key: value for key in ("mask_zero",) if (value := entry.flag(key)) is not None}
    return settings


def notes_of(entry: Entry, outer: Entry) -> tuple[str, ...]:
    """Facts that change what the layer computes, that its weights cannot carry and that no setting names."""
    return tuple(_notes(KIND_OF_CLASS[entry.class_name], entry, outer))


def _cudnn_settings(kind: str) -> Settings:
    settings: Settings = {"activation": "tanh", "recurrent_activation": "sigmoid"}
    return settings | ({"reset": "after"} if kind == "gru" else {"cell_activation": "tanh"})


def _activations(kind: str, entry: Entry, major: int) -> Iterator[tuple[str, Setting]]:
    gates = {"recurrent_activation": "recurrent_activation", "inner_activation": "recurrent_activation"}
    named = {"activation": "activation", **(gates if kind in ("lstm", "gru", "conv_lstm") else {})}
    for key, setting in named.items():
        if key in entry.config and kind not in (*NORMS, "embedding"):
            yield setting, activation_name(entry.config[key], major)
            if key == "activation" and kind in ("lstm", "conv_lstm"):  # one activation for candidate and cell
                yield "cell_activation", activation_name(entry.config[key], major)


def _recurrent_settings(kind: str, outer: Entry) -> Iterator[tuple[str, Setting]]:
    for key in ("return_sequences", *(("stateful",) if kind != "conv_lstm" else ())):
        value = outer.flag(key)
        if value is not None:
            yield key, value
    backwards = outer.flag("go_backwards")
    if backwards is not None and kind != "conv_lstm":
        yield "direction", "backwards" if backwards else "forward"


def _convolution_settings(entry: Entry) -> Iterator[tuple[str, Setting]]:
    for key, setting in (("strides", "strides"), ("dilation_rate", "dilation"), ("output_padding", "output_padding")):
        sizes = _sizes(entry.config.get(key))
        if sizes:
            yield setting, sizes[0] if len(set(sizes)) == 1 else sizes
    padding = entry.config.get("padding")
    if isinstance(padding, str):
        yield "padding", padding.lower()
    groups = entry.whole("groups")
    if groups is not None and KIND_OF_CLASS[entry.class_name] == "conv":
        yield "groups", groups


def _norm_settings(kind: str, entry: Entry) -> Iterator[tuple[str, Setting]]:
    if entry.class_name == "Normalization":
        yield "epsilon", 0.0
    for key in ("epsilon", "momentum"):
        if _is_number(entry.config.get(key)):
            yield key, entry.config[key]
    groups = entry.whole("groups")
    if kind == "group_norm" and groups is not None and groups > 0:  # -1, one a channel, until it is built
        yield "groups", groups
    for key in ("rms_scaling", "invert"):
        if entry.flag(key):
            yield key, True


def _notes(kind: str, entry: Entry, outer: Entry) -> Iterator[str]:
    yield from _dropout_notes(kind, entry)
    if outer.flag("return_state"):
        yield "returns its last state too"
    if outer.flag("time_major"):
        yield "its input has the time axis first"
    if outer.flag("go_backwards") and kind == "conv_lstm":
        yield "reads its input from the last step to the first"
    if entry.config.get("data_format") == "channels_first":
        yield "its input has the channels first"
    if kind in NORMS:
        yield from _axis_notes(entry)
    if entry.class_name == "Normalization":
        yield "counts a deviation below 1e-7 as 1e-7"
    if entry.class_name == "EinsumDense":
        yield from _einsum_notes(entry)
    if entry.class_name == "ReversibleEmbedding":
        yield from _reversible_notes(entry)


def _dropout_notes(kind: str, entry: Entry) -> Iterator[str]:
    """What a layer leaves out at random while it is trained."""
    for key, what in _DROPS.items():
        rate = entry.config.get(key)
        if _is_number(rate) and rate > 0:
            yield f"drops {rate:g} of its {'scores' if kind.endswith('attention') else what} in training"


def _einsum_notes(entry: Entry) -> Iterator[str]:
    form = einsum_form(entry)
    if isinstance(form, EinsumForm) and not form.straight:
        yield f"its equation, {entry.config['equation']}, has axes in another order than a dense layer"


def _reversible_notes(entry: Entry) -> Iterator[str]:
    if entry.flag("tie_weights") is not False:
        yield "projects back with the same matrix, as a dense layer whose weight is tied to it"
    if _is_number(entry.config.get("logit_soft_cap")):
        yield f"caps the logits of its projection back at {entry.config['logit_soft_cap']:g}"


def _axis_notes(entry: Entry) -> Iterator[str]:
    """A note unless the config says that the layer normalises the last axis and no other."""
    axes = _sizes(entry.config.get("axis"))
    if axes and axes != (-1,) and (entry.rank is None or axes != (entry.rank - 1,)):
        yield f"normalises axis {' and '.join(map(str, axes))} of its input"


def _sizes(value: object) -> tuple[int, ...]:
    """One integer or a list of them; nothing where it is neither."""
    values: Sequence[Any] = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return tuple(values) if all(isinstance(item, int) and not isinstance(item, bool) for item in values) else ()


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
