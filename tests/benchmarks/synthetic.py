"""Keras models of any size, written as Keras 3 (``.keras``) and Keras 2 (``.h5``) write them, without Keras."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

CLASSES = {"recurrent": "LSTM", "dense": "Dense", "convolution": "Conv2D"}
WORDS = {"recurrent": "lstm", "dense": "dense", "convolution": "conv2d"}
VARIABLES = {"recurrent": ("kernel", "recurrent_kernel", "bias")}
FLOAT = 4


@dataclass(frozen=True)
class SyntheticModel:
    """Equal layers of one kind, one after the other; a layer's tensors sum to some 150, 67 or 38 MB, or to a 16th."""

    kind: str
    gigabytes: float

    @property
    def unit(self) -> int:
        """Units of a recurrent layer; the others are sized after it."""
        return 2048 if self.gigabytes >= 0.2 else 512

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of one layer's tensors, as Keras has them."""
        unit = self.unit
        if self.kind == "recurrent":
            return [(unit, 4 * unit), (unit, 4 * unit), (4 * unit,)]
        if self.kind == "dense":
            return [(2 * unit, 2 * unit), (2 * unit,)]
        return [(3, 3, unit // 2, unit // 2), (unit // 2,)]

    @property
    def names(self) -> list[str]:
        """The layers' names."""
        layer = FLOAT * sum(int(np.prod(shape)) for shape in self.shapes)
        count = max(1, round(self.gigabytes * 1e9 / layer))
        return [WORDS[self.kind] + (f"_{index}" if index else "") for index in range(count)]

    @property
    def largest(self) -> float:
        """MB of the largest tensor."""
        return FLOAT * max(int(np.prod(shape)) for shape in self.shapes) / 1e6

    def write_keras(self, path: Path) -> None:
        """The model as Keras 3 saves it."""
        weights = path.with_suffix(".weights.h5")
        generator = np.random.default_rng(1)
        with h5py.File(weights, "w", libver="earliest") as file:
            for name in self.names:
                group = file.create_group(f"layers/{name}/{'cell/' if self.kind == 'recurrent' else ''}vars")
                group.attrs["name"] = "lstm_cell" if self.kind == "recurrent" else name
                file.require_group(f"layers/{name}/vars").attrs["name"] = name
                for index, shape in enumerate(self.shapes):
                    group.create_dataset(str(index), data=generator.random(shape, np.float32))
        metadata = {"keras_version": "3.15.1", "date_saved": "2026-01-01@00:00:00"}
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("metadata.json", json.dumps(metadata))
            archive.writestr("config.json", json.dumps(self._config(module="keras.layers")))
            archive.write(weights, "model.weights.h5")
        weights.unlink()

    def write_legacy(self, path: Path) -> None:
        """The model as Keras 2 saves it."""
        generator = np.random.default_rng(1)
        with h5py.File(path, "w", libver="earliest") as file:
            file.attrs["keras_version"], file.attrs["backend"] = "2.12.0", "tensorflow"
            file.attrs["model_config"] = json.dumps(self._config(module=None))
            root = file.create_group("model_weights")
            root.attrs["layer_names"] = [name.encode() for name in self.names]
            for name in self.names:
                group = root.create_group(name)
                scope = f"{name}/lstm_cell" if self.kind == "recurrent" else name
                variables = [f"{scope}/{word}:0" for word in VARIABLES.get(self.kind, ("kernel", "bias"))]
                group.attrs["weight_names"] = [variable.encode() for variable in variables]
                for variable, shape in zip(variables, self.shapes, strict=True):
                    group.create_dataset(variable, data=generator.random(shape, np.float32))

    def _config(self, module: str | None) -> dict[str, object]:
        size = self.shapes[0][-2]
        shape = {"recurrent": [None, None, size], "dense": [None, size], "convolution": [None, 9, 9, size]}[self.kind]
        place = {"module": module} if module else {}
        word = "batch_shape" if module else "batch_input_shape"
        first = {"class_name": "InputLayer", "config": {word: shape, "dtype": "float32", "name": "input"}, **place}
        layers = [first, *({**self._layer(name), **place} for name in self.names)]
        model = {"class_name": "Sequential", "config": {"name": "model", "layers": layers}}
        return {**model, "module": "keras", "registered_name": None} if module else model

    def _layer(self, name: str) -> dict[str, object]:
        units = self.shapes[0][-1]
        own: dict[str, object] = {"units": units}
        if self.kind == "recurrent":
            own = {"units": units // 4, "recurrent_activation": "sigmoid", "return_sequences": True}
        if self.kind == "convolution":
            own = {"filters": units, "kernel_size": [3, 3], "padding": "same"}
        config = {"name": name, "activation": "tanh", "use_bias": True, **own}
        build = {"build_config": {"input_shape": [None, None, self.unit]}} if self.kind == "recurrent" else {}
        return {"class_name": CLASSES[self.kind], "config": config, **build}
