"""From the neutral graph to PyTorch source: one module as a person would write it, and its weights beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import RefusedError
from ..formats import safetensors
from ..staging import companion_names
from .building import Order, Written
from .operations import Value
from .torch_code import WIDTH, Call, class_name, docstring_line, quoted, statement
from .torch_context import Context, natural, shape_text
from .torch_definitions import LOADING, definitions, imports_of, names_of_parts
from .torch_registry import emitter_of

WEIGHTS_SUFFIX = ".safetensors"


def write(order: Order) -> Written:
    """Write what was ordered: ``model.py``, and ``model.safetensors`` beside it."""
    context = Context(order.graph, order.checkpoint, order.choices.channels_last)
    _emit(context)
    if order.path is not None:
        weights = _weights_file(order.path)
        order.path.write_text(source_of(context, weights.name))
        safetensors.write(weights, context.tensors, template=None, metadata=order.metadata)
    return Written(tuple(context.plans.values()), tuple(tensor.name for tensor in context.tensors))


def _weights_file(path: Path) -> Path:
    """The file of weights beside ``path``; that of an older file in its place goes with it, and no other."""
    target = path.parent.parent / path.name
    old = re.search(r'with_name\("([^"/]+)"\)', target.read_text(errors="replace")) if target.is_file() else None
    replaced = re.escape(old.group(1)) if old else "(?!)"
    (name,) = companion_names(path, lambda mark: [f"{path.stem}{mark}{WEIGHTS_SUFFIX}"], replaced)
    return path.with_name(name)


def _emit(context: Context) -> None:
    """Every operation's lines. Raises RefusedError listing every operation that cannot be written."""
    problems: list[str] = []
    for operation in context.graph.operations:
        try:
            emitter_of(operation)(context, operation)
        except RefusedError as error:
            problems += error.problems or [str(error)]
            for index in range(len(operation.outputs)):  # to find what else is wrong
                context.hold(operation, "x", index=index)
        context.finish(operation)
    if problems:
        raise RefusedError("the model cannot be written as PyTorch source", list(dict.fromkeys(problems)))


def source_of(context: Context, weights: str) -> str:
    """The whole file, formatted as ruff would; ``weights`` is the name of the file beside it."""
    name = class_name(context.graph.name)
    name = f"{name}Model" if name in names_of_parts() or name in ("Tensor", "Path", "Callable", "Sequence") else name
    parts = ["\n".join(block) for block in definitions(list(context.parts))]
    loading = ["\n".join(block) for block in definitions([LOADING])]
    model = "\n".join([*_head(context, name), *_init(context), "", *_forward(context)])
    parts.sort(key=_is_defined)  # names of types before what uses them
    body = [*parts, model, *loading, "\n".join(_load(name, weights))]
    imports = "\n".join(imports_of("\n".join(body)))
    text = f"{_introduction(context, weights)}\n\n{imports}"
    for block in body:
        text += ("\n\n\n" if _is_defined(block) else "\n\n") + block
    return text + "\n"


def _is_defined(block: str) -> bool:
    """Whether a block is a function or a class, and no name for a type."""
    return block.startswith(("class ", "def "))


def _introduction(context: Context, weights: str) -> str:
    return (
        f'"""The model {docstring_line(context.graph.name)} in PyTorch.\n\n'
        f"``load()`` gives it with the weights in ``{weights}``, ready to run;\n"
        'it needs torch alone.\n"""'
    )


def _head(context: Context, name: str) -> Iterator[str]:
    yield f"class {name}(nn.Module):"
    lines = [
        *_described(
            "Takes", [(one, value) for one, value in zip(context.arguments, context.graph.inputs, strict=True)]
        ),
        *_described("Gives", [(result.name, context.values[result.value]) for result in context.graph.results]),
        *filter(None, [context.place_of_channels]),
        *(docstring_line(note) for note in context.graph.notes),
    ]
    yield f'    """The model {docstring_line(context.graph.name)}.'
    yield ""
    yield from (f"    {line}".rstrip() for line in lines)
    yield '    """'
    yield ""


def _described(verb: str, values: Sequence[tuple[str, Value]]) -> Iterator[str]:
    """What goes in or comes out, a line each."""
    for index, (name, value) in enumerate(values):
        dtype = "" if value.dtype == "float32" else f" of {value.dtype}"
        shape = shape_text(value.shape, natural(value.rank))
        begin, end = verb if index == 0 else "  and", "." if index == len(values) - 1 else ""
        yield f"{begin} {docstring_line(name)} {shape}{dtype}{end}"


def _init(context: Context) -> Iterator[str]:
    yield "    def __init__(self) -> None:"
    yield "        super().__init__()"
    yield from context.layers


def _forward(context: Context) -> Iterator[str]:
    results = [context.held(result.value) for result in context.graph.results]
    given = ["Tensor", "tuple[Tensor, Tensor]"][len(results) - 1] if len(results) < 3 else "tuple[Tensor, ...]"
    yield from _signature([f"{name}: Tensor" for name in context.arguments], given)
    yield from context.lines
    yield from _returned(results)


def _signature(arguments: Sequence[str], given: str) -> Iterator[str]:
    one = f"    def forward(self, {', '.join(arguments)}) -> {given}:"
    if len(one) <= WIDTH:
        yield one
        return
    yield "    def forward("
    inner = f"        self, {', '.join(arguments)}"
    if len(inner) <= WIDTH:
        yield inner
    else:
        yield "        self,"
        yield from (f"        {argument}," for argument in arguments)
    yield f"    ) -> {given}:"


def _returned(results: Sequence[str]) -> Iterator[str]:
    line = f"        return {', '.join(results)}"
    if len(line) <= WIDTH:
        yield line
        return
    yield "        return ("
    yield from (f"            {result}," for result in results)
    yield "        )"


def _load(name: str, weights: str) -> Iterator[str]:
    default = f"Path(__file__).with_name({quoted(weights)})"
    yield f"def load(path: str | Path | None = None) -> {name}:"
    yield '    """The model with its weights, by default those beside this file."""'
    yield f"    model = {name}()"
    yield from statement("path", f"{default} if path is None else path", 1)
    yield from statement("", Call("model.load_state_dict", ("read_safetensors(path)",)), 1)
    yield "    return model.eval()"
