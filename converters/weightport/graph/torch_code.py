"""Python as text: calls that are wrapped where a line would be too long, and names that Python and PyTorch allow."""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

WIDTH = 88
INDENT = "    "

# What a submodule cannot be called: attributes of torch.nn.Module (torch/nn/modules/module.py).
_MODULE_ATTRIBUTES = {
    *("add_module", "apply", "bfloat16", "buffers", "call_super_init", "children", "compile", "cpu", "cuda", "double"),
    *("dump_patches", "eval", "extra_repr", "float", "forward", "get_buffer", "get_parameter", "get_submodule"),
    *("half", "ipu", "load_state_dict", "modules", "mtia", "named_buffers", "named_children", "named_modules"),
    *("named_parameters", "parameters", "register_buffer", "register_module", "register_parameter", "requires_grad_"),
    *("set_extra_state", "get_extra_state", "set_submodule", "share_memory", "state_dict", "to", "to_empty", "train"),
    *("training", "type", "xpu", "zero_grad", "T_destination", "register_forward_hook"),
}
_NAMES_OF_THE_FILE = {"self", "torch", "nn", "math", "json", "Tensor", "Path"}


@dataclass(frozen=True)
class Call:
    """A call of a function with arguments that are text already; ``after`` follows it (``[0]``, ``.mean(1)``)."""

    function: str
    arguments: tuple[Call | str, ...]
    after: str = ""

    def __str__(self) -> str:
        return f"{self.function}({', '.join(map(str, self.arguments))}){self.after}"


Code: TypeAlias = Call | str


def call(function: str, /, *arguments: object, **keywords: object) -> Call:
    """A call. A keyword that is None is left out."""
    named = [f"{key}={_text(value)}" for key, value in keywords.items() if value is not None]
    given = [argument if isinstance(argument, Call) else _text(argument) for argument in arguments]
    return Call(function, (*given, *named))


def quoted(text: str) -> str:
    """A text in double quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def number(value: Any) -> str:
    """A NumPy scalar as a number of Python, with no more digits than its dtype has."""
    if not np.issubdtype(value.dtype, np.floating):
        return repr(value.item())
    return repr(float(str(value))) if np.isfinite(value) else f'float("{value}")'


def is_number(text: str) -> bool:
    """Whether a text is a number of Python."""
    return re.fullmatch(r'-?[\d.]+(e[-+]?\d+)?|float\(".*"\)', text) is not None


def is_simple(text: str) -> bool:
    """Whether it is a number or a name, with or without dots: what formatters set close to a power sign."""
    return re.fullmatch(r"-?[\w.]+", text) is not None


def _text(value: object) -> str:
    if isinstance(value, tuple) and len(value) > 1 and len(set(value)) == 1 and all(isinstance(v, int) for v in value):
        return repr(value)
    return value if isinstance(value, str) else str(value) if isinstance(value, Call) else repr(value)


def _operands(code: str) -> list[str]:
    """The operands of the operators that bind least, each with the one before it."""
    for operators in ("|", "&", "+-", "*/@"):
        depth, start, found = 0, 0, []
        for place, character in enumerate(code):
            depth += (character in "([") - (character in ")]")
            if not depth and character in operators and code[place - 1 : place + 2] == f" {character} ":
                found.append(code[start : place - 1])
                start = place
        if found:
            return [*found, code[start:]]
    return [code]


def statement(target: str, code: Code, depth: int, comment: str = "", width: int = WIDTH) -> Iterator[str]:
    """The lines of ``target = code`` as ruff would format them; a comment that does not fit stands above."""
    indent = INDENT * depth
    head = f"{target} = " if target else ""
    line = f"{indent}{head}{code}"
    remark = f"  # {comment}" if comment else ""
    if len(line) + len(remark) <= width:
        yield line + remark
        return
    if comment:
        yield f"{indent}# {comment}"
    if len(line) <= width or (not target and not isinstance(code, Call)):
        yield line
        return
    if not isinstance(code, Call):
        inner = f"{indent}{INDENT}"
        lines = [code] if len(inner) + len(code) <= WIDTH else _operands(code)
        yield from (f"{indent}{target} = (", *(f"{inner}{line}" for line in lines), f"{indent})")
        return
    opened = f"{code.function}("
    helps = max(len(f"{indent}{head}("), len(f"{indent}{INDENT}{opened}")) <= WIDTH
    if target and helps and len(f"{indent}{head}{opened}") > WIDTH:
        yield f"{indent}{target} = ("
        yield from statement("", code, depth + 1)
        yield f"{indent})"
        return
    yield f"{indent}{head}{code.function}("
    inner = f"{indent}{INDENT}{', '.join(map(str, code.arguments))}"
    if len(inner) <= WIDTH:
        yield inner
    else:
        for argument in code.arguments:
            *lines, last = statement("", argument, depth + 1, width=WIDTH - 1)
            yield from (*lines, f"{last},")
    yield f"{indent}){code.after}"


def identifier(name: str, taken: Collection[str]) -> str:
    """A name as a Python identifier that is free, and no attribute of a module."""
    name = re.sub(r"(?:^|(?<=\.))(\w+)\.(?=\1)", "", name)  # stem.stem_conv
    base = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower() or "layer"
    base = f"layer_{base}" if base[0].isdigit() else base
    if keyword.iskeyword(base) or base in _MODULE_ATTRIBUTES or base in _NAMES_OF_THE_FILE:
        base = f"{base}_"
    free, number = base, 1
    while free in taken:
        number += 1
        free = f"{base}_{number}"
    return free


def class_name(name: str) -> str:
    """A name as a class is called: ``my_model`` becomes ``MyModel``."""
    words = [word for word in re.split(r"[\W_]+", name, flags=re.ASCII) if word]
    joined = "".join(word[0].upper() + word[1:] for word in words)
    return joined if joined[:1].isalpha() else f"Model{joined}"


def docstring_line(text: str) -> str:
    """A text that can stand in a docstring."""
    return " ".join(text.replace("\\", "/").replace('"""', "'''").split())
