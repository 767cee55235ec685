"""One module of a file as text: its description, ``__init__`` and ``forward``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..errors import RefusedError
from .operations import Value
from .torch_code import WIDTH, docstring_line
from .torch_context import Context, Order, shape_text
from .torch_registry import emitter_of


def emit(context: Context) -> None:
    """Write every operation's lines. Raises RefusedError listing every operation that cannot be written."""
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


def class_text(name: str, title: str, body: Sequence[str]) -> str:
    """A module's class; ``body`` is what :func:`body_of` gives."""
    return "\n".join([f"class {name}(nn.Module):", f'    """{docstring_line(title)}.', *body])


def body_of(context: Context, orders: Sequence[Order], remarks: Sequence[str] = ()) -> list[str]:
    """A module after the first line of its docstring; ``orders`` are those in which it gives its results."""
    return [*_description(context, orders, remarks), *_init(context), "", *_forward(context, orders)]


def _description(context: Context, orders: Sequence[Order], remarks: Sequence[str]) -> Iterator[str]:
    results = context.graph.results
    given = [(result.name, context.values[result.value], order) for result, order in zip(results, orders, strict=True)]
    taken = list(zip(context.arguments, context.graph.inputs, context.orders, strict=True))
    lines = [*_described("Takes", taken), *_described("Gives", given), *map(docstring_line, remarks)]
    yield ""
    yield from (f"    {line}".rstrip() for line in lines)
    yield '    """'
    yield ""


def _described(verb: str, values: Sequence[tuple[str, Value, Order]]) -> Iterator[str]:
    """What goes in or comes out, a line each."""
    for index, (name, value, order) in enumerate(values):
        dtype = "" if value.dtype == "float32" else f" of {value.dtype}"
        begin, end = verb if index == 0 else "  and", "." if index == len(values) - 1 else ""
        yield f"{begin} {docstring_line(name)} {shape_text(value.shape, order)}{dtype}{end}"


def _init(context: Context) -> Iterator[str]:
    yield "    def __init__(self) -> None:"
    yield "        super().__init__()"
    yield from context.layers


def _forward(context: Context, orders: Sequence[Order]) -> Iterator[str]:
    results = [context.held(one.value, order) for one, order in zip(context.graph.results, orders, strict=True)]
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
