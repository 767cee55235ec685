"""From the neutral graph to an ONNX model: every operation by its emitter, weights as lazy initializers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..checkpoint import Checkpoint, Output
from ..errors import RefusedError, UsageError
from ..formats._onnx_build import write_built
from .building import Request, Written
from .onnx_context import Context, plain
from .onnx_registry import emitter_of
from .operations import Graph, Result, Value

if TYPE_CHECKING:
    import onnx_ir as ir

OPSETS = range(18, 27)
DEFAULT_OPSET = 21
_IR_VERSIONS = {18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11, 24: 12, 25: 13, 26: 13}


def write(request: Request) -> Written:
    """Write what is asked for as an ONNX file."""
    context = _written(request.graph, request.checkpoint, request.choices.opset)
    model = _model(context, request.metadata)
    weights = {name: context.weights[name] for name in model.graph.initializers if name in context.weights}
    if request.path is not None:
        _save(model, weights, request.path)
    return Written(tuple(context.plans.values()), tuple(weights))


def _written(graph: Graph, checkpoint: Checkpoint, opset: int | None) -> Context:
    opset = DEFAULT_OPSET if opset is None else opset
    if opset not in OPSETS:
        raise UsageError(f"opset {opset} is not supported; known are {OPSETS.start} to {OPSETS.stop - 1}")
    context = Context(graph, checkpoint, opset)
    context.inputs += [_input(context, value) for value in graph.inputs]
    _emit(context)
    return context


def _model(context: Context, metadata: Mapping[str, str]) -> ir.Model:
    import onnx_ir as ir

    from .. import __version__

    outputs = [_output(context, result) for result in context.graph.results]
    written = ir.Graph(
        context.inputs,
        outputs,
        nodes=context.nodes,
        initializers=_used(context),
        opset_imports={"": context.opset},
        name=context.graph.name or "model",
    )
    return ir.Model(
        written,
        ir_version=_IR_VERSIONS[context.opset],
        producer_name="weightport",
        producer_version=__version__,
        metadata_props=dict(metadata),
    )


def _save(model: ir.Model, weights: Mapping[str, Output], path: Path) -> None:
    """Write the model, and its weights one after the other: a message in memory would hold them all, several times."""
    import onnx_ir as ir

    kept = {name: model.graph.initializers.pop(name) for name in weights}
    try:
        write_built(path, ir.to_proto(model).SerializeToString(), weights)
    finally:
        model.graph.initializers.update(kept)


def _emit(context: Context) -> None:
    problems: list[str] = []
    for operation in context.graph.operations:
        context.enter(operation)
        try:
            emitter_of(operation)(context, operation)
        except RefusedError as error:
            problems += error.problems or [str(error)]
            for index, value in enumerate(operation.outputs):  # to find what else is wrong
                context.put(operation, context.node("Identity", [context.number(0.0)]), plain(value.rank), index)
    if problems:
        raise RefusedError("the model cannot be written as ONNX", list(dict.fromkeys(problems)))


def _input(context: Context, value: Value) -> ir.Value:
    import onnx_ir as ir

    sizes = [size if size is not None else _free_size(value, axis) for axis, size in enumerate(value.shape)]
    made = ir.Value(name=value.name, shape=ir.Shape(sizes), type=ir.TensorType(context.dtype(value.dtype)))
    context.hold(value, made)
    return made


def _free_size(value: Value, axis: int) -> str:
    if axis == 0:
        return "batch"
    return f"{value.name}_time" if axis == 1 and value.rank <= 3 else f"{value.name}_axis_{axis}"


def _output(context: Context, result: Result) -> ir.Value:
    """A result under its own name: the value itself, or a copy where it is an input or stands for another result."""
    info = context.graph.values[result.value]
    value = context.held(result.value)
    if value.producer() is None or value.is_graph_output() or value.metadata_props.get("result"):
        value = context.node("Identity", [value], scope=result.name)
    value.name = result.name
    value.metadata_props["result"] = result.name
    context.describe_result(value, info)
    return value


def _used(context: Context) -> list[ir.Value]:
    """The initializers that some node takes, or that are results themselves."""
    results = {result.value for result in context.graph.results}
    return [value for name, value in context.initializers.items() if name in context.taken or name in results]
