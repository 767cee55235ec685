"""The directory of an ONNX model: every tensor in it by name, and the messages that lie around them.

Source: onnx/onnx.proto, messages ModelProto, GraphProto, NodeProto, AttributeProto, FunctionProto.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from ..errors import CheckpointError
from ._onnx_pieces import Copy, Fill, Piece
from ._onnx_tensor import StoredTensor, parse_tensor, tensor_name
from ._onnx_wire import BYTES, VARINT, Field, Wire, encode_head

MAX_DEPTH = 32
"""Graphs inside graphs; the protobuf library itself stops at about as many."""

FREE_PARTS, BYTES_A_PART = 10_000, 16
"""A model may have so many parts (nodes, attributes, tensors, inputs ...), and one more for so many of its bytes.
A part takes some hundred bytes of memory, and an empty one two bytes in the file."""

_MESSAGE, _NUMBER = frozenset({BYTES}), frozenset({VARINT})
MODEL = {
    **dict.fromkeys((2, 3, 4, 6, 7, 8, 14, 20, 25, 26), _MESSAGE),
    **dict.fromkeys((1, 5), _NUMBER),
}
GRAPH = dict.fromkeys((1, 2, 5, 10, 11, 12, 13, 14, 15, 16), _MESSAGE)
_NODE = dict.fromkeys((1, 2, 3, 4, 5, 6, 7, 8, 9), _MESSAGE)
_ATTRIBUTE = dict.fromkeys((1, 5, 6, 10, 11), _MESSAGE)
_FUNCTION = dict.fromkeys((1, 7, 10), _MESSAGE)
_NAMED = dict.fromkeys((1, 2), _MESSAGE)


@dataclass(frozen=True)
class Span:
    """A message inside its parent, with the messages in it that lead to a tensor.

    One that is a tensor has its name in ``tensor``; an Identity node that gives a tensor a second name has that one
    in ``alias``; an entry of the model's metadata has its key in ``metadata``."""

    field: Field
    children: tuple[Span, ...] = ()
    tensor: str | None = None
    alias: str | None = None
    metadata: str | None = None


@dataclass(frozen=True)
class Directory:
    """What is in a model: tensors by name in the file's order, and the tree of messages that leads to them.

    ``aliases`` maps the names that Identity nodes give (exporters merge equal tensors that way) to the names that they
    are given for; both are tensors here. ``nested`` has the tensors that no node of the main graph can use, and says
    what they are."""

    root: Span
    ir_version: int
    tensors: Mapping[str, StoredTensor]
    aliases: Mapping[str, str]
    nested: Mapping[str, str]


def read_directory(wire: Wire, folder: Path | None) -> Directory:
    """Walk through a model. Raises CheckpointError where it is damaged, ambiguous or unsafe."""
    walk = _Walk(wire, folder)
    whole = Field(0, BYTES, 0, 0, len(wire.buffer))
    children = []
    version = graphs = 0
    for part in walk.parts(whole, MODEL):
        if part.number == 1:
            version = part.value
        elif part.number == 7:
            graphs += 1
            children.append(walk.graph(part, ""))
        elif part.number == 14:
            children.append(Span(part, metadata=_first_name(wire, part)))
        elif part.number == 25:
            children.append(walk.function(part))
    if graphs != 1:
        raise CheckpointError(f"{wire.origin}: an ONNX model has one graph, and this file has {graphs}")
    walk.name_aliases()
    return Directory(Span(whole, tuple(children)), version, walk.tensors, walk.aliases, walk.nested)


@dataclass
class _Walk:
    """The tensors that a walk through a model has met so far."""

    wire: Wire
    folder: Path | None
    tensors: dict[str, StoredTensor] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    nested: dict[str, str] = field(default_factory=dict)
    outputs: set[str] = field(default_factory=set)
    identities: list[tuple[str, str]] = field(default_factory=list)
    parts_left: int = field(init=False)

    def __post_init__(self) -> None:
        self.parts_left = FREE_PARTS + len(self.wire.buffer) // BYTES_A_PART

    def parts(self, message: Field, known: Mapping[int, frozenset[int]]) -> Iterator[Field]:
        """The fields of a message that are known; each is counted as a part of the model."""
        for part in self.wire.fields(message.begin, message.end, known):
            if part.number not in known:
                continue
            self.parts_left -= 1
            if self.parts_left < 0:
                raise CheckpointError(
                    f"{self.wire.origin}: has more nodes, attributes and tensors than its size has room for: refused"
                )
            yield part

    def graph(self, graph: Field, inside: str, depth: int = 0) -> Span:
        """A graph: its initializers, and the nodes that hold tensors. ``inside`` is empty for the main graph."""
        if depth > MAX_DEPTH:
            raise CheckpointError(f"{self.wire.origin}: graphs are nested more than {MAX_DEPTH} deep")
        children: list[Span] = []
        nodes = 0
        for part in self.parts(graph, GRAPH):
            if part.number == 1:
                children += self.node(part, inside, nodes, depth)
                nodes += 1
            elif part.number == 5:
                children += self.tensor(part, tensor_name(self.wire, part), inside, "initializer")
            elif part.number == 12 and not inside:
                self.outputs.add(_first_name(self.wire, part))
            elif part.number == 15:
                children.append(self.sparse(part, inside))
        return Span(graph, tuple(children))

    def function(self, function: Field) -> Span:
        """A function of the model: a list of nodes."""
        parts = list(self.parts(function, _FUNCTION))
        name = next((self.wire.text(part) for part in parts if part.number == 1), "")
        nodes = [part for part in parts if part.number == 7]
        spans = [span for index, node in enumerate(nodes) for span in self.node(node, f"{name}/", index, 0)]
        return Span(function, tuple(spans))

    def node(self, node: Field, inside: str, index: int, depth: int) -> Iterator[Span]:
        """A node, if a tensor is in it."""
        parts = list(self.parts(node, _NODE))
        texts = {number: [self.wire.text(p) for p in parts if p.number == number] for number in (1, 2, 3, 4, 7)}
        operator = (texts[4] or [""])[-1] if (texts[7] or [""])[-1] in ("", "ai.onnx") else ""
        if operator == "Identity" and not inside and len(texts[1]) == len(texts[2]) == 1:
            self.identities.append((texts[2][0], texts[1][0]))
            yield Span(node, alias=texts[2][0])
            return
        label = (texts[3] or [""])[-1] or f"{operator or 'node'}_{index}"
        value = texts[2][0] if operator == "Constant" and texts[2] else None
        attributes = [self.attribute(p, value, inside, label, depth) for p in parts if p.number == 5]
        if any(attribute.children for attribute in attributes):
            yield Span(node, tuple(attribute for attribute in attributes if attribute.children))

    def attribute(self, attribute: Field, value: str | None, inside: str, label: str, depth: int) -> Span:
        """An attribute: the value of a Constant node (whose output is called ``value``), or graphs."""
        parts = list(self.parts(attribute, _ATTRIBUTE))
        name = next((self.wire.text(part) for part in parts if part.number == 1), "")
        children: list[Span] = []
        tensors = [part for part in parts if part.number == 5]
        if len(tensors) > 1 or sum(part.number == 6 for part in parts) > 1:
            raise CheckpointError(f"{self.wire.origin}: attribute {name!r} of {label!r} has two values: damaged")
        for part in parts:
            if part.number == 5 and value is not None and name == "value":
                children += self.tensor(part, value, inside, "Constant node")
            elif part.number in (6, 11):
                children.append(self.graph(part, f"{inside}{label}.{name}/", depth + 1))
        return Span(attribute, tuple(children))

    def sparse(self, sparse: Field, inside: str) -> Span:
        """A sparse initializer: its values are a tensor, though not of the shape that the model sees."""
        children: list[Span] = []
        for part in self.wire.fields(sparse.begin, sparse.end, _NAMED):
            if part.number == 1:
                children += self.tensor(part, tensor_name(self.wire, part), inside, "sparse initializer")
        for child in children:
            self.nested.setdefault(child.tensor or "", "it has the values of a sparse initializer, which no layer uses")
        return Span(sparse, tuple(children))

    def tensor(self, part: Field, name: str, inside: str, what: str) -> list[Span]:
        """A TensorProto. One of strings is no weight, and is left as it is."""
        if not name:
            raise CheckpointError(f"{self.wire.origin}: {what} at byte {part.start} has no name: the file is damaged")
        full = self.unused_name(inside + name) if inside else name
        if full in self.tensors:
            raise CheckpointError(f"{self.wire.origin}: two tensors are named {name!r}: refused, readers would differ")
        stored = parse_tensor(self.wire, part, full, self.folder)
        if stored is None:
            return []
        self.tensors[full] = stored
        if inside:
            self.nested[full] = f"it is inside {inside.removesuffix('/')}, and only the main graph is read for layers"
        return [Span(part, tensor=full)]

    def unused_name(self, name: str) -> str:
        """The name, or the name with a number where it is taken: sibling graphs may name things alike."""
        count = 2
        unused = name
        while unused in self.tensors:
            unused = f"{name}#{count}"
            count += 1
        return unused

    def name_aliases(self) -> None:
        """Find the Identity nodes that give a tensor of the main graph a second name."""
        for alias, name in self.identities:
            if name in self.tensors and name not in self.nested and alias not in {*self.tensors, *self.outputs, ""}:
                self.tensors[alias] = self.tensors[name]
                self.aliases[alias] = name


Replace: TypeAlias = Callable[[Span], Sequence[Piece] | None]


def assemble(span: Span, replace: Replace) -> list[Piece]:
    """A message in pieces, after ``replace`` has given new fields for some of the messages in it (None: as it is)."""
    pieces: list[Piece] = []
    at = span.field.begin
    for child in span.children:
        new = replace(child)
        if new is None and child.children:
            inside = assemble(child, replace)
            new = [encode_head(child.field.number, sum(map(len, inside))), *inside]
        if new is not None:
            pieces += [Copy(at, child.field.start), *new]
            at = child.field.end
    return [*pieces, Copy(at, span.field.end)]


def skeleton(wire: Wire, directory: Directory) -> bytes:
    """The model without the values of its tensors."""

    def without_values(span: Span) -> list[Piece] | None:
        if span.tensor is None:
            return None
        head = [wire.buffer[begin:end] for begin, end in directory.tensors[span.tensor].head]
        return [encode_head(span.field.number, sum(map(len, head))), *head]

    pieces = assemble(directory.root, without_values)
    return b"".join(
        wire.buffer[p.begin : p.end] if isinstance(p, Copy) else p for p in pieces if not isinstance(p, Fill)
    )


def _first_name(wire: Wire, message: Field) -> str:
    """The first field of a message that begins with a name (ValueInfoProto) or key (StringStringEntryProto)."""
    return next((wire.text(part) for part in wire.fields(message.begin, message.end, _NAMED) if part.number == 1), "")
