"""What a Keras config says of each layer, and what is done where config and weights do not fit or do not say enough."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from keras_checks import assert_all_covered, assert_found, entry, legacy, lstm_shapes, of_tensors, save, structure
from keras_models import MODELS, expect, number
from weightport.checkpoint import Checkpoint
from weightport.errors import CheckpointError, UsageError
from weightport.frameworks import framework_named
from weightport.match import layer_view

keras = pytest.importorskip("keras")

RECORDINGS = Path(__file__).parents[2] / "fixtures" / "recordings"


@pytest.mark.parametrize(
    ("class_name", "rows", "bias", "reset"),
    [
        ("LSTM", 4, (24,), None),
        ("CuDNNLSTM", 4, (24,), None),
        ("GRU", 3, (18,), "after"),
        ("CuDNNGRU", 3, (18,), "after"),
    ],
)
@pytest.mark.parametrize("with_config", [True, False])
def test_the_form_of_cudnn_has_its_own_layout(class_name, rows, bias, reset, with_config):
    weights = {"r": lstm_shapes(rows=rows, bias=bias)}
    flags = {} if class_name.startswith("CuDNN") else {"activation": "tanh", "reset_after": True}
    contents = legacy([entry(class_name, "r", **flags)] if with_config else None, weights)
    (layer,) = structure(contents).layers
    assert layer.layout == f"keras_cudnn.{layer.kinds[0]}" and layer.kinds == ("lstm" if rows == 4 else "gru",)
    assert layer.settings.get("reset") == reset
    assert layer.tensors == {local: f"r/{local}" for local in ("kernel", "recurrent_kernel", "bias")}
    assert layer_view(Checkpoint(contents, structure(contents)), layer, layer.kinds[0]).sizes[0]["unit"] == 3


@pytest.mark.parametrize(("version", "layout"), [("2.2.4", "keras2.{}"), ("3.0.0", "")])
def test_the_layout_is_that_of_the_version(version, layout):
    layers = [entry("LSTM", "l"), entry("GRU", "g"), entry("Dense", "d")]
    weights = {"l": lstm_shapes(), "g": lstm_shapes(rows=3), "d": {"kernel": (2, 3), "bias": (3,)}}
    found = structure(legacy(layers, weights, version)).layers
    assert [layer.layout for layer in found] == [layout.format("lstm"), layout.format("gru"), ""]


@pytest.mark.parametrize(
    ("version", "name"), [("3.0.0", "hard_sigmoid"), ("2.2.4-tf", "hard_sigmoid_0.2"), (None, "hard_sigmoid_0.2")]
)
def test_hard_sigmoid_is_another_function_before_keras_3(version, name):
    layer = entry("Dense", "d", activation="hard_sigmoid")
    (found,) = structure(legacy([layer], {"d": {"kernel": (2, 3), "bias": (3,)}}, version)).layers
    assert found.settings["activation"] == name


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        (None, "linear"),
        ("relu", "relu"),
        ({"class_name": "function", "config": "gelu", "registered_name": "gelu"}, "gelu"),
        ({"class_name": "function", "config": "mine", "registered_name": "package>mine"}, "package>mine"),
        ({"module": "keras.layers", "class_name": "ReLU", "config": {"max_value": 6}, "registered_name": None}, "ReLU"),
        (["4wEAAA==", None, None], "lambda"),
    ],
)
def test_activations_are_reduced_to_a_name(activation, name):
    layers = [entry("Dense", "d", activation=activation)]
    (found,) = structure(legacy(layers, {"d": {"kernel": (2, 3), "bias": (3,)}})).layers
    assert found.settings == {"activation": name}


SETTINGS = [
    (
        lambda layers: layers.LSTM(3, activation="relu", go_backwards=True, return_state=True, stateful=True),
        (2, 5, 4),
        {"activation": "relu", "cell_activation": "relu", "recurrent_activation": "sigmoid", "direction": "backwards"}
        | {"return_sequences": False, "stateful": True},
        ("returns its last state too",),
    ),
    (
        lambda layers: layers.GRU(3, reset_after=False, use_bias=False, recurrent_activation="hard_sigmoid"),
        (2, 5, 4),
        {"activation": "tanh", "recurrent_activation": "hard_sigmoid", "reset": "before", "direction": "forward"}
        | {"return_sequences": False, "stateful": False},
        (),
    ),
    (
        lambda layers: layers.Bidirectional(layers.SimpleRNN(3, return_sequences=True), merge_mode=None),
        (2, 5, 4),
        {"activation": "tanh", "direction": "bidirectional", "return_sequences": True, "stateful": False}
        | {"merge_mode": "none"},
        (),
    ),
    (
        lambda layers: layers.Conv2D(
            4, (3, 2), strides=(2, 1), padding="same", groups=2, activation="relu", data_format="channels_first"
        ),
        (2, 4, 5, 6),
        {"activation": "relu", "strides": (2, 1), "dilation": 1, "padding": "same", "groups": 2},
        ("its input has the channels first",),
    ),
    (
        lambda layers: layers.TimeDistributed(layers.Conv1D(4, 3, dilation_rate=2, padding="causal")),
        (2, 3, 9, 4),
        {"activation": "linear", "strides": 1, "dilation": 2, "padding": "causal", "groups": 1},
        ("is applied at every time step",),
    ),
    (lambda layers: layers.TimeDistributed(layers.Dense(3, "softmax")), (2, 5, 4), {"activation": "softmax"}, ()),
    (
        lambda layers: layers.BatchNormalization(axis=1, epsilon=0.5, momentum=0.7),
        (2, 5, 4),
        {"epsilon": 0.5, "momentum": 0.7},
        ("normalises axis 1 of its input",),
    ),
    (lambda layers: layers.BatchNormalization(axis=2), (2, 5, 4), {"epsilon": 0.001, "momentum": 0.99}, ()),
    (
        lambda layers: layers.LayerNormalization(axis=(1, 2), epsilon=0.5),
        (2, 5, 4),
        {"epsilon": 0.5},
        ("normalises axis 1 and 2 of its input",),
    ),
    (lambda layers: layers.Embedding(7, 4, mask_zero=True), (2, 5), {"mask_zero": True}, ()),
    (
        lambda layers: layers.Bidirectional(layers.SimpleRNN(3, dropout=0.2, recurrent_dropout=0.1)),
        (2, 5, 4),
        {"activation": "tanh", "direction": "bidirectional", "return_sequences": False, "stateful": False}
        | {"merge_mode": "concat"},
        ("drops 0.2 of its inputs in training", "drops 0.1 of its states in training"),
    ),
    (
        lambda layers: layers.ConvLSTM1D(2, 3, strides=2, return_sequences=True, go_backwards=True),
        (2, 5, 9, 4),
        {"activation": "tanh", "cell_activation": "tanh", "recurrent_activation": "sigmoid", "strides": 2}
        | {"padding": "valid", "dilation": 1, "return_sequences": True},
        ("reads its input from the last step to the first",),
    ),
]


@pytest.mark.parametrize(("make", "shape", "settings", "notes"), SETTINGS)
def test_settings_are_what_the_config_says(make, shape, settings, notes, tmp_path):
    model = keras.Sequential([keras.Input(batch_shape=shape), make(keras.layers)])
    (layer,) = structure(save(model, tmp_path / "m.keras")).layers
    assert (layer.settings, layer.notes) == (settings, notes)


def test_the_cells_of_a_stack_read_what_the_cell_below_gives(tmp_path):
    cells = [keras.layers.LSTMCell(3, name=name) for name in ("low", "mid", "top")]
    stack = keras.layers.RNN(cells, go_backwards=True, return_state=True, name="stack")
    both = keras.layers.Bidirectional(keras.layers.RNN([keras.layers.GRUCell(2), keras.layers.GRUCell(2)]))
    inputs = keras.Input((5, 4))
    model = keras.Model(inputs, [stack(inputs), both(inputs)])
    found = structure(save(model, tmp_path / "m.keras")).layers
    steps = [(layer.settings["direction"], layer.settings["return_sequences"]) for layer in found]
    assert steps[:3] == [("backwards", True), ("forward", True), ("forward", False)]
    assert steps[3:] == [("forward", True), ("forward", False), ("backwards", True), ("forward", False)]
    assert [layer.notes for layer in found[:3]] == [(), (), ("returns its last state too",)]
    assert all("half of a Bidirectional, whose halves are merged by concat" in layer.notes[0] for layer in found[3:])


def test_the_half_of_a_bidirectional_that_is_no_pair_gives_its_output_in_the_order_of_the_input():
    half = {"units": 3, "return_sequences": True, "activation": "tanh", "reset_after": True}
    two = entry("Bidirectional", "b", merge_mode="ave", layer=entry("LSTM", "f", go_backwards=False, **half))
    two["config"]["backward_layer"] = entry("GRU", "g", go_backwards=True, **half)
    weights = {
        f"{name}/{local}": shape
        for name, rows in (("f", 4), ("g", 3))
        for local, shape in lstm_shapes(rows=rows).items()
    }
    weights["g/bias"] = (2, 9)
    found = structure(legacy([two], {"b": weights})).layers
    assert [(layer.name, layer.settings["direction"]) for layer in found] == [
        ("b.forward_layer", "forward"),
        ("b.backward_layer", "reverse"),
    ]


UNKNOWN = [
    (
        lambda layers: layers.EinsumDense("bti,tio->bto", (5, 3)),
        (2, 5, 4),
        "made: the EinsumDense is no dense layer: its equation 'bti,tio->bto' is not that of a dense layer with up to "
        "2 axes of inputs and outputs",
    ),
    (
        lambda layers: layers.Normalization(axis=(1, 2)),
        (2, 5, 4),
        "made: a Normalization over axis 1 and 2 has no layout",
    ),
]


@pytest.mark.parametrize(("make", "shape", "reason"), UNKNOWN)
@pytest.mark.parametrize("file", ["m.keras", "m.h5"])
def test_a_class_without_a_kind_is_unknown_and_disturbs_no_other_layer(make, shape, reason, file, tmp_path):
    made, norm, dense = (
        make(keras.layers),
        keras.layers.BatchNormalization(name="norm"),
        keras.layers.Dense(2, name="d"),
    )
    made.name = "made"
    model = keras.Sequential([keras.Input(batch_shape=shape), made, norm, dense])
    number(model)
    contents = save(model, tmp_path / file)
    found = assert_found(contents, [expect("norm", "batch_norm", norm), expect("d", "dense", dense)])
    assert set(found.unknown.values()) == {reason}
    assert_all_covered(contents, found)


@pytest.mark.parametrize(("make", "shape", "reason"), UNKNOWN)
def test_in_a_nested_model_too(make, shape, reason, tmp_path):
    made, norm, dense = (
        make(keras.layers),
        keras.layers.BatchNormalization(name="norm"),
        keras.layers.Dense(2, name="d"),
    )
    made.name = "made"
    inner = keras.Sequential([keras.Input(batch_shape=shape), made, norm, dense], name="inner")
    model = keras.Sequential([keras.Input(batch_shape=shape), inner])
    number(model)
    contents = save(model, tmp_path / "m.h5")
    found = assert_found(contents, [expect("inner.norm", "batch_norm", norm), expect("inner.d", "dense", dense)])
    assert set(found.unknown.values()) == {f"inner.{reason}"}


def test_what_a_users_class_hides_among_the_weights_of_a_nested_model_is_not_guessed():
    inner = entry("Sequential", "inner", layers=[entry("Dense", "d"), entry("Mine", "m"), entry("Dense", "e")])
    weights = {
        f"{name}/{local}": (2, 2) if local == "kernel" else (2,) for name in "dme" for local in ("kernel", "bias")
    }
    found = structure(legacy([inner], {"inner": weights}, "3.5.0"))
    assert not found.layers
    assert set(found.unknown.values()) == {
        "inner: its config has 4 variables, and the file 6: Mine has no kind yet",
    }


def test_an_order_that_the_names_contradict_is_not_believed():
    weights = {"bias": (3,), "kernel": (3, 3)}
    found = structure(legacy([entry("Dense", "d")], {"d": weights}))
    assert found.unknown == dict.fromkeys(
        ("d/bias", "d/kernel"), "d: d/bias stands where the config has the kernel of d"
    )


def test_extra_weights_of_a_changed_layer_are_said(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="d")])
    model.layers[0].enable_lora(2)
    found = structure(save(model, tmp_path / "m.h5"))
    assert set(found.unknown.values()) == {"d: its config has 2 variables, and the file 4"}
    merged = structure(save(model, tmp_path / "m.keras"))  # this format stores the sum
    assert [layer.name for layer in merged.layers] == ["d"] and not merged.unknown


@pytest.mark.parametrize("recording", sorted((RECORDINGS / "keras1").glob("*.npz")), ids=lambda path: path.stem)
@pytest.mark.parametrize("with_config", [True, False])
def test_recurrent_layers_of_keras_1_have_its_layouts(recording, with_config):
    """The recorded tensors, in the order in which Keras 1 lists a layer's weights and under its names."""
    stored = np.load(recording)
    layout = json.loads(str(stored["meta"]))["layout"]
    tensors = {key.removeprefix("tensor/"): stored[key].shape for key in stored if key.startswith("tensor/")}
    kind = layout.partition(".")[2].removesuffix("_packed")
    class_name = {"lstm": "LSTM", "gru": "GRU", "rnn": "SimpleRNN"}[kind]
    layer = entry(class_name, "l_1", activation="tanh", consume_less="gpu" if "packed" in layout else "cpu")
    if any("/" in name for name in tensors):
        layer = entry("Bidirectional", "b_1", layer=layer)
    group = layer["config"]["name"]
    in_file = {}  # as Keras 1 calls them: forward_l_1_W_i
    for name in tensors:
        half, slash, local = name.rpartition("/")
        in_file[name] = f"{half.removesuffix('layer')}l_1_{local}" if slash else f"l_1_{local}"
    shapes = {in_file[name]: shape for name, shape in tensors.items()}
    contents = legacy([layer] if with_config else None, {group: shapes}, None)
    (found,) = structure(contents).layers
    assert (found.layout, found.name) == (layout, group)
    assert found.tensors == {name: f"{group}/{in_file[name]}" for name in tensors}
    layer_view(Checkpoint(contents, structure(contents)), found, kind)


def test_other_layers_of_keras_1():
    layers = [entry("Dense", "d"), entry("Convolution1D", "c")]
    weights = {"d": {"d_W": (2, 3), "d_b": (3,)}, "c": {"c_W": (3, 1, 2, 4), "c_b": (4,)}}
    for config in (layers, None):
        found = structure(legacy(config, weights, None))
        assert [layer.tensors for layer in found.layers][:1] == [{"kernel": "d/d_W", "bias": "d/d_b"}]
        assert set(found.unknown) == {"c/c_W", "c/c_b"}
    what = "the axes of a convolution of Keras 1 depend on settings of its backend that the file does not have"
    assert set(found.unknown.values()) == {f"c: {what}"}


def test_theano_turns_its_kernels_round():
    weights = {"c": {"kernel": (3, 2, 4), "bias": (4,)}}
    theano = structure(legacy([entry("Conv1D", "c")], weights, "2.1.0", backend="theano"))
    assert set(theano.unknown.values()) == {"c: Theano turns its kernels round, and no kind says so yet"}
    assert structure(legacy([entry("Conv1D", "c")], weights, "2.1.0", backend="tensorflow")).layers[0].kinds == (
        "conv",
    )


def test_seed_generators_and_metrics_are_skipped():
    groups = {
        "": {"name": "m", "weights": []},
        "layers/dropout/seed_generator": {"name": "seed_generator", "weights": ["s"]},
        "layers/dense": {"name": "d", "weights": ["k", "b"]},
    }
    shapes = {"s": (2,), "k": (2, 3), "b": (3,), "metrics/mean/vars/0": ()}
    contents = of_tensors(shapes, dialect="objects", groups=groups, optimizer=["metrics/mean/vars/0"])
    found = structure(contents)
    assert found.skipped == {"s": "seed generator state", "metrics/mean/vars/0": "metric state"}
    assert [layer.name for layer in found.layers] == ["d"]


def test_names_with_a_slash_and_names_twice_stay_apart():
    shapes = {"kernel": (2, 3), "bias": (3,)}
    found = structure(
        legacy([entry("Dense", "block/a"), entry("Dense", "block.a")], {"block/a": shapes, "block.a": shapes})
    )
    assert [layer.name for layer in found.layers] == ["block.a", "block.a_2"]


def test_config_and_weights_of_two_models_are_refused(tmp_path):
    model, _ = MODELS["sequential"](keras)
    contents = save(model, tmp_path / "m.keras")
    groups = dict(contents.description["groups"])
    groups["layers/lstm_1"] = {**groups["layers/lstm_1"], "name": "other"}
    with pytest.raises(
        CheckpointError, match=r"m\.keras: the config has the LSTM 'second' where .* 'other' in group layers/lstm_1"
    ):
        structure(replace(contents, description={**contents.description, "groups": groups}))
    groups = {path: group for path, group in groups.items() if not path.startswith("layers/lstm_1")}
    with pytest.raises(CheckpointError, match="the config has the LSTM 'second', and the file has no weights for it"):
        structure(replace(contents, description={**contents.description, "groups": groups}))
    with pytest.raises(CheckpointError, match="the config has the Dense 'd', and the file has no group for it"):
        structure(legacy([entry("Dense", "d")], {}))


@pytest.mark.parametrize("wrapper", ["Sequential", "TimeDistributed", "Bidirectional"])
def test_a_config_without_end_is_refused(wrapper):
    inner = entry("Dense", "d")
    for _ in range(500):
        inner = entry(wrapper, "w", **({"layers": [inner]} if wrapper == "Sequential" else {"layer": inner}))
    contents = legacy([inner], {"w": {"kernel": (2, 3)}})
    if wrapper == "Bidirectional":  # only a recurrent layer has two directions
        assert set(structure(contents).unknown.values()) == {"w: Bidirectional has no kind yet"}
    else:
        with pytest.raises(CheckpointError, match=r"made\.h5: .* nests layers more than 64 deep"):
            structure(contents)


@pytest.mark.parametrize("value", [None, 3, "x", [], {}, [1], {"class_name": 3}, {"class_name": "Dense", "config": 5}])
def test_a_config_of_another_shape_is_no_crash(value):
    weights = {"x": {"kernel": (2, 3), "bias": (3,)}}
    assert structure(
        of_tensors({"x/kernel": (2, 3)}, config=value, dialect="layers", groups={"x": {"weights": ["x/kernel"]}})
    )
    layers = [
        {"class_name": "RNN", "config": {"name": "x", "cell": value}},
        {
            "class_name": "Conv1D",
            "config": {
                "name": "y",
                "strides": value,
                "groups": value,
                "padding": value,
                "activation": value,
                "axis": value,
            },
        },
    ]
    assert structure(legacy(layers, {**weights, "y": {"kernel": (2, 3, 4), "bias": (4,)}}))


def test_a_keras_file_is_not_made_from_names():
    framework = framework_named("keras")
    assert not framework.NAMES_FROM_SOURCE
    with pytest.raises(UsageError, match="no name for 'kernel' of 'dense': a Keras file is written into a template"):
        framework.tensor_name("dense", "kernel")
