"""Layers of PyTorch: from a state dict only what its names and shapes force, from a live module what its type says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import weightport as wp
from weightport.checkpoint import Contents, LazyTensor
from weightport.frameworks import framework_named

TORCH = framework_named("torch")


def contents_of(shapes):
    """The contents of a file that holds tensors of these names and shapes."""
    tensors = {
        name: LazyTensor(name, shape, np.dtype(np.float32), lambda shape=shape: np.ones(shape, np.float32))
        for name, shape in shapes.items()
    }
    return Contents("file", "safetensors", "torch", tensors, ordered=False)


def from_file(module):
    """The structure that only the names and shapes of a module's state dict tell."""
    return TORCH.structure(contents_of({name: tuple(value.shape) for name, value in module.state_dict().items()}))


def from_live(module):
    """The structure of the module itself."""
    return TORCH.structure(TORCH.read_live(module))


class Holder(nn.Module):
    """A module with one child, ``part``."""

    def __init__(self, part):
        super().__init__()
        self.part = part


FORCED = {
    "lstm": nn.LSTM(3, 5, num_layers=2, bidirectional=True),
    "projected lstm": nn.LSTM(3, 5, proj_size=2),
    "gru": nn.GRU(3, 5, bias=False),
    "rnn": nn.RNN(3, 5, nonlinearity="relu"),
    "lstm cell": nn.LSTMCell(3, 5),
    "gru cell": nn.GRUCell(3, 5),
    "rnn cell": nn.RNNCell(3, 5),
    "linear with a bias": nn.Linear(3, 5),
    "batch norm": nn.BatchNorm2d(4),
    "batch norm without scale": nn.BatchNorm1d(4, affine=False),
    "attention": nn.MultiheadAttention(4, 2, kdim=3, vdim=5),
}


@pytest.mark.parametrize("part", FORCED.values(), ids=FORCED)
def test_names_and_shapes_that_force_a_kind_give_the_kind_that_the_type_has(part):
    (found,), (live,) = from_file(Holder(part)).layers, from_live(Holder(part)).layers
    assert found.kinds == live.kinds
    assert len(found.kinds) == 1
    assert found.name == live.name == "part"
    assert found.layout == live.layout
    assert set(found.tensors.values()) == set(Holder(part).state_dict())


OPEN = {
    "a matrix alone": (nn.Linear(3, 5, bias=False), {"dense", "embedding"}),
    "an embedding": (nn.Embedding(3, 5), {"dense", "embedding"}),
    "vectors of one length": (nn.LayerNorm(4), {"layer_norm", "group_norm"}),
    "a kernel": (nn.Conv2d(4, 6, 3), {"conv"}),
    "a kernel that could be turned": (nn.ConvTranspose2d(4, 4, 3), {"conv", "conv_transpose"}),
}


@pytest.mark.parametrize(("part", "kinds"), OPEN.values(), ids=OPEN)
def test_what_names_and_shapes_leave_open_stays_open_until_the_type_tells(part, kinds):
    (found,), (live,) = from_file(Holder(part)).layers, from_live(Holder(part)).layers
    assert kinds <= set(found.kinds)
    assert len(live.kinds) == 1
    assert live.kinds[0] in found.kinds


def test_layers_are_named_by_the_path_of_their_module_and_the_root_is_empty():
    model = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.LSTM(4, 5)))
    assert {layer.name for layer in from_file(model).layers} == {"0", "1.0"}
    assert [layer.name for layer in from_file(nn.Linear(3, 4)).layers] == [""]


def test_settings_of_a_live_module_are_those_that_its_weights_do_not_tell():
    (conv,) = from_live(Holder(nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2))).layers
    assert {**conv.settings} == {"strides": 2, "padding": 1, "dilation": 2, "groups": 2}
    (norm,) = from_live(Holder(nn.BatchNorm1d(4, eps=1e-3))).layers
    assert norm.settings["epsilon"] == 1e-3
    (rnn,) = from_live(Holder(nn.RNN(3, 5, nonlinearity="relu", bidirectional=True))).layers
    assert (rnn.settings["activation"], rnn.settings["direction"]) == ("relu", "bidirectional")


class Own(nn.Module):
    """A module with a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(3))
        self.head = nn.Linear(3, 2)


@pytest.mark.parametrize("structure", [from_file, from_live])
def test_a_parameter_of_no_known_layer_is_unknown_with_the_reason(structure):
    found = structure(Own())
    assert [layer.name for layer in found.layers] == ["head"]
    assert list(found.unknown) == ["temperature"]
    assert found.unknown["temperature"].startswith("the root module: ")


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((20,), "weight_hh_l0 of shape [20] is that of no recurrent layer"),
        ((21, 5), "weight_hh_l0 of shape [21, 5] is of no known kind"),
        ((10, 5), "weight_hh_l0 of shape [10, 5] is of no known kind"),
    ],
)
def test_recurrent_weights_of_an_impossible_shape_are_no_layer(shape, reason):
    contents = contents_of({"rnn.weight_ih_l0": (20, 3), "rnn.weight_hh_l0": shape})
    assert set(TORCH.structure(contents).unknown.values()) == {f"rnn: {reason}"}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float64, torch.int8])
def test_live_tensors_are_read_and_written_bit_for_bit(dtype):
    values = torch.arange(-6, 6).reshape(3, 4).to(dtype)
    one, other = nn.Module(), nn.Module()
    one.register_buffer("held", values)
    other.register_buffer("held", torch.zeros(3, 4).to(dtype))
    tensor = TORCH.read_live(one).tensors["held"]
    assert str(tensor.dtype) == str(dtype).removeprefix("torch.")
    TORCH.write_live(other, [tensor])
    assert torch.equal(other.held.view(torch.uint8), values.view(torch.uint8))


def test_what_a_live_module_drops_in_training_is_noted():
    modules = nn.GRU(4, 3, num_layers=2, dropout=0.25), nn.MultiheadAttention(6, 2, dropout=0.5), nn.GRU(4, 3)
    notes = [wp.open(module).layers[0].notes for module in modules]
    assert notes == [
        ("drops 0.25 of what goes from one layer to the next in training",),
        ("drops 0.5 of its scores in training",),
        (),
    ]
