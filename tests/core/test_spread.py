"""Axes that a framework spreads over several dimensions, keeps at one size or broadcasts: NumPy is the judge."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import weightport as wp
from weightport import LayoutError, RefusedError
from weightport.layouts import layout_named
from weightport.views import view_of


def test_a_depthwise_kernel_is_a_grouped_kernel_with_channels_and_multipliers_apart(values: Any) -> None:
    kernel, bias = values((3, 2, 4, 5), 1), values((20,), 2)
    there = wp.translate({"kernel": kernel, "bias": bias}, "keras.depthwise_conv", "torch.conv", groups=4)
    np.testing.assert_array_equal(there["weight"], kernel.transpose(2, 3, 0, 1).reshape(20, 1, 3, 2))
    np.testing.assert_array_equal(there["bias"], bias)
    back = wp.translate(there, "torch.conv", "keras.depthwise_conv", groups=4)
    assert back["kernel"].tobytes() == kernel.tobytes()
    other = wp.translate(there, "torch.conv", "keras.depthwise_conv", groups=10)
    np.testing.assert_array_equal(other["kernel"], kernel.reshape(3, 2, 10, 2))


@pytest.mark.parametrize(
    ("shape", "settings", "message"),
    [
        ((8, 2, 3), {"groups": 4}, "keras.depthwise_conv has one size for in and 1, not [2] and [1]"),
        ((8, 1, 3), {"groups": 3}, "keras.depthwise_conv divides out by groups, which 8 and 3 do not"),
        ((8, 1, 3), {}, "keras.depthwise_conv stores out in 2 dimensions of unknown sizes; give groups"),
    ],
)
def test_a_convolution_that_is_not_depthwise_is_refused(
    shape: tuple[int, ...], settings: Any, message: str, values: Any
) -> None:
    with pytest.raises(RefusedError, match=re.escape(message)):
        wp.translate({"weight": values(shape, 1)}, "torch.conv", "keras.depthwise_conv", **settings)


def test_a_kernel_of_more_input_channels_than_the_framework_has_a_place_for_does_not_fit() -> None:
    with pytest.raises(LayoutError, match=r"keras\.depthwise_conv: out is 8, and 12 in 'kernel'"):
        view_of(layout_named("keras.depthwise_conv"), {"bias": (8,), "kernel": (3, 4, 3)})


@pytest.mark.parametrize("turned", [False, True])
def test_einsum_kernels_are_dense_kernels_of_more_dimensions(turned: bool, values: Any) -> None:
    inside, outside = (2, 3), (4, 5)
    shape = (*outside, *inside) if turned else (*inside, *outside)
    kernel, bias = values(shape, 1), values(outside, 2)
    storage = {"turned": turned, "inputs": 2, "outputs": 2}
    there = wp.translate(
        {"kernel": kernel, "bias": bias}, "keras.einsum_dense", "torch.dense", storage=storage, activation="linear"
    )
    flat = kernel.reshape(20, 6) if turned else kernel.reshape(6, 20).T
    np.testing.assert_array_equal(there["weight"], flat)
    np.testing.assert_array_equal(there["bias"], bias.reshape(-1))


def test_a_slope_that_is_shared_over_space_has_no_axes_there(values: Any) -> None:
    alpha = values((1, 1, 4), 1)
    there = wp.translate({"alpha": alpha}, "keras.prelu", "torch.prelu")
    np.testing.assert_array_equal(there["weight"], alpha[0, 0])


def test_a_slope_that_is_shared_over_one_axis_keeps_the_other(values: Any) -> None:
    alpha = values((1, 3, 4), 1)
    there = wp.translate({"alpha": alpha}, "keras.prelu", "onnx.prelu")
    np.testing.assert_array_equal(there["slope"], alpha.transpose(2, 0, 1))


def test_a_slope_of_its_own_at_every_place_is_refused_where_there_is_one_a_channel(values: Any) -> None:
    with pytest.raises(RefusedError, match=r"torch\.prelu holds one slope for all places, not 5 along \.\.\.0"):
        wp.translate({"alpha": values((5, 3, 4), 1)}, "keras.prelu", "torch.prelu")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("spread", {"width": "groups"}, "[depthwise_conv] spread: unknown key 'width'; known are"),
        ("spread", {"out": "grups"}, "[depthwise_conv] spread out: no setting 'grups'; conv has strides"),
        ("spread", {"out": 2}, "[depthwise_conv] spread out: must be a text, found 2"),
    ],
)
def test_a_mistake_in_a_spread_is_one_line(
    key: str, value: Any, message: str, layouts_from: Any, shipped_table: Any
) -> None:
    table = shipped_table("keras")
    table["depthwise_conv"][key] = value
    with pytest.raises(LayoutError, match=re.escape(message)):
        layouts_from(table, "keras.toml")


def test_labels_cannot_be_spread(layouts_from: Any, shipped_table: Any) -> None:
    table = shipped_table("keras")
    table["lstm"]["tensors"]["{direction}kernel"]["axes"] = "in gate (gate unit)"
    with pytest.raises(LayoutError, match="'gate' has labels and cannot be spread over several dimensions"):
        layouts_from(table, "keras.toml")
