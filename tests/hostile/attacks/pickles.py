"""Pickles: programs that a trusting loader runs. Zipped (``.pt``), as five pickles in a row (``.pth``), and bare."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch_files import PROTOCOL, archive, call, dict_of, integer, legacy, named, storage, tensor, text, tuple_of

from . import Place, attack
from . import _honest as honest

CODE = "which is code and no plain tensor"

# Names that scanners' block lists had to learn one by one, from their advisories and test corpora.
GADGETS = Path(__file__).with_name("gadgets.txt").read_text().split()


def gadget(name: str, argument: bytes) -> bytes:
    """GLOBAL and REDUCE: a call of anything."""
    module, _, function = name.rpartition(".")
    return call(named(module, function), argument)


def in_zip(place: Place, program: bytes) -> Path:
    return honest.torch_zip(place.folder / "model.pt", program)


def in_legacy(place: Place, program: bytes) -> Path:
    return honest.torch_legacy(place.folder / "model.pth", program)


def _call_of(name: str, place: Place) -> Path:
    return in_zip(place, gadget(name, text(place.command)))


for _name in GADGETS:
    attack(f"names '{_name}', {CODE}", f"calls {_name}")(partial(_call_of, _name))


# Other ways to say the same, and other places to say it in

SYSTEM = named("posix", "system")
DUNDER = named("torch._utils", "_rebuild_tensor_v2")
WAYS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "GLOBAL": (lambda text_: SYSTEM + text_ + b"\x85R", f"names 'posix.system', {CODE}"),
    "STACK_GLOBAL": (lambda text_: text("posix") + text("system") + b"\x93" + text_ + b"\x85R", "names 'posix.system'"),
    "STACK_GLOBAL of memoized text": (
        lambda text_: text("posix") + b"\x94" + text("system") + b"\x9400h\x00h\x01\x93" + text_ + b"\x85R",
        "names 'posix.system'",
    ),
    "a dotted name": (
        lambda text_: text("torch._utils") + text("_rebuild_tensor_v2.__globals__") + b"\x93",
        "names 'torch._utils._rebuild_tensor_v2.__globals__'",
    ),
    "a module that ends in a known one": (
        lambda text_: text("numpy.core.numeric") + text("builtins.eval") + b"\x93" + text_ + b"\x85R",
        "names 'numpy.core.numeric.builtins.eval'",
    ),
    "INST": (lambda text_: b"(" + text_ + b"iposix\nsystem\n", "opcode 0x69"),
    "OBJ": (lambda text_: b"(" + SYSTEM + text_ + b"o", "names 'posix.system'"),
    "NEWOBJ": (lambda text_: SYSTEM + text_ + b"\x85\x81", "names 'posix.system'"),
    "NEWOBJ_EX": (lambda text_: SYSTEM + text_ + b"\x85}\x92", "names 'posix.system'"),
    "EXT1": (lambda text_: b"\x82\x01" + text_ + b"\x85R", "opcode 0x82"),
    "EXT2": (lambda text_: b"\x83\x01\x00", "opcode 0x83"),
    "EXT4": (lambda text_: b"\x84\x01\x00\x00\x00", "opcode 0x84"),
    "PERSID": (lambda text_: b"Pposix.system\n", "opcode 0x50"),
    "a persistent id that is no storage": (lambda text_: text_ + b"Q", "no storage"),
    "BUILD on a class": (lambda text_: named("torch", "FloatStorage") + b"}b", "sets the state of a Global"),
    "BUILD on a tensor": (lambda text_: tensor() + b"}b", "sets the state of a StoredTensor"),
    "SETITEM on a tensor": (lambda text_: tensor() + text_ + b"K\x01s", "sets items of a StoredTensor"),
    "SETITEM on a storage": (lambda text_: storage() + b"K\x00K\x01s", "sets items of a Storage"),
    "APPEND to a tensor": (lambda text_: tensor() + text_ + b"a", "appends to a StoredTensor"),
    "a call of what a call made": (lambda text_: tensor() + text_ + b"\x85R", "calls 'a StoredTensor'"),
    "a call of a dtype": (lambda text_: named("torch", "float32") + text_ + b"\x85R", "calls 'torch.float32'"),
    "a call of a type's method": (
        lambda text_: text("builtins") + text("bytes.fromhex") + b"\x93" + text_ + b"\x85R",
        "names 'builtins.bytes.fromhex'",
    ),
    "a rebuild through another function": (
        lambda text_: call(named("torch._tensor", "_rebuild_from_type_v2"), SYSTEM, b"N", text_ + b"\x85", b"}"),
        "names 'posix.system'",
    ),
    "a rebuild through a known name that makes no tensor": (
        lambda text_: call(named("torch._tensor", "_rebuild_from_type_v2"), named("builtins", "set"), b"N", b")", b"}"),
        "by a function that makes none",
    ),
    "NEXT_BUFFER": (lambda text_: b"\x97", "opcode 0x97"),
    "READONLY_BUFFER": (lambda text_: b"\x98", "opcode 0x98"),
    "a protocol that is none": (lambda text_: b"\x80\xff" + SYSTEM + text_ + b"\x85R", "names 'posix.system'"),
    "a frame that hides it": (
        lambda text_: b"\x95" + struct.pack("<Q", 1 << 60) + SYSTEM + text_ + b"\x85R",
        "names 'posix.system'",
    ),
}


def _way(make: Callable[[bytes], bytes], container: Callable[[Place, bytes], Path], place: Place) -> Path:
    return container(place, dict_of({"w": make(text(place.command))}))


for _name, (_make, _words) in WAYS.items():
    attack(_words, _name)(partial(_way, _make, in_zip))
    attack(_words, f"{_name} in a legacy file")(partial(_way, _make, in_legacy))


def _legacy_with(number: int, place: Place) -> Path:
    """One of the five pickles of a legacy file is a call; ``eval`` of the magic number gives the magic number."""
    path = honest.torch_legacy(place.folder / "model.pth")
    magic = bytes.fromhex("8a0a6cfc9c46f9206aa85019")
    expression = f"__import__('os').system({place.command!r}) or {int.from_bytes(magic[2:], 'little')}"
    evil = gadget("builtins.eval", text(expression))
    keys = b"](" + text("0") + text("1") + b"e"
    system = dict_of({"protocol_version": integer(1001), "little_endian": b"\x88"})
    programs = [magic, integer(1001), system, honest.torch_pickle(), keys]
    programs[number] = evil
    old = b"".join(PROTOCOL + program + b"." for program in [magic, integer(1001), system, honest.torch_pickle(), keys])
    new = b"".join(PROTOCOL + program + b"." for program in programs)
    data = path.read_bytes()
    assert data.startswith(old)
    path.write_bytes(new + data[len(old) :])
    return path


for _number, _title in enumerate(("magic number", "protocol", "system", "object", "list of storages")):
    # Without the magic number in plain sight the file is a pickle like any other.
    _words = "plain pickle and no PyTorch file" if _number == 0 else "names 'builtins.eval'"
    attack(_words, f"code in the {_title} of a legacy file")(partial(_legacy_with, _number))


@attack("plain pickle and no PyTorch file")
def bare_pickle(place: Place) -> Path:
    path = place.folder / "model.pth"
    path.write_bytes(PROTOCOL + gadget("posix.system", text(place.command)) + b".")
    return path


@attack("a plain pickle, which is a program")
def bare_pickle_of_protocol_0(place: Place) -> Path:
    path = place.folder / "model.pt"
    path.write_bytes(f"cposix\nsystem\n(V{place.command}\ntR.".encode())
    return path


@attack("plain pickle and no PyTorch file")
def pickle_named_like_a_safe_format(place: Place) -> Path:
    return bare_pickle(place).rename(place.folder / "model.safetensors")


@attack("names 'posix.system'")
def zip_named_like_a_safe_format(place: Place) -> Path:
    return in_zip(place, gadget("posix.system", text(place.command))).rename(place.folder / "model.onnx")


@attack("a zip archive, but not one of Keras, PyTorch or NumPy")
def zip_in_a_zip(place: Place) -> Path:
    inner = in_zip(place, gadget("posix.system", text(place.command)))
    content = inner.read_bytes()
    inner.unlink()
    return honest.zipped(place.folder / "outer.pt", {"archive/model.pt": content})


@attack("opcode 0x50")
def zip_in_the_place_of_the_pickle(place: Place) -> Path:
    inner = in_zip(place, gadget("posix.system", text(place.command)))
    content = inner.read_bytes()
    inner.unlink()
    return honest.zipped(place.folder / "outer.pt", {"archive/data.pkl": content, "archive/version": b"3"})


@attack("a TorchScript archive, which is a program")
def torchscript_where_a_state_dict_is_expected(place: Place) -> Path:
    members = {
        "archive/data.pkl": PROTOCOL + honest.torch_pickle() + b".",
        "archive/constants.pkl": PROTOCOL + gadget("posix.system", text(place.command)) + b".",
        "archive/code/__torch__.py": b"def forward(self): pass",
    }
    return honest.zipped(place.folder / "model.pt", members)


@attack("torch.package archive, which is a program|without a folder that has data.pkl")
def torch_package(place: Place) -> Path:
    members = {
        "archive/.data/extern_modules": b"os",
        "archive/model.py": f"import os; os.system({place.command!r})".encode(),
    }
    return honest.zipped(place.folder / "model.pt", members)


@attack("torch.export archive .*which is a program")
def exported_program_with_pickled_weights(place: Place) -> Path:
    members = {
        "m/archive_format": b"pt2",
        "m/data/weights/model_weights_config.json": b'{"config": {"w": {"path_name": "w", "use_pickle": true}}}',
        "m/data/weights/w": PROTOCOL + gadget("posix.system", text(place.command)) + b".",
        "m/models/model.json": b"{}",
    }
    return honest.zipped(place.folder / "model.pt2", members).rename(place.folder / "model.pt")


@attack("a tar archive")
def tar_with_links(place: Place) -> Path:
    path = place.folder / "model.pt"
    with tarfile.open(path, "w") as file:
        for name, kind, target in (
            ("storages", tarfile.SYMTYPE, str(place.secret)),
            ("tensors", tarfile.LNKTYPE, "../outside/secret.bin"),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, target
            file.addfile(entry)
        entry = tarfile.TarInfo("pickle")
        program = PROTOCOL + gadget("posix.system", text(place.command)) + b"."
        entry.size = len(program)
        file.addfile(entry, io.BytesIO(program))
    return path


# Programs that are no code and do harm all the same: by their size, their depth or their lies


def _program(program: bytes, container: Callable[[Place, bytes], Path], place: Place) -> Path:
    return container(place, program)


def _unfolding(levels: int) -> bytes:
    """A list in which the one before stands twice, again and again: two to the power of ``levels`` in all."""
    return b"]q\x00" + b"".join(
        b"]q" + bytes([n + 1]) + b"(h" + bytes([n]) + b"h" + bytes([n]) + b"e" for n in range(levels)
    )


SHAPES = {
    "offset before the storage": (tensor((2,), (1,), -1), "no sizes"),
    "offset past the storage": (tensor((2,), (1,), 1 << 62), "of a storage of"),
    "view that ends past the storage": (tensor((2,), (1,), 3), "ends at element 4 of a storage of 4"),
    "negative stride": (tensor((2,), (-1,), 3), "no sizes"),
    "overlapping strides past the storage": (tensor((2, 2), (3, 2)), "of a storage of 4"),
    "stride that overflows": (tensor((2, 2), (2**64 + 1, 1)), "of a storage of 4"),
    "negative size": (tensor((-2,), (1,)), "no sizes"),
    "more strides than sizes": (tensor((2,), (1, 1)), "no sizes"),
    "stride zero over terabytes": (tensor((1 << 40,), (0,)), "would expand 16 stored bytes"),
    "stride zero over some gigabytes": (tensor((1 << 15, 1 << 15), (0, 0)), "would expand 16 stored bytes"),
    "size that overflows": (tensor((1 << 32, 1 << 32, 1 << 32), (0, 0, 0)), "no array can be that large"),
    "size zero beside an enormous one": (tensor((0, 1 << 62), (1, 1)), "no array can be that large"),
    "a thousand dimensions": (tensor((1,) * 1000, (1,) * 1000), "1000 dimensions"),
    "sizes that are texts": (call(DUNDER, storage(), integer(0), text("4"), text("1"), b"\x89", b"}"), "no sizes"),
    "sizes that are floats": (
        call(DUNDER, storage(), integer(0), b"G" + struct.pack(">d", 4) + b"\x85", b"K\x01\x85", b"\x89", b"}"),
        "no sizes",
    ),
    "storage longer than the file": (tensor((1 << 40,), of=storage(1 << 40)), "should have|ends at byte"),
    "storage of a negative length": (tensor(of=storage(-1)), "without a key or a length"),
    "storage shorter than its member": (tensor((2,), of=storage(2)), "should have 8 bytes|has 4 elements, expected 2"),
    "storage key that climbs": (tensor(of=storage(key="../../outside/secret.bin")), "no member|does not match"),
    "sparse tensor": (call(named("torch._utils", "_rebuild_sparse_tensor"), b"N", b")"), "is sparse"),
    "quantized tensor": (call(named("torch._utils", "_rebuild_qtensor"), storage()), "is quantized"),
    "tensor without values": (call(named("torch._utils", "_rebuild_meta_tensor_no_storage"), b"N"), "meta device"),
}


def _floats(place: Place, program: bytes) -> Path:
    return archive(place.folder / "model.pt", program)


def _legacy_floats(place: Place, program: bytes) -> Path:
    return legacy(place.folder / "model.pth", program, {"0": bytes(range(16))})


def _legacy_without_storages(place: Place, program: bytes) -> Path:
    return legacy(place.folder / "model.pth", program, {})


for _name, (_tensor, _words) in SHAPES.items():
    attack(_words, _name)(partial(_program, dict_of({"w": _tensor}), _floats))
    if storage()[-1:] in _tensor and "key that climbs" not in _name:  # it has a storage, under an honest key
        attack(_words, f"{_name} in a legacy file")(partial(_program, dict_of({"w": _tensor}), _legacy_floats))

MANY = 100_000
BOMBS = {
    "memo index of two billion": (b"Nr\xff\xff\xff\x7f" + b"0", "no state dict|empty stack"),
    "memo of many values": (b"N" + b"\x94" * MANY, "no state dict"),
    "text of 2^63 bytes": (b"\x8d" + struct.pack("<Q", 1 << 63), "ends in the middle of a value"),
    "bytes of a terabyte": (b"\x8e" + struct.pack("<Q", 1 << 40), "ends in the middle of a value"),
    "bytearray of a terabyte": (b"\x96" + struct.pack("<Q", 1 << 40), "ends in the middle of a value"),
    "text of a negative length": (b"T\xff\xff\xff\xff", "ends in the middle of a value"),
    "long of two gigabytes": (b"\x8b\xff\xff\xff\x7f", "opcode 0x8b"),
    "integer in a million digits": (b"L" + b"9" * 1_000_000 + b"L\n", "opcode 0x4c"),
    "frame of 2^63 bytes": (b"\x95" + struct.pack("<Q", 1 << 63) + b"N", "no state dict"),
    "deep tuples": (b")" + b"\x85" * MANY, "more containers"),
    "deep lists": (b"]" * MANY + b"a" * (MANY - 1), "more containers"),
    "deep dictionaries": (
        b"".join(b"}" + text("state_dict") for _ in range(5000)) + b"}" + b"s" * 5000,
        "no tensors by name",
    ),
    "a name for a deep tuple": (b"}" + b")" + b"\x85" * MANY + b"Ns", "more containers"),
    "list that unfolds to 2^60": (_unfolding(60), "no state dict"),
    "list that unfolds, as the sizes of a tensor": (
        dict_of({"w": call(DUNDER, storage(), integer(0), _unfolding(60), b")", b"\x89", b"}")}),
        "no sizes",
    ),
    "dictionary that holds itself": (b"}q\x00" + text("state_dict") + b"h\x00s", "no tensors by name"),
    "marks without end": (b"(" * MANY + b"N", "no state dict"),
    "empty dictionaries without end": (b"}" * MANY, "more containers"),
    "storages without end": (storage()[:-1] + b"q\x00" + b"Qh\x00" * (MANY // 4), "no state dict|does not match"),
    "a call that would fill the memory": (call(named("builtins", "bytearray"), integer(1 << 40)), "no state dict"),
    "a range that would fill the memory": (call(named("builtins", "range"), integer(1 << 62)), "no state dict"),
    "keys that all have one hash": (
        b"}(" + b"".join(integer(n * (2**61 - 1)) + b"N" for n in range(20_000)) + b"u",
        "no tensors by name",
    ),
    "no end": (b"N" * 1000, ""),
    "nothing on the stack": (b"", "empty stack"),
    "pops below the stack": (b"N0000", "empty stack"),
    "closes a mark that is not open": (b"t", "did not open"),
    "value that was never stored": (b"h\x07", "never stored"),
}


for _name, (_bomb, _words) in BOMBS.items():
    attack(_words or "no state dict", _name)(partial(_program, _bomb, in_zip))
    attack(_words or "no state dict", f"{_name} in a legacy file")(partial(_program, _bomb, _legacy_without_storages))


@attack("grow to .*: refused")
def pickle_that_inflates(place: Place) -> Path:
    path = place.folder / "model.pt"
    return archive(path, b"N" + b"0N" * (1 << 22), {}, compression=zipfile.ZIP_DEFLATED)


@attack("grow to .*: refused")
def storage_that_inflates_a_thousand_times(place: Place) -> Path:
    path = place.folder / "model.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", PROTOCOL + dict_of({"w": tensor((1 << 26,), of=storage(1 << 26))}) + b".")
        with file.open("archive/data/0", "w", force_zip64=True) as member:
            for _ in range(1 << 4):
                member.write(bytes(1 << 24))
    return path


@attack("again and again")
def one_storage_under_two_thousand_names(place: Place) -> Path:
    """Each name shows it expanded to sixty megabytes."""
    expanded = tensor((1 << 12, 1 << 12), (0, 0))
    return archive(place.folder / "model.pt", dict_of({f"w{n}": expanded for n in range(2_000)}))


@attack("checksum")
def storage_with_a_wrong_checksum(place: Place) -> Path:
    path = honest.torch_zip(place.folder / "model.pt")
    data = path.read_bytes()
    path.write_bytes(data.replace(honest.TORCH["dense.weight"].tobytes(), honest.TORCH["dense.weight"].tobytes()[::-1]))
    return path


@attack("two different storages|has 4 elements, expected 2")
def one_storage_with_two_lengths(place: Place) -> Path:
    both = dict_of({"a": tensor(), "b": tensor((2,), of=storage(2))})
    return legacy(place.folder / "model.pth", both, {"0": bytes(16)})


@attack("bytes follow the last tensor")
def data_after_the_last_storage(place: Place) -> Path:
    path = honest.torch_legacy(place.folder / "model.pth")
    path.write_bytes(path.read_bytes() + PROTOCOL + gadget("posix.system", text(place.command)) + b".")
    return path


@attack("refers to something outside it that is no storage")
def persistent_id_that_names_a_file(place: Place) -> Path:
    return in_zip(place, dict_of({"w": tuple_of(text("file"), text(str(place.secret))) + b"Q"}))
