"""Where the channels of PyTorch source stand: first between convolutions, or last throughout with --channels-last."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from keras import layers

import weightport as wp
from graph_checks import randomise, run_keras, values_for
from source_checks import assert_same_source, run_source
from weightport.cli import cli


@pytest.fixture
def classifier():
    """Convolutions with every border and what stands between them, flattened into a dense layer."""
    image = keras.Input((9, 8, 3), name="image")
    x = layers.Conv2D(5, 3, strides=2, padding="same", activation="relu", name="stem")(image)
    x = layers.BatchNormalization(name="norm")(x)
    y = layers.SeparableConv2D(5, (2, 3), padding="same", name="separable")(x)
    x = layers.Add()([layers.GroupNormalization(5, name="groups")(y), layers.Dense(5, name="per_place")(x)])
    x = layers.Conv2DTranspose(6, 3, strides=2, padding="valid", name="up")(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same")(layers.UpSampling2D((1, 2))(x))
    x = layers.AveragePooling2D((3, 2), padding="same")(layers.ZeroPadding2D(((1, 0), (2, 1)))(x))
    x = layers.Permute((2, 1, 3))(layers.Conv2D(7, 1, name="maps")(x))
    return randomise(keras.Model(image, layers.Dense(4, name="classes")(layers.Flatten()(x)), name="classifier"))


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_same_array_goes_in_as_in_keras_and_the_same_comes_out(classifier, channels_last, tmp_path):
    assert_same_source(classifier, tmp_path, channels_last=channels_last)


@pytest.mark.parametrize("channels_last", [False, True])
def test_maps_go_out_as_keras_gives_them(channels_last, tmp_path):
    image = keras.Input((7, 8, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same")(image)
    results = [x, layers.Concatenate()([image, x]), layers.LayerNormalization()(x), layers.Permute((3, 2, 1))(x)]
    model = randomise(keras.Model(image, results))
    assert_same_source(model, tmp_path, channels_last=channels_last)


@pytest.mark.parametrize("channels_last", [False, True])
def test_signals_of_free_length_and_frames(channels_last, tmp_path):
    signal, frames = keras.Input((None, 3), name="signal"), keras.Input((4, 6, 5, 2), name="frames")
    x = layers.Conv1D(4, 3, strides=2, padding="same")(signal)
    y = layers.ConvLSTM2D(3, 2, return_sequences=True)(frames)
    results = [layers.LSTM(5)(x), layers.MaxPooling1D(2)(x), y, layers.TimeDistributed(layers.Conv2D(2, 2))(y)]
    model = randomise(keras.Model([signal, frames], results))
    assert_same_source(model, tmp_path, channels_last=channels_last)


def test_the_command_line_and_the_library_keep_every_value_as_keras_has_it(classifier, tmp_path):
    classifier.save(tmp_path / "model.keras")
    command = ["convert", str(tmp_path / "model.keras"), str(tmp_path / "model.py"), "--channels-last"]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0, done.output
    wp.convert(tmp_path / "model.keras", tmp_path / "again.py", channels_last=True)
    source = (tmp_path / "model.py").read_text()
    assert (tmp_path / "again.py").read_text() == source.replace("model.safetensors", "again.safetensors")
    values = values_for(classifier)
    found = run_source(tmp_path / "again.py", classifier, values)
    np.testing.assert_allclose(found[0], run_keras(classifier, values)[0], rtol=0, atol=1e-5)


def test_channels_are_first_between_convolutions_unless_they_are_to_be_last(classifier, tmp_path):
    classifier.save(tmp_path / "model.keras")
    wp.convert(tmp_path / "model.keras", tmp_path / "first.py")
    wp.convert(tmp_path / "model.keras", tmp_path / "last.py", channels_last=True)
    first, last = ((tmp_path / name).read_text() for name in ("first.py", "last.py"))
    assert re.search(r"self\.stem\(x\)  # \(batch, 5, 5, 4\)", first)
    assert "channels_last(self.stem, x)  # (batch, 5, 4, 5)" in last
    assert "channels_last" not in first
    assert "The channels are first inside; what goes in and comes out is as in Keras." in first
    assert "The channels are last throughout, as in Keras." in last


def test_only_a_dense_layer_after_a_flattened_map_is_stored_in_another_order(classifier, tmp_path):
    classifier.save(tmp_path / "model.keras")
    wp.convert(tmp_path / "model.keras", tmp_path / "plain.safetensors", to_framework="torch")
    wp.convert(tmp_path / "model.keras", tmp_path / "first.py")
    wp.convert(tmp_path / "model.keras", tmp_path / "last.py", channels_last=True)
    first, last = (wp.open(tmp_path / f"{name}.safetensors").tensors for name in ("first", "last"))
    assert first.keys() == last.keys()
    differ = {name for name in first if not np.array_equal(first[name].read(), last[name].read())}
    assert differ == {"classes.weight"}
    kernel = classifier.get_layer("classes").kernel.numpy()
    np.testing.assert_array_equal(last["classes.weight"].read(), kernel.T)
    np.testing.assert_array_equal(np.sort(first["classes.weight"].read()), np.sort(kernel.T))


def test_a_dense_layer_that_reads_two_maps_keeps_its_columns(tmp_path):
    """Of two maps only one is held with its channels first: the layer's columns cannot follow both."""
    image = keras.Input((5, 4, 3), name="image")
    shared = layers.Dense(4, name="shared")
    results = [shared(layers.Flatten()(layers.Conv2D(3, 3, padding="same")(image))), shared(layers.Flatten()(image))]
    assert_same_source(randomise(keras.Model(image, results)), tmp_path)
