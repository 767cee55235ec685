"""What Keras 3 cannot have is refused by the layer's name, all of it at once, and nothing is written."""

from __future__ import annotations

import numpy as np
import pytest

import weightport as wp
from old_keras import call, functional, input_layer, layer, write_h5
from weightport.keras_upgrade._masks import lost_masks
from weightport.keras_upgrade._models import upgraded_model


def problems_of(*layers, outputs=None):
    steps = input_layer("steps", 5, 4)
    with pytest.raises(wp.RefusedError) as caught:
        upgraded_model(functional([steps, *layers], outputs or [layers[-1]["name"]]), 2)
    return list(caught.value.problems)


def one(class_name, **config):
    return layer(class_name, "one", call("steps"), **config)


CASES = {
    "one: a Lambda layer is Python code": one("Lambda", function=["4wEAAAA=", None, None]),
    "one: SplineWeight1D is no layer of Keras 3": one("SplineWeight1D", n_bases=10),
    "one: LocallyConnected1D is no layer of Keras 3": one("LocallyConnected1D", filters=3, kernel_size=2),
    "one: StringLookup is no layer of Keras 3": one("StringLookup", vocabulary="/etc/passwd"),
    "one: an operation of TensorFlow (math.add)": one("TFOpLambda", function="math.add"),
    "one: LSTM has time_major = True": one("LSTM", units=3, time_major=True),
    "one: BatchNormalization has mode = 1": one("BatchNormalization", mode=1),
    "one: its activation 'antirectifier' is no function": one("Dense", units=3, activation="antirectifier"),
    "one: Mine is none of keras.regularizers": one(
        "Dense", units=3, kernel_regularizer={"class_name": "Mine", "config": {}}
    ),
    "one: DepthwiseConv1D has groups = 2": one("DepthwiseConv1D", kernel_size=2, groups=2),
    "one: it is called on a constant": layer("Add", "one", [["steps", 0, 0, {}], ["_CONSTANT_VALUE", -1, 2.0, {}]]),
    "one: the model is connected to call 3": layer("Dense", "two", call(["one", 3, 0]), units=3),
}


@pytest.mark.parametrize("expected", CASES)
def test_a_layer_that_keras_3_cannot_have_is_named(expected):
    layers = [CASES[expected]] if CASES[expected]["name"] == "one" else [one("Dense", units=3), CASES[expected]]
    problems = problems_of(*layers)
    assert any(problem.startswith(expected) for problem in problems), problems


def test_a_mask_that_keras_3_would_join_otherwise_is_refused_where_a_layer_reads_it():
    masked = layer("Masking", "masking", call("steps"), mask_value=0.0)
    joined = layer("Add", "joined", call("masking", "steps"))
    reader = layer("LSTM", "reader", call("joined"), units=3)
    assert [problem.split(":")[0] for problem in problems_of(masked, joined, reader)] == ["joined"]


def test_one_mask_for_all_inputs_and_masks_that_nobody_reads_are_carried():
    masked = layer("Masking", "masking", call("steps"), mask_value=0.0)
    same = layer("Add", "same", call("masking", ["other", 0, 0]))
    other = layer("Dense", "other", call("masking"), units=4)
    reader = layer("LSTM", "reader", call("same"), units=3)
    unread = layer("Multiply", "unread", call("masking", "steps"))
    layers = [input_layer("steps", 5, 4), masked, same, other, reader, unread]
    assert upgraded_model(functional(layers, ["reader", "unread"]), 2)


def test_a_mask_that_keras_3_would_not_find_is_told():
    masked = layer("Masking", "masking", call("steps"), mask_value=0.0)
    states = input_layer("state", 3)
    given = layer("GRU", "given", call("masking", "state"), units=3)
    bare = layer("GRU", "bare", call("steps", "state"), units=3)
    alone = layer("GRU", "alone", call("masking"), units=3)
    layers = [input_layer("steps", 5, 4), states, masked, given, bare, alone]
    lost = lost_masks(upgraded_model(functional(layers, ["given", "bare", "alone"]), 2))
    assert [problem.split(":")[0] for problem in lost] == ["given"]


def test_every_problem_is_listed_and_nothing_is_written(tmp_path):
    config = functional([input_layer("steps", 5, 4), one("Lambda"), layer("Mine", "two", call("one"))], ["two"])
    old = write_h5(tmp_path / "old.h5", config, {"two": {"two/kernel:0": np.ones((4, 3))}})
    with pytest.raises(wp.RefusedError) as caught:
        wp.convert(old, tmp_path / "new.keras")
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["one", "two"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.h5"]


def test_a_file_of_weights_only_says_nothing_that_could_be_upgraded(tmp_path):
    config = functional([input_layer("steps", 5, 4), one("Dense", units=3)], ["one"])
    old = write_h5(tmp_path / "old.h5", config, {"one": {"one/kernel:0": np.ones((4, 3)), "one/bias:0": np.ones(3)}})
    import h5py

    with h5py.File(old, "r+") as file:
        del file.attrs["model_config"]
    with pytest.raises(wp.RefusedError, match="template"):
        wp.convert(old, tmp_path / "new.keras")
