"""Small honest checkpoints of every format, which the attacks change and the fuzzer starts from."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from torch_files import archive, dict_of, legacy, storage, tensor

KERNEL = np.linspace(-1, 1, 6, dtype=np.float32).reshape(3, 2)
BIAS = np.float32([0.25, -0.5])
TORCH = {"dense.weight": np.ascontiguousarray(KERNEL.T), "dense.bias": BIAS}

Fill = Callable[[h5py.File], None]


def dense(**config: Any) -> dict[str, Any]:
    """Keras' description of the layer."""
    whole = {"name": "dense", "trainable": True, "units": 2, "activation": "linear", "use_bias": True, **config}
    return {"module": "keras.layers", "class_name": "Dense", "config": whole, "registered_name": None}


def sequential(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Keras' description of a model."""
    shape = {"module": "keras.layers", "class_name": "InputLayer", "registered_name": None}
    first = {**shape, "config": {"batch_shape": [None, 3], "dtype": "float32", "name": "input"}}
    config = {"name": "sequential", "trainable": True, "layers": [first, *(layers or (dense(),))]}
    return {"module": "keras", "class_name": "Sequential", "config": config, "registered_name": None}


def objects_tree(file: h5py.File) -> None:
    """Keras 3's tree of objects with one dense layer."""
    group = file.create_group("layers/dense/vars")
    group.attrs["name"] = "dense"
    group["0"], group["1"] = KERNEL, BIAS
    file.create_group("vars")


def layers_tree(file: h5py.File, config: Mapping[str, Any] | None = None) -> None:
    """The same in the format of Keras 1 and 2."""
    file.attrs["keras_version"] = b"2.12.0"
    file.attrs["backend"] = b"tensorflow"
    file.attrs["model_config"] = json.dumps(config or sequential())
    holder = file.create_group("model_weights")
    holder.attrs["layer_names"] = [b"dense"]
    group = holder.create_group("dense")
    group.attrs["weight_names"] = [b"dense/kernel:0", b"dense/bias:0"]
    group["dense/kernel:0"], group["dense/bias:0"] = KERNEL, BIAS


def hdf5(path: Path, fill: Fill = objects_tree, **options: Any) -> Path:
    """An HDF5 file."""
    with h5py.File(path, "w", **options) as file:
        fill(file)
    return path


def hdf5_bytes(fill: Fill = objects_tree, **options: Any) -> bytes:
    """The same in memory."""
    memory = io.BytesIO()
    with h5py.File(memory, "w", **options) as file:
        fill(file)
    return memory.getvalue()


def keras_members(config: Any = None, weights: bytes | None = None) -> dict[str, bytes]:
    """What is in a ``.keras`` file."""
    return {
        "metadata.json": json.dumps({"keras_version": "3.10.0", "date_saved": "2026-01-01@00:00:00"}).encode(),
        "config.json": json.dumps(sequential() if config is None else config).encode(),
        "model.weights.h5": hdf5_bytes() if weights is None else weights,
    }


def zipped(path: Path, members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """A zip archive of these members."""
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def keras(path: Path, config: Any = None, weights: bytes | None = None) -> Path:
    """A ``.keras`` file."""
    return zipped(path, keras_members(config, weights))


def torch_pickle() -> bytes:
    """The program of a state dict with the layer's two tensors."""
    return dict_of(
        {
            "dense.weight": tensor((2, 3), (3, 1), of=storage(6, "0")),
            "dense.bias": tensor((2,), (1,), of=storage(2, "1")),
        }
    )


def torch_storages() -> dict[str, bytes]:
    """Their values by the keys of their storages."""
    return {str(number): array.tobytes() for number, array in enumerate(TORCH.values())}


def torch_zip(path: Path, pickle: bytes | None = None) -> Path:
    """A ``.pt`` file."""
    members = {f"data/{key}": data for key, data in torch_storages().items()}
    return archive(path, torch_pickle() if pickle is None else pickle, members)


def torch_legacy(path: Path, pickle: bytes | None = None) -> Path:
    """A ``.pth`` file as PyTorch before 1.6 wrote it."""
    return legacy(path, torch_pickle() if pickle is None else pickle, torch_storages())


def safetensors(path: Path) -> Path:
    """A ``.safetensors`` file."""
    from safetensors.numpy import save_file

    save_file(TORCH, path, {"format": "pt"})
    return path


def npz(path: Path) -> Path:
    """An ``.npz`` file, its tensors named as Flax names them."""
    np.savez(path, **{f"params/dense/{name}": array for name, array in (("kernel", KERNEL), ("bias", BIAS))})
    return path


def _packed(array: np.ndarray) -> bytes:
    """An array as Flax packs it; of so few elements that every length is one byte."""
    shape = bytes([0x90 | array.ndim, *array.shape])
    content = b"\x93" + shape + b"\xa7float32\xc4" + bytes([array.nbytes]) + array.tobytes()
    return b"\xc7" + bytes([len(content), 1]) + content


MSGPACK = b"\x81\xa6params\x81\xa5dense\x82\xa6kernel" + _packed(KERNEL) + b"\xa4bias" + _packed(BIAS)


def msgpack(path: Path) -> Path:
    """A ``.msgpack`` file of Flax."""
    path.write_bytes(MSGPACK)
    return path


def onnx(path: Path) -> Path:
    """An ``.onnx`` file."""
    from onnx import helper, numpy_helper

    from onnx_models import graph_model, save

    tensors = [numpy_helper.from_array(array, name) for name, array in (("kernel", KERNEL), ("bias", BIAS))]
    nodes = [helper.make_node("Gemm", ["x", "kernel", "bias"], ["y_out"], name="/dense/Gemm")]
    return save(graph_model(tensors, nodes, inputs=[helper.make_tensor_value_info("x", 1, [5, 3])]), path)


HONEST: Mapping[str, Callable[[Path], Path]] = {
    "model.keras": keras,
    "model.weights.h5": hdf5,
    "model.h5": lambda path: hdf5(path, layers_tree),
    "model.pt": torch_zip,
    "model.pth": torch_legacy,
    "model.safetensors": safetensors,
    "model.onnx": onnx,
    "model.npz": npz,
    "model.msgpack": msgpack,
}
"""A maker of each by a name with the right suffix."""
