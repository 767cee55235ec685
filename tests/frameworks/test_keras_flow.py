"""Which rows follow a flattened feature map, as a Keras config alone says. The live tests run what is found here."""

from __future__ import annotations

import json

import pytest

from weightport.checkpoint import FeatureMap
from weightport.frameworks._keras_config import entry_of
from weightport.frameworks._keras_flow import flattened_axes

keras = pytest.importorskip("keras")
layers = keras.layers


def found(model):
    """The axes that run over a map, by layer; a doubt as its text."""
    result = flattened_axes(entry_of(json.loads(model.to_json())))
    return {name: axes for name, axes in result.items() if axes}


def last(channels):
    return FeatureMap(channels, "last")


def image(size=(8, 6, 3)):
    return keras.Input(size)


def conv(x, filters=4, name=None):
    return layers.Conv2D(filters, 3, name=name)(x)


def head(inputs, x):
    return keras.Model(inputs, layers.Dense(5, name="head")(x))


def test_a_shared_encoder_gives_one_map_to_what_joins_its_results():
    encoder = keras.Sequential([image(), layers.Conv2D(4, 3), layers.Flatten()], name="encoder")
    one, other = image(), image()
    model = head([one, other], layers.Subtract()([encoder(one), encoder(other)]))
    assert found(model) == {"head": {"in": last(4)}}


def test_layers_of_a_nested_model_are_found_by_their_dotted_names():
    inner = keras.Sequential([image(), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(5, name="code")], name="net")
    inputs = image()
    assert found(head(inputs, inner(inputs))) == {"net.code": {"in": last(4)}}


def test_attention_over_channels_keeps_the_map():
    inputs = image()
    x = conv(inputs)
    weights = layers.Dense(4)(layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    x = layers.Multiply()([x, layers.Reshape((1, 1, 4))(weights)])
    assert found(head(inputs, layers.Flatten()(x))) == {"head": {"in": last(4)}}


def test_every_dense_layer_on_one_flattened_map_follows_it():
    inputs = image()
    flat = layers.Activation("relu")(layers.Flatten()(conv(inputs)))
    model = keras.Model(inputs, [layers.Dense(3, name="mean")(flat), layers.Dense(3, name="spread")(flat)])
    assert found(model) == {"mean": {"in": last(4)}, "spread": {"in": last(4)}}


def test_a_map_that_is_pooled_away_leaves_nothing_to_turn():
    inputs = image()
    assert found(head(inputs, layers.GlobalMaxPooling2D()(conv(inputs)))) == {}
    assert found(head(inputs, keras.ops.mean(conv(inputs), axis=(1, 2)))) == {}


@pytest.mark.parametrize("size", [(28, 28), (9, 7, 1)])
def test_an_input_without_channels_is_flattened_alike_everywhere(size):
    inputs = image(size)
    assert found(head(inputs, layers.Flatten()(inputs))) == {}


def test_patches_become_steps_and_only_their_channels_are_features():
    inputs = image((8, 8, 3))
    steps = layers.Reshape((-1, 6))(layers.Conv2D(6, 4, strides=4)(inputs))
    assert found(head(inputs, layers.LSTM(5)(steps))) == {}


def test_a_config_of_keras_2_is_read_alike():
    inputs = image()
    config = json.loads(head(inputs, layers.Flatten()(conv(inputs, name="conv"))).to_json())["config"]
    for layer in config["layers"]:
        layer["inbound_nodes"] = [
            [[*argument["config"]["keras_history"], {}] for argument in node["args"]] for node in layer["inbound_nodes"]
        ]
    config["input_layers"], config["output_layers"] = [config["input_layers"]], [config["output_layers"]]
    found = flattened_axes(entry_of({"class_name": "Functional", "config": config}))
    assert found == {"conv": {}, "head": {"in": last(4)}}


def test_a_custom_layer_that_keeps_the_shape_keeps_the_map_and_any_other_is_a_doubt():
    @keras.saving.register_keras_serializable("tests")
    class Scale(layers.Layer):
        def call(self, x):
            return x * 2

    @keras.saving.register_keras_serializable("tests")
    class Turn(layers.Layer):
        def call(self, x):
            return keras.ops.swapaxes(x, 1, 3)

    inputs = image()
    assert found(head(inputs, layers.Flatten()(Scale()(conv(inputs))))) == {"head": {"in": last(4)}}
    (doubt,) = found(head(inputs, layers.Flatten()(Turn(name="turn")(conv(inputs)))))["head"].values()
    assert doubt == "it passes through the Turn turn"


@pytest.mark.parametrize(
    "config",
    [
        {"layers": [{"class_name": "Dense", "config": {"name": "a"}, "inbound_nodes": [[["a", 0, 0, {}]]]}]},
        {"layers": [{"class_name": "Dense", "config": {"name": "a", "units": []}, "inbound_nodes": [[["b", 7, 9]]]}]},
        {"layers": [{"class_name": "Reshape", "config": {"target_shape": ["x"]}, "inbound_nodes": 3}]},
        {"layers": [{"class_name": "Conv2D", "config": {"strides": {}}, "inbound_nodes": [[["in", 0, 0]]]}]},
    ],
)
def test_a_config_that_makes_no_sense_gives_no_map_and_no_crash(config):
    whole = {"input_layers": [["in", 0, 0]], "output_layers": [["a", 0, 0]], **config}
    for axes in (flattened_axes(entry_of({"class_name": "Functional", "config": whole})) or {}).values():
        assert not any(isinstance(value, FeatureMap) for value in axes.values())
