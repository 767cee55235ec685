"""What weights cannot show: settings that differ are listed with their effect, and outputs that real frameworks gave
are explained by the setting that they were computed with."""

from __future__ import annotations

import numpy as np
import pytest

import weightport as wp
from live_cases import randomise
from onnx_models import recurrent, run
from recordings import RECORDINGS
from weightport.kinds import all_kinds
from weightport.layer_outputs import reference_outputs
from weightport.layer_pairing import pair_layers
from weightport.layouts import layout_named
from weightport.logical import logical_arrays
from weightport.output_diagnosis import explain_output
from weightport.reference import _REFERENCES
from weightport.reference import run as reference
from weightport.reference_inputs import random_inputs
from weightport.setting_differences import settings_differences
from weightport.views import view_of

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")
layers, nn = keras.layers, torch.nn

BATCH, TIME, IN, UNIT = 3, 5, 4, 6
LIMIT = 1e-5


def keras_model(layer, shape=(TIME, IN), seed=1):
    model = keras.Sequential([keras.Input(shape), layer])
    randomise(model.weights, seed)
    return model


def module(layer):
    """A module whose one child is named as the Keras layer is."""
    holder = nn.Module()
    holder.add_module("layer", layer)
    return holder


def only_pair(a, b):
    (pair,) = pair_layers(wp.open(a), wp.open(b)).pairs
    return pair


def differing(a, b):
    """The settings that differ, as (name, A's, B's)."""
    pair = only_pair(a, b)
    return [(found.name, found.a, found.b) for found in settings_differences(pair.a, pair.b)]


def test_an_epsilon_that_differs_is_listed_with_advice_and_the_weights_are_the_same():
    model, twin = keras_model(layers.BatchNormalization(name="layer"), (7, 5, 4)), module(nn.BatchNorm2d(4))
    wp.convert(model, twin)
    found = wp.diff(model, twin)
    assert found.same
    stated = {setting.name: setting for setting in found.layers[0].settings}
    assert (stated["epsilon"].a, stated["epsilon"].b) == (0.001, 1e-05)
    assert "set it to one number in both models" in str(stated["epsilon"])
    assert "only training uses it" in str(stated["momentum"])


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ({"padding": "valid"}, {"padding": 0}, []),
        ({"padding": "same"}, {"padding": 1}, []),
        ({"padding": "same"}, {"padding": "same"}, []),
        ({"padding": "same", "strides": 1}, {"padding": (1, 1)}, []),
        ({"padding": "same", "dilation_rate": 2}, {"padding": 2, "dilation": 2}, []),
        ({"padding": "same"}, {"padding": 2}, [("padding", "same", 2)]),
        ({"padding": "same", "strides": 2}, {"padding": 1, "stride": 2}, [("padding", "same", 1)]),
        ({"strides": 2}, {"stride": 1}, [("strides", 2, 1)]),
    ],
)
def test_paddings_are_compared_by_what_they_add(ours, theirs, expected):
    model = keras_model(layers.Conv2D(5, 3, name="layer", **ours), (9, 8, 3))
    twin = module(nn.Conv2d(3, 5, 3, **theirs))
    found = differing(model, twin)
    assert [(name, a if isinstance(a, str) else np.max(a), b) for name, a, b in found] == expected


def test_a_gru_that_resets_before_differs_from_one_that_resets_after(tmp_path):
    model = keras_model(layers.GRU(UNIT, reset_after=False, use_bias=False, return_sequences=True, name="layer"))
    twin = module(nn.GRU(IN, UNIT, bias=False, batch_first=True))
    cell = model.layers[0].cell
    with torch.no_grad():  # as a hand-written converter would, since the shapes fit
        for name, kernel in (("weight_ih_l0", cell.kernel), ("weight_hh_l0", cell.recurrent_kernel)):
            update, reset, candidate = np.split(np.asarray(kernel).T, 3)
            twin.layer.get_parameter(name).copy_(torch.from_numpy(np.concatenate([reset, update, candidate])))
    found = wp.diff(model, twin)
    assert found.same
    assert [(s.name, s.a, s.b) for s in found.layers[0].settings] == [("reset", "before", "after")]
    outputs = reference_outputs(only_pair(model, twin))
    assert outputs.largest > 1e-3
    assert [effect.setting.name for effect in outputs.effects] == ["reset"]
    assert outputs.effects[0].largest == pytest.approx(outputs.largest)


def test_the_effect_of_a_setting_is_what_the_real_layers_differ_by(tmp_path):
    model, twin = keras_model(layers.BatchNormalization(name="layer"), (4,)), module(nn.BatchNorm1d(4).eval())
    wp.convert(model, twin)
    outputs = reference_outputs(only_pair(model, twin))
    inputs = outputs.inputs.reshape(-1, 4).astype("float32")
    ours = np.asarray(model(inputs, training=False))
    with torch.no_grad():
        theirs = twin.layer(torch.from_numpy(inputs)).numpy()
    effects = {effect.setting.name: effect.largest for effect in outputs.effects}
    assert effects["epsilon"] == pytest.approx(np.abs(ours - theirs).max(), rel=1e-2)
    assert effects["momentum"] == 0


def test_layers_that_are_the_same_give_the_same_by_reference():
    model = keras_model(layers.Bidirectional(layers.LSTM(UNIT, return_sequences=True), name="layer"))
    twin = module(nn.LSTM(IN, UNIT, bidirectional=True, batch_first=True))
    wp.convert(model, twin)
    outputs = reference_outputs(only_pair(model, twin), seed=3, time=4)
    assert outputs.largest < 1e-6
    assert outputs.a.shape == (BATCH, 4, 2 * UNIT)
    assert not outputs.effects
    real = np.asarray(model(outputs.inputs.astype("float32")))
    np.testing.assert_allclose(outputs.a, real, rtol=0, atol=LIMIT)


def test_what_only_one_side_states_is_taken_for_both_or_as_usual(tmp_path):
    """A state dict states no groups; Keras states no output padding, and PyTorch's 0 would not do there."""
    grouped = keras_model(layers.Conv2D(6, (3, 2), groups=2, name="layer"), (9, 7, 4))
    twin = module(nn.Conv2d(4, 6, (3, 2), groups=2))
    wp.convert(grouped, twin)
    grouped.save(tmp_path / "m.keras")
    torch.save(twin.state_dict(), tmp_path / "m.pt")
    assert reference_outputs(only_pair(tmp_path / "m.keras", tmp_path / "m.pt")).largest == 0

    transposed = keras_model(layers.Conv2DTranspose(6, (4, 2), strides=2, padding="same", name="layer"), (5, 4, 3))
    twin = module(nn.ConvTranspose2d(3, 6, (4, 2), stride=2, padding=(1, 0)))
    wp.convert(transposed, twin)
    assert differing(transposed, twin) == []
    assert reference_outputs(only_pair(transposed, twin)).largest == 0


KERAS = {
    "hard sigmoid of Keras 3": (
        lambda: layers.LSTM(UNIT, recurrent_activation="hard_sigmoid", return_sequences=True),
        (TIME, IN),
        {"recurrent_activation": "sigmoid"},
        {"recurrent_activation": "hard_sigmoid"},
    ),
    "activation of an LSTM and its cell": (
        lambda: layers.LSTM(UNIT, activation="relu", return_sequences=True),
        (TIME, IN),
        {"activation": "tanh", "cell_activation": "tanh"},
        {"activation": "relu", "cell_activation": "relu"},
    ),
    "reset before": (
        lambda: layers.GRU(UNIT, reset_after=False, return_sequences=True),
        (TIME, IN),
        {"reset": "after"},
        {"reset": "before"},
    ),
    "time from its end": (
        lambda: layers.GRU(UNIT, go_backwards=True, return_sequences=True),
        (TIME, IN),
        {"direction": "forward"},
        {"direction": "backwards"},
    ),
    "the last step only": (
        lambda: layers.SimpleRNN(UNIT),
        (TIME, IN),
        {"return_sequences": True},
        {"return_sequences": False},
    ),
    "directions summed": (
        lambda: layers.Bidirectional(layers.LSTM(UNIT, return_sequences=True), merge_mode="sum"),
        (TIME, IN),
        {"merge_mode": "concat"},
        {"merge_mode": "sum"},
    ),
    "epsilon of a batch norm": (layers.BatchNormalization, (TIME, IN), {"epsilon": 1e-5}, {"epsilon": 1e-3}),
    "activation of a dense layer": (
        lambda: layers.Dense(UNIT, activation="gelu"),
        (IN,),
        {"activation": "linear"},
        {"activation": "gelu"},
    ),
    "padding": (lambda: layers.Conv1D(UNIT, 3, padding="causal"), (9, IN), {"padding": "same"}, {"padding": "causal"}),
}


@pytest.mark.parametrize("name", KERAS)
def test_what_real_keras_gave_out_is_explained_by_its_setting(name):
    make, shape, assumed, expected = KERAS[name]
    model = keras_model(make(), shape)
    side = only_pair(model, model).a
    inputs = np.random.default_rng(2).normal(size=(BATCH, *shape)).astype("float32")
    observed = np.asarray(model(inputs, training=False))
    weights, settings = side.weights(), {**side.settings, **assumed}
    assert not explain_output(side.kind.name, weights, side.settings, inputs, observed, limit=LIMIT)
    guess = explain_output(side.kind.name, weights, settings, inputs, observed, limit=LIMIT)[0]
    assert guess.found == expected
    assert guess.assumed == assumed
    for setting, value in expected.items():
        assert f"{setting} {value} (not {assumed[setting]})" in str(guess)


def test_what_onnx_runtime_gave_out_is_explained_by_the_hard_sigmoid_of_keras_2(tmp_path):
    pytest.importorskip("onnxruntime")
    path = recurrent("LSTM", tmp_path / "m.onnx", activations=["HardSigmoid", "Tanh", "Tanh"])
    side = only_pair(path, path).a
    inputs = np.random.default_rng(2).normal(size=(TIME, BATCH, IN)).astype("float32")
    observed = run(path, inputs)[:, 0].swapaxes(0, 1)
    settings = {**side.settings, "recurrent_activation": "hard_sigmoid"}
    guesses = explain_output("lstm", side.weights(), settings, inputs.swapaxes(0, 1), observed, limit=LIMIT)
    assert guesses[0].found == {"recurrent_activation": "hard_sigmoid_0.2"}


def test_an_output_that_no_setting_gives_is_not_explained():
    side = only_pair(*[keras_model(layers.GRU(UNIT, return_sequences=True))] * 2).a
    inputs = np.random.default_rng(2).normal(size=(BATCH, TIME, IN))
    observed = np.random.default_rng(3).normal(size=(BATCH, TIME, UNIT))
    assert explain_output("gru", side.weights(), side.settings, inputs, observed, limit=LIMIT) == ()


def test_every_kind_that_has_a_reference_has_inputs():
    """A new kind needs an entry in reference_inputs.py."""
    from weightport.reference_inputs import _INPUTS

    assert set(_REFERENCES) <= set(_INPUTS)
    assert set(_INPUTS) <= set(all_kinds())


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name)
def test_the_inputs_made_for_a_recorded_layer_fit_it(recording):
    layout = layout_named(recording.layout)
    shapes = {name: array.shape for name, array in recording.tensors.items()}
    view = view_of(layout, shapes, recording.settings, recording.storage, recording.sizes)
    weights = logical_arrays(view, recording.tensors.__getitem__)
    settings = {**view.settings, **recording.settings}
    inputs = random_inputs(layout.kind.name, weights, {**layout.kind.settings, **settings}, np.random.default_rng(0))
    outputs = reference(layout.kind.name, weights, settings, inputs)
    assert outputs.size and np.isfinite(outputs).all()
    assert outputs.std() > 1e-3


def test_a_kind_without_known_inputs_is_named():
    with pytest.raises(wp.UsageError, match="no inputs are known for kind 'none'"):
        random_inputs("none", [{}], {}, np.random.default_rng(0))
