"""Pooling: windows, whole maps and adaptive."""

from __future__ import annotations

from ..keras_call import Call, Nested, translates
from ..operations import Value
from .convolution import is_channels_first, many


@translates(
    *(f"{function}Pooling{rank}D" for function in ("Max", "Average") for rank in (1, 2, 3)),
)
def pool(call: Call) -> Nested:
    """Windows. What ``same`` adds takes no part in an average."""
    rank = call.x.rank - 2
    size = many(call.config.get("pool_size", 2), rank)
    strides = call.config.get("strides")
    settings = {
        "function": _function(call),
        "size": size,
        "strides": size if strides is None else many(strides, rank),
        "padding": str(call.config.get("padding", "valid")).lower(),
        "channels_first": is_channels_first(call.config),
    }
    return call.add("pool", [call.x], settings)


@translates(*(f"Global{function}Pooling{rank}D" for function in ("Max", "Average") for rank in (1, 2, 3)))
def global_pool(call: Call) -> Nested:
    """Everything but batch and channels becomes one; masked steps take no part in an average over time."""
    x = call.x
    counts = call.entry.class_name == "GlobalAveragePooling1D"
    mask = (call.argument(1, "mask") or call.mask(x)) if counts else None
    settings = {
        "function": _function(call),
        "keepdims": bool(call.config.get("keepdims", False)),
        "channels_first": is_channels_first(call.config),
    }
    return call.add("global_pool", [x, *([mask] if isinstance(mask, Value) else [])], settings)


@translates(*(f"Adaptive{function}Pooling{rank}D" for function in ("Max", "Average") for rank in (1, 2, 3)))
def adaptive_pool(call: Call) -> Nested:
    """Windows as large as it takes to give a certain number of them."""
    settings = {
        "function": _function(call),
        "size": many(call.config["output_size"], call.x.rank - 2),
        "channels_first": is_channels_first(call.config),
    }
    return call.add("adaptive_pool", [call.x], settings)


def _function(call: Call) -> str:
    return "max" if "MaxPooling" in call.entry.class_name else "average"
