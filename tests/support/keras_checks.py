"""What a Keras checkpoint is found to hold, checked against what it must hold; and checkpoints made up for a test."""

from __future__ import annotations

import numpy as np

from weightport.checkpoint import Contents, LazyTensor
from weightport.formats import format_of_file
from weightport.frameworks import framework_named
from weightport.layouts import layout_named
from weightport.views import view_of


def save(model, path):
    """Save in the format of the suffix."""
    model.save_weights(path) if path.name.endswith(".weights.h5") else model.save(path)
    return format_of_file(path).read(path)


def structure(contents):
    return framework_named("keras").structure(contents)


def assert_found(contents, expected, *, in_order=True):
    """The checkpoint has these layers with these values, and its tensors fit the layouts of their kinds."""
    found = structure(contents)
    names = [layer.name for layer in found.layers]
    assert (names if in_order else sorted(names)) == (
        [e.name for e in expected] if in_order else sorted(e.name for e in expected)
    )
    by_name = {layer.name: layer for layer in found.layers}
    for layer in expected:
        got = by_name[layer.name]
        assert got.kinds == (layer.kind,), layer.name
        values = layer.values()
        assert set(got.tensors) == set(values), layer.name
        for local, name in got.tensors.items():
            np.testing.assert_array_equal(contents.tensors[name].read(), values[local], err_msg=f"{layer.name} {local}")
        shapes = {local: contents.tensors[name].shape for local, name in got.tensors.items()}
        view_of(layout_named(got.layout or f"keras.{layer.kind}"), shapes, got.settings)
    return found


def assert_all_covered(contents, found):
    """Every tensor is in one layer, or said to be skipped or unknown."""
    used = [name for layer in found.layers for name in layer.tensors.values()]
    assert sorted([*used, *found.skipped, *found.unknown]) == sorted(contents.tensors)


def of_tensors(shapes, **description):
    """Contents of made-up tensors, all zero."""
    tensors = {
        name: LazyTensor(name, shape, np.dtype("float32"), lambda shape=shape: np.zeros(shape, "float32"))
        for name, shape in shapes.items()
    }
    return Contents(
        "made.h5", "h5", "keras", tensors, description={"keras_version": None, "config": None, **description}
    )


def legacy(config_layers, groups, version="2.2.4", **extra):
    """A legacy file; ``groups`` has the shapes of each layer's weights, by name."""
    shapes = {f"{layer}/{name}": shape for layer, weights in groups.items() for name, shape in weights.items()}
    listed = {layer: {"weights": [f"{layer}/{name}" for name in weights]} for layer, weights in groups.items()}
    config = {"class_name": "Sequential", "config": config_layers} if config_layers is not None else None
    return of_tensors(shapes, keras_version=version, config=config, dialect="layers", groups=listed, **extra)


def entry(class_name, name, **config):
    return {"class_name": class_name, "config": {"name": name, **config}}


def lstm_shapes(inputs=4, units=3, rows=4, bias=None):
    return {
        "kernel": (inputs, rows * units),
        "recurrent_kernel": (units, rows * units),
        "bias": bias or (rows * units,),
    }
