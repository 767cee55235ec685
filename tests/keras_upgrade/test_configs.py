"""What becomes of single layers and whole models of older configs, held against the real Keras 3."""

from __future__ import annotations

import inspect
import random
from copy import deepcopy

import pytest

from old_keras import call, functional, input_layer, layer
from weightport.frameworks._keras_config import entry_of
from weightport.keras_upgrade._arguments import ARGUMENTS, EVERY_LAYER
from weightport.keras_upgrade._layers import upgraded_layer
from weightport.keras_upgrade._models import upgraded_model


def upgraded(class_name, major=2, **config):
    return upgraded_layer(entry_of({"class_name": class_name, "config": {"name": "one", **config}}), major)


def test_the_table_of_arguments_is_that_of_the_real_layers(keras):
    for class_name, arguments in ARGUMENTS.items():
        cls = getattr(keras.layers, class_name)
        signatures = [inspect.signature(base.__init__) for base in cls.__mro__ if "__init__" in vars(base)]
        known = {name for signature in signatures for name in signature.parameters}
        assert arguments <= known | EVERY_LAYER, class_name


KERAS_1 = {
    "Dense": (
        {
            "output_dim": 3,
            "init": "uniform",
            "activation": "relu",
            "bias": False,
            "W_constraint": {"name": "MaxNorm", "m": 2},
        },
        {"units": 3, "use_bias": False, "activation": "relu"},
    ),
    "Convolution1D": (
        {"nb_filter": 5, "filter_length": 3, "border_mode": "same", "subsample_length": 2, "input_dim": 4},
        {"filters": 5, "kernel_size": 3, "padding": "same", "strides": 2},
    ),
    "Convolution2D": (
        {"nb_filter": 5, "nb_row": 3, "nb_col": 2, "dim_ordering": "th", "subsample": [1, 2]},
        {"filters": 5, "kernel_size": [3, 2], "data_format": "channels_first", "strides": [1, 2]},
    ),
    "MaxPooling1D": ({"pool_length": 2, "stride": 2, "border_mode": "valid"}, {"pool_size": 2, "strides": 2}),
    "Dropout": ({"p": 0.3}, {"rate": 0.3}),
    "GaussianNoise": ({"sigma": 0.3}, {"stddev": 0.3}),
    "UpSampling1D": ({"length": 3}, {"size": 3}),
    "Embedding": ({"input_dim": 7, "output_dim": 3, "init": "uniform", "dropout": 0.0}, {"output_dim": 3}),
    "BatchNormalization": ({"mode": 0, "epsilon": 0.1, "gamma_init": "one"}, {"epsilon": 0.1}),
}


@pytest.mark.parametrize("class_name", KERAS_1)
def test_a_layer_of_keras_1_has_its_arguments_under_the_newer_names(keras, class_name):
    old, expected = KERAS_1[class_name]
    new = upgraded(class_name, 1, **old)
    live = keras.layers.deserialize(new).get_config()
    assert {key: new["config"][key] for key in expected} == expected
    assert set(new["config"]) <= set(live)


def test_a_gru_of_before_the_flag_resets_before_the_product():
    assert upgraded("GRU", units=3, activation="tanh")["config"]["reset_after"] is False


def test_a_dtype_that_an_embedding_had_of_its_input_goes():
    assert "dtype" not in upgraded("Embedding", dtype="int32", input_dim=7, output_dim=3)["config"]


def test_a_mixed_policy_becomes_the_policy_of_keras_3(keras):
    policy = {"class_name": "Policy", "config": {"name": "mixed_float16"}}
    live = keras.layers.deserialize(upgraded("Dense", units=3, dtype=policy))
    assert (live.dtype_policy.name, live.variable_dtype) == ("mixed_float16", "float32")


def test_keras_1_merges_by_layers_of_their_own():
    classes = {mode: upgraded("Merge", 1, mode=mode, concat_axis=-1)["class_name"] for mode in ("sum", "mul", "concat")}
    assert classes == {"sum": "Add", "mul": "Multiply", "concat": "Concatenate"}


def test_initial_states_and_other_tensors_are_arguments_by_keyword(keras):
    model = functional(
        [
            input_layer("x", 5, 4),
            input_layer("h", 3),
            layer("GRU", "gru", call("x", "h"), units=3, return_sequences=True),
            layer("MultiHeadAttention", "mha", call("gru", value=["x", 0, 0], training=None), num_heads=2, key_dim=3),
        ],
        ["mha"],
    )
    nodes = {one["name"]: one["inbound_nodes"] for one in upgraded_model(model, 2)["config"]["layers"]}
    history = {name: calls[0]["kwargs"] for name, calls in nodes.items() if calls}
    assert history["gru"]["initial_state"][0]["config"]["keras_history"] == ["h", 0, 0]
    assert history["mha"] == {"value": nodes["gru"][0]["args"][0]}
    live = keras.saving.deserialize_keras_object(upgraded_model(model, 2))
    assert live.output.shape == (None, 5, 3)


def random_model(seed):
    """Dense layers connected at random, some used several times, with several inputs and outputs."""
    draw = random.Random(seed)
    layers = [input_layer(name, 4) for name in ("left", "right", "unused")]
    tensors = [["left", 0, 0], ["right", 0, 0]]
    for index in range(draw.randint(6, 16)):
        shared = [one for one in layers if one["class_name"] == "Dense"]
        if shared and draw.random() < 0.3:
            one = draw.choice(shared)
            one["inbound_nodes"].append(call(draw.choice(tensors)))
        elif draw.random() < 0.4:
            one = layer("Add", f"add_{index}", call(draw.choice(tensors), draw.choice(tensors)))
            layers.append(one)
        else:
            one = layer("Dense", f"dense_{index}", call(draw.choice(tensors)), units=4)
            layers.append(one)
        tensors.append([one["name"], len(one["inbound_nodes"]) - 1, 0])
    read = {(ref[0], ref[1]) for one in layers for node in one["inbound_nodes"] for ref in node}
    ends = [tensor for tensor in tensors if (tensor[0], tensor[1]) not in read]
    model = functional(layers, [])
    draw.shuffle(model["config"]["layers"])
    model["config"]["output_layers"] = draw.sample(ends, len(ends))
    return model


@pytest.mark.parametrize("seed", range(40))
def test_the_layers_stand_in_the_order_in_which_keras_numbers_their_weights(keras, seed):
    new = upgraded_model(random_model(seed), 2)
    live = keras.saving.deserialize_keras_object(deepcopy(new))
    assert [one["name"] for one in new["config"]["layers"]] == [one.name for one in live.layers]
