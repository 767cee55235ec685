"""Models of Keras 1 and 2 in ONNX Runtime and as PyTorch source give the outputs that those recorded themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

import weightport as wp
from old_keras import call, functional, input_layer, layer, write_h5

FOLDER = Path(__file__).parents[2] / "fixtures/keras"
FILES = {
    "tf_keras": ("recurrent.h5", "convolution.h5", "nested.h5", "nested.keras", "sequence.keras", "cudnn.h5"),
    "keras-1.2.2": ("recurrent.h5", "others.h5", "sequence.h5"),
}


@pytest.fixture(params=[f"{folder}/{name}" for folder, names in FILES.items() for name in names])
def old(request):
    """A file, its recorded inputs, and its outputs by name or place."""
    path = FOLDER / request.param
    with np.load(path.with_suffix(".npz")) as recorded:
        inputs = [recorded[name] for name in recorded.files if name.startswith("input/")]
        outputs = {name.partition("/")[2]: recorded[name] for name in recorded.files if name.startswith("output/")}
    return path, inputs, outputs


def compare(found, expected):
    """By name where the older Keras recorded names, else by place."""
    assert len(found) == len(expected) > 0
    by_name = set(found) == set(expected)
    for index, (name, values) in enumerate(found.items()):
        np.testing.assert_allclose(values, expected[name if by_name else str(index)], rtol=0, atol=1e-5, err_msg=name)


def test_an_old_model_computes_what_it_did(old, tmp_path) -> None:
    path, inputs, expected = old
    wp.convert(path, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    given = dict(zip([value.name for value in session.get_inputs()], inputs, strict=True))
    outputs = [value.name for value in session.get_outputs()]
    compare(dict(zip(outputs, session.run(None, given), strict=True)), expected)


def test_an_old_model_computes_the_same_as_pytorch_source(old, tmp_path) -> None:
    path, inputs, expected = old
    wp.convert(path, tmp_path / "model.py")
    module = {"__name__": "model", "__file__": str(tmp_path / "model.py")}
    exec(compile((tmp_path / "model.py").read_text(), "model.py", "exec"), module)
    with torch.no_grad():
        result = module["load"]()(*(torch.from_numpy(values) for values in inputs))
    results = result if isinstance(result, tuple) else (result,)
    names = expected if "0" in expected else sorted(expected)  # a dictionary's outputs come by their keys
    compare({name: value.numpy() for name, value in zip(names, results, strict=True)}, expected)


@pytest.mark.parametrize("suffix", ["onnx", "py", "keras"])
@pytest.mark.parametrize(("shape", "ordering"), [((3, 2, 4, 5), "th"), ((2, 4, 3, 5), "tf")])
def test_a_convolution_of_keras_1_is_refused_whatever_its_kernel_looks_like(tmp_path, shape, ordering, suffix) -> None:
    said = {"nb_filter": 5, "nb_row": shape[0], "nb_col": shape[1], "dim_ordering": ordering, "bias": False}
    conv = layer("Convolution2D", "conv", call("image"), **said)
    weights = {"conv": {"conv_W": np.ones(shape, "float32")}}
    old = write_h5(
        tmp_path / "old.h5", functional([input_layer("image", 6, 7, 3), conv], ["conv"]), weights, version=None
    )
    with pytest.raises(wp.RefusedError, match=r"conv.*the axes of a convolution of Keras 1 depend on"):
        wp.convert(old, tmp_path / f"model.{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == ["old.h5"]


def test_a_sequence_that_begins_by_merging_others_has_its_weights_carried_and_is_refused_as_a_model(tmp_path) -> None:
    branches = [
        {"class_name": "Sequential", "config": [{"class_name": "Dense", "config": {"name": name, "output_dim": 3}}]}
        for name in ("left", "right")
    ]
    merge = {"class_name": "Merge", "config": {"name": "merge", "mode": "concat", "layers": branches}}
    config = {"class_name": "Sequential", "config": [merge, {"class_name": "Dense", "config": {"name": "last"}}]}
    weights = {
        name: {f"{name}_W": np.ones((size, 3), "float32"), f"{name}_b": np.ones(3, "float32")}
        for name, size in (("left", 4), ("right", 5), ("last", 6))
    }
    old = write_h5(tmp_path / "old.h5", config, weights, version=None)
    wp.convert(old, tmp_path / "weights.safetensors")
    for suffix in ("keras", "onnx", "py"):
        with pytest.raises(wp.RefusedError) as caught:
            wp.convert(old, tmp_path / f"model.{suffix}")
        assert caught.value.problems == ("merge: a Sequential model that begins by merging others is not carried",)


def test_a_registered_class_of_an_old_model_is_written_by_its_own_emitter(tmp_path) -> None:
    def emit(context, operation):
        (slope,) = operation.weights
        weight = context.weight(operation, context.turned(operation, slope, (0,)), "slope")
        context.put(operation, context.node("Mul", [context.get(operation), weight]))

    generator = np.random.default_rng(4)
    slope, kernel, bias = (generator.normal(size=shape).astype("float32") for shape in ((4,), (4, 3), (3,)))
    weights = {"mine": {"mine/slope:0": slope}, "dense": {"dense/kernel:0": kernel, "dense/bias:0": bias}}
    layers = [input_layer("x", 4), layer("Sloped", "mine", call("x")), layer("Dense", "dense", call("mine"), units=3)]
    old = write_h5(tmp_path / "old.h5", functional(layers, ["dense"]), weights)
    with pytest.raises(wp.RefusedError, match="mine: Sloped is no layer of Keras 3"):
        wp.convert(old, tmp_path / "model.onnx")
    wp.register_layer("Sloped", emit)
    wp.convert(old, tmp_path / "model.onnx")
    values = generator.normal(size=(3, 4)).astype("float32")
    (found,) = onnxruntime.InferenceSession(str(tmp_path / "model.onnx")).run(None, {"x": values})
    np.testing.assert_allclose(found, (values * slope) @ kernel + bias, rtol=1e-5, atol=1e-6)
    with pytest.raises(wp.RefusedError, match="mine: Sloped is no layer of Keras 3"):
        wp.convert(old, tmp_path / "model.keras")
