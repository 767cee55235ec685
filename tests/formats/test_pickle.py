"""The pickle interpreter: plain data is what Python's own unpickler makes of it, everything else is refused."""

from __future__ import annotations

import pickle
import re
import struct
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torch_files import PROTOCOL, call, dict_of, integer, named, text, tuple_of
from weightport.errors import CheckpointError
from weightport.formats import _pickle
from weightport.formats._pickle import Global, Opaque, dictionary, load

NAMES: Any = {
    "collections.OrderedDict": dictionary,
    "collections.defaultdict": dictionary,
    "collections.Counter": dictionary,
    "builtins.list": None,
    "__builtin__.list": None,
    "made.up": lambda arguments: Opaque("made.up"),
}

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


def interpret(data: bytes, names: Any = None) -> Any:
    return load(data, "f.pt: its pickle", NAMES if names is None else names, lambda arguments: ("id", *arguments))[0]


@given(plain, st.sampled_from([3, 4, 5]))
def test_plain_data_is_what_python_reads(value: Any, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    assert interpret(data) == value
    assert load(data + b"rest", "f", {}, dictionary)[1] == len(data)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_containers_of_the_standard_library_become_dictionaries(protocol: int) -> None:
    value = [OrderedDict(a=1, b=2), defaultdict(list, c=3), Counter("aab"), 2**40, -1, [0] * 3000, "é"]
    assert interpret(pickle.dumps(value, protocol)) == [dict(v) if isinstance(v, dict) else v for v in value]


def test_what_python_2_wrote_is_read() -> None:
    pairs = b"](](" + b"U\x01a" + b"K\x01e" + b"](U\x01bK\x02ee"
    assert interpret(PROTOCOL + call(named("collections", "OrderedDict"), pairs) + b".") == {"a": 1, "b": 2}
    assert interpret(PROTOCOL + b"T\x02\x00\x00\x00\xff\x00.") == b"\xff\x00"


def test_a_shared_value_stays_shared_and_a_value_may_contain_itself() -> None:
    inner: list[Any] = []
    value = interpret(pickle.dumps([inner, inner], 2))
    assert value[0] is value[1]
    inner.append(inner)
    own = interpret(pickle.dumps(inner, 2))
    assert own[0] is own


def test_sets_are_opaque_and_what_is_put_into_opaque_objects_is_dropped() -> None:
    assert interpret(pickle.dumps([{1, 2}, frozenset({3})], 4)) == [Opaque("set"), Opaque("frozenset")]
    made = call(named("made", "up"))
    filled = made + b"K\x01a" + b"(K\x01K\x02e" + b"(K\x01K\x02u" + b"}b"
    assert interpret(PROTOCOL + filled + b".") == Opaque("made.up")


def test_keys_that_name_no_tensor_are_dropped_with_their_values() -> None:
    value = {"a": 1, (1, 2): 2, 3: 4, None: 5, 2**80: 6}
    assert interpret(pickle.dumps(value, 4)) == {"a": 1, 3: 4, None: 5}


@pytest.mark.parametrize("protocol", [2, 4], ids=["GLOBAL", "STACK_GLOBAL"])
@pytest.mark.parametrize("module", ["posix", "os", "nt"])
def test_code_is_named_and_not_run(protocol: int, module: str, tmp_path: Path) -> None:
    witness = tmp_path / "was-run"
    arguments = (f"touch {witness}",)
    name = named(module, "system") if protocol == 2 else text(module) + text("system") + b"\x93"
    data = bytes([0x80, protocol]) + call(name, text(arguments[0])) + b"."
    with pytest.raises(CheckpointError, match=rf"'{module}\.system'.*runs no code.*state_dict"):
        interpret(data)
    assert not witness.exists()
    if module == "posix":
        pickle.loads(data)
        assert witness.exists(), "the attack itself must work, or this proves nothing"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (named("builtins", "eval"), "builtins.eval"),
        (named("collections", "OrderedDict.__init__"), "collections.OrderedDict.__init__"),
        (text("collections.OrderedDict") + text("") + b"\x93", "collections.OrderedDict."),
        (named("x" * 300, "y" * 300), "x" * 300 + "." + "y" * 300),
    ],
)
def test_a_name_that_is_not_in_the_table_is_refused(name: bytes, told: str) -> None:
    with pytest.raises(CheckpointError, match=re.escape(repr(told))):
        interpret(PROTOCOL + name + b".")


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (call(named("builtins", "list")), "calls 'builtins.list'"),
        (b"K\x01)R", "calls 'a int'"),
        (call(named("made", "up"))[:-2] + b"NR", "calls 'made.up'|empty stack"),
        (named("made", "up") + b"K\x01K\x02s", "sets items of a Global"),
        (named("made", "up") + b"K\x01a", "appends to a Global"),
        (named("made", "up") + b"(K\x01\x90", "adds items"),
        (named("made", "up") + b"}b", "state of a Global"),
        (tuple_of(integer(1)) + b"K\x00K\x01s", "sets items of a tuple"),
        (b"}K\x01\x86(K\x01u", "sets items of a tuple|key without"),
        (b"}(K\x01u", "key without a value"),
        (b"K\x01K\x02\x93", "no text"),
        (b"(K\x010t0", "empty stack"),
        (b"t", "mark"),
        (b"h\x05", "value 5"),
        (b"\x8d" + struct.pack("<Q", 2**60), "in the middle"),
        (b"\x8e" + struct.pack("<Q", 2**63), "in the middle"),
        (b"T" + struct.pack("<i", -5), "in the middle"),
        (b"X\x01\x00\x00\x00\xff", "not UTF-8"),
        (b"cos\nsystem", "in the middle"),
        (b"i__main__\nf\n", "opcode 0x69"),
        (b"\x82\x01", "opcode 0x82"),
        (b"Pname\n", "opcode 0x50"),
        (call(named("collections", "OrderedDict"), b"](K\x01e"), "pairs"),
    ],
)
def test_a_program_that_is_no_plain_data_is_refused_in_one_line(program: bytes, words: str) -> None:
    with pytest.raises(CheckpointError, match=words) as caught:
        interpret(PROTOCOL + program + b".")
    assert str(caught.value).startswith("f.pt: its pickle ")
    assert "\n" not in str(caught.value)


def test_a_pickle_that_is_cut_anywhere_is_refused() -> None:
    data = pickle.dumps({"a": [1, 2.5, "text", b"bytes", (None, True)], "b": OrderedDict(c=2**40)}, 4)
    for end in range(len(data)):
        with pytest.raises(CheckpointError):
            interpret(data[:end])


def test_deep_nesting_neither_overflows_nor_is_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pickle, "FREE_CONTAINERS", 1_000_000)
    deep = b")" + b"\x85" * 200_000
    for program, words in [
        (deep + text("x") + b"\x93", "no text"),
        (text("x") + deep + b"\x93", "no text"),
        (deep + deep + b"R", "calls 'a tuple'"),
    ]:
        with pytest.raises(CheckpointError, match=words):
            interpret(PROTOCOL + program + b".")
    assert interpret(PROTOCOL + b"}" + deep + b"K\x01s.") == {}


def test_the_number_of_opcodes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pickle, "MAX_OPCODES", 1000)
    assert len(interpret(PROTOCOL + b"(" + b"}" * 990 + b"t.")) == 990
    with pytest.raises(CheckpointError, match="more than 1000 opcodes"):
        interpret(PROTOCOL + b"(" + b"}" * 1000 + b"t.")


def test_the_number_of_containers_is_bounded_by_the_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pickle, "FREE_CONTAINERS", 100)
    honest = b"(" + b"(K\x01K\x02t" * 1000 + b"t."
    assert len(interpret(PROTOCOL + honest)) == 1000
    for container in (b"}", b"]", b")\x85", b"\x8f"):
        with pytest.raises(CheckpointError, match="more containers than tensors could need"):
            interpret(PROTOCOL + b"(" + container * 1000 + b"t.")


def test_names_stay_text_and_persistent_ids_go_to_their_builder() -> None:
    data = PROTOCOL + dict_of({"n": named("builtins", "list"), "p": text("key") + b"Q"}) + b"."
    assert interpret(data) == {"n": Global("builtins.list"), "p": ("id", "key")}
