"""ONNX models (``.onnx``): weights are read where they lie in the file, and written into a template's graph.

An ONNX file is a graph first; its weights mean nothing without it. So this format writes into a copy of a template:
every message of it stays as it is, and the values of tensors are exchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checkpoint import Array, Contents, DType, LazyTensor, Output
from ..errors import CheckpointError, RefusedError
from ._onnx_directory import GRAPH, MODEL, Directory, read_directory, skeleton
from ._onnx_graph import describe
from ._onnx_tensor import Source
from ._onnx_wire import Field, Wire, open_wire
from ._onnx_write import rewrite_bytes, rewrite_file
from ._stored import FileArray

if TYPE_CHECKING:
    from onnx import ModelProto

NAME = "onnx"
FRAMEWORK = "onnx"
SUFFIXES = (".onnx",)

MAX_IR_VERSION = 255
RECOGNISED_FIELDS = 1000
"""So many fields of a model, and of its graph, are enough to tell that it is one."""


def recognises(path: Path, head: bytes) -> bool:
    """Whether the file is a message with a ModelProto's fields, a version and a graph among them.

    A file that is cut short inside its graph is recognised, so that reading it can say so."""
    try:
        with open_wire(path) as wire:
            return _is_model(wire)
    except CheckpointError:
        return False


def read(path: Path) -> Contents:
    """The tensors of a model: initializers and the values of Constant nodes, by the names that the graph knows them by.

    Tensors of inner graphs have the node and attribute before their name. Text is no weight and is left out."""
    with open_wire(path) as wire:
        source = Source(str(path), partial(FileArray, path), path.parent)
        return _contents(wire, source, NAME)


def read_model(model: ModelProto) -> Contents:
    """The tensors of a model in memory, as they are now."""
    data = model.SerializeToString()
    source = Source(f"live {type(model).__name__}", partial(_in_memory, data), None)
    return _contents(Wire(source.origin, data), source, "live")


def write(path: Path, tensors: Sequence[Output], *, template: Contents | None, metadata: Mapping[str, str]) -> None:
    """Write the template's graph with these tensors in it.

    What is inline in the template stays inline, what is external goes into one new file, ``<name>.data`` beside
    ``path``. Raises RefusedError without a template, and for a tensor that the template's graph has no place for."""
    if template is None or template.format != NAME:
        raise RefusedError(
            f"{path.name}: an ONNX file needs a graph to put weights into; give one with --into TEMPLATE"
        )
    origin = Path(template.origin)
    with open_wire(origin) as wire:
        source = Source(str(origin), partial(FileArray, origin), origin.parent)
        rewrite_file(wire, source, read_directory(wire, origin.parent), tensors, metadata, path)


def write_model(model: ModelProto, tensors: Sequence[Output]) -> None:
    """Put these tensors into a model in memory."""
    data = model.SerializeToString()
    source = Source(f"live {type(model).__name__}", partial(_in_memory, data), None)
    wire = Wire(source.origin, data)
    model.ParseFromString(rewrite_bytes(wire, source, read_directory(wire, None), tensors))


def _contents(wire: Wire, source: Source, format_name: str) -> Contents:
    directory = read_directory(wire, source.folder)
    model = _parse(wire, directory)
    try:
        return Contents(
            origin=source.origin,
            format=format_name,
            framework=FRAMEWORK,
            tensors={
                name: LazyTensor(name, stored.shape, stored.dtype, partial(stored.load, name, source))
                for name, stored in directory.tensors.items()
            },
            description=describe(model, directory),
            metadata={entry.key: entry.value for entry in model.metadata_props},
        )
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{wire.origin}: a name is no UTF-8 text: the file is damaged") from error


def _parse(wire: Wire, directory: Directory) -> Any:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        return onnx.ModelProto.FromString(skeleton(wire, directory))
    except DecodeError as error:
        raise CheckpointError(f"{wire.origin}: a damaged ONNX model: {error}") from error


def _is_model(wire: Wire) -> bool:
    version = graph = None
    try:
        for field in islice(wire.fields(0, len(wire.buffer), MODEL, cut_short=True), RECOGNISED_FIELDS):
            if field.number not in MODEL and graph is None:
                return False
            version = field.value if field.number == 1 else version
            graph = field if field.number == 7 else graph
    except CheckpointError:
        pass  # what follows the graph may be damaged
    return version in range(1, MAX_IR_VERSION) and graph is not None and _is_graph(wire, graph)


def _is_graph(wire: Wire, graph: Field) -> bool:
    try:
        parts = islice(wire.fields(graph.begin, graph.end, GRAPH, cut_short=True), RECOGNISED_FIELDS)
        return all(part.number in GRAPH for part in parts)
    except CheckpointError:
        return graph.end == len(wire.buffer)  # the file may end in the middle of a number


def _in_memory(data: bytes, offset: int, shape: tuple[int, ...], dtype: DType) -> Array:
    return np.ndarray(shape, dtype, buffer=data, offset=offset)
