"""Two files with no framework installed: weights and references are compared, and what could not be reached is said."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import weightport as wp

KERAS = Path(__file__).parents[2] / "fixtures" / "keras" / "keras-2.12" / "model.keras"
CODE = """
import sys
for name in ("keras", "tensorflow", "torch", "jax", "onnxruntime"):
    sys.modules[name] = None  # as if it were not installed
from weightport.cli import main
sys.argv = ["weightport", "verify", *sys.argv[1:]]
main()
"""


def verify(*files):
    """The command in a process in which no framework can be imported."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, *map(str, files), "--json"], capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.fixture
def torch_file(tmp_path):
    """What the Keras file is as PyTorch weights."""
    wp.convert(KERAS, tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


def test_weights_and_layers_are_compared_and_the_model_depth_says_why_it_is_not_reached(torch_file):
    status, found = verify(KERAS, torch_file)
    depths = {depth["name"]: depth for depth in found["depths"]}
    assert (status, found["passed"]) == (0, True)
    assert (depths["weights"]["verdict"], depths["layers"]["verdict"]) == ("agrees", "agrees")
    assert "by the NumPy reference" in depths["layers"]["reason"]
    assert depths["model"]["verdict"] == "not reached"
    assert "Keras is not installed" in depths["model"]["reason"]
    assert "weights and no code" in depths["model"]["reason"]
    assert all(layer["reference"]["maximum"] <= layer["reference"]["tolerance"] for layer in found["layers"])


def test_a_wrong_weight_is_found_all_the_same(torch_file):
    tensors = {name: np.array(array) for name, array in load_file(torch_file).items()}
    name = next(name for name, array in tensors.items() if array.ndim == 2)
    tensors[name][1, 1] += 0.25
    save_file(tensors, torch_file)
    status, found = verify(KERAS, torch_file)
    assert (status, found["passed"]) == (1, False)
    assert found["first"] == name.rpartition(".")[0]
    assert found["causes"]
