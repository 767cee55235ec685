"""Every layer of ``keras.layers`` and every module of ``torch.nn`` that has weights is supported, or refused for a
reason that stands here. A class that a new version brings makes this test fail until it is one or the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import weightport as wp
from layer_arguments import KERAS, KERAS_CELLS, LAZY_SHAPES, TORCH, classes, keras_inputs, made

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")

# With weights, and no kind yet.
KERAS_NOT_YET: set[str] = set()
TORCH_NOT_YET: set[str] = set()

# With weights that are never carried, and why.
KERAS_REFUSED = {
    "STFTSpectrogram": "its tensors are the constants of a Fourier transform, which its config gives",
}
TORCH_REFUSED: dict[str, str] = {}

# Classes that cannot be built by themselves, and why they have no weights of their own.
KERAS_NOT_BUILT = {
    **dict.fromkeys(("Bidirectional", "RNN", "SpectralNormalization", "StackedRNNCells"), "holds layers or cells"),
    **dict.fromkeys(("TimeDistributed", "Wrapper", "Pipeline"), "holds layers"),
    **dict.fromkeys(("FlaxLayer", "JaxLayer", "TFSMLayer", "TorchModuleWrapper"), "holds another framework's model"),
    "Lambda": "holds code, which is never run",
    "Layer": "the base class",
    "InputLayer": "takes no input",
}
TORCH_NOT_BUILT = {
    **dict.fromkeys(("TransformerDecoder", "TransformerEncoder", "DataParallel"), "holds modules"),
    **dict.fromkeys(("RNNBase", "RNNCellBase"), "a base class"),
    **dict.fromkeys(("Module", "Container"), "the base class"),
}

KERAS_CLASSES = classes(keras.layers, keras.layers.Layer)
TORCH_CLASSES = classes(torch.nn, torch.nn.Module)


def built_keras(name: str) -> Any:
    """The layer after it was called on the first of the inputs that it takes; a cell inside an RNN."""
    layer = made(KERAS_CLASSES[name], KERAS.get(name))
    if name in KERAS_CELLS:
        layer = keras.layers.RNN(layer)
    for inputs in keras_inputs():
        try:
            layer(*inputs)
        except Exception:
            layer = made(KERAS_CLASSES[name], KERAS.get(name))
            layer = keras.layers.RNN(layer) if name in KERAS_CELLS else layer
            continue
        return layer
    raise AssertionError(f"{name}: none of the inputs fits; give it arguments in layer_arguments.py")


def built_torch(name: str) -> Any:
    """The module, a lazy one after it was called."""
    module = made(TORCH_CLASSES[name], TORCH.get(name))
    if not name.startswith("Lazy"):
        return module
    for shape in LAZY_SHAPES:
        try:
            module(torch.ones(shape))
        except Exception:
            module = made(TORCH_CLASSES[name], TORCH.get(name))
            continue
        return module
    raise AssertionError(f"{name}: none of the inputs fits; give it arguments in layer_arguments.py")


def unsupported(model: Any) -> Iterator[str]:
    """The tensors of a live model that no kind covers, or whose layers do not fit their layouts."""
    checkpoint = wp.open(model)
    yield from checkpoint.structure.unknown
    from weightport.inspection import inspect_layers

    yield from (layer.problem for layer in inspect_layers(checkpoint) if layer.problem)


@pytest.mark.parametrize("name", sorted(set(KERAS_CLASSES) - set(KERAS_NOT_BUILT)))
def test_a_keras_layer_with_weights_is_supported_or_refused_for_a_reason(name):
    layer = built_keras(name)
    if not layer.weights:
        assert name not in KERAS_NOT_YET | set(KERAS_REFUSED), f"{name} has no weights"
        return
    left = list(unsupported(layer))
    listed = name in KERAS_NOT_YET or name in KERAS_REFUSED
    assert bool(left) == listed, f"{name}: {left or 'is supported now, and need not be listed'}"


@pytest.mark.parametrize("name", sorted(set(TORCH_CLASSES) - set(TORCH_NOT_BUILT)))
def test_a_torch_module_with_weights_is_supported_or_refused_for_a_reason(name):
    module = built_torch(name)
    if not module.state_dict():
        assert name not in TORCH_NOT_YET | set(TORCH_REFUSED), f"{name} has no weights"
        return
    left = list(unsupported(module))
    listed = name in TORCH_NOT_YET or name in TORCH_REFUSED
    assert bool(left) == listed, f"{name}: {left or 'is supported now, and need not be listed'}"


def test_the_walk_sees_the_layers_that_everyone_uses():
    """So that it cannot pass by walking an empty namespace."""
    assert len(KERAS_CLASSES) > 120
    assert len(TORCH_CLASSES) > 130
    assert [weight.name for weight in built_keras("Dense").weights] == ["kernel", "bias"]
    assert list(built_torch("LazyLinear").state_dict()) == ["weight", "bias"]


def test_every_exception_names_a_class_that_there_is():
    assert {*KERAS, *KERAS_NOT_YET, *KERAS_REFUSED, *KERAS_NOT_BUILT} <= {*dir(keras.layers)}
    assert {*TORCH, *TORCH_NOT_YET, *TORCH_REFUSED, *TORCH_NOT_BUILT} <= {*dir(torch.nn)}
