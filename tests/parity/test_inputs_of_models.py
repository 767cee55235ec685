"""Inputs as models want them: several, of whole numbers, masked, by name; and models that do not say what they want."""

from __future__ import annotations

import numpy as np
import pytest

import weightport as wp
from live_cases import randomise
from weightport.parity import assert_parity

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")

layers = keras.layers


class TwoInputs(torch.nn.Module):
    """Words and features, put together."""

    def __init__(self):
        super().__init__()
        self.words, self.reader = torch.nn.Embedding(9, 5), torch.nn.GRU(5, 4, batch_first=True)
        self.features, self.head = torch.nn.Linear(3, 4), torch.nn.Linear(8, 2)

    def forward(self, words, features):
        read = self.reader(self.words(words))[0][:, -1]
        return self.head(torch.cat([read, torch.relu(self.features(features))], -1))


def two_inputs(*, masks=False):
    words, features = keras.Input((None,), name="words", dtype="int32"), keras.Input((3,), name="features")
    read = layers.GRU(4, name="reader")(layers.Embedding(9, 5, mask_zero=masks, name="words_of")(words))
    seen = layers.Dense(4, activation="relu", name="features_of")(features)
    model = keras.Model([words, features], layers.Dense(2, name="head")(layers.Concatenate()([read, seen])))
    randomise(model.weights, 3)
    twin = TwoInputs().eval()
    names = {"words_of": "words", "features_of": "features"}
    wp.convert(model, twin, mapping=names)
    return model, twin, names


def test_two_inputs_of_two_dtypes_are_made_and_given_in_order():
    model, twin, names = two_inputs()
    assert_parity(model, twin, mapping=names)


def test_given_inputs_are_found_by_name():
    model, twin, names = two_inputs()
    given = {"features": np.ones((4, 3), np.float32), "words": np.full((4, 6), 8)}
    parity = assert_parity(model, twin, given, mapping=names)
    assert parity.outputs[0].difference.shape == (4, 2)


def test_a_mask_that_one_side_does_not_have_is_said():
    model, twin, names = two_inputs(masks=True)
    parity = wp.verify(model, twin, mapping=names)
    assert not parity
    assert parity.first == "reader"
    assert "agrees on whole sequences and differs where the token 0 is masked" in parity.causes[0]


def test_a_file_of_keras_is_loaded_and_run(tmp_path):
    model, twin, names = two_inputs()
    model.save(tmp_path / "m.keras")
    parity = assert_parity(tmp_path / "m.keras", twin, mapping=names)
    assert all(layer.difference is not None for layer in parity.layers)


def test_layers_in_a_model_in_a_model_are_watched():
    inner = keras.Sequential([keras.Input((5,)), layers.Dense(4, "tanh", name="low"), layers.Dense(3, name="top")])
    inner.name = "inner"
    inputs = keras.Input((6,))
    model = keras.Model(inputs, layers.Dense(2, name="head")(inner(layers.Dense(5, name="first")(inputs))))
    randomise(model.weights, 2)

    class Twin(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = torch.nn.Linear(6, 5), torch.nn.Linear(3, 2)
            self.inner = torch.nn.ModuleDict({"low": torch.nn.Linear(5, 4), "top": torch.nn.Linear(4, 3)})

        def forward(self, x):
            return self.head(self.inner["top"](torch.tanh(self.inner["low"](self.first(x)))))

    twin = Twin().eval()
    wp.convert(model, twin)
    parity = assert_parity(model, twin)
    assert [layer.name for layer in parity.layers] == ["first", "inner.low", "inner.top", "head"]
    assert all(layer.difference is not None for layer in parity.layers)
    with torch.no_grad():
        twin.inner["top"].bias += 0.1
    assert wp.verify(model, twin).first == "inner.top"


def test_modules_that_do_not_say_what_they_take_are_still_compared_by_their_weights():
    class Opaque(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(1)
            self.scale = torch.nn.LayerNorm((4, 3))

        def forward(self, x, y):
            return self.scale(x) + y

    parity = wp.verify(Opaque().eval(), Opaque().eval())
    assert parity
    assert parity.depths[-1].verdict == "not reached"
    assert "--inputs" in parity.depths[-1].reason
    given = [np.ones((2, 4, 3), np.float32)] * 2
    assert assert_parity(Opaque().eval(), Opaque().eval(), given)


def test_a_layer_that_is_used_twice_is_no_false_alarm():
    class Twice(torch.nn.Module):
        def __init__(self, *, swapped):
            super().__init__()
            torch.manual_seed(2)
            self.shared, self.swapped = torch.nn.Linear(4, 4), swapped

        def forward(self, x):
            if self.swapped:
                second = self.shared(torch.tanh(x))
                return self.shared(x) * second
            return self.shared(x) * self.shared(torch.tanh(x))

    one, other = Twice(swapped=False).eval(), Twice(swapped=True).eval()
    parity = assert_parity(one, other)
    assert "used otherwise" in parity.layers[0].remarks[0]


def test_cells_attention_and_transposed_convolutions_are_run():
    class Mixed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(5)
            self.up = torch.nn.ConvTranspose1d(3, 6, 2)
            self.norm, self.act = torch.nn.GroupNorm(2, 6), torch.nn.PReLU(6)
            self.attention = torch.nn.MultiheadAttention(6, 2)
            self.cell, self.head = torch.nn.LSTMCell(6, 4), torch.nn.Linear(4, 2)

        def forward(self, x):
            x = self.act(self.norm(self.up(x))).permute(2, 0, 1)
            x = self.attention(x, x, x)[0]
            state = None
            for step in x:
                state = self.cell(step, state)
            return self.head(state[0])

    one, other = Mixed().eval(), Mixed().eval()
    inputs = np.random.default_rng(1).normal(size=(3, 3, 7)).astype(np.float32)
    parity = assert_parity(one, other, inputs)
    assert {layer.verdict for layer in parity.layers} <= {"agrees", "not reached"}
    with torch.no_grad():
        other.attention.in_proj_weight[3] += 0.1
    assert wp.verify(one, other, inputs).first == "attention"
