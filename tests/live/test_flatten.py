"""Feature maps that are flattened: a channels-last model's rows follow (height, width, channel), a channels-first one's
(channel, height, width). Each Keras model here has a PyTorch twin as a person writes it, channels-first."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from live_cases import randomise, run_keras
from weightport import RefusedError, UsageError, convert

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")
nn, layers = torch.nn, keras.layers


class Classifier(nn.Module):
    """Convolution, pooling, flattened, a batch norm over all rows, two dense layers."""

    def __init__(self, channels, rows):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, (3, 2))
        self.norm = nn.BatchNorm1d(rows, eps=1e-3)
        self.hidden = nn.Linear(rows, 7)
        self.head = nn.Linear(7, 4)

    def forward(self, x):
        x = torch.relu(self.conv(x.permute(0, 3, 1, 2)))
        return self.head(self.hidden(self.norm(nn.functional.max_pool2d(x, 2).flatten(1))))


def classifier(height, width, channels):
    model = keras.Sequential(
        [
            keras.Input((height, width, 3)),
            layers.Conv2D(channels, (3, 2), activation="relu", name="conv"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.BatchNormalization(name="norm"),
            layers.Dense(7, name="hidden"),
            layers.Dense(4, name="head"),
        ]
    )
    return model, Classifier(channels, model.get_layer("hidden").kernel.shape[0])


class Decoder(nn.Module):
    """A dense layer and a batch norm whose rows become a map, which a convolution reads, and then flattened again."""

    def __init__(self):
        super().__init__()
        self.expand = nn.Linear(5, 4 * 3 * 6)
        self.norm = nn.BatchNorm1d(4 * 3 * 6, eps=1e-3)
        self.conv = nn.Conv2d(6, 4, 2)
        self.code = nn.Linear(3 * 2 * 4, 8)

    def forward(self, x):
        x = torch.relu(self.norm(self.expand(x))).unflatten(1, (6, 4, 3))
        return self.code(self.conv(x).flatten(1))


def decoder():
    inputs = keras.Input((5,))
    x = layers.BatchNormalization(name="norm")(layers.Dense(4 * 3 * 6, name="expand")(inputs))
    x = layers.Conv2D(4, 2, name="conv")(layers.Reshape((4, 3, 6))(layers.ReLU()(x)))
    return keras.Model(inputs, layers.Dense(8, name="code")(layers.Flatten()(x))), Decoder()


class Reader(nn.Module):
    """Text in an image: every column of the map is one step of an LSTM."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, padding="same")
        self.rnn = nn.LSTM(4 * 6, 5, bidirectional=True, batch_first=True)
        self.head = nn.Linear(10, 3)

    def forward(self, x):
        x = self.conv(x.permute(0, 3, 1, 2))
        return self.head(self.rnn(x.permute(0, 3, 1, 2).flatten(2))[0])


def reader():
    model = keras.Sequential(
        [
            keras.Input((4, 7, 1)),
            layers.Conv2D(6, 3, padding="same", name="conv"),
            layers.Permute((2, 1, 3)),
            layers.Reshape((7, 4 * 6)),
            layers.Bidirectional(layers.LSTM(5, return_sequences=True), name="rnn"),
            layers.Dense(3, name="head"),
        ]
    )
    return model, Reader()


class Video(nn.Module):
    """Each frame's map is flattened, and a stack of two GRUs reads the frames."""

    def __init__(self):
        super().__init__()
        self.frame = nn.Conv2d(2, 5, 3)
        self.rnn = nn.GRU(2 * 3 * 5, 4, num_layers=2, batch_first=True)

    def forward(self, x):
        maps = self.frame(x.flatten(0, 1).permute(0, 3, 1, 2)).unflatten(0, x.shape[:2])
        return self.rnn(maps.flatten(2))[0]


def video():
    model = keras.Sequential(
        [
            keras.Input((6, 4, 5, 2)),
            layers.TimeDistributed(layers.Conv2D(5, 3), name="frame"),
            layers.TimeDistributed(layers.Flatten()),
            layers.GRU(4, return_sequences=True, name="below"),
            layers.GRU(4, return_sequences=True, name="above"),
        ]
    )
    return model, Video()


class Waves(nn.Module):
    """A convolution over time that is flattened twice, by shared layers, and added."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(2, 6, 3, dilation=2)
        self.head = nn.Linear(5 * 6, 3)

    def forward(self, x):
        both = self.conv(x.transpose(1, 2)).flatten(1)
        return self.head(both + torch.tanh(both))


def waves():
    inputs = keras.Input((9, 2))
    flat = layers.Flatten()(layers.Conv1D(6, 3, dilation_rate=2, name="conv")(inputs))
    return keras.Model(
        inputs, layers.Dense(3, name="head")(layers.Add()([flat, layers.Activation("tanh")(flat)]))
    ), Waves()


class Steps(nn.Module):
    """Steps of an LSTM that are flattened: every framework has them alike, and nothing turns."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(3, 4, batch_first=True)
        self.head = nn.Linear(20, 4)

    def forward(self, x):
        return self.head(self.rnn(x)[0].flatten(1))


def steps():
    return keras.Sequential(
        [
            keras.Input((5, 3)),
            layers.LSTM(4, return_sequences=True, name="rnn"),
            layers.Flatten(),
            layers.Dense(4, name="head"),
        ]
    ), Steps()


MODELS = {
    "classifier": (lambda: classifier(9, 7, 4), {"hidden", "norm"}),
    "classifier-of-square-maps": (lambda: classifier(8, 7, 9), {"hidden", "norm"}),
    "decoder": (decoder, {"expand", "norm", "code"}),
    "reader": (reader, {"rnn"}),
    "video": (video, {"below + above"}),
    "waves": (waves, {"head"}),
    "steps": (steps, set()),
}
model_of = pytest.mark.parametrize("name", MODELS)


def inputs_of(model):
    shape = (3, *model.input_shape[1:])
    return np.random.default_rng(3).normal(size=shape).astype("float32")


def fill(module, seed=5):
    """Random values in every parameter and buffer, variances positive."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.8 - (0.0 if "var" in key else 0.4))
    return module.eval()


def run_torch(module, inputs):
    with torch.no_grad():
        return module.eval()(torch.from_numpy(inputs)).numpy()


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
    class ChannelsLast(Classifier):
        def forward(self, x):
            x = nn.functional.max_pool2d(torch.relu(self.conv(x.permute(0, 3, 1, 2))), 2)
            return self.head(self.hidden(self.norm(x.permute(0, 2, 3, 1).flatten(1))))

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
