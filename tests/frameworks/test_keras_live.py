"""Live Keras models: read with every layer in its place, written in place, whatever the dtype and the backend."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import numpy as np
import pytest

from keras_models import MODELS, expect, nested, number, subclassed
from weightport.checkpoint import LazyTensor
from weightport.errors import CheckpointError, UsageError
from weightport.frameworks import framework_named, framework_of_model
from weightport.layouts import layout_named
from weightport.views import view_of

keras = pytest.importorskip("keras")

LIVE_MODELS = {**MODELS, "subclassed": subclassed}


@pytest.fixture
def framework():
    return framework_named("keras")


def assert_live(framework, model, expected):
    contents = framework.read_live(model)
    found = framework.structure(contents)
    assert [layer.name for layer in found.layers] == [layer.name for layer in expected]
    for layer, wanted in zip(found.layers, expected, strict=True):
        assert layer.kinds == (wanted.kind,)
        read = {local: contents.tensors[name].read() for local, name in layer.tensors.items()}
        values = wanted.values()
        assert set(read) == set(values), layer.name
        for local, array in read.items():
            np.testing.assert_array_equal(array, values[local], err_msg=f"{layer.name} {local}")
        shapes = {local: array.shape for local, array in read.items()}
        view_of(layout_named(f"keras.{wanted.kind}"), shapes, layer.settings)
    return contents, found


@pytest.mark.parametrize("name", LIVE_MODELS)
def test_every_layer_of_a_live_model_has_its_own_variables(name, framework):
    model, expected = LIVE_MODELS[name](keras)
    number(model)
    contents, found = assert_live(framework, model, expected)
    assert len(contents.tensors) == len(model.weights)
    unknown = {"block/scale": "block: Block has no kind yet"} if name == "subclassed" else {}
    assert found.unknown == unknown
    assert (contents.origin, contents.format) == (f"live {type(model).__name__}", "live")


@pytest.mark.parametrize("freeze", ["some", "inner", "all but one"])
def test_frozen_layers_are_found(freeze, framework):
    model, expected = nested(keras, freeze)
    number(model)
    assert_live(framework, model, expected)


def test_a_single_layer_is_a_model_too(framework):
    layer = keras.layers.Bidirectional(keras.layers.GRU(3), name="both")
    layer.build((2, 5, 4))
    number(layer)
    assert_live(framework, layer, [expect("both", "gru", layer.forward_layer.cell, layer.backward_layer.cell)])


def test_names_say_where_a_variable_is(framework):
    model, _ = MODELS["wrapped"](keras)
    cell, both = model.get_layer("one_cell").cell, model.get_layer("two_lstm")
    names = list(framework.read_live(model).tensors)
    assert f"one_cell/{cell.name}/recurrent_kernel" in names
    assert f"two_lstm/{both.backward_layer.name}/lstm_cell/bias" in names


def test_a_subclass_of_a_layer_stores_as_the_layer_does(framework):
    class Mine(keras.layers.Dense):
        pass

    model = keras.Sequential([keras.Input((4,)), Mine(3, name="mine", activation="relu")])
    found = framework.structure(framework.read_live(model))
    assert [(layer.name, layer.kinds, layer.settings) for layer in found.layers] == [
        ("mine", ("dense",), {"activation": "relu"})
    ]


def test_tensors_are_read_when_they_are_asked_for(framework):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="d")])
    tensor = framework.read_live(model).tensors["d/kernel"]
    model.layers[0].kernel.assign(np.full((4, 3), 7))
    np.testing.assert_array_equal(tensor.read(), np.full((4, 3), 7, "float32"))


def outputs(framework, model):
    """The model's tensors with other values, as outputs."""
    made = []
    for index, (name, tensor) in enumerate(framework.read_live(model).tensors.items()):
        values = (np.arange(tensor.read().size).reshape(tensor.shape) + 7 * index + 3).astype(tensor.dtype)
        made.append(LazyTensor(name, tensor.shape, tensor.dtype, lambda values=values: values))
    return made


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_writing_assigns_every_variable_in_place(dtype, framework):
    layers = keras.layers
    recurrent = layers.LSTM(3, return_sequences=True, dtype=dtype, recurrent_initializer="glorot_uniform")
    parts = [recurrent, layers.BatchNormalization(dtype=dtype)]
    model = keras.Sequential([keras.Input((5, 4)), *parts, layers.Dense(2, dtype=dtype)])
    before = [id(variable) for variable in model.weights]
    wanted = outputs(framework, model)
    framework.write_live(model, wanted)
    assert [id(variable) for variable in model.weights] == before
    after = framework.read_live(model).tensors
    for tensor in wanted:
        assert str(after[tensor.name].dtype) == dtype
        assert after[tensor.name].read().tobytes() == tensor.read().tobytes(), tensor.name


def test_nothing_is_written_where_one_tensor_fails(framework):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(2)])
    number(model)
    before = [np.array(variable) for variable in model.weights]
    *good, last = outputs(framework, model)

    def broken():
        raise CheckpointError("cut short")

    for bad in (
        LazyTensor(last.name, last.shape, last.dtype, broken),
        LazyTensor(last.name, (9,), last.dtype, lambda: np.zeros(9, last.dtype)),
    ):
        with pytest.raises(CheckpointError):
            framework.write_live(model, [*good, bad])
        for variable, value in zip(model.weights, before, strict=True):
            np.testing.assert_array_equal(variable, value)


def test_a_model_without_weights_is_refused(framework):
    with pytest.raises(UsageError, match="the live Sequential has no weights; build it or call it on an input first"):
        framework.read_live(keras.Sequential([keras.layers.Dense(3)]))


def test_models_are_told_by_their_classes(framework):
    assert framework_of_model(keras.Sequential()).NAME == "keras"
    assert framework_of_model(keras.layers.Dense(2)).NAME == "keras"
    assert not framework.owns(SimpleNamespace(layers=[]))
    assert not framework.owns(type("Layer", (), {"__module__": "tf_keras.src.engine.base_layer"})())


def test_a_model_on_the_torch_backend_is_keras_and_not_torch():
    pytest.importorskip("torch")
    program = """
        import ml_dtypes, numpy as np, keras
        from weightport.checkpoint import LazyTensor
        from weightport.frameworks import framework_of_model
        layers = keras.layers
        lstm = layers.LSTM(3, dtype="bfloat16", recurrent_initializer="glorot_uniform")
        both = layers.Bidirectional(lstm, name="both")
        model = keras.Sequential([keras.Input((5, 4)), both, layers.Dense(2, name="d")])
        framework = framework_of_model(model)
        contents = framework.read_live(model)
        names = [layer.name for layer in framework.structure(contents).layers]
        assert (framework.NAME, names) == ("keras", ["both", "d"]), (framework.NAME, names)
        tensor = next(iter(contents.tensors.values()))
        assert tensor.dtype == ml_dtypes.bfloat16, tensor
        values = np.linspace(-3, 3, tensor.read().size).reshape(tensor.shape).astype(ml_dtypes.bfloat16)
        framework.write_live(model, [LazyTensor(tensor.name, tensor.shape, tensor.dtype, lambda: values)])
        assert tensor.read().tobytes() == values.tobytes()
        got = model.layers[0].forward_layer.cell.kernel.value.detach().float().numpy()
        assert np.array_equal(got, values.astype("float32"))
    """
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
