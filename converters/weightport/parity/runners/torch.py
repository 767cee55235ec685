"""Live PyTorch modules, run as they are: layers are watched by forward hooks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from os import PathLike
from typing import Any

import numpy as np

from ...checkpoint import Array, Checkpoint, LazyTensor
from ...frameworks import torch as framework
from ..inputs import InputSpec
from . import CHANNELS_SECOND, LayerRun, Run, UnreachableError, first_line

_RANDOM_IN_TRAINING = ("Dropout", "BatchNorm", "InstanceNorm", "RReLU")


def obstacle(source: Any, checkpoint: Checkpoint) -> str:
    """A file has weights and no code."""
    if not isinstance(source, str | PathLike):
        return ""
    return (
        f"{checkpoint.contents.origin} has weights and no code; give the module that runs them: "
        "--model package.module:Class on the command line, the live module in Python"
    )


def runner_for(source: Any, checkpoint: Checkpoint) -> TorchRunner:
    """The runner of a live module."""
    return TorchRunner(source, checkpoint)


@dataclass(frozen=True)
class TorchRunner:
    """A module with its layers by the names of its state dict."""

    module: Any
    checkpoint: Checkpoint

    @property
    def specs(self) -> tuple[InputSpec, ...] | None:
        """None: a module does not say what it takes."""
        return None

    @property
    def bounded(self) -> frozenset[str]:
        """None: a module does not say what its last function is."""
        return frozenset()

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence where submodules that behave otherwise in training are in training mode."""
        active = [
            name or type(module).__name__
            for name, module in self.module.named_modules()
            if module.training and _acts_in_training(module)
        ]
        if not active:
            return ()
        listed = ", ".join(active[:4]) + (" ..." if len(active) > 4 else "")
        return (f"train mode is left on in the PyTorch module ({listed}): call module.eval() before you compare",)

    def run(self, inputs: Sequence[Array], *, layers: bool = False) -> Run:
        """Run the module as it is, without gradients."""
        import torch

        seen: dict[str, LayerRun] = {}
        with torch.no_grad(), self._unchanged(), self._watched(seen if layers else None):
            try:
                result = self.module(*(self._tensor(array) for array in inputs))
            except Exception as error:
                raise UnreachableError(
                    f"the PyTorch module does not run on inputs of shape "
                    f"{', '.join(str(list(array.shape)) for array in inputs)}: {first_line(error)}"
                ) from error
        return Run(dict(_named_outputs(result)), seen)

    @contextmanager
    def holding(self, weights: Mapping[str, Array]) -> Iterator[TorchRunner]:
        """The module itself with other weights; its own come back at the end."""
        before = {name: np.array(self.checkpoint.tensors[name].read()) for name in weights}
        try:
            _load(self.module, weights)
            yield self
        finally:
            _load(self.module, before)

    @contextmanager
    def _unchanged(self) -> Iterator[None]:
        """Buffers come back at the end: in train mode a run changes running statistics."""
        trains = any(module.training for module in self.module.modules())
        before = {name: buffer.clone() for name, buffer in self.module.named_buffers()} if trains else {}
        try:
            yield
        finally:
            for name, buffer in self.module.named_buffers():
                if name in before:
                    buffer.copy_(before[name])

    @contextmanager
    def _watched(self, seen: dict[str, LayerRun] | None) -> Iterator[None]:
        modules = dict(self.module.named_modules())
        handles = []
        for layer in self.checkpoint.layers if seen is not None else ():
            if layer.name in modules:
                hook = partial(_record, seen, layer.name, layer.kinds[0])
                handles.append(modules[layer.name].register_forward_hook(hook))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _tensor(self, array: Array) -> Any:
        """On the module's device; floating-point inputs in its dtype, integers as 64-bit indices."""
        import torch

        own = next((p for p in self.module.parameters() if p.is_floating_point()), None)
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        device = own.device if own is not None else None
        if tensor.is_floating_point():
            return tensor.to(device=device, dtype=own.dtype if own is not None else None)
        return tensor.to(device=device, dtype=torch.bool if array.dtype == bool else torch.int64)


def _acts_in_training(module: Any) -> bool:
    name = type(module).__name__
    if any(part in name for part in _RANDOM_IN_TRAINING):
        return getattr(module, "p", 1) > 0
    return bool(getattr(module, "dropout", 0)) and getattr(module, "num_layers", 1) > 1


def _record(seen: dict[str, LayerRun] | None, name: str, kind: str, module: Any, taken: Any, given: Any) -> None:
    """The first call of a layer; further calls of a shared one compute with the same weights. A cell is called once a
    step, and no single call is what a layer does."""
    if seen is None or name in seen or not taken or type(module).__name__.endswith("Cell"):
        return
    output = given[0] if isinstance(given, tuple) else given
    turn = _same
    if kind in CHANNELS_SECOND:
        turn = _channels_last
    elif not getattr(module, "batch_first", True):
        turn = _batch_first
    seen[name] = LayerRun(turn(_array(taken[0])), turn(_array(output)))


def _channels_last(array: Array) -> Array:
    return np.moveaxis(array, 1, -1) if array.ndim > 2 else array


def _batch_first(array: Array) -> Array:
    return np.swapaxes(array, 0, 1) if array.ndim > 2 else array


def _array(value: Any) -> Array:
    import torch

    value = value.data if isinstance(value, torch.nn.utils.rnn.PackedSequence) else value
    value = value.detach().cpu()
    return np.array((value.float() if value.dtype == torch.bfloat16 else value).numpy())


def _named_outputs(result: Any, name: str = "output") -> Iterator[tuple[str, Array]]:
    """Every tensor in what the module returned, by its key or its place."""
    if hasattr(result, "detach"):
        yield name, _array(result)
    elif isinstance(result, Mapping):
        for key, value in result.items():
            yield from _named_outputs(value, str(key))
    elif isinstance(result, list | tuple):
        for index, value in enumerate(result):
            yield from _named_outputs(value, f"{name}.{index}")


def _load(module: Any, weights: Mapping[str, Array]) -> None:
    tensors = [LazyTensor(name, array.shape, array.dtype, partial(_same, array)) for name, array in weights.items()]
    framework.write_live(module, tensors)


def _same(array: Array) -> Array:
    return array
