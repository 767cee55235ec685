"""Looking into a checkpoint: its layers and what each stores, and one layer's gates apart. Plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from .blocks import StoredBlock
from .checkpoint import Array, Checkpoint, Layer, Setting, Tensor
from .engine import strided
from .errors import LayoutError, UsageError
from .matching.sides import layer_view
from .planner import is_floating
from .views import View, families_of


@dataclass(frozen=True)
class TensorInfo:
    """One stored tensor of a layer: the layout's name of it, the file's, and what it holds.

    ``gates`` is their order inside the tensor, empty where it has none."""

    local: str
    name: str
    roles: tuple[str, ...]
    axes: str
    shape: tuple[int, ...]
    dtype: str
    gates: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayerInfo:
    """One layer: what it is, its tensors, and what the file says that its weights do not. ``kinds`` has several
    entries where the file does not tell; the tensors are described as the first."""

    name: str
    kinds: tuple[str, ...]
    layout: str
    tensors: tuple[TensorInfo, ...]
    settings: Mapping[str, Setting]
    notes: tuple[str, ...] = ()
    problem: str = ""

    @property
    def elements(self) -> int:
        """How many values the layer's tensors have."""
        return sum(prod(tensor.shape) for tensor in self.tensors)


@dataclass(frozen=True)
class BlockInfo:
    """One place of one parameter, as the mathematics has it (signs and run-time constants applied)."""

    role: str
    labels: tuple[str, ...]
    tensor: str
    shape: tuple[int, ...]
    mean: float
    std: float
    minimum: float
    maximum: float
    nan: int


def inspect_layers(checkpoint: Checkpoint) -> list[LayerInfo]:
    """Every layer of a checkpoint. Reads no tensor."""
    return [_layer_info(checkpoint, layer) for layer in checkpoint.layers]


def inspect_gates(checkpoint: Checkpoint, name: str) -> list[BlockInfo]:
    """The blocks of one layer, each gate (side, direction, stacked layer) apart.

    Raises UsageError where there is no such layer, LayoutError where its tensors fit no layout."""
    layer = layer_named(checkpoint, name)
    view = layer_view(checkpoint, layer, layer.kinds[0])
    roles = list(view.layout.kind.roles)
    blocks = sorted((block for block in view.blocks if block.tensor), key=lambda block: roles.index(block.role))
    return [_block_info(checkpoint, layer, view, block) for block in blocks]


def layer_named(checkpoint: Checkpoint, name: str) -> Layer:
    """The layer of that name. Raises UsageError listing what there is."""
    for layer in checkpoint.layers:
        if layer.name == name:
            return layer
    known = ", ".join(layer.name for layer in checkpoint.layers) or "none"
    raise UsageError(f"{checkpoint.contents.origin}: no layer {name!r}; it has {known}")


def _layer_info(checkpoint: Checkpoint, layer: Layer) -> LayerInfo:
    try:
        view = layer_view(checkpoint, layer, layer.kinds[0])
    except LayoutError as error:
        tensors = tuple(_plain_info(local, checkpoint.tensors[name]) for local, name in layer.tensors.items())
        return LayerInfo(layer.name, layer.kinds, "", tensors, layer.settings, layer.notes, str(error))
    tensors = tuple(_tensor_info(checkpoint, view, local, name) for local, name in layer.tensors.items())
    settings = {**layer.settings, **{name: view.settings[name] for name in view.settings if name in layer.settings}}
    return LayerInfo(layer.name, layer.kinds, view.layout.name, tensors, settings, layer.notes)


def _plain_info(local: str, tensor: Tensor) -> TensorInfo:
    return TensorInfo(local, tensor.name, (), "", tensor.shape, str(tensor.dtype))


def _tensor_info(checkpoint: Checkpoint, view: View, local: str, name: str) -> TensorInfo:
    tensor = checkpoint.tensors[name]
    blocks = sorted((b for b in view.blocks if b.tensor == local), key=lambda block: block.block.offset)
    gates = [label for block in blocks for label in (_place(view, block).get("gate", ""),) if label]
    axes = dict.fromkeys(part.axes for family in families_of(view, local) for part in family.parts)
    return TensorInfo(
        local=local,
        name=name,
        roles=tuple(dict.fromkeys(block.role for block in blocks)),
        axes=" + ".join(axes),
        shape=tensor.shape,
        dtype=str(tensor.dtype),
        gates=tuple(dict.fromkeys(gates)),
    )


def _place(view: View, block: StoredBlock) -> dict[str, str]:
    axes = view.layout.kind.labelled_axes(block.role)
    return {axis: str(label) for axis, label in zip(axes, block.covers[0], strict=True)}


def _block_info(checkpoint: Checkpoint, layer: Layer, view: View, block: StoredBlock) -> BlockInfo:
    values = strided(np.ascontiguousarray(checkpoint.tensors[layer.tensors[block.tensor]].read()), block.block)
    numbers = values.astype(np.float64) * block.sign + block.adds
    mean, std, minimum, maximum = _statistics(numbers)
    return BlockInfo(
        role=block.role,
        labels=tuple(_labels(view, block)),
        tensor=block.tensor,
        shape=tuple(values.shape),
        mean=mean,
        std=std,
        minimum=minimum,
        maximum=maximum,
        nan=int(np.isnan(numbers).sum()) if is_floating(values.dtype) else 0,
    )


def _labels(view: View, block: StoredBlock) -> Iterator[str]:
    """The labels that tell the block from its neighbours: no layer or direction where there is one only, and no side
    where both are summed."""
    for axis, labels in zip(view.layout.kind.labelled_axes(block.role), zip(*block.covers, strict=True), strict=True):
        if view.counts.get(axis, 2) > 1 and len(set(labels)) == 1:
            yield f"layer {labels[0]}" if axis == "layer" else str(labels[0])


def _statistics(numbers: Array) -> tuple[float, float, float, float]:
    """Mean, standard deviation, minimum and maximum of what is not NaN."""
    present = numbers[~np.isnan(numbers)]
    if not present.size:
        return (float("nan"),) * 4
    return float(present.mean()), float(present.std()), float(present.min()), float(present.max())
