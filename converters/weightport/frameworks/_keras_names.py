"""Layers of a file that has lists of weights and no config: what each one is, its variables' names and shapes tell."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from ..checkpoint import Contents, Layer
from ._keras_classes import ATTENTION_GROUPS, CLASS_OF_SNAKE, KIND_OF_CLASS, Writer
from ._keras_config import entry_of, joined, layer_name, stem
from ._keras_units import Unit, Walk, layers_of

VARIABLE_NAMES = {
    "kernel",
    "recurrent_kernel",
    "bias",
    "gamma",
    "beta",
    "moving_mean",
    "moving_variance",
    "embeddings",
    "depthwise_kernel",
    "pointwise_kernel",
    "alpha",
}
_KERAS_1_NAMES = {
    "W": "kernel",
    "U": "recurrent_kernel",
    "b": "bias",
    "gamma": "gamma",
    "beta": "beta",
    "running_mean": "moving_mean",
    "running_std": "moving_variance",
}
_KERAS_1 = re.compile(rf"(?:(.+)_)?([WUb]_[ifcozrh]|{'|'.join(_KERAS_1_NAMES)})(?:_\d+)?")
_KERAS_1_GATES = {frozenset("ifco"): "LSTM", frozenset("zrh"): "GRU"}
_ATTENTION = set(ATTENTION_GROUPS["MultiHeadAttention"])
_OWN_NAMES = {frozenset({"embeddings"}): "Embedding", frozenset({"alpha"}): "PReLU"}
_BATCH_NORM = {"gamma", "beta", "moving_mean", "moving_variance"}
_STACK = "stacked_rnn_cells"
_DIRECTION = re.compile(r"(forward|backward)_.+")


@dataclass(frozen=True)
class _Cluster:
    """The variables of one object: the names above them in the file, and their tensors by local name."""

    parents: tuple[str, ...]
    tensors: Mapping[str, str]

    @property
    def direction(self) -> str | None:
        """The half of a Bidirectional that it is, None where it is none."""
        found = _DIRECTION.fullmatch(self.parents[-1]) if self.parents else None
        return found.group(1) if found else None

    def named(self, variable: str) -> str:
        """The tensor of a variable; the kernel of a depthwise convolution was called so before Keras 3."""
        return self.tensors.get(variable) or self.tensors[f"depthwise_{variable}"]

    def own_name(self, *, in_pair: bool) -> str:
        """The name of the layer it is, or of the Bidirectional whose half it is; of a cell, the half that it is in."""
        if in_pair:
            return self.parents[-2] if len(self.parents) > 1 else ""
        halves = [found.group(1) for part in self.parents[:-1] if (found := _DIRECTION.fullmatch(part))]
        return ".".join([*(f"{half}_layer" for half in halves), *self.parents[-1:]])


def local_name(weight: str) -> str:
    """A variable's own name: the last part of its path, without TensorFlow's ``:0`` and counter."""
    name = re.sub(r":\d+$", "", weight.rpartition("/")[2])
    return stem(name) if stem(name) in VARIABLE_NAMES else name


def named_layers(
    contents: Contents, walk: Walk, group: str, weights: Sequence[str]
) -> tuple[list[Layer], dict[str, str]]:
    """The layers in one of a file's groups, and the reasons why other tensors of it are none."""
    shapes = {name: contents.tensors[name].shape for name in weights}
    layers: list[Layer] = []
    unknown: dict[str, str] = {}
    found_clusters = _clusters(group, weights, walk.writer)
    attentions, others = _attentions(found_clusters)
    for above, tensors in attentions.items():
        own = ".".join(above[-1:])
        name = joined(layer_name(group), own) if own and others else layer_name(group)
        layers.append(Layer(name, ("multi_head_attention",), tensors))
    parts = list(_parts(others))
    for clusters in parts:
        own = clusters[0].own_name(in_pair=len(clusters) == 2) if len(parts) > 1 else ""
        name, own = joined(layer_name(group), own) if own else layer_name(group), own or group
        found = _layer(walk, clusters, name, own, shapes)
        if not isinstance(found, str):
            layers += found
        else:
            names = [tensor for cluster in clusters for tensor in cluster.tensors.values()]
            unknown |= dict.fromkeys(names, f"{name}: {found}")
    return layers, unknown


def _layer(
    walk: Walk, clusters: Sequence[_Cluster], name: str, own: str, shapes: Mapping[str, tuple[int, ...]]
) -> list[Layer] | str:
    """The layers of one cluster or of the two halves of a Bidirectional, or the reason why they are none."""
    raws = [_raw(cluster, own, shapes) for cluster in clusters]
    known = [raw for raw in raws if not isinstance(raw, str)]
    if len(known) < len(raws):
        return next(raw for raw in raws if isinstance(raw, str))
    wrapped = {"class_name": "Bidirectional", "config": {"layer": known[0], "backward_layer": known[-1]}}
    entry = entry_of(known[0] if len(known) == 1 else wrapped)
    units = list(walk.units(entry, name)) if entry else []
    if len(units) != 1 or units[0].kind is None:
        return next((unit.reason for unit in units if unit.reason), "its two halves are not alike")
    tensors = {
        owner.prefix + variable.name: cluster.named(variable.name)
        for owner, cluster in zip(units[0].owners, clusters, strict=True)
        for variable in owner.variables
    }
    return layers_of(_doubted(units[0], own) if units[0].kind == "conv" else units[0], tensors, shapes)


def _attentions(clusters: Sequence[_Cluster]) -> tuple[dict[tuple[str, ...], dict[str, str]], list[_Cluster]]:
    """The tensors of each attention, by the names above its dense layers; and the clusters that are of none."""
    inside = [cluster for cluster in clusters if cluster.parents and cluster.parents[-1] in _ATTENTION]
    above: dict[tuple[str, ...], dict[str, str]] = {}
    for cluster in inside:
        own = {f"{cluster.parents[-1]}/{local}": name for local, name in cluster.tensors.items()}
        above.setdefault(cluster.parents[:-1], {}).update(own)
    whole = {parents: found for parents, found in above.items() if set(_ATTENTION) - {"gate"} <= _parts_of(found)}
    return whole, [cluster for cluster in clusters if cluster not in inside or cluster.parents[:-1] not in whole]


def _parts_of(tensors: Mapping[str, str]) -> set[str]:
    return {local.partition("/")[0] for local in tensors}


def _doubted(unit: Unit, name: str) -> Unit:
    """A convolution with a note, unless its name is its class': a transposed one may have the same names and shapes."""
    if stem(name) in CLASS_OF_SNAKE or not unit.entry.class_name.startswith("Conv"):
        return unit
    return replace(unit, notes=(*unit.notes, "is taken for conv by names and shapes: the file does not name its class"))


def _clusters(group: str, weights: Sequence[str], writer: Writer) -> list[_Cluster]:
    """The weights of one group put together by the names above them."""
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for weight in weights:
        inside = re.search(rf"(?:^|/){re.escape(group)}/", weight)
        parents = weight[inside.end() if inside else 0 :].split("/")[:-1]
        local = local_name(weight)
        old = _KERAS_1.fullmatch(local) if writer.major < 2 else None
        if old:  # the layer's name stands before the variable's: dense_1_W
            parents, local = [*parents, old.group(1) or ""], old.group(2)
        cluster = found.setdefault(tuple(parents), {})
        cluster[f"{local} again, {weight}" if local in cluster else local] = weight
    return [_Cluster(_without_cell(parents), _renamed(tensors)) for parents, tensors in found.items()]


def _renamed(tensors: Mapping[str, str]) -> Mapping[str, str]:
    """The variables of Keras 1 by the names of later versions, but for recurrent layers, which have other ones."""
    is_recurrent = any(local.startswith("U") for local in tensors)
    return tensors if is_recurrent else {_KERAS_1_NAMES.get(local, local): name for local, name in tensors.items()}


def _without_cell(parents: tuple[str, ...]) -> tuple[str, ...]:
    """Since 2.4 an RNN's variables stand below its cell: lstm/lstm_cell/kernel. Cells of a stack keep their names."""
    *above, last = parents or ("",)
    is_only_cell = stem(last).endswith("_cell") and not (above and stem(above[-1]) == _STACK)
    return tuple(above) if is_only_cell else parents


def _parts(clusters: Sequence[_Cluster]) -> Iterator[list[_Cluster]]:
    """The clusters of one layer each: one, or the forward and the backward half of a Bidirectional."""
    halves: dict[tuple[str, ...], dict[str, _Cluster]] = {}
    for cluster in clusters:
        if cluster.direction:
            halves.setdefault(cluster.parents[:-1], {})[cluster.direction] = cluster
    for cluster in clusters:
        half = halves.get(cluster.parents[:-1], {}) if cluster.direction else {}
        if set(half) != {"forward", "backward"}:
            yield [cluster]
        elif cluster is half["forward"]:
            yield [half["forward"], half["backward"]]


def _raw(cluster: _Cluster, name: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any] | str:
    """The class and the flags of the layer that has these variables, or the reason why there is none."""
    names = set(cluster.tensors)
    of = {local: shapes[tensor] for local, tensor in cluster.tensors.items()}
    said = CLASS_OF_SNAKE.get(stem(name), "")
    if said and said not in KIND_OF_CLASS:
        return f"{said} has no kind yet"
    flags: dict[str, object] = {"use_bias": "bias" in names, "scale": "gamma" in names, "center": "beta" in names}
    if names == {"W", "U", "b"}:  # the forms of Keras 1
        of, flags = {_KERAS_1_NAMES[local]: shape for local, shape in of.items()}, {"consume_less": "gpu"}
    class_name = _keras_1_class(names) or _class_name(set(of), of, said)
    if class_name is None or (said and KIND_OF_CLASS[said] != KIND_OF_CLASS[class_name]):
        listed = ", ".join(f"{local} {list(shape)}" for local, shape in of.items())
        return f"a layer with {listed} is of no known kind, or can be of several"
    return {"class_name": class_name, "config": flags}


def _keras_1_class(names: set[str]) -> str | None:
    """The class that has three variables for each of these gates."""
    gates = frozenset(local[-1] for local in names)
    return _KERAS_1_GATES.get(gates) if names == {f"{local}_{gate}" for local in "WUb" for gate in gates} else None


def _class_name(names: set[str], shapes: Mapping[str, tuple[int, ...]], said: str) -> str | None:
    """The class whose variables have these names and shapes; ``said`` is what a default name tells."""
    if {"kernel", "recurrent_kernel"} <= names <= {"kernel", "recurrent_kernel", "bias"}:
        return _recurrent_class(shapes)
    if frozenset(names) in _OWN_NAMES:
        return _OWN_NAMES[frozenset(names)]
    if {"moving_mean", "moving_variance"} <= names <= _BATCH_NORM:
        return "BatchNormalization"
    if names and names <= {"gamma", "beta"}:
        return said if said == "LayerNormalization" else None
    if "depthwise_kernel" in names:
        base = "SeparableConv" if "pointwise_kernel" in names else "DepthwiseConv"
        return {3: f"{base}1D", 4: f"{base}2D"}.get(len(shapes["depthwise_kernel"]))
    return _of_kernel(shapes["kernel"], shapes.get("bias"), said) if {"kernel"} <= names <= {"kernel", "bias"} else None


def _of_kernel(kernel: tuple[int, ...], bias: tuple[int, ...] | None, said: str) -> str | None:
    """The class of a layer that has this kernel and this bias: the one that its name says, if they can be its."""
    dense = {2: "Dense", 3: "Conv1D", 4: "Conv2D", 5: "Conv3D"}.get(len(kernel))
    turned = {3: "Conv1DTranspose", 4: "Conv2DTranspose", 5: "Conv3DTranspose"}.get(len(kernel))
    depthwise = {3: "DepthwiseConv1D", 4: "DepthwiseConv2D"}.get(len(kernel))
    fits = {"": kernel[-1:], "transposed": kernel[-2:-1], "depthwise": (prod(kernel[-2:]),)}
    able = {end for end, shape in fits.items() if bias in (None, shape)}
    if said in ("EinsumDense", turned, depthwise):
        end = {turned: "transposed", depthwise: "depthwise"}.get(said, "")
        return said if end in able or said == "EinsumDense" else None
    return dense if "" in able else turned if able == {"transposed"} else None


def _recurrent_class(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    kernel, recurrent, bias = shapes["kernel"], shapes["recurrent_kernel"], shapes.get("bias")
    if len(kernel) != len(recurrent) or len(recurrent) < 2 or not recurrent[-2] or kernel[-1] != recurrent[-1]:
        return None
    units = recurrent[-2]
    rows, rest = divmod(recurrent[-1], units)
    if rest or (len(recurrent) > 2 and rows != 4):
        return None
    if len(recurrent) > 2:
        return {3: "ConvLSTM1D", 4: "ConvLSTM2D", 5: "ConvLSTM3D"}.get(len(recurrent))
    # An LSTM or GRU of cuDNN has its two biases one after the other, a GRU of Keras one below the other.
    forms: dict[int, list[tuple[int, ...]]] = {4: [(4,), (8,)], 3: [(3,), (6,), (2, 3)], 1: [(1,)]}
    fits = bias is None or bias in [(*form[:-1], form[-1] * units) for form in forms.get(rows, [])]
    return {4: "LSTM", 3: "GRU", 1: "SimpleRNN"}.get(rows) if fits else None
