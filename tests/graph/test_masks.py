"""What layers other than recurrent ones make of masked steps, in both targets against Keras."""

from __future__ import annotations

import keras
import pytest
from keras import layers

from graph_checks import largest_error, randomise
from random_graphs.comparison import TARGETS, compared

MERGES = (
    *("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"),
    "Concatenate",
)
pytestmark = pytest.mark.parametrize("to", TARGETS)


def assert_same(inputs, outputs, to, folder):
    model = randomise(keras.Model(inputs, outputs))
    assert largest_error(compared(model, to, 0, folder)) <= 1e-5


def two_sequences():
    """Of five steps and four features, of which some steps are masked; inputs of such names have zeros in them."""
    inputs = [keras.Input((5, 4), name=name) for name in ("masked", "other_masked")]
    return inputs, [layers.Masking(name=f"{one.name}_mask")(one) for one in inputs]


@pytest.mark.parametrize("kind", MERGES)
def test_masks_of_several_values_are_merged_as_in_keras(kind, to, tmp_path) -> None:
    inputs, (one, other) = two_sequences()
    bare = layers.Dense(4)(inputs[1])
    merged = [getattr(layers, kind)()(pair) for pair in ([one, other], [one, bare], [bare, other])]
    if kind == "Concatenate":
        merged.append(layers.Concatenate(axis=1)([one, bare]))
    seen = [layers.GlobalAveragePooling1D()(y) for y in merged]
    assert_same(inputs, [*merged, *seen], to, tmp_path)


def test_three_masked_values_are_compared_as_in_keras(to, tmp_path) -> None:
    inputs, (one, other) = two_sequences()
    third = layers.Dense(4)(one)
    bare = layers.Dense(4)(inputs[0])
    outputs = [
        getattr(layers, kind)()(values)
        for kind in ("Multiply", "Maximum", "Minimum")
        for values in ([one, third, other], [bare, one, other], [other, bare, third])
    ]
    assert_same(inputs, outputs, to, tmp_path)


def test_a_softmax_leaves_masked_places_out(to, tmp_path) -> None:
    x = keras.Input((5, 4), name="x")
    mask = x > -0.5
    outputs = [layers.Softmax(axis=axis)(x, mask=mask) for axis in (-1, 1, (1, 2))]
    assert_same(x, [*outputs, layers.Softmax(axis=(1, 2))(x)], to, tmp_path)


def test_a_concatenation_has_the_masks_of_what_it_is_made_of(to, tmp_path) -> None:
    """Keras writes down how its mask is made, where a layer takes one."""
    inputs, (one, other) = two_sequences()
    attended = layers.Attention()([one, other])
    outputs = [
        layers.GRU(3, return_sequences=True)(layers.Concatenate()(values))
        for values in ([one, attended], [one, other], [attended, one, other])
    ]
    assert_same(inputs, outputs, to, tmp_path)
