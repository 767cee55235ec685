"""Runners: how a whole model of each framework is run. A runner is one module here, found because it is here.

A runner's module is called as its framework. It imports the framework inside ``runner_for`` and below, never before.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from ...checkpoint import Array, Checkpoint
from ...errors import WeightportError
from ..inputs import InputSpec

CHANNELS_SECOND = frozenset({"conv", "conv_transpose", "batch_norm", "group_norm", "prelu"})
"""Kinds whose layers take (batch, channel, *space) in PyTorch and ONNX."""

BOUNDED = frozenset({"sigmoid", "hard_sigmoid", "softmax", "tanh"})
"""Functions of values up to 1: what frameworks round in them is relative to that, even where they give 1e-7."""


class UnreachableError(WeightportError):
    """A model that cannot be run here; the text says why, and what would let it run."""


@dataclass(frozen=True)
class LayerRun:
    """What one layer took in and gave out in a run: batch first, channels last, as the kinds' references have it.

    ``activation`` is what the output has already been through that the kind's parameters do not have."""

    inputs: Array
    outputs: Array
    activation: str = "linear"


@dataclass(frozen=True)
class Run:
    """What a model gave out, by name, and what its layers did, by the checkpoint's name of each."""

    outputs: Mapping[str, Array]
    layers: Mapping[str, LayerRun] = field(default_factory=dict)


class Runner(Protocol):
    """A model that can be run."""

    @property
    def checkpoint(self) -> Checkpoint:
        """The model as weightport sees it: the names of its tensors and layers are those that runs go by."""
        ...

    @property
    def specs(self) -> tuple[InputSpec, ...] | None:
        """The inputs that it takes, in order; None where the framework does not say."""
        ...

    @property
    def bounded(self) -> frozenset[str]:
        """The outputs that a function of :data:`BOUNDED` makes, as far as the framework tells."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is wrong with the state that the model is in (train mode left on), in sentences."""
        ...

    def run(self, inputs: Sequence[Array], *, layers: bool = False) -> Run:
        """Run it as it is. Raises UnreachableError where the framework refuses the inputs."""
        ...

    def holding(self, weights: Mapping[str, Array]) -> AbstractContextManager[Runner]:
        """The same model with other weights, by the checkpoint's names, as long as the context lasts."""
        ...


class RunnerModule(Protocol):
    """What a module in this folder provides."""

    def obstacle(self, source: Any, checkpoint: Checkpoint) -> str:
        """Why a path or a live model cannot be run, as far as that is seen without importing anything; empty if not."""
        ...

    def runner_for(self, source: Any, checkpoint: Checkpoint) -> Runner:
        """The runner of a path or a live model, whose checkpoint is open. Raises UnreachableError saying why not."""
        ...


def runners_of(sources: Sequence[Any], checkpoints: Sequence[Checkpoint]) -> list[Runner]:
    """The runners of paths or live models. Raises UnreachableError with every reason why there is none, before any
    framework is imported where that can be seen."""
    modules, reasons = [], []
    for source, checkpoint in zip(sources, checkpoints, strict=True):
        module = _module_of(checkpoint.framework)
        modules.append(module)
        reasons.append(
            module.obstacle(source, checkpoint) if module else f"no runner for {checkpoint.framework} models"
        )
    if any(reasons):
        raise UnreachableError("; ".join(dict.fromkeys(filter(None, reasons))))
    return [
        module.runner_for(source, checkpoint)
        for module, source, checkpoint in zip(modules, sources, checkpoints, strict=True)
        if module is not None
    ]


def _module_of(framework: str) -> RunnerModule | None:
    known = [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]
    if framework not in known:
        return None
    return cast(RunnerModule, importlib.import_module(f".{framework}", __package__))


def is_installed(package: str) -> bool:
    """Whether a package can be imported, found out without importing it."""
    return importlib.util.find_spec(package) is not None


def first_line(error: BaseException) -> str:
    """An error of a framework in one short line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"
