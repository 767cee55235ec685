"""HDF5: links and storage that reach into other files, declarations of terabytes, filters, references, loops."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from . import SECRET, Place, attack
from . import _honest as honest

Change = Callable[[h5py.File, h5py.Group, Place], None]


def neighbour(place: Place) -> Path:
    """Somebody else's HDF5 file."""
    path = place.secret.with_name("other.h5")
    with h5py.File(path, "w") as file:
        file["secret"] = np.frombuffer(SECRET, "<f4")
    return path


def external_link(file: h5py.File, group: h5py.Group, place: Place) -> None:
    del group["0"]
    group["0"] = h5py.ExternalLink(str(neighbour(place)), "/secret")


def external_link_to_a_group(file: h5py.File, group: h5py.Group, place: Place) -> None:
    file["linked"] = h5py.ExternalLink(str(neighbour(place)), "/")


def soft_link(file: h5py.File, group: h5py.Group, place: Place) -> None:
    file["elsewhere"] = honest.KERNEL
    del group["0"]
    group["0"] = h5py.SoftLink("/elsewhere")


def soft_link_loop(file: h5py.File, group: h5py.Group, place: Place) -> None:
    file["a"], file["b"] = h5py.SoftLink("/b"), h5py.SoftLink("/a")


def hard_link_loop(file: h5py.File, group: h5py.Group, place: Place) -> None:
    group["again"] = file["/"]


def hard_links_of_one_dataset(file: h5py.File, group: h5py.Group, place: Place) -> None:
    group["2"] = group["0"]


def external_storage(file: h5py.File, group: h5py.Group, place: Place) -> None:
    del group["0"]
    group.create_dataset("0", (3, 2), "<f4", external=[(str(place.secret), 0, 24)])


def external_storage_relative(file: h5py.File, group: h5py.Group, place: Place) -> None:
    del group["0"]
    group.create_dataset("0", (3, 2), "<f4", external=[("../outside/secret.bin", 0, 24)])


def virtual_dataset(file: h5py.File, group: h5py.Group, place: Place) -> None:
    layout = h5py.VirtualLayout((21,), "<f4")
    layout[:] = h5py.VirtualSource(str(neighbour(place)), "secret", (21,))
    group.create_virtual_dataset("2", layout)


def four_terabytes(file: h5py.File, group: h5py.Group, place: Place) -> None:
    group.create_dataset("2", (1 << 20, 1 << 20), "f4")


def four_terabytes_in_chunks(file: h5py.File, group: h5py.Group, place: Place) -> None:
    group.create_dataset("2", (1 << 20, 1 << 20), "f4", chunks=(1 << 10, 1 << 10))


def gzip_bomb(file: h5py.File, group: h5py.Group, place: Place) -> None:
    group.create_dataset("2", data=np.zeros(1 << 24, "u1"), chunks=(1 << 20,), compression="gzip", compression_opts=9)


def deflated(group: h5py.Group) -> h5py.Dataset:
    """A deflated dataset in the place of the kernel, its block still to be written."""
    del group["0"]
    return group.create_dataset("0", (3, 2), "<f4", chunks=(3, 2), compression="gzip")


def gzip_chunk_that_says_less(file: h5py.File, group: h5py.Group, place: Place) -> None:
    deflated(group).id.write_direct_chunk((0, 0), zlib.compress(bytes(1 << 26)))


def chunk_that_is_no_gzip(file: h5py.File, group: h5py.Group, place: Place) -> None:
    deflated(group).id.write_direct_chunk((0, 0), b"nothing of the kind")


def one_element_chunks(file: h5py.File, group: h5py.Group, place: Place) -> None:
    group.create_dataset("2", (1 << 20,), "u1", chunks=(1,))


def unknown_filter(file: h5py.File, group: h5py.Group, place: Place) -> None:
    group.create_dataset("2", data=np.arange(64.0), compression="lzf")


def scale_offset_filter(file: h5py.File, group: h5py.Group, place: Place) -> None:
    group.create_dataset("2", data=np.arange(64), chunks=(64,), scaleoffset=0)


def object_references(file: h5py.File, group: h5py.Group, place: Place) -> None:
    group.create_dataset("2", data=[file.ref], dtype=h5py.ref_dtype)


def region_references(file: h5py.File, group: h5py.Group, place: Place) -> None:
    group.create_dataset("2", data=[group["0"].regionref[0:1]], dtype=h5py.regionref_dtype)


def compound_type(file: h5py.File, group: h5py.Group, place: Place) -> None:
    group["2"] = np.zeros(3, [("a", "f4"), ("b", "i4")])


def variable_length_arrays(file: h5py.File, group: h5py.Group, place: Place) -> None:
    dataset = group.create_dataset("2", (2,), dtype=h5py.vlen_dtype(np.dtype("f4")))
    dataset[0], dataset[1] = np.arange(3), np.arange(5)


def text_in_the_place_of_numbers(file: h5py.File, group: h5py.Group, place: Place) -> None:
    group["2"] = ["a", "b"]


def attribute_of_nested_arrays(file: h5py.File, group: h5py.Group, place: Place) -> None:
    group.attrs.create("name", [np.arange(3), np.arange(2)], dtype=h5py.vlen_dtype(np.dtype("i4")))


def a_type_shared_by_name(file: h5py.File, group: h5py.Group, place: Place) -> None:
    file["type"] = np.dtype("f4")
    group.create_dataset("2", (3,), file["type"])


def values_that_were_never_written(file: h5py.File, group: h5py.Group, place: Place) -> None:
    group.create_dataset("2", (3,), "f4")


def a_group_called_dot_dot(file: h5py.File, group: h5py.Group, place: Place) -> None:
    h5py.h5g.create(group.id, b"..")


def a_thousand_groups_deep(file: h5py.File, group: h5py.Group, place: Place) -> None:
    group.create_group("/".join("a" * 1000))


def a_name_of_a_megabyte(file: h5py.File, group: h5py.Group, place: Place) -> None:
    group.create_group("a" * (1 << 16))


def opaque_bytes_of_an_unknown_type(file: h5py.File, group: h5py.Group, place: Place) -> None:
    group["2"] = np.zeros(3, "V2")
    group["2"].attrs["dtype"] = "numpy.load"


WORDS: dict[Change, str] = {
    external_link: "is a link to .*refused as unsafe",
    external_link_to_a_group: "is a link to .*refused as unsafe",
    soft_link: "is a link to .*refused as unsafe",
    soft_link_loop: "is a link to .*refused as unsafe",
    hard_link_loop: "the same object as",
    hard_links_of_one_dataset: "the same object as",
    external_storage: "in another file .external storage.: refused as unsafe",
    external_storage_relative: "in another file .external storage.: refused as unsafe",
    virtual_dataset: "virtual dataset.: refused as unsafe",
    four_terabytes: "never written",
    four_terabytes_in_chunks: "declares 4398046511104 bytes in a file of .*refused as unsafe",
    gzip_bomb: "declares 16777216 bytes in a file of .*refused as unsafe",
    gzip_chunk_that_says_less: "does not decompress to its",
    chunk_that_is_no_gzip: "damaged",
    one_element_chunks: "declares .* in a file of .*refused as unsafe",
    unknown_filter: "only deflate, shuffle and fletcher32",
    scale_offset_filter: "only deflate, shuffle and fletcher32",
    object_references: "no plain numbers",
    region_references: "no plain numbers",
    compound_type: "no plain numbers",
    variable_length_arrays: "no plain numbers",
    text_in_the_place_of_numbers: "no plain numbers",
    attribute_of_nested_arrays: "",  # read, and the attribute is left alone
    a_type_shared_by_name: "neither a group nor a dataset|shared with other objects",
    values_that_were_never_written: "never written",
    a_group_called_dot_dot: "a member '..', which is no plain name: refused as unsafe",
    a_thousand_groups_deep: "more than 64 groups deep",
    a_name_of_a_megabyte: "no end, or more than|more than .* bytes|damaged",
    opaque_bytes_of_an_unknown_type: "only bfloat16 is known",
}


def _fill(change: Change, place: Place, tree: Callable[[h5py.File], None], where: str) -> Callable[[h5py.File], None]:
    def fill(file: h5py.File) -> None:
        tree(file)
        change(file, file[where], place)

    return fill


def _objects(change: Change, place: Place) -> Path:
    return honest.hdf5(
        place.folder / "model.weights.h5", _fill(change, place, honest.objects_tree, "layers/dense/vars")
    )


def _layers(change: Change, place: Place) -> Path:
    where = "model_weights/dense"
    path = place.folder / "model.h5"

    def tree(file: h5py.File) -> None:
        honest.layers_tree(file)
        group = file[where]
        group["0"] = honest.KERNEL
        group.attrs["weight_names"] = [b"0", b"dense/bias:0"]
        del group["dense/kernel:0"]

    return honest.hdf5(path, _fill(change, place, tree, where))


def _archive(change: Change, place: Place) -> Path:
    path = place.folder / "weights"
    honest.hdf5(path, _fill(change, place, honest.objects_tree, "layers/dense/vars"))
    data = path.read_bytes()
    path.unlink()
    return honest.keras(place.folder / "model.keras", weights=data)


for _change, _words in WORDS.items():
    for _container, _suffix in ((_objects, ".weights.h5"), (_layers, ".h5"), (_archive, ".keras")):
        if _words or _container is not _layers:
            _name = _change.__name__.replace("_", " ")
            attack(_words, f"{_name} ({_suffix})")(partial(_container, _change))


# What only bytes can say


def _forged(old: bytes, new: bytes, after: bytes, place: Place) -> Path:
    """An honest file in which the bytes ``old`` that come first after ``after`` are others."""
    path = honest.hdf5(place.folder / "model.weights.h5")
    data = path.read_bytes()
    at = data.index(old, data.index(after) + len(after))
    path.write_bytes(data[:at] + new + data[at + len(old) :])
    return path


def q(*numbers: int) -> bytes:
    """Numbers as HDF5 keeps sizes and addresses."""
    return struct.pack(f"<{len(numbers)}Q", *numbers)


FORGED = {
    "a shape larger than its storage": (q(3, 2), q(3, 1 << 40), b"", "needs .* bytes, but|declare"),
    "a shape that overflows": (q(3, 2), q(1 << 63, 2), b"", "needs .* bytes|declare|damaged"),
    "storage larger than its shape": (q(24), q(1 << 30), q(3, 2), "needs 24 bytes, but 1073741824 are stored"),
    "a superblock of the future": (b"\r\n\x1a\n\x00", b"\r\n\x1a\n\x09", b"", "damaged"),
}

for _name, (_old, _new, _after, _words) in FORGED.items():
    attack(_words, _name)(partial(_forged, _old, _new, _after))


@attack("cut short")
def file_cut_in_half(place: Place) -> Path:
    path = honest.hdf5(place.folder / "model.weights.h5")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


@attack("the same bytes again and again|damaged|more than")
def tree_that_is_its_own_child(place: Place) -> Path:
    """A group's index whose first child is itself: a walk down it never ends."""
    path = honest.hdf5(place.folder / "model.weights.h5")
    data = bytearray(path.read_bytes())
    at = data.index(b"TREE")
    data[at + 5] = 1  # a level above the leaves
    struct.pack_into("<Q", data, at + 32, at)
    path.write_bytes(data)
    return path


@attack("not a checkpoint that weightport knows|does not begin with")
def script_before_the_file(place: Place) -> Path:
    """A shell script in the user block: HDF5 looks for its signature at 512, 1024, ... as well."""
    path = honest.hdf5(place.folder / "model.weights.h5", userblock_size=512)
    data = path.read_bytes()
    script = b"#!/bin/sh\n" + place.command.encode() + b"\nexit\n"
    path.write_bytes(script + data[len(script) :])
    return path


# Names in attributes that lead out of their group


def _weight_names(names: list[bytes], place: Place) -> Path:
    def fill(file: h5py.File) -> None:
        honest.layers_tree(file)
        file["secret_group/k"] = honest.KERNEL
        file["model_weights/dense"].attrs["weight_names"] = names

    return honest.hdf5(place.folder / "model.h5", fill)


for _name, _names, _words in (
    (
        "absolute weight name",
        [b"/secret_group/k", b"dense/bias:0"],
        "outside of its group: refused as unsafe|not there",
    ),
    ("weight name that climbs", [b"../../secret_group/k", b"dense/bias:0"], "which is not there"),
    ("weight name that stays", [b"./dense/kernel:0", b"dense/bias:0"], "which is not there"),
    ("empty weight name", [b"", b"dense/bias:0"], "which is not there"),
    ("weight named twice", [b"dense/bias:0", b"dense/bias:0"], "lists a weight twice"),
    ("weight that is a group", [b"dense", b"dense/bias:0"], "which is not there"),
    ("weight name that is no text", [b"\xff\xfe", b"dense/bias:0"], "damaged"),
):
    attack(_words, _name)(partial(_weight_names, _names))


def _layer_names(names: Any, place: Place) -> Path:
    def fill(file: h5py.File) -> None:
        honest.layers_tree(file)
        file["model_weights"].attrs["layer_names"] = names

    return honest.hdf5(place.folder / "model.h5", fill)


for _name, _layers_listed, _words in (
    ("layer name that climbs", [b"../dense"], "has no group"),
    ("absolute layer name", [b"/model_weights/dense"], "has no group"),
    ("layer named twice", [b"dense", b"dense"], "has a name twice"),
    ("layer that is not there", [b"dense", b"other"], "has no group"),
):
    attack(_words, _name)(partial(_layer_names, _layers_listed))
