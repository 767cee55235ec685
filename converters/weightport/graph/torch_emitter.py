"""From the neutral graph to PyTorch source: one file as a person would write it, and its weights beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ..formats import safetensors
from ..staging import companion_names
from .building import Request, Written
from .nesting import nested
from .torch_code import Call, class_name, docstring_line, quoted, statement
from .torch_context import Context, natural
from .torch_definitions import LOADING, definitions, imports_of, names_of_parts
from .torch_module import body_of, class_text, emit
from .torch_nesting import CallsDifferError
from .torch_safety import refuse_code

WEIGHTS_SUFFIX = ".safetensors"
_TAKEN = {"Callable", "Path", "Sequence", "Tensor"}


def write(request: Request) -> Written:
    """Write what is asked for: ``model.py``, and ``model.safetensors`` beside it."""
    refuse_code(request.graph)
    name, context = _emitted(request)
    if request.path is not None:
        weights = _weights_file(request.path)
        request.path.write_text(_source(context, name, weights.name))
        safetensors.write(weights, context.tensors, template=None, metadata=request.metadata)
    return Written(tuple(context.file.plans.values()), tuple(tensor.name for tensor in context.tensors))


def _emitted(request: Request) -> tuple[str, Context]:
    """The model's class and what it consists of. Nested models whose calls differ are taken apart."""
    taken = names_of_parts() | _TAKEN
    name = class_name(request.graph.name)
    name = f"{name}Model" if name in taken else name
    orders = [natural(value.rank) for value in request.graph.inputs]
    apart: set[str] = set()
    while True:
        graph = nested(request.graph, apart)
        context = Context(graph, request.checkpoint, request.choices.channels_last, orders)
        context.file.classes.taken |= {*taken, name}
        try:
            emit(context)
        except CallsDifferError as error:
            apart.add(error.model)
        else:
            return name, context


def _weights_file(path: Path) -> Path:
    """The file of weights beside ``path``; that of an older file in its place goes with it, and no other."""
    target = path.parent.parent / path.name
    old = re.search(r'with_name\("([^"/]+)"\)', target.read_text(errors="replace")) if target.is_file() else None
    replaced = re.escape(old.group(1)) if old else "(?!)"
    (name,) = companion_names(path, lambda mark: [f"{path.stem}{mark}{WEIGHTS_SUFFIX}"], replaced)
    return path.with_name(name)


def _source(context: Context, name: str, weights: str) -> str:
    """The whole file, formatted as ruff would; ``weights`` is the name of the file beside it."""
    parts = ["\n".join(block) for block in definitions(list(context.file.parts))]
    parts.sort(key=_is_defined)  # names of types before what uses them
    loading = ["\n".join(block) for block in definitions([LOADING])]
    body = [*parts, *_classes(context, name), *loading, "\n".join(_load(name, weights))]
    imports = "\n".join(imports_of("\n".join(body)))
    text = f"{_introduction(context, weights)}\n\n{imports}"
    for block in body:
        text += ("\n\n\n" if _is_defined(block) else "\n\n") + block
    return text + "\n"


def _classes(context: Context, name: str) -> Iterator[str]:
    """The classes of nested models, and the model's own."""
    for nested_name, models, body in context.file.classes:
        yield class_text(nested_name, f"{' and '.join(models)} of the model", [body])
    graph = context.graph
    orders = [natural(context.values[result.value].rank) for result in graph.results]
    remarks = [*filter(None, [context.place_of_channels]), *graph.notes]
    yield class_text(name, f"The model {graph.name}", body_of(context, orders, remarks))


def _is_defined(block: str) -> bool:
    """Whether a block is a function or a class, and no name for a type."""
    return block.startswith(("class ", "def "))


def _introduction(context: Context, weights: str) -> str:
    return (
        f'"""The model {docstring_line(context.graph.name)} in PyTorch.\n\n'
        f"``load()`` gives it with the weights in ``{weights}``, ready to run;\n"
        'it needs torch alone.\n"""'
    )


def _load(name: str, weights: str) -> Iterator[str]:
    default = f"Path(__file__).with_name({quoted(weights)})"
    yield f"def load(path: str | Path | None = None) -> {name}:"
    yield '    """The model with its weights, by default those beside this file."""'
    yield f"    model = {name}()"
    yield from statement("path", f"{default} if path is None else path", 1)
    yield from statement("", Call("model.load_state_dict", ("read_safetensors(path)",)), 1)
    yield "    return model.eval()"
