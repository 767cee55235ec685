"""Configs and files as Keras 1 and 2 wrote them, made by hand for the cases that no recording has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np


def layer(class_name: str, name: str, /, *calls: list[Any], **config: Any) -> dict[str, Any]:
    """A layer of a Functional model of Keras 2, with its calls."""
    return {
        "class_name": class_name,
        "name": name,
        "config": {"name": name, "trainable": True, **config},
        "inbound_nodes": list(calls),
    }


def call(*names: str | list[Any], **keywords: Any) -> list[Any]:
    """One call of a layer on the first outputs of others."""
    return [[*([name, 0, 0] if isinstance(name, str) else name), keywords] for name in names]


def functional(layers: list[dict[str, Any]], outputs: list[str], name: str = "model") -> dict[str, Any]:
    """A Functional model of Keras 2."""
    inputs = [[item["name"], 0, 0] for item in layers if item["class_name"] == "InputLayer"]
    ends = [[output, 0, 0] for output in outputs]
    return {
        "class_name": "Model",
        "config": {"name": name, "layers": layers, "input_layers": inputs, "output_layers": ends},
    }


def input_layer(name: str, *shape: int | None) -> dict[str, Any]:
    return layer("InputLayer", name, batch_input_shape=[None, *shape], dtype="float32", sparse=False)


def write_h5(
    path: Path, config: dict[str, Any], weights: dict[str, dict[str, np.ndarray]], version: str | None = "2.2.4"
) -> Path:
    """A whole-model file: each layer's tensors in their order, under their names."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config).encode()
        if version is not None:
            file.attrs["keras_version"] = version.encode()
        holder = file.create_group("model_weights")
        holder.attrs["layer_names"] = [name.encode() for name in weights]
        for name, tensors in weights.items():
            group = holder.create_group(name)
            group.attrs["weight_names"] = [tensor.encode() for tensor in tensors]
            for tensor, values in tensors.items():
                group[tensor] = values
    return path
