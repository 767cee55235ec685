"""Depthwise, separable and transposed convolutions, PReLU and EinsumDense in every kind of Keras file."""

from __future__ import annotations

import numpy as np
import pytest

from keras_checks import assert_all_covered, save, structure
from live_cases import randomise
from weightport.frameworks._keras_config import Entry
from weightport.frameworks._keras_einsum import EinsumForm, einsum_form

keras = pytest.importorskip("keras")

DEPTHWISE = "keras.depthwise_conv"
FOUND = {
    "depthwise": ("conv", DEPTHWISE, {"kernel": 0, "bias": 1}),
    "separable.depthwise": ("conv", DEPTHWISE, {"kernel": 2}),
    "separable.pointwise": ("conv", "", {"kernel": 3, "bias": 4}),
    "transposed": ("conv_transpose", "", {"kernel": 5, "bias": 6}),
    "slope": ("prelu", "", {"alpha": 7}),
    "products": ("dense", "keras.einsum_dense", {"kernel": 8, "bias": 9}),
}


def model():
    layers = keras.layers
    made = keras.Sequential(
        [
            keras.Input((12, 10, 4)),
            layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise"),
            layers.SeparableConv2D(6, (3, 2), name="separable"),
            layers.Conv2DTranspose(5, 2, name="transposed"),
            layers.PReLU(shared_axes=(1, 2), name="slope"),
            layers.EinsumDense("bhwi,io->bhwo", (None, None, 3), bias_axes="o", name="products"),
        ]
    )
    randomise(made.weights, 3)
    return made


def assert_layers(contents, made, expected):
    layers = {layer.name: layer for layer in structure(contents).layers}
    assert set(layers) == set(expected)
    for name, (kind, layout, tensors) in expected.items():
        layer = layers[name]
        assert (layer.kinds, layer.layout) == ((kind,), layout), name
        assert set(layer.tensors) == set(tensors), name
        for local, index in tensors.items():
            found = contents.tensors[layer.tensors[local]].read()
            np.testing.assert_array_equal(found, np.asarray(made.weights[index]), err_msg=f"{name} {local}")
    groups = {"depthwise": 4, "separable.depthwise": 8}
    assert {name: layer.settings["groups"] for name, layer in layers.items() if name in groups} == groups


@pytest.mark.parametrize("file", ["m.keras", "m.h5"])
def test_a_file_with_a_config_has_every_layer(file, tmp_path):
    made = model()
    contents = save(made, tmp_path / file)
    assert_layers(contents, made, FOUND)
    assert_all_covered(contents, structure(contents))


def test_a_file_of_weights_only_has_every_layer_whose_class_tells_all(tmp_path):
    """The classes stand in the names of its groups; the equation of an EinsumDense does not."""
    made = model()
    contents = save(made, tmp_path / "m.weights.h5")
    assert_layers(contents, made, {name: found for name, found in FOUND.items() if name != "products"})
    reasons = set(structure(contents).unknown.values())
    assert reasons == {"products: the EinsumDense is no dense layer: its equation is not known"}


@pytest.mark.parametrize(
    ("equation", "bias", "expected"),
    [
        ("bti,io->bto", "o", EinsumForm(1, 1, turned=False, straight=True)),
        ("bti,oi->bto", None, EinsumForm(1, 1, turned=True, straight=True)),
        ("...x,xy->...y", "y", EinsumForm(1, 1, turned=False, straight=True)),
        ("btij, ijop -> btop", "po", EinsumForm(2, 2, turned=False, straight=True)),
        ("abc,cd->adb", None, EinsumForm(1, 1, turned=False, straight=False)),
        ("acb,cd->abd", "d", EinsumForm(1, 1, turned=False, straight=False)),
    ],
)
def test_equations_of_dense_layers(equation, bias, expected):
    assert einsum_form(Entry("EinsumDense", "e", {"equation": equation, "bias_axes": bias})) == expected


@pytest.mark.parametrize(
    ("equation", "bias", "reason"),
    [
        ("bti,tio->bto", None, "is not that of a dense layer"),
        ("bti,i->bti", None, "is not that of a dense layer"),
        ("bti,ioj->btoj", "o", "its bias is over 'o', and that of a dense layer over all outputs, 'oj'"),
        ("abc,cd->adb", "d", "its bias is over 'd'"),
        ("abcd,bcdo->ao", None, "is not that of a dense layer with up to 2 axes"),
        ("no equation", None, "is not that of a layer"),
        (None, None, "its equation is not known"),
        (7, None, "is not that of a layer"),
    ],
)
def test_equations_of_other_layers_are_refused_with_the_reason(equation, bias, reason):
    found = einsum_form(Entry("EinsumDense", "e", {"equation": equation, "bias_axes": bias}))
    assert isinstance(found, str)
    assert reason in found
