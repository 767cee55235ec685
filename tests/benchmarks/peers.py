"""What users do today for a part of the job: a few lines of their own, or an exporter of the graph.

    pip install tf2onnx onnxscript      # what keras.export and tf2onnx need

Each is a script that is given the source and the target.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

TENSORFLOW = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
TORCH = {"KERAS_BACKEND": "torch"}

KERAS_TO_TORCH = r"""
import keras, numpy as np, sys, torch
model = keras.saving.load_model(sys.argv[1], compile=False)
state = {}
for layer in model.layers:
    for index, array in enumerate(layer.get_weights()):
        axes = (3, 2, 0, 1) if array.ndim == 4 else tuple(range(array.ndim))[::-1]
        state[f"{layer.name}.{index}"] = torch.from_numpy(np.ascontiguousarray(array.transpose(axes)))
torch.save(state, sys.argv[2])
"""

# Keras exports a model that has run once; its PyTorch backend needs to know how many steps there are.
KERAS_LOAD = r"""
import keras, sys, tempfile
model = keras.saving.load_model(sys.argv[1], compile=False)
shape = [None, *(size or 16 for size in model.input_shape[1:])]
model(keras.ops.zeros([1, *shape[1:]]))
signature = [keras.InputSpec(shape=shape, dtype="float32", name="x")]
"""

KERAS_EXPORT = (
    KERAS_LOAD
    + r"""
model.export(sys.argv[2], format="onnx", verbose=False, input_signature=signature)
"""
)

TF2ONNX = (
    KERAS_LOAD
    + r"""
from tf2onnx import convert
with tempfile.TemporaryDirectory() as folder:
    model.export(folder, verbose=False, input_signature=signature)
    sys.argv = ["convert", "--saved-model", folder, "--output", sys.argv[2]]
    convert.main()
"""
)


@dataclass(frozen=True)
class Peer:
    """A way to do a part of the job without weightport."""

    name: str
    script: str
    environment: dict[str, str]
    suffix: str

    def command(self, source: object, target: object) -> list[object]:
        """The command that converts ``source`` to ``target``."""
        return [sys.executable, "-c", self.script, source, target]


PEERS = (
    Peer("by hand: Keras and PyTorch", KERAS_TO_TORCH, TENSORFLOW, ".pt"),
    Peer("keras.export, TensorFlow", KERAS_EXPORT, TENSORFLOW, ".onnx"),
    Peer("keras.export, PyTorch", KERAS_EXPORT, TORCH, ".onnx"),
    Peer("tf2onnx, from a SavedModel", TF2ONNX, TENSORFLOW, ".onnx"),
)
