"""Every layer and operation in ONNX Runtime against Keras: families of them side by side, each on the same input."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import weightport as wp
from graph_checks import assert_same, randomise, to_onnx
from graph_layers import CONVOLUTIONS, OTHERS, numbers, side_by_side


def is_layer(case):
    return isinstance(case, layers.Layer)


@pytest.mark.parametrize("name", [*CONVOLUTIONS, *OTHERS])
def test_layers_compute_what_keras_does(name, tmp_path) -> None:
    shape, cases = {**CONVOLUTIONS, **OTHERS}[name]
    model = side_by_side(cases, shape)
    assert_same(model, tmp_path, numbers(shape))


@pytest.mark.parametrize("name", ["conv1d", "conv2d", "separable1d", "transposed1d", "pool2d"])
def test_layers_take_maps_of_any_size(name, tmp_path) -> None:
    shape, cases = CONVOLUTIONS[name]
    known = [case for case in cases if not smaller_than_its_strides(case)]
    assert len(known) >= len(cases) - 6
    model = side_by_side(known, (None, *shape[1:]))
    assert_same(model, tmp_path, numbers(shape))


def smaller_than_its_strides(case):
    """Whether a window leaves elements out, so that its padding is not the one that ONNX computes."""
    config = case.get_config()
    sizes = config.get("pool_size") or config.get("kernel_size")
    return config.get("padding") == "same" and sizes is not None and min(sizes) < max(config["strides"])


@pytest.mark.parametrize("opset", [18, 20, 23, 26])
def test_every_opset_is_one_that_onnx_runtime_runs(opset, tmp_path) -> None:
    shape, cases = OTHERS["maps"]
    model = side_by_side([case for case in cases if is_layer(case)], shape)
    assert_same(model, tmp_path, numbers(shape), opset=opset)


@pytest.mark.parametrize("interpolation", ["bicubic", "lanczos3", "lanczos5"])
def test_pixels_between_pixels_are_those_of_keras(interpolation, tmp_path) -> None:
    cases = [
        layers.UpSampling2D((3, 2), interpolation=interpolation),
        layers.Resizing(8, 9, interpolation=interpolation),
        layers.Resizing(4, 3, interpolation=interpolation),
    ]
    model = side_by_side(cases, (6, 5, 4))
    assert_same(model, tmp_path, numbers((6, 5, 4)))


def test_bicubic_interpolation_of_maps_of_any_size_is_as_near_as_tensorflow_computes_it(tmp_path) -> None:
    """TensorFlow looks its cubic weights up in a table of 1,024 places."""
    model = side_by_side([layers.UpSampling2D((3, 2), interpolation="bicubic")], (None, None, 4))
    assert_same(model, tmp_path, numbers((6, 5, 4)), tolerance=1e-3)


def test_channels_stay_first_between_convolutions(tmp_path) -> None:
    inputs = keras.Input((16, 16, 3), name="x")
    x = layers.Conv2D(4, 3, activation="relu")(inputs)
    y = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(x))
    x = layers.MaxPooling2D()(layers.Add()([layers.Activation("silu")(y), x]))
    x = layers.Concatenate()([x, layers.ZeroPadding2D(1)(layers.Conv2D(2, 3)(x))])
    model = randomise(keras.Model(inputs, layers.GlobalAveragePooling2D()(layers.Dropout(0.5)(x))))
    import onnx

    path = assert_same(model, tmp_path, numbers((16, 16, 3)))
    assert [node.op_type for node in onnx.load(path).graph.node].count("Transpose") == 1


def test_every_problem_of_a_model_is_listed(tmp_path) -> None:
    inputs = keras.Input((4, 5))
    one = layers.LSTM(3, activation="glu", name="first")(inputs)
    other = layers.SimpleRNN(3, activation="glu", name="second")(inputs)
    with pytest.raises(wp.RefusedError) as caught:
        to_onnx(keras.Model(inputs, [one, other]), tmp_path)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["first", "second"]


def test_masks_go_through_layers_as_in_keras(tmp_path) -> None:
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = layers.Embedding(9, 6, mask_zero=True)(tokens)
    y = layers.LayerNormalization()(layers.Dropout(0.3)(layers.Dense(6, activation="tanh")(x)))
    joined = layers.Concatenate()([layers.Add()([x, y]), y])
    both = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(y)
    results = [
        layers.GRU(3)(joined),
        layers.GlobalAveragePooling1D()(y),
        layers.Attention()([x, y]),
        layers.LSTM(3)(layers.Concatenate(axis=1)([x, y])),
        layers.SimpleRNN(3)(layers.TimeDistributed(layers.Dense(4))(both)),
    ]
    values = {"tokens": np.array([[3, 4, 0, 5, 0, 0], [1, 2, 3, 4, 5, 6], [0, 0, 1, 2, 0, 3]], "int32")}
    assert_same(randomise(keras.Model(tokens, results)), tmp_path, values)


@pytest.mark.parametrize("same", [True, False], ids=["itself", "another"])
def test_heads_look_at_no_step_that_is_masked(same, tmp_path) -> None:
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = layers.Embedding(9, 6, mask_zero=True)(tokens)
    y = layers.MultiHeadAttention(2, 3)(x, x if same else layers.Dense(4)(x))
    values = {"tokens": np.array([[3, 4, 0, 5, 0, 0], [1, 2, 3, 4, 5, 6], [0, 0, 1, 2, 0, 3]], "int32")}
    assert_same(randomise(keras.Model(tokens, layers.GRU(3)(y))), tmp_path, values)


def test_a_mask_is_gone_where_keras_loses_it(tmp_path) -> None:
    """Heads take it from their inputs, and a layer that is given states does not look for one; its output has it."""
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = layers.Embedding(9, 6, mask_zero=True)(tokens)
    y = layers.LayerNormalization()(layers.Add()([x, layers.MultiHeadAttention(2, 3)(x, x)]))
    y = layers.MultiHeadAttention(2, 3)(y, y)
    source = layers.Embedding(9, 4, mask_zero=True)(tokens)
    _, *states = layers.LSTM(5, return_state=True)(source)
    decoded = layers.LSTM(5, return_sequences=True)(source, initial_state=states)
    both = layers.Bidirectional(layers.GRU(5, return_sequences=True))(source, initial_state=[states[0], states[1]])
    results = [y, decoded, layers.SimpleRNN(3)(decoded), both, layers.GRU(3)(both)]
    values = {"tokens": np.array([[3, 4, 0, 5, 0, 0], [1, 2, 3, 4, 5, 6], [0, 0, 1, 2, 0, 3]], "int32")}
    assert_same(randomise(keras.Model(tokens, results)), tmp_path, values)


@pytest.mark.parametrize("more", [{}, {"dropout": 0.1}, {"use_gate": True}], ids=["usual", "dropout", "gate"])
def test_a_masked_step_looks_where_keras_lets_it_look(more, tmp_path) -> None:
    """At all steps alike, or at none where Keras computes the scores by themselves."""
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    one, two, three = (layers.Embedding(9, 6, mask_zero=True)(tokens) for _ in range(3))
    y, scores = layers.MultiHeadAttention(2, 3, **more)(one, one, return_attention_scores=True)
    grouped = layers.GroupQueryAttention(3, 4, 2, **more)(two, two)
    values = {"tokens": np.array([[3, 4, 0, 5, 0, 0], [1, 2, 3, 4, 5, 6], [0, 0, 1, 2, 0, 3]], "int32")}
    results = [layers.MultiHeadAttention(2, 3, **more)(three, three), y, scores, grouped]
    assert_same(randomise(keras.Model(tokens, results)), tmp_path, values)


def test_models_in_models_share_their_layers(tmp_path) -> None:
    inner_input = keras.Input((5,))
    hidden = layers.Dense(4, activation="tanh")(inner_input)
    inner = keras.Model(inner_input, [layers.Dense(5)(hidden), hidden], name="inner")
    sequence = keras.Sequential([keras.Input((4,)), layers.Dense(5), layers.BatchNormalization()], name="sequence")
    one, other = keras.Input((5,), name="one"), keras.Input((5,), name="other")
    a, b = inner(one)
    c, d = inner(layers.Add()([other, sequence(b)]))
    model = keras.Model({"one": one, "other": other}, {"deep": inner(c)[1], "sum": a + c, "last": d})
    random = np.random.default_rng(4)
    values = {name: random.normal(size=(3, 5)).astype("float32") for name in ("one", "other")}
    assert_same(randomise(model), tmp_path, values)
