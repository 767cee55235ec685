"""Three models of which the PyTorch source is read and run in every way: images, sequences, attention."""

from __future__ import annotations

import keras
from keras import layers

from graph_checks import randomise


def image_classifier() -> keras.Model:
    """Separable convolutions with ways around them, a squeeze and excitation, and a flattened map."""
    image = keras.Input((12, 10, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="stem")(layers.Rescaling(1 / 255)(image))
    x = layers.ReLU()(layers.BatchNormalization(name="stem_norm")(x))
    for block in ("block1", "block2"):
        y = layers.SeparableConv2D(8, 3, padding="same", name=f"{block}_separable")(x)
        x = layers.Add()([x, layers.BatchNormalization(name=f"{block}_norm")(y)])
    x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    gate = layers.Dense(4, activation="relu", name="squeeze")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.Multiply()([x, layers.Dense(8, activation="sigmoid", name="excite")(gate)])
    x = layers.Dropout(0.3)(layers.Flatten()(x))
    return randomise(keras.Model(image, layers.Dense(5, activation="softmax", name="classes")(x), name="classifier"))


def translator() -> keras.Model:
    """An encoder of both directions over masked steps, and a decoder that attends to it."""
    source, target = (keras.Input((None,), dtype="int32", name=name) for name in ("source", "target"))
    x = layers.Embedding(20, 8, mask_zero=True, name="source_embedding")(source)
    encoder = layers.LSTM(6, return_sequences=True, return_state=True)
    x, *states = layers.Bidirectional(encoder, name="encoder")(x)
    states = [layers.Concatenate(name=f"state_{name}")(states[index::2]) for index, name in enumerate("hc")]
    y = layers.Embedding(22, 8, mask_zero=True, name="target_embedding")(target)
    y = layers.LSTM(12, return_sequences=True, name="decoder")(y, initial_state=states)
    y = layers.Concatenate()([y, layers.Attention(name="attention")([y, x])])
    y = layers.GRU(7, return_sequences=True, reset_after=False, recurrent_activation="hard_sigmoid", name="smoother")(y)
    tokens = layers.TimeDistributed(layers.Dense(22, activation="softmax"), name="tokens")(y)
    return randomise(keras.Model([source, target], tokens, name="translator"))


def matcher() -> keras.Model:
    """Two texts through the same two blocks of a transformer, which are models themselves."""
    texts = [keras.Input((None,), dtype="int32", name=name) for name in ("text", "other")]
    embedding = layers.Embedding(30, 16, name="embedding")
    blocks = [_block("block_1"), _block("block_2")]
    x, y = (blocks[1](blocks[0](embedding(text))) for text in texts)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 5, name="cross")(x, y)])
    pooled = layers.GlobalAveragePooling1D(name="pool")(x)
    results = [layers.Dense(3, name="score")(pooled), layers.Dense(1, activation="sigmoid", name="match")(pooled)]
    return randomise(keras.Model(texts, results, name="matcher"))


def _block(name: str) -> keras.Model:
    inputs = keras.Input((None, 16))
    x = layers.MultiHeadAttention(4, 4, name="attention")(inputs, inputs, use_causal_mask=True)
    x = layers.LayerNormalization(name="norm_1")(layers.Add()([inputs, layers.Dropout(0.1)(x)]))
    y = layers.Dense(16, name="down")(layers.Dense(32, activation="gelu", name="up")(x))
    return keras.Model(inputs, layers.LayerNormalization(name="norm_2")(layers.Add()([x, y])), name=name)
