"""Keras models of any backend: a live one as it is, a file loaded in safe mode; layers watched in place.

A file of an older Keras, or in an older format, is brought up to date first, as data: only that is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ...checkpoint import Array, Checkpoint, LazyTensor
from ...conversion import convert
from ...errors import RefusedError
from ...formats import keras_archive
from ...frameworks import keras as framework
from ...frameworks._keras_live import live_layers
from ...keras_upgrade import upgrade
from ...opening import open_checkpoint
from ..inputs import InputSpec
from . import BOUNDED, LayerRun, Run, UnreachableError, first_line, is_installed

_RECURRENT = frozenset({"lstm", "gru", "rnn", "conv_lstm"})


def obstacle(source: Any, checkpoint: Checkpoint) -> str:
    """Keras is not installed, or the file has no model."""
    if not is_installed("keras"):
        origin = checkpoint.contents.origin
        return f"Keras is not installed, so {origin} is not run: pip install 'weightport[tensorflow]'"
    if isinstance(source, str | PathLike) and not checkpoint.contents.description.get("config"):
        return f"{checkpoint.contents.origin} has weights only; give the live model, or a file that holds the model"
    return ""


def runner_for(source: Any, checkpoint: Checkpoint) -> KerasRunner:
    """The runner of a live model or a file. Raises UnreachableError where Keras does not load it."""
    if not isinstance(source, str | PathLike):
        return KerasRunner(source, open_checkpoint(source))
    with TemporaryDirectory(prefix="weightport-") as folder:
        path = _up_to_date(Path(source), checkpoint, Path(folder))
        try:
            import keras

            model = keras.saving.load_model(path, compile=False, safe_mode=True)
        except Exception as error:
            raise UnreachableError(f"Keras does not load {checkpoint.contents.origin}: {first_line(error)}") from error
    return KerasRunner(model, open_checkpoint(model))


def _up_to_date(source: Path, checkpoint: Checkpoint, folder: Path) -> Path:
    """The file itself, or what it becomes as a file of Keras 3, in the folder.

    Raises UnreachableError with every reason why Keras 3 cannot have the model."""
    try:
        if upgrade(checkpoint, keras_archive.NAME) is None:
            return source
        convert(source, folder / f"model{keras_archive.SUFFIXES[0]}")
    except RefusedError as error:
        raise UnreachableError(" ".join(str(error).split())) from error
    return folder / f"model{keras_archive.SUFFIXES[0]}"


@dataclass(frozen=True)
class KerasRunner:
    """A live model, and what weightport finds in it."""

    model: Any
    checkpoint: Checkpoint

    @property
    def specs(self) -> tuple[InputSpec, ...] | None:
        """From the model's inputs; None for a subclassed model, which has none before it is called."""
        inputs = getattr(self.model, "inputs", None)
        return tuple(self._spec(tensor) for tensor in inputs) if inputs else None

    @property
    def bounded(self) -> frozenset[str]:
        """From the layers that make the model's outputs."""
        outputs = getattr(self.model, "_outputs_struct", None)
        named = (
            outputs if isinstance(outputs, Mapping) else self._by_name(list(getattr(self.model, "outputs", None) or ()))
        )
        return frozenset(str(name) for name, tensor in named.items() if _is_bounded(tensor))

    @property
    def warnings(self) -> tuple[str, ...]:
        """None: the model is run with training=False."""
        return ()

    def run(self, inputs: Sequence[Array], *, layers: bool = False) -> Run:
        """Run the model as in inference."""
        seen: dict[str, LayerRun] = {}
        with self._watched(seen if layers else None):
            try:
                result = self.model(self._structured(inputs), training=False)
            except Exception as error:
                raise UnreachableError(
                    f"the Keras model does not run on inputs of shape "
                    f"{', '.join(str(list(array.shape)) for array in inputs)}: {first_line(error)}"
                ) from error
        return Run(self._named(result), seen)

    @contextmanager
    def holding(self, weights: Mapping[str, Array]) -> Iterator[KerasRunner]:
        """The model itself with other weights; its own come back at the end."""
        before = {name: np.array(self.checkpoint.tensors[name].read()) for name in weights}
        try:
            _load(self.model, weights)
            yield self
        finally:
            _load(self.model, before)

    def _spec(self, tensor: Any) -> InputSpec:
        embeddings = [layer for layer in live_layers(self.model).values() if type(layer).__name__ == "Embedding"]
        fed = [layer for layer in embeddings if _input_of(layer) is tensor]
        dtype = str(tensor.dtype)
        if not fed and dtype.startswith(("int", "uint")):
            fed = embeddings  # not fed directly: it may reach any of them
        tokens = min((int(layer.input_dim) for layer in fed), default=0)
        masks = any(layer.mask_zero for layer in fed) or "mask" in tensor.name
        integers = tokens > 0 and not dtype.startswith(("int", "uint"))
        return InputSpec(tensor.name, tuple(tensor.shape), "int32" if integers else dtype, tokens, masks)

    def _structured(self, inputs: Sequence[Array]) -> Any:
        """The inputs as the model wants them: one, by name, or a list."""
        import keras

        arrays = [keras.ops.convert_to_tensor(array) for array in inputs]
        if isinstance(getattr(self.model, "_inputs_struct", None), dict):
            return dict(zip([tensor.name for tensor in self.model.inputs], arrays, strict=True))
        return arrays[0] if len(arrays) == 1 else arrays

    def _named(self, result: Any) -> dict[str, Array]:
        import keras

        if isinstance(result, Mapping):
            return {str(name): _array(value) for name, value in result.items()}
        return {name: _array(value) for name, value in self._by_name(keras.tree.flatten(result)).items()}

    def _by_name(self, values: Sequence[Any]) -> dict[str, Any]:
        """What belongs to each output, by the model's names where it has one for each."""
        names = list(getattr(self.model, "output_names", ()))
        if len(set(names)) != len(values):
            names = [f"output.{index}" for index in range(len(values))] if len(values) > 1 else ["output"]
        return dict(zip(names, values, strict=True))

    @contextmanager
    def _watched(self, seen: dict[str, LayerRun] | None) -> Iterator[None]:
        """Each layer's ``call`` is shadowed by one that records what it took and gave, as long as the context lasts."""
        owners = live_layers(self.model) if seen is not None else {}
        with ExitStack() as stack:
            for layer in self.checkpoint.layers if seen is not None else ():
                owner = owners.get(layer.name)
                if owner is not None:
                    owner.call = _recording(owner.call, partial(_record, seen, layer, owner))
                    stack.callback(delattr, owner, "call")
            yield


def _recording(call: Any, record: Any) -> Any:
    from functools import wraps

    @wraps(call)
    def recorded(*args: Any, **keywords: Any) -> Any:
        result = call(*args, **keywords)
        if args:
            record(args[0], result)
        return result

    return recorded


def _record(seen: dict[str, LayerRun] | None, layer: Any, owner: Any, taken: Any, given: Any) -> None:
    if seen is None or layer.name in seen:
        return
    first = [_array(value[0] if isinstance(value, list | tuple) else value) for value in (taken, given)]
    if getattr(owner, "data_format", "channels_last") == "channels_first":
        first = [np.moveaxis(array, 1, -1) for array in first]
    fused = layer.kinds[0] not in _RECURRENT
    activation = str(layer.settings.get("activation", "linear")) if fused else "linear"
    seen[layer.name] = LayerRun(first[0], first[1], activation)


def _is_bounded(tensor: Any) -> bool:
    """Whether the layer that makes a symbolic tensor ends with a bounded function."""
    operation = getattr(getattr(tensor, "_keras_history", None), "operation", None)
    function = getattr(getattr(operation, "activation", None), "__name__", type(operation).__name__.lower())
    return function in BOUNDED


def _input_of(layer: Any) -> Any:
    """The symbolic tensor that a layer is fed, None where it has none or several."""
    try:
        return layer.input
    except (AttributeError, ValueError):
        return None


def _array(value: Any) -> Array:
    import keras

    return np.array(keras.ops.convert_to_numpy(value))


def _load(model: Any, weights: Mapping[str, Array]) -> None:
    tensors = [LazyTensor(name, array.shape, array.dtype, partial(_same, array)) for name, array in weights.items()]
    framework.write_live(model, tensors)


def _same(array: Array) -> Array:
    return array
