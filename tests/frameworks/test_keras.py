"""Keras checkpoints that real Keras saved: every layer is found, with its own variables' values and nothing else's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from keras_checks import assert_all_covered, assert_found, save, structure
from keras_models import MODELS, VARIABLES, expect, nested, number, subclassed
from weightport.formats import format_of_file
from weightport.frameworks import framework_named

keras = pytest.importorskip("keras")

FIXTURES = Path(__file__).parents[2] / "fixtures" / "keras"
KERAS_2 = FIXTURES / "keras-2.12"
NETRA = FIXTURES / "netra-transliterate" / "bi_gru_attention_khmer_transliterator.keras"
FILES = ["m.keras", "m.weights.h5", "m.h5"]


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


def test_a_stack_with_a_frozen_cell_is_found(tmp_path):
    cells = [keras.layers.LSTMCell(4, name=name) for name in ("low", "mid", "top")]
    model = keras.Sequential([keras.Input((5, 4)), keras.layers.RNN(cells, name="stack")])
    cells[0].trainable = False
    number(model)
    expected = [expect(f"stack.{cell.name}", "lstm", cell) for cell in cells]
    for contents in (save(model, tmp_path / "m.h5"), framework_named("keras").read_live(model)):
        assert_found(contents, expected)


def test_two_directions_of_different_size_are_two_layers(tmp_path):
    forward, backward = (keras.layers.GRU(units, go_backwards=units == 3) for units in (2, 3))
    both = keras.layers.Bidirectional(forward, backward_layer=backward, name="both")
    model = keras.Sequential([keras.Input((5, 4)), both])
    number(model)
    halves = both.forward_layer.cell, both.backward_layer.cell
    expected = [
        expect(f"both.{part}_layer", "gru", half) for part, half in zip(("forward", "backward"), halves, strict=True)
    ]
    assert_found(save(model, tmp_path / "m.keras"), expected)


def test_layers_of_one_class_are_in_the_order_of_their_numbers(tmp_path):
    model, expected = MODELS["shared"](keras)
    found = structure(save(model, tmp_path / "m.weights.h5"))
    names = [[layer.name for layer in layers if "nested" not in layer.name] for layers in (found.layers, expected)]
    assert len(names[0]) == 13 and names[0] == names[1]


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


def without_names(contents):
    """The file as Keras before 3.10 wrote it: its groups do not say the user's names."""
    groups = {path: {**group, "name": None} for path, group in contents.description["groups"].items()}
    return replace(contents, description={**contents.description, "groups": groups})


@pytest.mark.parametrize("name", MODELS)
def test_older_keras_3_files_have_the_names_in_the_config_only(name, tmp_path):
    model, expected = MODELS[name](keras)
    number(model)
    assert_found(without_names(save(model, tmp_path / "m.keras")), expected)


def test_older_weights_files_name_layers_by_their_groups(tmp_path):
    model, expected = MODELS["wrapped"](keras)
    number(model)
    found = structure(without_names(save(model, tmp_path / "m.weights.h5")))
    by_name = {layer.name: layer for layer in found.layers}
    assert by_name["bidirectional"].kinds == ("lstm",) and by_name["rnn_1.gru_cell"].kinds == ("gru",)
    assert len(found.layers) == len(expected) and not found.unknown


@pytest.mark.parametrize("name", ["sequential", "nested", "wrapped"])
def test_a_legacy_file_of_weights_only_is_read_by_the_names_of_its_variables(name, tmp_path):
    import h5py
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    model, expected = MODELS[name](keras)
    number(model)
    with h5py.File(tmp_path / "w.h5", "w") as file:
        save_weights_to_hdf5_group(file, model)
    contents = format_of_file(tmp_path / "w.h5").read(tmp_path / "w.h5")
    names = [layer.name.replace("innermost.", "") for layer in expected]  # a model inside a model is in no name
    if name == "wrapped":
        names[-2:] = [
            f"uneven.{half.name}" for half in (model.layers[-1].forward_layer, model.layers[-1].backward_layer)
        ]
    found = assert_found(contents, [replace(layer, name=new) for layer, new in zip(expected, names, strict=True)])
    assert all(set(layer.settings) <= {"direction"} for layer in found.layers)
    assert_all_covered(contents, found)


@pytest.mark.parametrize("file", ["model.keras", "model.h5"])
def test_a_model_of_keras_2_has_its_recorded_weights(file):
    """In its tree of objects Keras 2.12 counts a layer with weights twice: dense, dense_2."""
    contents = format_of_file(KERAS_2 / file).read(KERAS_2 / file)
    recorded = np.load(KERAS_2 / "recorded.npz")
    found = structure(contents)
    assert [layer.name for layer in found.layers] == ["encoder", "both_ways", "wide", "norm", "last"]
    for layer in found.layers:
        variables = VARIABLES[layer.kinds[0]]
        order = [prefix + local for prefix in ("", "forward_layer/", "backward_layer/") for local in variables]
        for index, local in enumerate(local for local in order if local in layer.tensors):
            value = contents.tensors[layer.tensors[local]].read()
            np.testing.assert_array_equal(value, recorded[f"{layer.name}/{index}"])
    assert_all_covered(contents, found)
    assert not found.unknown and "optimizer state" in found.skipped.values()


def test_keras_2_with_layers_stored_elsewhere_is_not_guessed():
    contents = format_of_file(KERAS_2 / "model.keras").read(KERAS_2 / "model.keras")
    groups = {path: group for path, group in contents.description["groups"].items() if path != "layers/dense_2"}
    found = structure(replace(contents, description={**contents.description, "groups": groups}))
    assert [layer.name for layer in found.layers] == ["encoder", "both_ways", "norm"]
    assert found.unknown["layers/dense/vars/0"] == "the file does not say which of the 2 Dense layers it is"
    assert found.unknown["layers/dense_2/vars/0"] == "it is in no group of the model"


def test_a_published_model_is_covered():
    contents = format_of_file(NETRA).read(NETRA)
    found = structure(contents)
    assert [(layer.name, layer.kinds[0], len(layer.tensors)) for layer in found.layers] == [
        ("embedding_8", "embedding", 1),
        ("embedding_9", "embedding", 1),
        ("bidirectional_3", "gru", 6),
        ("gru_7", "gru", 3),
        ("time_distributed_9", "dense", 2),
        ("additive_attention_5", "additive_attention", 1),
        ("dense_13", "dense", 2),
    ]
    assert found.unknown == {}
    assert_all_covered(contents, found)
