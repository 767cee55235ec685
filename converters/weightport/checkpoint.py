"""What a checkpoint is once it is read: lazy tensors, the file's own description of the model, the layers in it.

``formats/`` make :class:`Contents` (bytes, nothing of layers), ``frameworks/`` turn one into a :class:`Structure`
(layers, nothing of bytes), and a :class:`Checkpoint` is both together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .errors import CheckpointError

Array: TypeAlias = NDArray[Any]
DType: TypeAlias = np.dtype[Any]
Setting: TypeAlias = bool | int | float | str | tuple[int, ...]


class Stored(Protocol):
    """An array that lies in a file, in C order. Any run of its elements can be read, and the file is not kept open."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> DType: ...

    def read(self) -> Array:
        """The whole array, read-only. Raises CheckpointError where the file has become shorter or cannot be read."""
        ...

    def read_run(self, first: int, memory: Array) -> None:
        """Fill ``memory`` (one dimension, contiguous, of this dtype) with the elements from ``first`` on."""
        ...


class Tensor(Protocol):
    """A named array whose values are read only when they are asked for."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> DType: ...

    def locate(self) -> Array | Stored:
        """Where the values are: in memory, or in a file from which any part of them can be read."""
        ...

    def read(self) -> Array:
        """The values, read-only. They are not mapped from the file: one that is cut short meanwhile is an error then,
        and not a signal that ends the process."""
        ...


class Output(Protocol):
    """A tensor about to be written: the writer provides the memory, the output fills it."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> DType: ...

    def fill(self, memory: Array) -> None:
        """Write every element of this tensor into ``memory``: C-contiguous, of this shape and dtype."""
        ...


@dataclass(frozen=True)
class LazyTensor:
    """A tensor that is loaded, or found in its file, by a call, and that is held to the shape and dtype it promised."""

    name: str
    shape: tuple[int, ...]
    dtype: DType
    load: Callable[[], Array | Stored] = field(repr=False, compare=False)

    def locate(self) -> Array | Stored:
        """Find the values. Raises CheckpointError when they are not of the promised shape and dtype."""
        found = self.load()
        if found.shape != self.shape or found.dtype != self.dtype:
            raise CheckpointError(
                f"tensor {self.name!r} is {found.dtype}{list(found.shape)} when read, "
                f"but the file's directory says {self.dtype}{list(self.shape)}: the file is damaged"
            )
        return np.asarray(found) if isinstance(found, np.generic) else found

    def read(self) -> Array:
        """The values. Raises CheckpointError when they cannot be read."""
        return in_memory(self.locate())

    def fill(self, memory: Array) -> None:
        """Copy the values into ``memory`` (contiguous, same shape and dtype)."""
        found = self.locate()
        if isinstance(found, np.ndarray):
            memory[...] = found
        else:
            found.read_run(0, memory.reshape(-1))


def in_memory(found: Array | Stored) -> Array:
    """The whole array; read where it is not in memory yet."""
    return found if isinstance(found, np.ndarray) else found.read()


@dataclass(frozen=True)
class Contents:
    """The tensors of one file or live model, and what it says of itself, before anyone asks for layers.

    ``description`` is plain data (what JSON can say), in a form that the format and its framework agree on.
    ``ordered`` says whether the order of ``tensors`` is the model's own order, not an alphabet's.
    """

    origin: str
    format: str
    framework: str
    tensors: Mapping[str, Tensor]
    ordered: bool = True
    description: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FeatureMap:
    """A feature map that one axis of a layer runs over: its number of channels, and where they stand in it.

    ``order`` is ``last`` (all channels of the first place, then of the second ...) or ``first`` (all places of the
    first channel, then of the second ...). The places are in the same order either way, so only their number counts,
    and the axis' length tells it.
    """

    channels: int
    order: str


@dataclass(frozen=True)
class Layer:
    """One parametric layer: its name, what it is, and the stored tensor behind each tensor of its layout.

    ``kinds`` has one entry where the file says what the layer is, and every kind that the names and shapes allow
    where it does not (a bare ``weight`` matrix is a dense layer or an embedding). ``tensors`` maps the layout's own
    tensor name (``kernel``, ``weight_ih_l0``, ``W``) to the checkpoint's tensor name. ``settings`` has only what
    the file says; a setting that is not known is absent. ``storage`` has what the layout's alternatives depend on and
    the mathematics does not (``transB`` of an ONNX Gemm). ``layout`` names the layout (``keras_cudnn.lstm``) where it
    is not the framework's own of the kind. ``sizes`` are those that the file states and no shape tells (the number of
    heads). ``notes`` are facts about the layer that its weights cannot carry and that no setting of the kind names.
    ``flattened`` has the axes that run over a feature map, or the reason why the file does not tell whether one does;
    None where the file does not say how layers feed one another.
    """

    name: str
    kinds: tuple[str, ...]
    tensors: Mapping[str, str]
    settings: Mapping[str, Setting] = field(default_factory=dict)
    storage: Mapping[str, Setting] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    layout: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict)
    flattened: Mapping[str, FeatureMap | str] | None = None


@dataclass(frozen=True)
class Structure:
    """The layers of a checkpoint, in the model's order, and the tensors that belong to none of them.

    ``skipped`` maps tensors that are no weights to what they are (optimizer state, seed generators);
    ``unknown`` maps tensors that no kind covers to the reason; ``kindless`` has them by the dotted name of the layer
    that they belong to, and by its own names for them (or their place in its list), where the file tells.
    """

    layers: tuple[Layer, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)
    kindless: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that is ready to be converted: :attr:`tensors`, :attr:`layers` and :attr:`framework`."""

    contents: Contents
    structure: Structure

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """Every tensor by its name in the file, lazily readable."""
        return self.contents.tensors

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers in the model's order."""
        return self.structure.layers

    @property
    def framework(self) -> str:
        """The framework whose layouts the tensors follow: ``keras``, ``torch``, ``onnx``."""
        return self.contents.framework
