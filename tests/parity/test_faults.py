"""Every usual mistake, planted between every two frameworks: the first layer that diverges is named, and why."""

from __future__ import annotations

import re

import pytest

import weightport as wp

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from parity_models import (  # noqa: E402
    Convolutional,
    Normalised,
    Recurrent,
    bias_halves_exchanged,
    changed,
    exported,
    gates_exchanged,
    keras_convolutional,
    keras_normalised,
    keras_recurrent,
)

SEQUENCE, IMAGE, FEATURES = (3, 5, 4), (3, 3, 8, 10), (3, 4)


class Fault:
    """A right Keras model, its right PyTorch twin, and the wrong one; the layer at fault and what has to be said."""

    def __init__(self, source, right, wrong, shape, first, words, damage=None, onnx_damage=None, training=False):
        self.source, self.right, self.wrong, self.shape = source, right, wrong, shape
        self.first, self.words = first, words
        self.damage, self.onnx_damage, self.training = damage, onnx_damage, training

    def loaded(self, make):
        """The PyTorch module with the Keras model's weights, in evaluation mode."""
        module = make().eval()
        wp.convert(self.source(), module)
        return module

    def damaged(self):
        """The wrong twin."""
        module = self.loaded(self.wrong)
        return self.damage(module) if self.damage else module

    def onnx(self):
        """The wrong twin as an ONNX graph."""
        model = exported(self.damaged(), self.shape, training=self.training)
        return self.onnx_damage(model) if self.onnx_damage else model


def trained(module):
    """Train mode left on."""
    torch.manual_seed(0)
    return module.train()


FAULTS = {
    "gate permutation": Fault(
        keras_recurrent, Recurrent, Recurrent, SEQUENCE, "rnn",
        r"rnn: .*gate",
        damage=lambda module: gates_exchanged(module, 0, 2),
    ),
    "bias halves": Fault(
        lambda: keras_recurrent("GRU"), lambda: Recurrent("GRU"), lambda: Recurrent("GRU"), SEQUENCE, "rnn",
        r"rnn: .*bias",
        damage=bias_halves_exchanged,
    ),
    "batch-norm epsilon": Fault(
        keras_normalised, Normalised, lambda: Normalised(epsilon=1e-5), FEATURES, "norm",
        r"norm: epsilon is 0\.001 in A and 1e-05 in B",
    ),
    "padding": Fault(
        keras_convolutional, Convolutional, lambda: Convolutional(pads=(1, 0, 1, 0)), IMAGE, "conv",
        r"conv: .*(pad|place)",
    ),
    "flatten order": Fault(
        keras_convolutional, Convolutional, lambda: Convolutional(channels_last=True), IMAGE, "after",
        r"after: .*flatten",
    ),
    "time direction": Fault(
        keras_recurrent, Recurrent, lambda: Recurrent(flip=True), SEQUENCE, "rnn",
        r"rnn: it reads the sequence from its other end",
    ),
    "missing activation": Fault(
        keras_normalised, Normalised, lambda: Normalised(activation=lambda x: x), FEATURES, "after",
        r"after: A applies relu to what reaches it and B does not",
    ),
}  # fmt: skip

fault_of = pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))


def assert_named(parity, first, words):
    """The first diverging layer and one of the causes are those expected."""
    assert not parity
    assert parity.first == first
    assert any(re.search(words, cause) for cause in parity.causes), parity.causes


@fault_of
def test_between_keras_and_torch(fault):
    assert wp.verify(fault.source(), fault.loaded(fault.right))
    assert_named(wp.verify(fault.source(), fault.damaged()), fault.first, fault.words)


@fault_of
def test_between_keras_and_onnx(fault):
    assert_named(wp.verify(fault.source(), fault.onnx()), fault.first, fault.words)


@fault_of
def test_between_torch_and_onnx(fault):
    right = fault.loaded(fault.right)
    assert wp.verify(right, exported(right, fault.shape))
    assert_named(wp.verify(right, fault.onnx()), fault.first, fault.words)


RESET = r"rnn: reset is (after|before) in A and (after|before) in B.*reset_after=True"


def test_the_reset_variant_of_a_gru_between_keras_and_torch():
    source, module = keras_recurrent("GRU", reset_after=False), Recurrent("GRU").eval()
    wp.convert(keras_recurrent("GRU"), module)
    with torch.no_grad():
        kernel, recurrent, bias = (torch.from_numpy(v.numpy()) for v in source.get_layer("rnn").cell.weights)
        order = torch.cat([torch.arange(6, 12), torch.arange(6), torch.arange(12, 18)])  # reset, update, candidate
        module.rnn.weight_ih_l0.copy_(kernel.T[order])
        module.rnn.weight_hh_l0.copy_(recurrent.T[order])
        module.rnn.bias_ih_l0.copy_(bias[order])
        module.rnn.bias_hh_l0.zero_()
    assert_named(wp.verify(source, module), "rnn", RESET)


@pytest.mark.parametrize("one", ["keras", "torch"])
def test_the_reset_variant_of_a_gru_in_onnx(one):
    source, module = keras_recurrent("GRU"), Recurrent("GRU").eval()
    wp.convert(source, module)
    graph = changed(exported(module, SEQUENCE), "GRU", linear_before_reset=0)
    assert_named(wp.verify(source if one == "keras" else module, graph), "rnn", RESET)


def test_the_hard_sigmoid_of_keras_3_and_the_one_of_keras_2():
    source, module = keras_recurrent(recurrent_activation="hard_sigmoid"), Recurrent().eval()
    wp.convert(source, module, allow=["recurrent_activation"])
    right = changed(
        exported(module, SEQUENCE),
        "LSTM",
        activations=["HardSigmoid", "Tanh", "Tanh"],
        activation_alpha=[1 / 6],
        activation_beta=[0.5],
    )
    assert wp.verify(source, right)
    wrong = changed(exported(module, SEQUENCE), "LSTM", activations=["HardSigmoid", "Tanh", "Tanh"])
    words = r"rnn: recurrent_activation is {} in A and {} in B.*relu6\(x \+ 3\) / 6"
    assert_named(wp.verify(source, wrong), "rnn", words.format("hard_sigmoid", "hard_sigmoid_0.2"))
    assert_named(wp.verify(source, module), "rnn", words.format("hard_sigmoid", "sigmoid"))
    assert_named(wp.verify(module, wrong), "rnn", words.format("sigmoid", "hard_sigmoid_0.2"))


def test_train_mode_left_on_in_torch():
    source, module = keras_normalised(), Normalised(dropout=0.5).eval()
    wp.convert(source, module)
    assert wp.verify(source, module)
    assert_named(wp.verify(source, trained(module)), "norm", "train mode is left on.*module.eval")
    module.eval().drop.train()
    assert_named(wp.verify(source, module), "after", "after: .*train mode is left on")


@pytest.mark.parametrize("one", ["keras", "torch"])
def test_train_mode_left_on_in_an_exported_graph(one):
    source, module = keras_normalised(), Normalised(dropout=0.5).eval()
    wp.convert(source, module)
    training = Normalised(dropout=0.5)
    wp.convert(source, training)
    training.norm.eval()
    graph = exported(training.train(), FEATURES, training=True)
    parity = wp.verify(source if one == "keras" else module.eval(), graph)
    assert not parity
    assert any("train mode is left on" in cause for cause in parity.causes), parity.causes


def test_the_direction_of_a_keras_layer():
    source, module = keras_recurrent(go_backwards=True), Recurrent().eval()
    wp.convert(source, module, allow=["direction"])
    assert_named(wp.verify(source, module), "rnn", r"rnn: direction is backwards in A and forward in B")
    module.flip = True
    assert wp.verify(source, module)
