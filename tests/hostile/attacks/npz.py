"""NumPy archives: arrays that are programs, headers that lie or run, members under two names."""

from __future__ import annotations

import struct
import zipfile
from functools import partial
from pathlib import Path

from torch_files import PROTOCOL, text

from . import Place, attack
from . import _honest as honest
from .pickles import gadget

NOT_NUMPYS = "a header that is not as NumPy writes it"


def npy(descr: str = "'<f4'", shape: str = "(2,)", data: bytes = bytes(8), more: str = "", version: int = 1) -> bytes:
    """An array file, in any part something else."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, {more}}}".encode("latin-1") + b"\n"
    return b"\x93NUMPY" + struct.pack("<BBH", version, 0, len(header)) + header + data


def of_objects(place: Place) -> Path:
    """A pickle in the place of numbers."""
    program = PROTOCOL + gadget("posix.system", text(place.command)) + b"."
    return honest.zipped(place.folder / "model.npz", {"w.npy": npy("'|O'", "(1,)", program)})


attack("an array of Python objects, which is a pickle and a program", "an array of objects")(of_objects)


@attack(NOT_NUMPYS, "a header that calls")
def header_that_calls(place: Place) -> Path:
    """NumPy has Python compile the header, though it does not run it."""
    call = f"__import__('os').system({place.command!r})"
    return honest.zipped(place.folder / "model.npz", {"w.npy": npy(more=f"'x': {call}")})


BOMB = {"w.npy": npy("'<f8'", "(1099511627776,)", b"")}
CHANGES = {
    "a header that asks for terabytes": (BOMB, "which with its header is .* bytes, but it has"),
    "a shape that overflows": ({"w.npy": npy(shape=f"({10**19}, {10**19})")}, "says that it is .*damaged"),
    "a shape below zero": ({"w.npy": npy(shape="(-2,)")}, "elements of several fields|" + NOT_NUMPYS),
    "a shape of a thousand axes": (
        {"w.npy": npy(shape="(" + "1, " * 1000 + "2)")},
        "a shape that is none",
    ),
    "a shape of nested brackets": ({"w.npy": npy(shape="(" * 3000 + ")" * 3000)}, "several fields|" + NOT_NUMPYS),
    "fields": ({"w.npy": npy("[('a', '<f4')]")}, "elements of several fields"),
    "a type of many types": ({"w.npy": npy("'" + "f4," * 20 + "f4'")}, "no tensor has|" + NOT_NUMPYS),
    "a type of a gigabyte": ({"w.npy": npy("'|V999'")}, "elements of 999 bytes"),
    "a header that is longer than its file": ({"w.npy": npy()[:8] + b"\xff\xff" + npy()[10:]}, "no header of a NumPy"),
    "a header of megabytes": ({"w.npy": npy(more=" " * 60_000)}, "no header of a NumPy array"),
    "a name that climbs": ({"../../w.npy": npy()}, "not one of Keras, PyTorch or NumPy|no plain relative path"),
    "a name that is absolute": ({"/w.npy": npy()}, "not one of Keras, PyTorch or NumPy|no plain relative path"),
}


def _written(members: dict[str, bytes], place: Place) -> Path:
    return honest.zipped(place.folder / "model.npz", members)


for _name, (_members, _words) in CHANGES.items():
    attack(_words, _name)(partial(_written, _members))


@attack("two members named|not one of Keras, PyTorch or NumPy", "an array twice")
def array_twice(place: Place) -> Path:
    path = place.folder / "model.npz"
    with zipfile.ZipFile(path, "w") as file:
        for data in (bytes(8), bytes(range(8))):
            file.writestr("w.npy", npy(data=data))
    return path


@attack("grow to .*more than 100 times|not one of Keras", "a bomb")
def bomb(place: Place) -> Path:
    """A hundred megabytes of zeros that deflate to a thousandth."""
    array = npy(shape="(26214400,)", data=bytes(100 << 20))
    return honest.zipped(place.folder / "model.npz", {"w.npy": array}, zipfile.ZIP_DEFLATED)


@attack("kernel.npy' has checksum .*the file is damaged", "another byte")
def another_byte(place: Place) -> Path:
    path = honest.npz(place.folder / "model.npz")
    values = honest.KERNEL.tobytes()
    path.write_bytes(path.read_bytes().replace(values, values[:-1] + b"!"))
    return path
