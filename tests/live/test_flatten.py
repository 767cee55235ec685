"""Feature maps that are flattened: a channels-last model's rows follow (height, width, channel), a channels-first one's
(channel, height, width)."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from flatten_models import MODELS, ChannelsLast, classifier, fill, inputs_of, run_torch
from live_cases import randomise, run_keras
from weightport import RefusedError, UsageError, convert

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")
nn, layers = torch.nn, keras.layers


model_of = pytest.mark.parametrize("name", MODELS)


def turned(report):
    return {" + ".join(layer.sources) for layer in report.layers if any("flattened map" in n for n in layer.notes)}


def assert_equal(ours, theirs):
    assert np.asarray(theirs).std() > 1e-3
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "suffix"), zip(MODELS, itertools.cycle(["keras", "h5"]), strict=False))
def test_a_keras_file_becomes_its_channels_first_twin_and_comes_back(name, suffix, tmp_path):
    (model, module), expected = MODELS[name][0](), MODELS[name][1]
    randomise(model.weights, 1)
    model.save(tmp_path / f"m.{suffix}")
    torch.save(module.state_dict(), tmp_path / "twin.pt")
    report = convert(tmp_path / f"m.{suffix}", tmp_path / "m.pt", into=tmp_path / "twin.pt")
    assert turned(report) == expected
    module.load_state_dict(torch.load(tmp_path / "m.pt", weights_only=True))
    inputs = inputs_of(model)
    assert_equal(run_torch(module, inputs), run_keras(model, inputs))

    other = MODELS[name][0]()[0]
    other.save(tmp_path / f"untrained.{suffix}")
    convert(tmp_path / "m.pt", tmp_path / f"back.{suffix}", into=tmp_path / f"untrained.{suffix}")
    back = keras.saving.load_model(tmp_path / f"back.{suffix}")
    for ours, theirs in zip(back.weights, model.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs), err_msg=ours.path)


@model_of
def test_live_models_in_place_both_ways(name):
    model, module = MODELS[name][0]()
    randomise(model.weights, 2)
    inputs = inputs_of(model)
    convert(model, module)
    assert_equal(run_torch(module, inputs), run_keras(model, inputs))
    convert(fill(module), model)
    assert_equal(run_keras(model, inputs), run_torch(module, inputs))


@pytest.mark.parametrize("name", ["classifier", "decoder", "reader"])
def test_without_a_template_the_rows_turn_too(name, tmp_path):
    (model, module), expected = MODELS[name][0](), MODELS[name][1]
    randomise(model.weights, 3)
    model.save(tmp_path / "m.keras")
    assert turned(convert(tmp_path / "m.keras", tmp_path / "m.safetensors")) == expected
    from safetensors.torch import load_file

    module.load_state_dict(load_file(tmp_path / "m.safetensors"))
    inputs = inputs_of(model)
    assert_equal(run_torch(module, inputs), run_keras(model, inputs))


def channels_first_model(flatten_format):
    return keras.Sequential(
        [
            keras.Input((3, 6, 5)),
            layers.Conv2D(4, 3, data_format="channels_first", name="conv"),
            layers.Flatten(data_format=flatten_format),
            layers.Dense(5, name="head"),
        ]
    )


@pytest.mark.parametrize(("flatten_format", "turns"), [("channels_last", False), ("channels_first", True)])
def test_a_channels_first_keras_model_turns_where_its_flatten_does(flatten_format, turns):
    """Flatten with data_format = channels_first moves the channels to the end before it flattens."""
    model = channels_first_model(flatten_format)
    randomise(model.weights, 4)
    module = nn.Sequential()
    module.conv, module.flatten, module.head = nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(48, 5)
    report = convert(model, module)
    assert turned(report) == ({"head"} if turns else set())
    inputs = inputs_of(model)
    assert_equal(run_torch(module, inputs), channels_first_outputs(model, inputs))


def channels_first_outputs(model, inputs):
    """The model run layer by layer: TensorFlow on a CPU has no channels-first convolution of its own."""
    conv, flatten, head = model.layers
    weights = [np.asarray(weight) for weight in conv.weights]
    last = layers.Conv2D(4, 3)
    last.build((None, 6, 5, 3))
    last.set_weights(weights)
    maps = np.moveaxis(np.asarray(last(np.moveaxis(inputs, 1, -1))), -1, 1)
    return np.asarray(head(flatten(maps)))


def test_a_twin_that_flattens_channels_last_says_so_in_a_mapping_file(tmp_path):
    model, _ = classifier(9, 7, 4)
    randomise(model.weights, 5)
    module = ChannelsLast(4, 36)
    (tmp_path / "map.toml").write_text('[flatten]\n"hidden" = "same"\n"norm" = "same"\n')
    assert turned(convert(model, module, mapping=tmp_path / "map.toml")) == set()
    inputs = inputs_of(model)
    assert_equal(run_torch(module, inputs), run_keras(model, inputs))


def custom_model(middle):
    inputs = keras.Input((6, 5, 3))
    x = middle(layers.Conv2D(4, 3, name="conv")(inputs))
    return keras.Model(inputs, layers.Dense(5, name="head")(layers.Flatten()(x)))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda: custom_model(layers.Lambda(lambda x: x[:, ::-1])), "passes through the Lambda"),
        (lambda: custom_model(layers.Permute((1, 3, 2))), "whose channels stand between its places"),
        (
            lambda: keras.Sequential([keras.Input((6, 5, 3)), layers.Flatten(), layers.Dense(5, name="head")]),
            "an input of three axes",
        ),
        (
            lambda: keras.Sequential([keras.Input((5,)), layers.Dense(60, name="head"), layers.Reshape((4, 5, 3))]),
            "no convolution reads",
        ),
    ],
    ids=["lambda", "channels-in-the-middle", "image", "image-out"],
)
def test_what_is_flattened_in_an_unknown_order_is_refused_with_the_line_to_write(model, reason, tmp_path):
    with pytest.raises(RefusedError, match=reason) as caught:
        model = model()
        model.save(tmp_path / "m.keras")
        convert(tmp_path / "m.keras", tmp_path / "m.pt")
    axis = "out" if "no convolution" in reason else "in"
    line = '"head" = [height, width, channels]' if axis == "in" else '"head" = { out = [height, width, channels] }'
    assert line in str(caught.value)
    assert not (tmp_path / "m.pt").exists()


def test_a_flattened_map_beside_other_features_is_refused(tmp_path):
    inputs = keras.Input((6, 5, 3))
    x = layers.Conv2D(4, 3, name="conv")(inputs)
    both = layers.Concatenate()([layers.Flatten()(x), layers.GlobalAveragePooling2D()(x)])
    model = keras.Model(inputs, layers.Dense(5, name="head")(both))
    model.save(tmp_path / "m.keras")
    with pytest.raises(RefusedError, match="joins a flattened feature map with other features"):
        convert(tmp_path / "m.keras", tmp_path / "m.pt")


class TestFilesThatDoNotSay:
    """Weights without a config on one side, a state dict on the other: nothing tells that the rows follow a map."""

    @pytest.fixture
    def twins(self, tmp_path):
        model, module = classifier(9, 7, 4)
        randomise(model.weights, 6)
        model.save_weights(tmp_path / "m.weights.h5")
        torch.save(module.state_dict(), tmp_path / "twin.pt")
        return model, module

    def run(self, tmp_path, text):
        (tmp_path / "map.toml").write_text(text)
        convert(tmp_path / "m.weights.h5", tmp_path / "m.pt", into=tmp_path / "twin.pt", mapping=tmp_path / "map.toml")

    def test_the_suspicion_alone_refuses(self, tmp_path, twins):
        with pytest.raises(RefusedError, match="takes in 36 features after conv, which has 4 channels"):
            self.run(tmp_path, "")
        assert not (tmp_path / "m.pt").exists()

    def test_the_order_of_one_file_tells_that_a_pooled_map_is_not_flattened(self, tmp_path):
        model = keras.Sequential(
            [
                keras.Input((9, 7, 3)),
                layers.Conv2D(4, 3, name="lower"),
                layers.Conv2D(8, 3, name="upper"),
                layers.GlobalAveragePooling2D(),
                layers.Dense(5, name="head"),
            ]
        )
        randomise(model.weights, 7)
        model.save_weights(tmp_path / "m.weights.h5")
        modules = {"lower": nn.Conv2d(3, 4, 3), "upper": nn.Conv2d(4, 8, 3), "head": nn.Linear(8, 5)}
        torch.save(nn.ModuleDict(modules).state_dict(), tmp_path / "twin.pt")
        convert(tmp_path / "m.weights.h5", tmp_path / "m.pt", into=tmp_path / "twin.pt")
        made = torch.load(tmp_path / "m.pt", weights_only=True)
        np.testing.assert_array_equal(made["head.weight"].numpy(), np.asarray(model.get_layer("head").kernel).T)

    def test_the_mapping_file_tells(self, tmp_path, twins):
        model, module = twins
        self.run(tmp_path, '[flatten]\n"hidden" = [3, 3, 4]\n"norm" = [3, 3, 4]\n')
        module.load_state_dict(torch.load(tmp_path / "m.pt", weights_only=True))
        inputs = inputs_of(model)
        assert_equal(run_torch(module, inputs), run_keras(model, inputs))

    def test_sizes_that_do_not_multiply_to_the_rows_are_refused(self, tmp_path, twins):
        with pytest.raises(RefusedError, match=r"the mapping file flattens 3 x 4 x 4 into in, which has 36 elements"):
            self.run(tmp_path, '[flatten]\n"hidden" = [3, 4, 4]\n')

    @pytest.mark.parametrize("value", ['"other"', "[0, 4]", "36", "{ in = true }"])
    def test_what_is_no_feature_map_is_a_wrong_usage(self, tmp_path, twins, value):
        with pytest.raises(UsageError, match=r"map\.toml: \[flatten\] 'hidden'"):
            self.run(tmp_path, f'[flatten]\n"hidden" = {value}\n')


def test_sizes_in_the_mapping_file_that_contradict_the_model_are_refused(tmp_path):
    model, module = classifier(9, 7, 4)
    (tmp_path / "map.toml").write_text('[flatten]\n"hidden" = [2, 3, 6]\n')
    with pytest.raises(RefusedError, match="the mapping file says 6 channels, the model 4"):
        convert(model, module, mapping=tmp_path / "map.toml")
