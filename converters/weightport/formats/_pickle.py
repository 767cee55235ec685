"""A reader of pickles that runs nothing: it interprets the opcodes itself and never resolves a name to an object.

A pickle is a program for a stack machine. This one has the opcodes that plain data needs (protocols 2 to 5) and no
others. A name becomes an inert :class:`Global`, and only if the caller's table has it; a call becomes what the caller's
own function for that name makes of the arguments. Everything that the machine makes is bounded by the pickle's length:
there is no recursion, a memo index takes no memory of its own, a length is compared with what is left before it is
used, and containers, which one byte can make, are counted.
What it makes may still contain itself, or one value many times over: who walks through it has to expect that.

Opcodes: https://github.com/python/cpython/blob/3.13/Lib/pickletools.py
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from ..errors import CheckpointError
from ._stored import FileBytes

MAX_OPCODES = 10_000_000
"""Some 200,000 tensors."""
FREE_CONTAINERS, BYTES_A_CONTAINER = 10_000, 3
"""A pickle may make so many containers, and one more for so many of its bytes. Tensors make one in six at most, a
list of numbers that a training script kept one in four."""
MAX_NAME = 400

Builder: TypeAlias = Callable[[tuple[Any, ...]], object]
"""Makes a value of the arguments of a call; it raises ValueError, which says why, where they are wrong."""


@dataclass(frozen=True, slots=True)
class Global:
    """A name that a pickle mentions, as text: ``torch.FloatStorage``. Nothing is imported for it."""

    name: str


@dataclass(frozen=True, slots=True)
class Opaque:
    """An object that a training script kept beside the tensors, of which nothing but the class's name is known.

    Whatever the pickle puts into it is dropped."""

    name: str


def dictionary(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """The builder of ``OrderedDict`` and its like: empty, or from pairs or from a dictionary (as Python 2 wrote it)."""
    made: dict[Any, Any] = {}
    for argument in arguments:
        if type(argument) is dict:
            made.update(argument)
        elif type(argument) is list:
            if not all(type(pair) in (list, tuple) and len(pair) == 2 for pair in argument):
                raise ValueError("makes a dictionary of something else than pairs: it is damaged")
            made.update((key, value) for key, value in argument if _is_plain_key(key))
    return made


def load(
    data: bytes | FileBytes,
    where: str,
    names: Mapping[str, Builder | None],
    persistent: Builder,
    start: int = 0,
) -> tuple[Any, int]:
    """The value of the pickle at ``data[start:]``, and the index where the pickle ends.

    ``names`` has every name that the pickle may mention and what a call of it makes of the arguments (None: it may be
    mentioned, not called). ``persistent`` makes the value of a persistent id. ``where`` says in messages what is
    being read. Raises CheckpointError.
    """
    machine = _Machine(data, start, where, names, persistent)
    for _ in range(MAX_OPCODES):
        opcode = machine.take(1)[0]
        if opcode == _STOP:
            return machine.pop(), machine.position
        action = _ACTIONS.get(opcode)
        if action is None:
            raise machine.failure(
                f"has opcode 0x{opcode:02x}, which a pickle of plain tensors does not need: refused, or it is damaged"
            )
        action(machine)
    raise machine.failure(f"has more than {MAX_OPCODES} opcodes: refused")


class _Machine:
    """The stack machine: the unread bytes, the stack, the heights of the open marks, and the memo."""

    def __init__(
        self, data: bytes | FileBytes, start: int, where: str, names: Mapping[str, Builder | None], persistent: Builder
    ) -> None:
        self.data = data
        self.position = start
        self.where = where
        self.names = names
        self.persistent = persistent
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: list[Any] = []
        self.sparse_memo: dict[int, Any] = {}
        self.containers = FREE_CONTAINERS + (len(data) - start) // BYTES_A_CONTAINER

    def failure(self, problem: str) -> CheckpointError:
        return CheckpointError(f"{self.where} {problem}")

    def built(self, builder: Builder, arguments: tuple[Any, ...]) -> object:
        try:
            return builder(arguments)
        except ValueError as error:
            raise self.failure(str(error)) from error

    # Bytes

    def take(self, count: int) -> bytes:
        end = self.position + count
        if count < 0 or end > len(self.data):
            raise self.failure(f"ends in the middle of a value, at byte {self.position}: it is cut short or damaged")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def skip(self, count: int) -> None:
        self.take(count)

    def number(self, form: struct.Struct) -> Any:
        return form.unpack(self.take(form.size))[0]

    def text(self, length_form: struct.Struct) -> str:
        return self.decoded(self.take(self.number(length_form)))

    def old_text(self, length_form: struct.Struct) -> str | bytes:
        """A string of Python 2, which may be text or not."""
        encoded = self.take(self.number(length_form))
        try:
            return encoded.decode()
        except UnicodeDecodeError:
            return encoded

    def line(self) -> str:
        length = self.data[self.position : self.position + MAX_NAME].find(b"\n")
        taken = self.take(length)  # a missing end makes this negative
        self.position += 1
        return self.decoded(taken)

    def decoded(self, encoded: bytes) -> str:
        try:
            return encoded.decode()
        except UnicodeDecodeError as error:
            raise self.failure(f"has text that is not UTF-8 before byte {self.position}: it is damaged") from error

    # Stack and memo

    def push(self, value: object) -> None:
        self.stack.append(value)

    def make(self, container: object) -> None:
        """Push something that takes more memory than the byte which makes it."""
        self.containers -= 1
        if self.containers < 0:
            raise self.failure(
                f"makes more containers than tensors could need, before byte {self.position}: refused as unsafe"
            )
        self.stack.append(container)

    def pop(self) -> Any:
        floor = self.marks[-1] if self.marks else 0
        if len(self.stack) <= floor:
            raise self.failure(f"takes from an empty stack at byte {self.position}: it is damaged")
        return self.stack.pop()

    def drop(self) -> None:
        self.pop()

    def top(self) -> Any:
        value = self.pop()
        self.push(value)
        return value

    def pop_many(self, count: int) -> tuple[Any, ...]:
        return tuple(reversed([self.pop() for _ in range(count)]))

    def pop_mark(self) -> list[Any]:
        if not self.marks:
            raise self.failure(f"closes a mark that it did not open, at byte {self.position}: it is damaged")
        height = self.marks.pop()
        values = self.stack[height:]
        del self.stack[height:]
        return values

    def put(self, index: int) -> None:
        """Store the top value. Indices that count up, as every writer's do, take a list and no dictionary."""
        if index == len(self.memo):
            self.memo.append(self.top())
            self.sparse_memo.pop(index, None)
        elif index < len(self.memo):
            self.memo[index] = self.top()
        else:
            self.sparse_memo[index] = self.top()

    def memoize(self) -> None:
        self.put(len(self.memo) + len(self.sparse_memo))

    def get(self, index: int) -> None:
        if index < len(self.memo):
            self.push(self.memo[index])
        elif index in self.sparse_memo:
            self.push(self.sparse_memo[index])
        else:
            raise self.failure(f"refers to value {index}, which it never stored: it is damaged")

    # Containers. Types are compared exactly: only what the machine itself made can be filled.

    def extend(self, values: list[Any]) -> None:
        target = self.top()
        if type(target) is list:
            target.extend(values)
        elif type(target) is not Opaque:
            raise self.failure(f"appends to a {type(target).__name__}: refused as unsafe")

    def set_items(self, values: list[Any]) -> None:
        target = self.top()
        if type(target) not in (dict, Opaque):
            raise self.failure(f"sets items of a {type(target).__name__}: refused as unsafe")
        if len(values) % 2:
            raise self.failure(f"has a key without a value before byte {self.position}: it is damaged")
        if type(target) is dict:
            target.update((k, v) for k, v in zip(values[::2], values[1::2], strict=True) if _is_plain_key(k))

    def add_items(self, values: list[Any]) -> None:
        del values
        if type(self.top()) is not Opaque:
            raise self.failure("adds items to what is no set: refused as unsafe")

    def freeze(self) -> None:
        self.pop_mark()
        self.push(Opaque("frozenset"))

    # Names and calls

    def name(self, module: object, name: object) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise self.failure("names something by what is no text: refused as unsafe")
        full = f"{module[:MAX_NAME]}.{name[:MAX_NAME]}"
        if full not in self.names:
            raise self.failure(
                f"names {full!r}, which is code and no plain tensor: weightport runs no code from a file; if you made "
                "the file, save model.state_dict() instead, or only the tensors of what you saved"
            )
        self.push(Global(full))

    def call(self) -> None:
        function, arguments = self.pop_many(2)
        builder = self.names.get(function.name) if type(function) is Global else None
        if builder is None or type(arguments) is not tuple:
            called = function.name if type(function) is Global else f"a {type(function).__name__}"
            raise self.failure(
                f"calls {called!r}, which makes no plain tensor: refused; save model.state_dict() instead"
            )
        self.make(self.built(builder, arguments))

    def call_with_names(self) -> None:
        self.drop()  # keyword arguments
        self.call()

    def build(self) -> None:
        """State for an object: an OrderedDict's ``_metadata``, or an opaque object's attributes. Neither is kept."""
        self.pop()
        target = self.top()
        if type(target) not in (dict, Opaque):
            raise self.failure(f"sets the state of a {type(target).__name__}: refused as unsafe")


def _is_plain_key(key: object) -> bool:
    """Whether an item is kept. No tensor has a name of another type, hashing a tuple nested a million deep would
    overflow the interpreter's own stack, and long integers can be made to have all one hash."""
    if type(key) is int:
        return key.bit_length() <= 64
    return key is None or type(key) in (str, bool, float, bytes)


_STOP: Final = ord(".")
_U1, _U2, _U4, _U8 = (struct.Struct(form) for form in ("<B", "<H", "<I", "<Q"))
_I4, _F8 = struct.Struct("<i"), struct.Struct(">d")

# fmt: off
_ACTIONS: Mapping[int, Callable[[_Machine], None]] = {
    # framing: a frame's length only says how much to read ahead
    0x80:     lambda m: m.skip(1),                                   # PROTO
    0x95:     lambda m: m.skip(8),                                   # FRAME
    # stack and memo
    ord("("): lambda m: m.marks.append(len(m.stack)),                # MARK
    ord("0"): lambda m: m.drop(),                                    # POP
    ord("q"): lambda m: m.put(m.number(_U1)),                        # BINPUT
    ord("r"): lambda m: m.put(m.number(_U4)),                        # LONG_BINPUT
    0x94:     lambda m: m.memoize(),                                 # MEMOIZE
    ord("h"): lambda m: m.get(m.number(_U1)),                        # BINGET
    ord("j"): lambda m: m.get(m.number(_U4)),                        # LONG_BINGET
    # scalars
    ord("N"): lambda m: m.push(None),                                # NONE
    0x88:     lambda m: m.push(True),                                # NEWTRUE
    0x89:     lambda m: m.push(False),                               # NEWFALSE
    ord("K"): lambda m: m.push(m.number(_U1)),                       # BININT1
    ord("M"): lambda m: m.push(m.number(_U2)),                       # BININT2
    ord("J"): lambda m: m.push(m.number(_I4)),                       # BININT
    0x8A:     lambda m: m.push(int.from_bytes(m.take(m.number(_U1)), "little", signed=True)),  # LONG1
    ord("G"): lambda m: m.push(m.number(_F8)),                       # BINFLOAT
    # text and bytes
    ord("U"): lambda m: m.push(m.old_text(_U1)),                     # SHORT_BINSTRING (Python 2)
    ord("T"): lambda m: m.push(m.old_text(_I4)),                     # BINSTRING (Python 2)
    0x8C:     lambda m: m.push(m.text(_U1)),                         # SHORT_BINUNICODE
    ord("X"): lambda m: m.push(m.text(_U4)),                         # BINUNICODE
    0x8D:     lambda m: m.push(m.text(_U8)),                         # BINUNICODE8
    0x96:     lambda m: m.push(m.take(m.number(_U8))),               # BYTEARRAY8
    ord("C"): lambda m: m.push(m.take(m.number(_U1))),               # SHORT_BINBYTES
    ord("B"): lambda m: m.push(m.take(m.number(_U4))),               # BINBYTES
    0x8E:     lambda m: m.push(m.take(m.number(_U8))),               # BINBYTES8
    # containers
    ord(")"): lambda m: m.push(()),                                  # EMPTY_TUPLE
    0x85:     lambda m: m.make(m.pop_many(1)),                       # TUPLE1
    0x86:     lambda m: m.make(m.pop_many(2)),                       # TUPLE2
    0x87:     lambda m: m.make(m.pop_many(3)),                       # TUPLE3
    ord("t"): lambda m: m.make(tuple(m.pop_mark())),                 # TUPLE
    ord("]"): lambda m: m.make([]),                                  # EMPTY_LIST
    ord("a"): lambda m: m.extend([m.pop()]),                         # APPEND
    ord("e"): lambda m: m.extend(m.pop_mark()),                      # APPENDS
    ord("}"): lambda m: m.make({}),                                  # EMPTY_DICT
    ord("s"): lambda m: m.set_items(list(m.pop_many(2))),            # SETITEM
    ord("u"): lambda m: m.set_items(m.pop_mark()),                   # SETITEMS
    0x8F:     lambda m: m.make(Opaque("set")),                       # EMPTY_SET
    0x90:     lambda m: m.add_items(m.pop_mark()),                   # ADDITEMS
    0x91:     lambda m: m.freeze(),                                  # FROZENSET
    # names, calls, persistent ids
    ord("c"): lambda m: m.name(m.line(), m.line()),                  # GLOBAL
    0x93:     lambda m: m.name(*m.pop_many(2)),                      # STACK_GLOBAL
    ord("R"): lambda m: m.call(),                                    # REDUCE
    0x81:     lambda m: m.call(),                                    # NEWOBJ
    0x92:     lambda m: m.call_with_names(),                         # NEWOBJ_EX
    ord("b"): lambda m: m.build(),                                   # BUILD
    ord("Q"): lambda m: m.make(m.built(m.persistent, (m.pop(),))),   # BINPERSID
}
# fmt: on
