"""Which of Keras' layers a model has, and which no model had."""

from __future__ import annotations

import inspect
from collections.abc import Container, Iterator

import keras

from weightport.graph.keras_call import has_translator


def what_is_in(model: keras.Model) -> Iterator[str]:
    """The class of every layer and operation, those inside others too."""
    for layer in model._flatten_layers(include_self=False):
        yield type(layer).__name__
    for operation in getattr(model, "operations", ()):
        if not isinstance(operation, keras.Layer):
            yield f"ops.{type(operation).__name__}"


def not_drawn(drawn: Container[str]) -> list[str]:
    """The layers that weightport translates and that no model had."""
    classes = [one for one in vars(keras.layers).values() if inspect.isclass(one)]
    return sorted({one.__name__ for one in classes if has_translator(one.__name__) and one.__name__ not in drawn})
