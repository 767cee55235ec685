"""Keras layers that are several layers elsewhere: a separable convolution is a depthwise one and a pointwise one.

Each part is a layer of its own, called after the Keras layer: ``separable.depthwise``, ``separable.pointwise``.
Sources: keras/src/layers/convolutional/base_separable_conv.py, keras/src/layers/core/reversible_embedding.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ..checkpoint import Layer

DEPTHWISE = "keras.depthwise_conv"
_CONVOLUTION = frozenset({"strides", "padding", "dilation"})


@dataclass(frozen=True)
class Part:
    """One layer of several: the end of its name, its kind, its tensors by the whole's names, the settings it has."""

    name: str
    kind: str
    tensors: Mapping[str, str]
    settings: frozenset[str] = frozenset()
    layout: str = ""


_SEPARABLE = (
    Part("depthwise", "conv", {"depthwise_kernel": "kernel"}, _CONVOLUTION, DEPTHWISE),
    Part("pointwise", "conv", {"pointwise_kernel": "kernel", "bias": "bias"}, frozenset({"activation"})),
)
PARTS_OF_CLASS: Mapping[str, tuple[Part, ...]] = {
    "SeparableConv1D": _SEPARABLE,
    "SeparableConv2D": _SEPARABLE,
    "SeparableConvolution1D": _SEPARABLE,
    "SeparableConvolution2D": _SEPARABLE,
    "ReversibleEmbedding": (
        Part("", "embedding", {"embeddings": "embeddings"}, frozenset({"mask_zero", "combine"})),
        Part("reverse", "dense", {"reverse_embeddings": "kernel"}),
    ),
}


def taken_apart(layer: Layer, class_name: str) -> Iterator[Layer]:
    """The layers that one Keras layer is elsewhere; the layer itself where it is one everywhere."""
    parts = PARTS_OF_CLASS.get(class_name)
    if parts is None:
        yield layer
        return
    for part in parts:
        tensors = {local: layer.tensors[whole] for whole, local in part.tensors.items() if whole in layer.tensors}
        if tensors:
            yield replace(
                layer,
                name=f"{layer.name}.{part.name}" if part.name else layer.name,
                kinds=(part.kind,),
                tensors=tensors,
                settings={name: value for name, value in layer.settings.items() if name in part.settings},
                layout=part.layout,
            )
