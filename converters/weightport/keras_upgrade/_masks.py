"""Where the masks of time steps go in a model, to find what Keras 3 would do otherwise than Keras 2 did.

Layers that merge take a step where every input's mask takes it in Keras 2 (``_Merge.compute_mask``), and where any
does in Keras 3, which forgets the masks altogether if one input has none. That is the same only for one mask. A
recurrent layer that is given initial states finds the mask of its steps in Keras 2 only (Keras 3: ``Layer.__call__``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from ._nodes import Tensor, tensors_of
from ._values import JSON

Mask: TypeAlias = frozenset[str] | None
"""The layers whose masks a tensor's is made of; None where it has none."""

_MERGES = {"Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract"}
_CARRIERS = {
    *("Activation", "ActivityRegularization", "AlphaDropout", "BatchNormalization", "Dense", "Dropout", "ELU"),
    *("GaussianDropout", "GaussianNoise", "GroupNormalization", "LayerNormalization", "LeakyReLU", "PReLU", "ReLU"),
    *("Softmax", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "TimeDistributed", "UnitNormalization"),
    *("Attention", "AdditiveAttention", "MultiHeadAttention", "InputLayer"),
}
_RECURRENT = {"LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"}
_READERS = {*_RECURRENT, "Attention", "AdditiveAttention", "MultiHeadAttention", "GlobalAveragePooling1D", "Softmax"}


def mask_problems(model: JSON) -> list[str]:
    """One line for each layer that would get another mask in Keras 3."""
    return [problem for problem, is_lost in _problems(model).items() if not is_lost]


def lost_masks(model: JSON) -> list[str]:
    """One line for each recurrent layer that would get no mask when Keras 3 runs it, and has one as Keras 2 does."""
    return [problem for problem, is_lost in _problems(model).items() if is_lost]


def _problems(model: JSON) -> dict[str, bool]:
    """Every problem, and whether it is a mask that gets lost."""
    problems: dict[str, bool] = {}
    _through(model, (), problems)
    return problems


def _through(model: JSON, given: Sequence[Mask], problems: dict[str, bool]) -> list[Mask]:
    """The masks of a model's outputs when its inputs have the given ones."""
    config = model["config"]
    if "input_layers" not in config:
        mask = given[0] if given else None
        for layer in config["layers"]:
            mask = _after(layer, [mask], problems)[0]
        return [mask]
    known: dict[Tensor, Mask] = {}
    inputs = [name for name, _, _ in tensors_of(config["input_layers"])]
    known |= {(name, 0, 0): mask for name, mask in zip(inputs, given, strict=False)}
    for _ in config["layers"]:
        before = len(known)
        for layer in config["layers"]:
            known |= dict(_calls(layer, known, problems))
        if len(known) == before:
            break
    # The outputs count the calls of a Functional model inside from one.
    ends = tensors_of(config["output_layers"])
    return [known.get((name, call, output), known.get((name, call - 1, output))) for name, call, output in ends]


def _calls(layer: JSON, known: Mapping[Tensor, Mask], problems: dict[str, bool]) -> Iterator[tuple[Tensor, Mask]]:
    """The masks that each call of a layer gives, where those of all its inputs are known."""
    if not layer["inbound_nodes"] and (layer["name"], 0, 0) not in known:
        yield (layer["name"], 0, 0), None
    for number, call in enumerate(layer["inbound_nodes"]):
        tensors = list(tensors_of(call))
        new = (layer["name"], number, 0) not in known
        if new and all(tensor in known for tensor in tensors):
            if layer["class_name"] in _RECURRENT and known[tensors[0]] and _has_states_only(call):
                problems[_lost(layer)] = True
            for output, mask in enumerate(_after(layer, [known[tensor] for tensor in tensors], problems)):
                yield (layer["name"], number, output), mask


def _after(layer: JSON, masks: Sequence[Mask], problems: dict[str, bool]) -> list[Mask]:
    """The masks of a layer's outputs when its inputs have these."""
    class_name, config = layer["class_name"], layer["config"]
    if "layers" in config:
        return _through(layer, masks, problems)
    met = [mask for mask in masks if mask is not None]
    if class_name in _READERS:
        told = (_told(name, layer) for mask in met for name in mask if name.startswith("!"))
        problems |= dict.fromkeys(told, False)
    if class_name == "Masking" or (class_name == "Embedding" and config.get("mask_zero")):
        return [frozenset({config["name"]})]
    if class_name == "Concatenate":
        return [frozenset().union(*met) if met else None]
    if class_name in _MERGES:
        return [masks[0] if len(set(masks)) == 1 else frozenset({f"!{config['name']}"})]
    if class_name in _RECURRENT:
        states = [None] * 8  # of a layer that gives its states, too, and of two directions apart
        return [masks[0] if _gives_sequences(config) else None, *states]
    return [masks[0] if class_name in _CARRIERS else None]


def _has_states_only(call: Any) -> bool:
    keywords = call.get("kwargs", {}) if isinstance(call, Mapping) else {}
    return bool(keywords.get("initial_state")) and not keywords.get("mask")


def _lost(layer: JSON) -> str:
    return (
        f"{layer['config']['name']}: it is given initial states, and Keras 3 does not find the mask of its steps then; "
        "ONNX and PyTorch source (.py) compute what Keras 2 does"
    )


def _told(name: str, reader: JSON) -> str:
    return (
        f"{name[1:]}: its inputs have different masks, which Keras 3 joins otherwise than Keras 2, and "
        f"{reader['config']['name']} reads the mask that it gives"
    )


def _gives_sequences(config: Mapping[str, Any]) -> bool:
    inner = config.get("layer")
    said = inner["config"] if isinstance(inner, Mapping) else config
    return bool(said.get("return_sequences"))
