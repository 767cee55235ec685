"""Modules whose state dict is a ``weight`` and perhaps a ``bias``: what their shapes allow, and what live ones say.

Sources: torch/nn/modules/{conv,linear,sparse,activation}.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..checkpoint import Setting

BAG = "torch.embedding_bag"

_KINDS_OF_RANK = {
    1: ("layer_norm", "group_norm", "rms_norm", "prelu"),
    2: ("dense", "embedding", "layer_norm", "rms_norm"),
    3: ("conv", "conv_transpose", "bilinear", "layer_norm", "rms_norm"),
}
_KINDS_OF_KERNELS = ("conv", "conv_transpose", "layer_norm", "rms_norm")


def plain_kinds(shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
    """What a ``weight`` with or without a ``bias`` can be: a bias' shape rules kinds out."""
    weight, bias = shapes["weight"], shapes.get("bias")
    kinds = _KINDS_OF_RANK.get(len(weight), _KINDS_OF_KERNELS)
    fits = {
        **dict.fromkeys(("dense", "conv", "bilinear"), bias is None or bias == weight[:1]),
        **dict.fromkeys(("embedding", "prelu", "rms_norm"), bias is None),
        "conv_transpose": bias is None or _is_of_groups(weight, bias),
        **dict.fromkeys(("layer_norm", "group_norm"), bias is None or bias == weight),
    }
    return tuple(kind for kind in kinds if fits[kind])


def _is_of_groups(weight: tuple[int, ...], bias: tuple[int, ...]) -> bool:
    """Whether a bias has the output channels of a transposed convolution, (in, out of a group, ...)."""
    if len(weight) < 2 or len(bias) != 1 or not weight[1] or bias[0] % weight[1]:
        return False
    groups = bias[0] // weight[1]
    return groups > 0 and weight[0] % groups == 0


def conv_settings(module: Any) -> Iterator[tuple[str, Setting]]:
    """Of a convolution, transposed or not."""
    yield "strides", one_or_all(module.stride)
    yield "dilation", one_or_all(module.dilation)
    yield "groups", module.groups
    padding = module.padding
    no_padding = not isinstance(padding, str) and not any(padding)
    yield "padding", padding if isinstance(padding, str) else "valid" if no_padding else one_or_all(padding)
    if module.transposed:
        yield "output_padding", one_or_all(module.output_padding)


def conv_notes(module: Any) -> Iterator[str]:
    """What a convolution does at the edges that no setting names."""
    if module.padding_mode != "zeros":
        yield f"pads with {module.padding_mode} and not with zeros"


def recurrent_notes(module: Any) -> Iterator[str]:
    """What a stack of recurrent layers does in training only."""
    if getattr(module, "dropout", 0):
        yield f"drops {module.dropout:g} of what goes from one layer to the next in training"


def embedding_notes(module: Any) -> Iterator[str]:
    """What an embedding does when it runs that its weight does not show."""
    if module.max_norm is not None:
        yield f"scales rows down to a norm of {module.max_norm:g} when it uses them"
    if type(module).__name__ == "EmbeddingBag" and module.padding_idx is not None:
        yield f"leaves row {module.padding_idx} out of every bag"


def bag_settings(module: Any) -> Iterator[tuple[str, Setting]]:
    """Of an EmbeddingBag."""
    yield "combine", module.mode


def one_or_all(values: Sequence[int]) -> Setting:
    """One number where all are the same."""
    return values[0] if len(set(values)) == 1 else tuple(values)
