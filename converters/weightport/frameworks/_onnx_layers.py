"""Which layer an ONNX node is: its kind, the tensors behind its inputs, its settings. Source: onnx/docs/Operators.md.

A tensor that a node uses in a way that no layer has gets a reason in the graph, and a node without its weights is no
layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from ..checkpoint import Setting
from ._onnx_attention import with_attention
from ._onnx_draft import Draft
from ._onnx_draft import refuse as _refuse
from ._onnx_draft import tensors as _tensors
from ._onnx_graph import Graph, Node, Weight
from ._onnx_normalization import NORMALIZATIONS
from ._onnx_recurrent import recurrent_notes, recurrent_settings


def drafts(graph: Graph) -> Iterator[Draft]:
    """The layers of a graph, in the order of its nodes."""
    yield from with_attention(list(_of_nodes(graph)), graph)


def _of_nodes(graph: Graph) -> Iterator[Draft]:
    """The layers that single nodes are."""
    for node in graph.nodes:
        read = _READERS.get(node.op) if not node.domain else None
        draft = read(node, graph) if read else None
        if draft is not None:
            yield draft


def _recurrent(node: Node, graph: Graph) -> Draft | None:
    _initial_states(node, graph)
    tensors = _tensors(node, graph, {"W": 1, "R": 2}, {"B": 3, "P": 7} if node.op == "LSTM" else {"B": 3})
    if tensors is None:
        return None
    settings = dict(recurrent_settings(node))
    return Draft(node, node.op.lower(), tensors, settings, notes=tuple(recurrent_notes(node)))


def _initial_states(node: Node, graph: Graph) -> None:
    """A constant initial state has a batch axis, as no weight has; one of zeros is what every framework starts with."""
    for index in (5, 6):
        name, _ = graph.origin(node.input(index))
        if name is None:
            continue
        if graph.is_zero(name):
            graph.skipped[name] = f"the initial state of {node.label}, which is zero"
        else:
            graph.reasons.setdefault(
                name, f"it is the initial state of {node.label}, which ONNX layers do not keep as a weight"
            )


_SCALED = "multiply the tensor by it in the graph and set the attribute to 1"


def _gemm(node: Node, graph: Graph) -> Draft | None:
    if node.number("alpha", 1.0) != 1.0:
        _refuse(node, graph, (1, 2), f"scales it by alpha = {node.number('alpha', 1.0):g}; {_SCALED}")
        return None
    weight = _matrix(node, graph)
    if weight is None:
        return None
    transposed = bool(node.integer("transB", 0)) != weight.transposed
    tensors = {"B": weight.tensor}
    bias = _gemm_bias(node, graph, _width(graph, weight, transposed)) if node.input(2) else None
    output = ""
    if bias is None and not node.input(2):
        bias = _added_bias(node, graph, _width(graph, weight, transposed))
        output = _after_bias(node, graph, bias)
    if bias is not None:
        tensors["C"] = bias
    notes = ("transA = 1: the input is transposed",) if node.integer("transA", 0) else ()
    return Draft(node, "dense", tensors, storage={"transB": int(transposed)}, notes=notes, output=output)


def _gemm_bias(node: Node, graph: Graph, width: int) -> str | None:
    if node.number("beta", 1.0) != 1.0:
        _refuse(node, graph, (2,), f"scales it by beta = {node.number('beta', 1.0):g}; {_SCALED}")
        return None
    return _bias(node, 2, graph, width)


def _matmul(node: Node, graph: Graph) -> Draft | None:
    weight = _matrix(node, graph)
    if weight is None:
        return None
    tensors = {"B": weight.tensor}
    bias = _added_bias(node, graph, _width(graph, weight, weight.transposed))
    if bias is not None:
        tensors["C"] = bias
    storage = {"transB": int(weight.transposed)}
    return Draft(node, "dense", tensors, storage=storage, output=_after_bias(node, graph, bias))


def _matrix(node: Node, graph: Graph) -> Weight | None:
    """The right factor of a product, where it is a matrix of the file."""
    _, path = graph.origin(node.input(0))
    if all(step.op in ("Identity", "Transpose") for step in path):
        _refuse(node, graph, (0,), "has it as the left factor, and a dense layer has its weight on the right")
    weight = graph.weight(node, 1)
    if weight is not None and len(graph.shape(weight.tensor)) != 2:
        _refuse(node, graph, (1,), f"has it as a factor of {len(graph.shape(weight.tensor))} dimensions")
        return None
    return weight


def _width(graph: Graph, weight: Weight, transposed: bool) -> int:
    """The number of outputs of a dense layer that stores its weight as ``out in`` (transposed) or ``in out``."""
    return graph.shape(weight.tensor)[0 if transposed else 1]


def _added_bias(node: Node, graph: Graph, width: int) -> str | None:
    """The bias that the next node adds to a product, where nothing else uses the product."""
    users = graph.users(node.outputs[0]) if node.outputs and node.outputs[0] not in graph.outputs else ()
    if len(users) != 1 or users[0][0].op != "Add" or users[0][0].domain or users[0][1] not in (0, 1):
        return None
    add, index = users[0]
    name, _ = graph.origin(add.input(1 - index))
    return None if name is None or graph.shape(name) == () else _bias(add, 1 - index, graph, width)


def _after_bias(node: Node, graph: Graph, bias: str | None) -> str:
    """The value that the Add of a bias gives out, empty where there is none."""
    return graph.users(node.outputs[0])[0][0].outputs[0] if bias is not None else ""


def _bias(node: Node, index: int, graph: Graph, width: int) -> str | None:
    name = graph.straight(node, index)
    if name is None or graph.shape(name) in ((width,), (1, width)):
        return name
    _refuse(node, graph, (index,), f"adds it to {width} outputs, and its shape is {list(graph.shape(name))}")
    return None


def _conv(node: Node, graph: Graph) -> Draft | None:
    tensors = _tensors(node, graph, {"W": 1}, {"B": 2})
    if tensors is None:
        return None
    kernel = graph.shape(tensors["W"])[2:]
    settings: dict[str, Setting] = {
        "strides": _one_or_all(node.integers("strides") or (1,)),
        "dilation": _one_or_all(node.integers("dilations") or (1,)),
        "groups": node.integer("group", 1),
        "padding": _padding(node, kernel),
    }
    return Draft(node, "conv", tensors, settings)


def _conv_transpose(node: Node, graph: Graph) -> Draft | None:
    tensors = _tensors(node, graph, {"W": 1}, {"B": 2})
    if tensors is None:
        return None
    settings: dict[str, Setting] = {
        "strides": _one_or_all(node.integers("strides") or (1,)),
        "dilation": _one_or_all(node.integers("dilations") or (1,)),
        "groups": node.integer("group", 1),
        "padding": _padding(node, graph.shape(tensors["W"])[2:]),
        "output_padding": _one_or_all(node.integers("output_padding") or (0,)),
    }
    if settings["padding"] == "same":
        settings["output_padding"] = "fill"
    given = node.integers("output_shape")
    notes = (f"output_shape = {'x'.join(map(str, given))}: its padding follows from that",) if given else ()
    return Draft(node, "conv_transpose", tensors, settings, notes=notes)


def _prelu(node: Node, graph: Graph) -> Draft | None:
    vector = _spread_vector(node, graph)
    tensors = {"slope": vector} if vector else _tensors(node, graph, {"slope": 1})
    if tensors is None:
        return None
    shape = graph.shape(tensors["slope"])
    channel = _slope_axis(shape)
    if channel is None:
        _refuse(node, graph, (1,), f"has a slope of shape {list(shape)}, which does not tell its channels")
        return None
    return Draft(node, "prelu", tensors, storage={"channel": channel})


def _spread_vector(node: Node, graph: Graph) -> str | None:
    """The one slope a channel that a graph gives its axes of space only when it runs, as PyTorch exports it."""
    name, path = graph.origin(node.input(1))
    is_spread = path and all(step.op in ("Identity", "Unsqueeze", "Reshape") for step in path)
    return name if is_spread and name is not None and len(graph.shape(name)) == 1 else None


def _slope_axis(shape: tuple[int, ...]) -> str | None:
    """Where a slope's channels stand: its one axis of several elements, or its first where space has elements too."""
    wide = [axis for axis, size in enumerate(shape) if size > 1]
    if not shape or (len(wide) > 1 and wide[0]):
        return None
    if not wide or not wide[0]:
        return "first"
    return "last" if wide[0] == len(shape) - 1 and wide[0] != 1 else "after batch" if wide[0] == 1 else None


def _padding(node: Node, kernel: tuple[int, ...]) -> Setting:
    named = {"SAME_UPPER": "same", "SAME_LOWER": "same_lower", "VALID": "valid"}.get(node.text("auto_pad", "NOTSET"))
    if named is not None:
        return named
    pads = node.integers("pads")
    before, after = pads[: len(pads) // 2], pads[len(pads) // 2 :]
    if not any(pads):
        return "valid"
    if before == after:
        return _one_or_all(before)
    reach = tuple((size - 1) * step for size, step in zip(kernel, node.integers("dilations") or (1,), strict=False))
    return "causal" if len(kernel) == 1 and before == reach and after == (0,) else pads


def _one_or_all(values: Sequence[int]) -> Setting:
    return values[0] if len(set(values)) == 1 else tuple(values)


def _gather(node: Node, graph: Graph) -> Draft | None:
    """A Gather is an embedding where it takes rows of a matrix of the file; any other is a matter of shapes."""
    name, _ = graph.origin(node.input(0))
    if (
        name is None
        or len(graph.shape(name)) != 2
        or node.integer("axis", 0)
        or graph.tensors[name].dtype.kind in "iub"
    ):
        return None
    tensors = _tensors(node, graph, {"data": 0})
    return Draft(node, "embedding", tensors) if tensors else None


_READERS: Mapping[str, Callable[[Node, Graph], Draft | None]] = {
    **NORMALIZATIONS,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Conv": _conv,
    "Gather": _gather,
    "ConvTranspose": _conv_transpose,
    "PRelu": _prelu,
}

KIND_OF_OPERATOR: Mapping[str, str] = {
    "LSTM": "lstm",
    "GRU": "gru",
    "RNN": "rnn",
    "Gemm": "dense",
    "MatMul": "dense",
    "Conv": "conv",
    "ConvTranspose": "conv_transpose",
    "PRelu": "prelu",
    "Gather": "embedding",
    "Attention": "multi_head_attention",
    "BatchNormalization": "batch_norm",
    "LayerNormalization": "layer_norm",
    "GroupNormalization": "group_norm",
    "InstanceNormalization": "group_norm",
    "RMSNormalization": "rms_norm",
}
