"""What ConvTranspose, PRelu and Gemm nodes say of the layers that they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

import weightport as wp
from onnx_models import model_of, values
from weightport.checkpoint import Layer
from weightport.match import layer_view


def layers_of(path: Path) -> tuple[Layer, ...]:
    return wp.open(path).layers


@pytest.mark.parametrize(
    ("attributes", "settings", "notes"),
    [
        ({}, {"strides": 1, "dilation": 1, "groups": 1, "padding": "valid", "output_padding": 0}, ()),
        ({"strides": [2, 3], "output_padding": [1, 2]}, {"strides": (2, 3), "output_padding": (1, 2)}, ()),
        ({"pads": [1, 0, 1, 0], "group": 2}, {"padding": (1, 0), "groups": 2}, ()),
        ({"auto_pad": "SAME_UPPER", "strides": [2, 2]}, {"padding": "same", "output_padding": "fill"}, ()),
        ({"output_shape": [9, 8]}, {}, ("output_shape = 9x8: its padding follows from that",)),
    ],
)
def test_settings_of_transposed_convolutions(
    attributes: dict[str, Any], settings: dict[str, Any], notes: tuple[str, ...], tmp_path: Path
) -> None:
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y_out"], **attributes)
    path = model_of([node], {"w": values(4, 3, 3, 2)}, (1, 4, 8, 7), (1, None, None, None), tmp_path / "m.onnx")
    (layer,) = layers_of(path)
    assert layer.kinds == ("conv_transpose",)
    assert {name: layer.settings[name] for name in settings} == settings
    assert layer.notes == notes


@pytest.mark.parametrize(
    ("shape", "channel", "sizes"),
    [
        ((4, 1, 1), "first", {"channel": 4}),
        ((4,), "first", {"channel": 4}),
        ((1,), "first", {"channel": 1}),
        ((1, 4, 1, 1), "after batch", {"channel": 4}),
        ((1, 1, 6), "last", {"channel": 6}),
        ((4, 5, 6), "first", {"channel": 4, "...0": 5, "...1": 6}),
    ],
)
def test_where_the_channels_of_a_slope_stand(
    shape: tuple[int, ...], channel: str, sizes: dict[str, int], tmp_path: Path
) -> None:
    node = helper.make_node("PRelu", ["x", "s"], ["y_out"])
    width = 4 if shape == (4,) else 6
    path = model_of([node], {"s": values(*shape)}, (3, 4, 5, width), (3, 4, 5, width), tmp_path / "m.onnx")
    checkpoint = wp.open(path)
    (layer,) = checkpoint.layers
    assert (layer.kinds, layer.storage) == (("prelu",), {"channel": channel})
    assert dict(layer_view(checkpoint, layer, "prelu").sizes[0]) == sizes


def test_a_slope_that_does_not_tell_its_channels_is_refused_by_name(tmp_path: Path) -> None:
    node = helper.make_node("PRelu", ["x", "s"], ["y_out"], name="p")
    path = model_of([node], {"s": values(1, 5, 6)}, (3, 4, 5, 6), (3, 4, 5, 6), tmp_path / "m.onnx")
    assert wp.open(path).structure.unknown == {
        "s": "PRelu 'p' has a slope of shape [1, 5, 6], which does not tell its channels"
    }


def test_a_bias_of_one_row_is_carried_to_pytorch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y_out"], transB=1)
    tensors = {"w": values(5, 4), "b": values(1, 5)}
    path = model_of([node], tensors, (3, 4), (3, 5), tmp_path / "m.onnx")
    module = torch.nn.Linear(4, 5)
    wp.convert(path, module)
    np.testing.assert_array_equal(module.weight.detach().numpy(), tensors["w"])
    np.testing.assert_array_equal(module.bias.detach().numpy(), tensors["b"][0])


@pytest.mark.parametrize(("name", "tensor"), [("alpha", "w"), ("beta", "b")])
def test_a_scaled_product_is_refused_with_what_to_do(name: str, tensor: str, tmp_path: Path) -> None:
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y_out"], name="g", **{name: 0.5})
    path = model_of([node], {"w": values(4, 5), "b": values(5)}, (3, 4), (3, 5), tmp_path / "m.onnx")
    assert wp.open(path).structure.unknown[tensor] == (
        f"Gemm 'g' scales it by {name} = 0.5; multiply the tensor by it in the graph and set the attribute to 1"
    )
