"""ONNX graphs, run by ONNX Runtime on the CPU; what layers take and give is added to the graph's outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from os import PathLike
from typing import Any

import numpy as np

from ...checkpoint import Array, Checkpoint, LazyTensor
from ...formats import onnx as model_file
from ...frameworks import onnx as framework
from ...frameworks._onnx_draft import Draft
from ..inputs import InputSpec
from . import CHANNELS_SECOND, LayerRun, Run, UnreachableError, first_line, is_installed

_BOUNDED = frozenset({"Sigmoid", "HardSigmoid", "Softmax", "Tanh"})
"""The operators of :data:`weightport.parity.runners.BOUNDED`."""


def obstacle(source: Any, checkpoint: Checkpoint) -> str:
    """ONNX Runtime is not installed."""
    if is_installed("onnxruntime"):
        return ""
    origin = checkpoint.contents.origin
    return f"ONNX Runtime is not installed, so {origin} is not run: pip install 'weightport[onnxruntime]'"


def runner_for(source: Any, checkpoint: Checkpoint) -> OnnxRunner:
    """The runner of a file or a live ModelProto."""
    import onnx

    model = onnx.load(str(source)) if isinstance(source, str | PathLike) else source
    return OnnxRunner(model, checkpoint, framework.layer_nodes(checkpoint.contents))


@dataclass(frozen=True)
class OnnxRunner:
    """A model in memory, the layers' nodes by the checkpoint's names, and the sessions that were made of it."""

    model: Any
    checkpoint: Checkpoint
    nodes: Mapping[str, Draft]
    _sessions: dict[bool, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def specs(self) -> tuple[InputSpec, ...] | None:
        """From the graph's inputs that are no weights."""
        weights = {tensor.name for tensor in self.model.graph.initializer}
        return tuple(self._spec(value) for value in self.model.graph.input if value.name not in weights)

    @property
    def bounded(self) -> frozenset[str]:
        """From the nodes that make the graph's outputs."""
        made = {output for node in self.model.graph.node if node.op_type in _BOUNDED for output in node.output}
        return frozenset(value.name for value in self.model.graph.output if value.name in made)

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence where a node is in training mode."""
        active = [node.name or node.op_type for node in self.model.graph.node if _trains(node)]
        if not active:
            return ()
        return (
            f"train mode is left on in the ONNX graph ({', '.join(active[:4])} has training_mode = 1): "
            "export the model in evaluation mode",
        )

    def run(self, inputs: Sequence[Array], *, layers: bool = False) -> Run:
        """Run the graph."""
        session = self._session(layers)
        feeds = {
            value.name: np.ascontiguousarray(array, _numpy_type(value.type))
            for value, array in zip(session.get_inputs(), inputs, strict=True)
        }
        try:
            results = session.run(None, feeds)
        except Exception as error:
            raise UnreachableError(
                f"ONNX Runtime does not run the graph on these inputs: {first_line(error)}"
            ) from error
        values = dict(zip([value.name for value in session.get_outputs()], results, strict=True))
        own = {value.name: np.asarray(values[value.name]) for value in self.model.graph.output}
        known = {**values, **feeds}
        seen = {name: _layer_run(node, known) for name, node in self.nodes.items()} if layers else {}
        return Run(own, {name: run for name, run in seen.items() if run is not None})

    @contextmanager
    def holding(self, weights: Mapping[str, Array]) -> Iterator[OnnxRunner]:
        """A copy of the model with other weights."""
        copy = type(self.model)()
        copy.CopyFrom(self.model)
        model_file.write_model(
            copy, [LazyTensor(name, array.shape, array.dtype, partial(_same, array)) for name, array in weights.items()]
        )
        yield OnnxRunner(copy, self.checkpoint, self.nodes)

    def _session(self, layers: bool) -> Any:
        if layers not in self._sessions:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4
            model = self._watched() if layers else self.model
            try:
                session = onnxruntime.InferenceSession(
                    model.SerializeToString(), options, providers=["CPUExecutionProvider"]
                )
            except Exception as error:
                raise UnreachableError(f"ONNX Runtime does not load the graph: {first_line(error)}") from error
            self._sessions[layers] = session
        return self._sessions[layers]

    def _watched(self) -> Any:
        """A copy of the model whose graph gives out what its layers take and give, too."""
        import onnx

        copy = type(self.model)()
        copy.CopyFrom(self.model)
        given = {value.name for value in (*copy.graph.output, *copy.graph.input)}
        nodes = {tuple(node.output): node for node in copy.graph.node}
        for draft in self.nodes.values():
            node = nodes[tuple(draft.node.outputs)]  # by its values: other weights may have moved its index
            if not node.output[0]:
                node.output[0] = _unused_output(draft)
            for name in _watched_values(draft):
                if name and name not in given:
                    given.add(name)
                    copy.graph.output.append(onnx.ValueInfoProto(name=name))
        return copy

    def _spec(self, value: Any) -> InputSpec:
        import onnx

        kind = value.type.tensor_type
        shape = tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)
        dtype = str(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)))
        tokens = list(self._tokens(value.name)) if dtype.startswith(("int", "uint")) else []
        return InputSpec(value.name, shape, dtype, min(tokens, default=0), "mask" in value.name)

    def _tokens(self, name: str) -> Iterator[int]:
        """The rows of the embeddings that an input goes into directly, or of all where it goes into none."""
        gathers = [draft for draft in self.nodes.values() if draft.kind == "embedding"]
        fed = [draft for draft in gathers if draft.node.input(1) == name] or gathers
        sizes = {tensor.name: tensor.dims[0] for tensor in self.model.graph.initializer if tensor.dims}
        for draft in fed:
            yield from (int(sizes[tensor]) for tensor in draft.tensors.values() if tensor in sizes)


def _trains(node: Any) -> bool:
    return any(attribute.name == "training_mode" and attribute.i for attribute in node.attribute)


def _unused_output(draft: Draft) -> str:
    return f"weightport/{draft.node.index}"


def _watched_values(draft: Draft) -> tuple[str, str]:
    """The value that a layer takes in, and the one that it gives out."""
    node = draft.node
    taken = node.input(1) if draft.kind == "embedding" else node.input(0)
    return taken, draft.output or node.outputs[0] or _unused_output(draft)


def _layer_run(draft: Draft, values: Mapping[str, Any]) -> LayerRun | None:
    """What a layer's node did, batch first and channels last; None where it takes a constant."""
    taken, given = (values.get(name) for name in _watched_values(draft))
    if taken is None or given is None:
        return None
    if draft.kind in CHANNELS_SECOND and np.ndim(taken) > 2:
        return LayerRun(np.moveaxis(taken, 1, -1), np.moveaxis(given, 1, -1))
    if draft.kind in ("lstm", "gru", "rnn"):
        if draft.node.integer("layout", 0):
            return LayerRun(taken, given.reshape(*given.shape[:2], -1))
        by_batch = np.transpose(given, (2, 0, 1, 3))
        return LayerRun(np.swapaxes(taken, 0, 1), by_batch.reshape(*by_batch.shape[:2], -1))
    return LayerRun(taken, given)


def _numpy_type(text: str) -> Any:
    """``tensor(float)`` as NumPy has it."""
    name = text.removeprefix("tensor(").removesuffix(")")
    return np.dtype({"float": "float32", "double": "float64"}.get(name, name))


def _same(array: Array) -> Array:
    return array
