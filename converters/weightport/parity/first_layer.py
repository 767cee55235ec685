"""What a model takes in, told from its layers: for models that do not say so themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..checkpoint import Checkpoint
from ..errors import LayoutError, UsageError
from ..match import layer_view
from ..views import View
from .inputs import InputSpec


def specs_of_first_layer(checkpoint: Checkpoint) -> tuple[InputSpec, ...]:
    """What the first layer takes in, for models that do not say what they do.

    Raises UsageError where there is no layer that says."""
    steps = _RECURRENT & {layer.kinds[0] for layer in checkpoint.layers}
    for layer in checkpoint.layers:
        try:
            spec = _sequence if steps and layer.kinds[0] == "dense" else _SPECS[layer.kinds[0]]
            return (spec(layer_view(checkpoint, layer, layer.kinds[0])),)
        except (LayoutError, KeyError):
            continue
    raise UsageError(f"{checkpoint.contents.origin} does not say what inputs it takes")


def _sequence(view: View) -> InputSpec:
    return InputSpec("input", (None, None, view.sizes[0]["in"]))


def _features(view: View) -> InputSpec:
    return InputSpec("input", (None, view.sizes[0]["in"]))


def _image(view: View) -> InputSpec:
    groups = view.conditions.get("groups", 1)
    space = [None for axis in view.sizes[0] if axis.startswith("...")]
    return InputSpec("input", (None, *space, view.sizes[0]["in"] * (groups if isinstance(groups, int) else 1)))


def _tokens(view: View) -> InputSpec:
    return InputSpec("input", (None, None), "int32", view.sizes[0]["token"])


_RECURRENT = frozenset({"lstm", "gru", "rnn", "mgu"})
_SPECS = {
    **dict.fromkeys(_RECURRENT, _sequence),
    "dense": _features,
    "conv": _image,
    "embedding": _tokens,
}


def kernel_reach(checkpoints: Sequence[Checkpoint]) -> int:
    """What the kernels of a model need in one direction of space, strides included, one model as good as the other."""
    needed = [0]
    for checkpoint in checkpoints:
        reach = 0
        for layer in checkpoint.layers:
            if layer.kinds[0] == "conv":
                reach += _kernel_reach(checkpoint, layer)
        needed.append(reach)
    return max(needed)


def _kernel_reach(checkpoint: Checkpoint, layer: Any) -> int:
    try:
        sizes = layer_view(checkpoint, layer, "conv").sizes[0]
    except LayoutError:
        return 0
    spread = [value if isinstance(value, int) else max(value) for value in _stated(layer, ("dilation", "strides"))]
    return max((size for axis, size in sizes.items() if axis.startswith("...")), default=1) * int(np.prod(spread))


def _stated(layer: Any, names: Sequence[str]) -> list[Any]:
    return [layer.settings.get(name, 1) for name in names]
