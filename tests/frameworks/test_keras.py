"""Keras checkpoints that real Keras saved: every layer is found, with its own variables' values and nothing else's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from keras_models import MODELS, expect, nested, number, subclassed
from weightport.checkpoint import Contents, LazyTensor
from weightport.errors import CheckpointError, UsageError
from weightport.formats import format_of_file
from weightport.frameworks import framework_named
from weightport.layouts import layout_named
from weightport.views import view_of

keras = pytest.importorskip("keras")

FILES = ["m.keras", "m.weights.h5", "m.h5"]


def save(model, path):
    """Save in the format of the suffix."""
    model.save_weights(path) if path.name.endswith(".weights.h5") else model.save(path)
    return format_of_file(path).read(path)


def structure(contents):
    return framework_named("keras").structure(contents)


def assert_found(contents, expected, *, in_order=True):
    """The checkpoint has these layers with these values, and its tensors fit the layouts of their kinds."""
    found = structure(contents)
    names = [layer.name for layer in found.layers]
    assert (names if in_order else sorted(names)) == (
        [e.name for e in expected] if in_order else sorted(e.name for e in expected)
    )
    by_name = {layer.name: layer for layer in found.layers}
    for layer in expected:
        got = by_name[layer.name]
        assert got.kinds == (layer.kind,), layer.name
        values = layer.values()
        assert set(got.tensors) == set(values), layer.name
        for local, name in got.tensors.items():
            np.testing.assert_array_equal(contents.tensors[name].read(), values[local], err_msg=f"{layer.name} {local}")
        shapes = {local: contents.tensors[name].shape for local, name in got.tensors.items()}
        view_of(layout_named(f"keras.{layer.kind}"), shapes, got.settings, got.storage)
    return found


def assert_all_covered(contents, found):
    """Every tensor is in one layer, or said to be skipped or unknown."""
    used = [name for layer in found.layers for name in layer.tensors.values()]
    assert sorted([*used, *found.skipped, *found.unknown]) == sorted(contents.tensors)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("name", MODELS)
def test_every_layer_has_its_own_variables(name, file, tmp_path):
    model, expected = MODELS[name](keras)
    number(model)
    contents = save(model, tmp_path / file)
    if name == "convolutions" and file == "m.weights.h5":  # which of two vectors is there, no name tells
        expected = [layer for layer in expected if layer.name not in ("no_scale", "no_center")]
    if name == "shared" and file == "m.h5":  # this format stores a layer of two models twice
        nested_at = [layer.name for layer in expected].index("nested.both")
        expected = [*expected[: nested_at + 1], replace(expected[nested_at], name="both"), *expected[nested_at + 1 :]]
    found = assert_found(contents, expected, in_order=file != "m.weights.h5")
    assert_all_covered(contents, found)
    assert len(found.unknown) == (4 if (name, file) == ("convolutions", "m.weights.h5") else 0)


@pytest.mark.parametrize("freeze", ["norm", "some", "innermost", "inner", "all but one"])
@pytest.mark.parametrize("file", ["m.keras", "m.h5"])
def test_frozen_layers_in_nested_models_are_found(freeze, file, tmp_path):
    model, expected = nested(keras, freeze)
    number(model)
    assert_found(save(model, tmp_path / file), expected)


def test_a_layer_that_is_frozen_from_the_start_is_found(tmp_path):
    layers = keras.layers
    parts = [
        layers.Dense(4, trainable=False),
        layers.Bidirectional(layers.LSTM(2, return_sequences=True), trainable=False),
        layers.BatchNormalization(trainable=False),
        layers.LSTM(4, return_sequences=True, trainable=False),
        layers.Dense(4),
    ]
    inner = keras.Sequential([keras.Input((5, 4)), *parts], name="inner")
    model = keras.Sequential([keras.Input((5, 4)), inner])
    number(model)
    both = parts[1]
    owners = [parts[0], (both.forward_layer.cell, both.backward_layer.cell), parts[2], parts[3].cell, parts[4]]
    kinds = ["dense", "lstm", "batch_norm", "lstm", "dense"]
    expected = [
        expect(f"inner.{part.name}", kind, *(owner if isinstance(owner, tuple) else (owner,)))
        for part, kind, owner in zip(parts, kinds, owners, strict=True)
    ]
    for file in ("m.keras", "m.h5"):
        assert_found(save(model, tmp_path / file), expected)


def test_a_compiled_and_trained_model_keeps_its_training_state_apart(tmp_path):
    model, expected = MODELS["sequential"](keras)
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(np.ones((2, 5), "int32"), np.ones((2, 2)), verbose=0)
    for file in ("m.keras", "m.h5"):
        contents = save(model, tmp_path / file)
        found = assert_found(contents, expected)
        assert_all_covered(contents, found)
        assert len(found.skipped) == len(model.optimizer.variables)
        assert set(found.skipped.values()) == {"optimizer state"}


@pytest.mark.parametrize("file", ["m.keras", "m.weights.h5"])
def test_a_subclassed_model_is_read_by_the_names_of_its_groups(file, tmp_path):
    model, expected = subclassed(keras)
    number(model)
    contents = save(model, tmp_path / file)
    found = assert_found(contents, expected, in_order=False)
    assert_all_covered(contents, found)
    assert list(found.unknown.values()) == ["block: an object with variables and layers of its own has no kind"]
    told = [layer.name for layer in found.layers if not layer.notes]
    assert "both" in told and model.words.name in told
    by_name = {layer.name: layer for layer in found.layers}
    assert by_name["out"].notes == (
        "is taken for dense by the shapes of its tensors: the file does not name its class",
    )
