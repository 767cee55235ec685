"""Settings that both sides of a pair state and state differently: what weights cannot show, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping

from .checkpoint import Setting
from .differences import SettingDifference
from .layer_pairs import LayerSide
from .notation import SPATIAL, spatial_names

_ADVICE: Mapping[str, str] = {
    "activation": "both models have to apply the same function",
    "cell_activation": "both models have to apply the same function to the cell",
    "recurrent_activation": "both models have to apply the same function to the gates; hard_sigmoid is "
    "relu6(x + 3) / 6 in Keras 3 and PyTorch; it is clip(0.2 x + 0.5, 0, 1) in Keras 1 and 2, and in ONNX unless told "
    "otherwise",
    "reset": "the reset gate multiplies after the recurrent product or before it, which no weights make up for; "
    "build the Keras layer with reset_after=True (ONNX: linear_before_reset=1) to match PyTorch",
    "epsilon": "set it to one number in both models; the usual ones are 1e-3 in Keras, 1e-5 in PyTorch and ONNX",
    "momentum": "only training uses it",
    "padding": "the two pad differently, by as many elements or on other sides",
    "strides": "the outputs are of other sizes",
    "dilation": "the kernel's elements see other places",
    "groups": "the kernel's channels see other channels",
    "direction": "one of them reads the sequence from its other end, or gives out its steps in the other order",
    "return_sequences": "one gives out every step, the other the last one; take output[:, -1] of the first",
    "merge_mode": "the outputs of the two directions are put together differently",
    "stateful": "one keeps its state from batch to batch",
    "mask_zero": "one hides the steps whose token is 0 from later layers",
    "input_forget": "in one of them the forget gate is 1 - input gate",
}
"""What a user can do, by setting. One that is not here is stated without advice."""


def settings_differences(a: LayerSide, b: LayerSide) -> tuple[SettingDifference, ...]:
    """The settings that both sides state (or that their frameworks force) and that mean different things.

    Two spellings of one thing are no difference: ``(1, 1)`` and 1, padding ``valid`` and 0, ``same`` and the number
    of elements that it adds to this kernel."""
    sides = _comparable(a), _comparable(b)
    return tuple(
        SettingDifference(name, a.settings[name], b.settings[name], _ADVICE.get(name, ""))
        for name in a.kind.settings
        if name in sides[0] and name in sides[1] and sides[0][name] != sides[1][name]
    )


def _comparable(side: LayerSide) -> dict[str, Setting]:
    """The settings in one spelling."""
    settings = {name: _one_number(value) for name, value in side.settings.items()}
    if settings.get("padding") == "valid":
        settings["padding"] = 0
    if settings.get("padding") == "same":
        settings["padding"] = _same_in_numbers(side)
    return settings


def _one_number(value: Setting) -> Setting:
    """Equal numbers along every axis as that number."""
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value


def _same_in_numbers(side: LayerSide) -> Setting:
    """``same`` as numbers of elements, where these do not depend on the input's size and both ends have as many.

    A convolution adds what its kernel reaches beyond one place; a transposed one cuts off what that is more than a
    stride."""
    sizes = side.parts[0].view.sizes[0]
    kernel = [sizes[axis] for axis in spatial_names(SPATIAL, sizes)]
    strides, dilation = _each(side, "strides", len(kernel)), _each(side, "dilation", len(kernel))
    reach = [step * (size - 1) + 1 for step, size in zip(dilation, kernel, strict=True)]
    transposed = "output_padding" in side.kind.settings
    totals = [long - (step if transposed else 1) for long, step in zip(reach, strides, strict=True)]
    fixed = transposed or all(step == 1 for step in strides)
    if not fixed or any(total < 0 or total % 2 for total in totals):
        return "same"
    return _one_number(tuple(total // 2 for total in totals))


def _each(side: LayerSide, name: str, count: int) -> list[int]:
    """A setting's number along each axis of space."""
    value = side.settings.get(name, side.kind.settings[name])
    return list(value) if isinstance(value, tuple) else [int(value)] * count
