"""What an ONNX emitter works with: values in whatever order of axes they are held, nodes, constants and weights.

Keras keeps channels last and batches first, ONNX' operators want channels first and time first. So a value is *held* in
some order of its axes, and turned only where somebody asks for another one: two transpositions that would cancel are
never made. An order says for each axis of what is held which axis of the value it is: ``(0, 3, 1, 2)`` is channels
first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..checkpoint import Array, Checkpoint, Output, Setting
from ..errors import RefusedError
from ..plan import LayerPlan
from .operations import Graph, Operation, Shape, Value
from .weights import planned, turned

if TYPE_CHECKING:
    import onnx_ir as ir

Order: TypeAlias = tuple[int, ...]

_DTYPES = {"float32": "FLOAT", "float64": "DOUBLE", "float16": "FLOAT16", "bfloat16": "BFLOAT16", "bool": "BOOL"}
_DTYPES |= {name: name.upper() for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")}


def plain(rank: int) -> Order:
    """The order in which the value's own axes stand."""
    return tuple(range(rank))


def channels_first(rank: int) -> Order:
    """The order that has the last axis after the batch."""
    return (0, rank - 1, *range(1, rank - 1))


def time_first(rank: int) -> Order:
    """The order that has the time before the batch."""
    return (1, 0, *range(2, rank))


class Context:
    """The ONNX graph while it is written. Emitters ask it for inputs, add nodes, and put the outputs back."""

    def __init__(self, graph: Graph, checkpoint: Checkpoint, opset: int) -> None:
        self.graph = graph
        self.checkpoint = checkpoint
        self.opset = opset
        self.inputs: list[ir.Value] = []
        self.nodes: list[ir.Node] = []
        self.taken: set[str] = set()
        self.initializers: dict[str, ir.Value] = {}
        self.plans: dict[str, LayerPlan] = {}
        self.weights: dict[str, Output] = {}
        self.shared: dict[Any, Any] = {}
        """What emitters keep for one another (the order of the steps that a mask leaves)."""
        self._values = graph.values
        self._used = {name for one in graph.operations for name in one.inputs} | {one.value for one in graph.results}
        self._held: dict[str, dict[Order, ir.Value]] = {}
        self._names: set[str] = set(self._values) | {result.name for result in graph.results}
        self._results = {one.name: one.value for one in graph.results}
        self._scope = ""
        self._dtype = "float32"

    # Values

    def enter(self, operation: Operation) -> None:
        """From now on nodes are called after this operation, and numbers are of its dtype."""
        self._scope = operation.name
        made = operation.outputs[0].dtype
        self._dtype = made if made.startswith(("float", "bfloat")) else "float32"

    def info(self, operation: Operation, index: int = 0) -> Value:
        """The graph's own value behind an input."""
        return self._values[operation.inputs[index]]

    def has(self, operation: Operation, index: int) -> bool:
        """Whether an optional input is there."""
        return index < len(operation.inputs) and operation.inputs[index] != ""

    def order(self, operation: Operation, index: int = 0) -> Order:
        """The order in which an input is held."""
        return next(iter(self._held[operation.inputs[index]]))

    def get(self, operation: Operation, index: int = 0, order: Order | None = None) -> ir.Value:
        """An input, its axes in this order (None: as the value has them)."""
        return self.held(operation.inputs[index], order)

    def held(self, name: str, order: Order | None = None) -> ir.Value:
        """A value by its name, its axes in this order. It is turned if it is not held so yet."""
        versions = self._held[name]
        wanted = plain(self._values[name].rank) if order is None else order
        if wanted not in versions:
            found, value = next(iter(versions.items()))
            perm = [found.index(axis) for axis in wanted]
            made = self.node("Transpose", [value], {"perm": perm}, scope=name)
            made.name = self._free_name(_turned_name(name, wanted))
            versions[wanted] = self._described(made, self._values[name], wanted)
        return versions[wanted]

    def put(self, operation: Operation, value: ir.Value, order: Order | None = None, index: int = 0) -> None:
        """What an operation gives, held in this order."""
        self.hold(operation.outputs[index], value, order)

    def hold(self, info: Value, value: ir.Value, order: Order | None = None) -> None:
        """Remember a value. One that a node has just made gets its name, shape and dtype."""
        wanted = plain(info.rank) if order is None else order
        is_new = value.producer() is not None and not value.metadata_props.get("held")
        if is_new:
            value.name = self._name_for(info, wanted)
            value.metadata_props["held"] = info.name
            self._described(value, info, wanted)
        self._held[info.name] = {wanted: value}

    def _name_for(self, info: Value, order: Order) -> str:
        """The value's own name, if it is held as it is and no other value is the model's result of that name."""
        if order != plain(info.rank):
            return self._free_name(_turned_name(info.name, order))
        return (
            info.name if self._results.get(info.name, info.name) == info.name else self._free_name(f"{info.name}/inner")
        )

    def is_used(self, operation: Operation, index: int) -> bool:
        """Whether anybody takes an output."""
        return operation.outputs[index].name in self._used

    def _described(self, value: ir.Value, info: Value, order: Order) -> ir.Value:
        import onnx_ir as ir

        value.shape = ir.Shape([info.shape[axis] for axis in order])
        value.dtype = self.dtype(info.dtype)
        return value

    def describe_result(self, value: ir.Value, info: Value) -> None:
        """The shape and dtype of an output of the model, whose free batch has a name."""
        import onnx_ir as ir

        sizes = ["batch" if size is None and axis == 0 else size for axis, size in enumerate(info.shape)]
        value.shape = ir.Shape(sizes)
        value.dtype = self.dtype(info.dtype)

    def dtype(self, name: str) -> ir.DataType:
        """ONNX' dtype of that name. Raises RefusedError where it has none."""
        import onnx_ir as ir

        if name not in _DTYPES:
            raise RefusedError(f"{self._scope}: the dtype {name} is not supported")
        return ir.DataType[_DTYPES[name]]

    # Nodes and constants

    def node(
        self,
        operator: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any] | None = None,
        *,
        scope: str | None = None,
    ) -> ir.Value:
        """Add a node with one output, which it gives."""
        return self.node_of_many(operator, inputs, attributes, 1, scope=scope)[0]

    def node_of_many(
        self,
        operator: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any] | None,
        count: int,
        *,
        scope: str | None = None,
    ) -> Sequence[ir.Value]:
        """Add a node with several outputs."""
        import onnx_ir as ir

        name = self._free_name(f"{scope or self._scope}/{operator}")
        made = ir.convenience.convert_attributes(attributes or {})
        node = ir.Node("", operator, inputs, made, num_outputs=count, version=self.opset, name=name)
        for index, output in enumerate(node.outputs):
            output.name = self._free_name(f"{name}:{index}" if index else f"{name}_out")
        self.nodes.append(node)
        self.taken.update(value.name for value in node.inputs if value is not None and value.name)
        return node.outputs

    def body(self, name: str, inputs: Sequence[ir.Value], write: Callable[[], Sequence[ir.Value]]) -> ir.Graph:
        """A graph inside a node: what ``write`` adds, and its outputs. Values of the graph around it can be used."""
        import onnx_ir as ir

        inside: list[ir.Node] = []
        around = self.nodes
        self.nodes = inside
        try:
            outputs = write()
        finally:
            self.nodes = around
        return ir.Graph(inputs, outputs, nodes=inside, name=name)

    def whole(self, numbers: Sequence[int]) -> ir.Value:
        """A constant list of whole numbers: a shape, axes."""
        return self.constant(np.asarray(numbers, np.int64), f"list.{'_'.join(map(str, numbers)) or 'empty'}")

    def number(self, number: float, dtype: str | None = None) -> ir.Value:
        """A constant number, of the dtype that the operation makes where it makes floating-point ones."""
        dtype = dtype or self._dtype
        return self.constant(_array(number, dtype), f"number.{dtype}.{number}")

    def constant(self, array: Array, name: str) -> ir.Value:
        """A constant array; one of the same name is taken again."""
        import onnx_ir as ir

        if name not in self.initializers:
            self.initializers[name] = self._initializer(ir.tensor(array, name=name), name)
        return self.initializers[name]

    def filled(self, number: float, sizes: Sequence[int]) -> ir.Value:
        """A constant array of one number."""
        name = f"filled.{self._dtype}.{number}.{'_'.join(map(str, sizes))}"
        return self.constant(np.full(sizes, _array(number, self._dtype)), name)

    def own_constant(self, array: Array, what: str) -> ir.Value:
        """A constant array of the operation that is being written."""
        return self.constant(array, f"{self._scope}.{what}")

    # Weights

    def planned(
        self, operation: Operation, layout: str, storage: Mapping[str, Setting] | None = None
    ) -> Mapping[str, Output]:
        """The operation's weights as ONNX' operator wants them."""
        weights = planned(self.checkpoint, operation, layout, storage or {})
        self.plans[operation.layer] = weights.plan
        return weights.tensors

    def turned(self, operation: Operation, local: str, order: Sequence[int], shape: Shape | None = None) -> Output:
        """A weight with its axes in another order, and then of another shape."""
        tensor = turned(self.checkpoint, operation.weights[local], order)
        if shape is None:
            return tensor
        sizes = np.empty(tensor.shape, np.bool_).reshape([-1 if size is None else size for size in shape]).shape
        return replace(tensor, plan=replace(tensor.plan, shape=sizes))

    def shape_of_weight(self, operation: Operation, local: str) -> tuple[int, ...]:
        """The shape in which the checkpoint stores a weight."""
        return self.checkpoint.tensors[operation.weights[local]].shape

    def weight(self, operation: Operation, tensor: Output, name: str) -> ir.Value:
        """An initializer ``layer.name`` that is made when it is written; a layer called again has it already."""
        import onnx_ir as ir

        whole_name = f"{operation.layer}.{name}"
        if whole_name not in self.initializers:
            self.weights[whole_name] = tensor
            lazy = ir.LazyTensor(
                partial(_made, tensor, whole_name),
                dtype=self.dtype(str(tensor.dtype)),
                shape=ir.Shape(tensor.shape),
                name=whole_name,
            )
            self.initializers[whole_name] = self._initializer(lazy, whole_name)
        return self.initializers[whole_name]

    def _initializer(self, tensor: Any, name: str) -> ir.Value:
        import onnx_ir as ir

        self._names.add(name)
        return ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)

    def _free_name(self, name: str) -> str:
        free, number = name, 1
        while free in self._names:
            number += 1
            free = f"{name}_{number}"
        self._names.add(free)
        return free


def _made(tensor: Output, name: str) -> Any:
    import onnx_ir as ir

    memory = np.empty(tensor.shape, tensor.dtype)
    tensor.fill(memory)
    return ir.tensor(memory, name=name)


def _array(number: float, dtype: str) -> Array:
    import ml_dtypes

    return np.asarray(number, getattr(ml_dtypes, dtype, dtype))


def _turned_name(name: str, order: Order) -> str:
    if order == plain(len(order)):
        return re.sub(r"/(channels|time)_first$", "", name)
    if order == channels_first(len(order)):
        return f"{name}/channels_first"
    return f"{name}/time_first" if order == time_first(len(order)) else f"{name}/turned"
