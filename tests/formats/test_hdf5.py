"""HDF5: what h5py writes is read bit for bit without it, hostile files are refused in one line, writing is exact."""

from __future__ import annotations

import random
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest

from weightport.checkpoint import LazyTensor, Output
from weightport.errors import CheckpointError, RefusedError, WeightportError
from weightport.formats import _hdf5, _hdf5_write
from weightport.formats._hdf5 import Dataset, Group, parse_json, read_tree, text_of, texts_of
from weightport.formats._hdf5_region import Region, file_region
from weightport.formats._hdf5_write import make_frame, text_attribute

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
NATIVE = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]
SECRET = b"the content of another file"


def values(dtype: str, shape: tuple[int, ...] = (3, 4)) -> np.ndarray:
    """Random bits of a type: NaNs with payloads, negative zeros and all."""
    bits = np.random.default_rng(5).integers(0, 256, size=(*shape, np.dtype(dtype).itemsize), dtype=np.uint8)
    return (bits[..., 0] > 127) if dtype == "?" else bits.view(dtype).reshape(shape)


def write(path: Path, fill: Callable[[h5py.File], Any], **options: Any) -> Path:
    with h5py.File(path, "w", **options) as file:
        fill(file)
    return path


def datasets(path: Path) -> dict[str, np.ndarray]:
    tree = read_tree(file_region(path))
    return {item.path: item.tensor.read() for item in tree.walk() if isinstance(item, Dataset)}


def assert_same_bits(found: np.ndarray, expected: np.ndarray) -> None:
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == expected.tobytes()


def frame_of(path: Path, arrays: dict[str, np.ndarray], attributes: dict[str, Any] | None = None) -> Any:
    """A frame with the arrays below the group ``g``."""
    tensors = {f"g/{n}": LazyTensor(f"g/{n}", a.shape, a.dtype, lambda a=a: a) for n, a in arrays.items()}
    below = {n: Dataset(f"g/{n}", _hdf5_write.type_attributes(a.dtype), tensors[f"g/{n}"]) for n, a in arrays.items()}
    tree = Group("", {}, {"g": Group("g", attributes or {}, below)})
    return make_frame(path, tree, tensors)


@pytest.mark.parametrize("dtype", [*NATIVE, *(f">{name}" for name in NATIVE if name[-1] in "248")])
@pytest.mark.parametrize("storage", ["contiguous", "compact", "chunked", "deflated"])
def test_every_type_in_every_storage_is_read_bit_for_bit(tmp_path: Path, dtype: str, storage: str) -> None:
    options: dict[str, dict[str, Any]] = {
        "chunked": {"chunks": (2, 3)},
        "deflated": {"chunks": (2, 3), "compression": "gzip", "shuffle": True, "fletcher32": True},
    }
    array = values(dtype)

    def fill(file: h5py.File) -> None:
        if storage == "compact":
            properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            properties.set_layout(h5py.h5d.COMPACT)
            kind = h5py.h5t.py_create(array.dtype, logical=True)
            h5py.h5d.create(file.id, b"x", kind, h5py.h5s.create_simple(array.shape), properties)
            file["x"][...] = array
        else:
            file.create_dataset("x", data=array, **options.get(storage, {}))

    found = datasets(write(tmp_path / "a.h5", fill))["x"]
    assert_same_bits(found, array.astype(array.dtype.newbyteorder("=")))
    assert not found.flags.writeable


@pytest.mark.parametrize("tag", [None, "bfloat16"])
def test_bfloat16_is_two_opaque_bytes(tmp_path: Path, tag: str | None) -> None:
    def fill(file: h5py.File) -> None:
        file["x"] = values("V2")
        if tag:
            file["x"].attrs["dtype"] = tag

    assert_same_bits(datasets(write(tmp_path / "a.h5", fill))["x"], values("V2").view(BFLOAT16))


def test_a_bfloat16_of_hdf5_itself_is_read(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        kind = h5py.h5t.IEEE_F32LE.copy()
        kind.set_fields(15, 7, 8, 0, 7)
        kind.set_precision(16)
        kind.set_size(2)
        kind.set_ebias(127)
        h5py.h5d.create(file.id, b"x", kind, h5py.h5s.create_simple((2,))).write(
            h5py.h5s.ALL, h5py.h5s.ALL, np.array([0x3F80, 0xC040], "u2").view("V2"), mtype=kind
        )

    found = datasets(write(tmp_path / "a.h5", fill))["x"]
    assert found.dtype == BFLOAT16
    assert found.tolist() == [1.0, -3.0]


def test_scalars_empty_arrays_and_half_filled_blocks(tmp_path: Path) -> None:
    arrays = {"scalar": np.float32(2.5), "empty": np.zeros((0, 1 << 40)), "edge": values("f8", (5, 7, 2))}

    def fill(file: h5py.File) -> None:
        file["scalar"] = arrays["scalar"]
        file.create_dataset("empty", arrays["empty"].shape, "f8", chunks=(1, 1), maxshape=(None, None))
        file.create_dataset("edge", data=arrays["edge"], chunks=(2, 7, 2))

    found = datasets(write(tmp_path / "a.h5", fill))
    for name, array in arrays.items():
        assert_same_bits(found[name], np.asarray(array))


def test_attributes_are_texts_and_numbers(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        file.attrs["fixed"] = np.array([b"lstm", "größe".encode()])
        file.attrs["variable"] = ["lstm", "größe", ""]
        file.attrs["text"] = "größe"
        file.attrs["bytes"] = np.bytes_(b"2.1.5")
        file.attrs["number"] = np.float64(-0.0)
        file.attrs["nothing"] = []
        file.attrs["truth"] = True

    attributes = read_tree(file_region(write(tmp_path / "a.h5", fill))).attributes
    assert texts_of(attributes["fixed"]) == ["lstm", "größe"]
    assert texts_of(attributes["variable"]) == ["lstm", "größe", ""]
    assert (text_of(attributes["text"]), text_of(attributes["bytes"])) == ("größe", "2.1.5")
    assert text_of(attributes["variable"]) is None
    assert_same_bits(attributes["number"], np.asarray(-0.0))
    assert texts_of(attributes["nothing"]) == []
    assert attributes["truth"] is None


@pytest.mark.parametrize("options", [{}, {"libver": "latest"}, {"track_order": True}])
def test_groups_of_every_form_have_all_their_members(tmp_path: Path, options: dict[str, Any]) -> None:
    def fill(file: h5py.File) -> None:
        for index in range(40):
            file.create_group(f"group {index}/inner")["x"] = np.float32(index)

    found = datasets(write(tmp_path / "a.h5", fill, **options))
    assert {path: float(value) for path, value in found.items()} == {f"group {i}/inner/x": i for i in range(40)}


def test_a_region_inside_a_file_is_a_file(tmp_path: Path) -> None:
    inner = write(tmp_path / "a.h5", lambda file: file.update({"x": values("f4")})).read_bytes()
    (tmp_path / "outer").write_bytes(b"before!" + inner + b"after")
    tree = read_tree(Region(tmp_path / "outer", 7, len(inner), "outer: inner.h5"))
    assert_same_bits(tree.members["x"].tensor.read(), values("f4"))


# Hostile files. Each is made by h5py, as an attacker would.


def external_link(file: h5py.File) -> None:
    file["x"] = h5py.ExternalLink("other.h5", "/secret")


def soft_link(file: h5py.File) -> None:
    file["x"] = h5py.SoftLink("/x")


def external_storage(file: h5py.File) -> None:
    secret = Path(file.filename).with_name("secret")
    secret.write_bytes(SECRET)
    file.create_dataset("x", (len(SECRET),), "u1", external=[(str(secret), 0, len(SECRET))])


def virtual_dataset(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "secret", (4,))
    file.create_virtual_dataset("x", layout)


def shape_bomb(file: h5py.File) -> None:
    file.create_dataset("x", (1 << 20, 1 << 20), "f4")


def chunked_shape_bomb(file: h5py.File) -> None:
    file.create_dataset("x", (1 << 20, 1 << 20), "f4", chunks=(1 << 10, 1 << 10))


def gzip_bomb(file: h5py.File) -> None:
    file.create_dataset("x", data=np.zeros(1 << 23, "u1"), chunks=(1 << 20,), compression="gzip", compression_opts=9)


def many_small_bombs(file: h5py.File) -> None:
    for index in range(40):
        file.create_dataset(f"x{index}", data=np.zeros(1 << 19, "u1"), chunks=(1 << 19,), compression="gzip")


def crumbs(file: h5py.File) -> None:
    file.create_dataset("x", (1 << 16,), "u1", chunks=(1,))


def unknown_filter(file: h5py.File) -> None:
    file.create_dataset("x", data=np.arange(64.0), compression="lzf")


def cycle(file: h5py.File) -> None:
    inner = file.create_group("a/b")
    inner["c"] = file["a"]


def two_names(file: h5py.File) -> None:
    file["x"] = values("f4")
    file["y"] = file["x"]


def references(file: h5py.File) -> None:
    file.create_dataset("x", data=[file.ref], dtype=h5py.ref_dtype)


def compound(file: h5py.File) -> None:
    file["x"] = np.zeros(3, [("a", "f4"), ("b", "i4")])


def texts(file: h5py.File) -> None:
    file["x"] = ["a", "b"]


def other_opaque(file: h5py.File) -> None:
    file["x"] = values("V2")
    file["x"].attrs["dtype"] = "float8_e4m3fn"


def complex_numbers(file: h5py.File) -> None:
    file["x"] = np.zeros(3, "c8")


def no_space(file: h5py.File) -> None:
    file["x"] = h5py.Empty("f4")


def never_written(file: h5py.File) -> None:
    file.create_dataset("x", (3,), "f4")


def named_type(file: h5py.File) -> None:
    file["x"] = np.dtype("f4")


def shared_type(file: h5py.File) -> None:
    file["z"] = np.dtype("f4")
    file.create_dataset("x", (3,), file["z"])


def climbing_name(file: h5py.File) -> None:
    h5py.h5g.create(file.id, b"..")


def deep(file: h5py.File) -> None:
    file.create_group("/".join("a" * 70))


def long_name(file: h5py.File) -> None:
    file.create_group("a" * 5000)


HOSTILE = {
    external_link: "'x' is a link to .*other.h5.*refused as unsafe",
    soft_link: "'x' is a link to '/x': refused as unsafe",
    external_storage: "object '/x': its values are in another file",
    virtual_dataset: "object '/x': .*virtual dataset.*refused as unsafe",
    shape_bomb: "object '/x': .*never written",
    chunked_shape_bomb: "object '/x': it declares 4398046511104 bytes in a file of .*refused as unsafe",
    gzip_bomb: "object '/x': it declares 8388608 bytes in a file of .*refused as unsafe",
    many_small_bombs: "the datasets up to this one declare .*refused as unsafe",
    crumbs: "object '/x': it declares 65536 blocks in a file of .*refused as unsafe",
    unknown_filter: "object '/x': filter 32000 is not read; only deflate",
    cycle: "object '/a/b/c': the same object as '/a'",
    two_names: "object '/y': the same object as '/x'",
    references: r"object '/x': its elements \(HDF5 class 7, 8 bytes\) are no plain numbers",
    compound: r"object '/x': its elements \(HDF5 class 6, 8 bytes\) are no plain numbers",
    texts: r"object '/x': its elements \(HDF5 class 9, 16 bytes\) are no plain numbers",
    other_opaque: "object '/x': its elements are opaque bytes that it calls 'float8_e4m3fn'",
    complex_numbers: "object '/x': its elements .* are no plain numbers",
    no_space: "object '/x': it has no shape",
    never_written: "object '/x': its values were never written",
    named_type: "object '/x': neither a group nor a dataset",
    shared_type: "object '/x': part of its description is shared with other objects",
    climbing_name: "a member '..', which is no plain name: refused as unsafe",
    deep: "more than 64 groups deep",
    long_name: "more than 4096 bytes",
}


@pytest.mark.parametrize("fill", HOSTILE, ids=lambda fill: fill.__name__)
def test_what_keras_never_writes_is_refused_in_one_line(tmp_path: Path, fill: Callable[[h5py.File], None]) -> None:
    write(tmp_path / "other.h5", lambda file: file.update({"secret": values("f4", (4,))}))
    path = write(tmp_path / "a.h5", fill)
    with pytest.raises(CheckpointError, match=HOSTILE[fill]) as caught:
        datasets(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_data_before_the_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", lambda file: file.update({"x": values("f4")}), userblock_size=512)
    with pytest.raises(CheckpointError, match="does not begin with the HDF5 signature"):
        read_tree(file_region(path))


def test_a_deflated_block_gives_no_more_than_its_size(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        dataset = file.create_dataset("x", (64,), "f4", chunks=(64,), compression="gzip")
        dataset.id.write_direct_chunk((0,), zlib.compress(bytes(1 << 16)))

    with pytest.raises(CheckpointError, match=r"dataset 'x': a block does not decompress to its \d+ bytes"):
        datasets(write(tmp_path / "a.h5", fill))


def forge(path: Path, old: bytes, new: bytes, after: bytes = b"") -> Path:
    """Replace the first ``old`` behind ``after`` in the file."""
    data = path.read_bytes()
    place = data.index(old, data.index(after) + len(after))
    path.write_bytes(data[:place] + new + data[place + len(old) :])
    return path


def number(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values)


def wrong_size(path: Path) -> Path:
    return forge(path, number(3, 4), number(3, 5))


def values_past_the_end(path: Path) -> Path:
    with h5py.File(path) as file:
        offset = file["aa"].id.get_offset()
    return forge(path, number(offset, 48), number(path.stat().st_size - 40, 48))


def same_names(path: Path) -> Path:
    return forge(path, b"ab\0", b"aa\0")


def member_of_no_type(path: Path) -> Path:
    with h5py.File(path) as file:
        address = h5py.h5o.get_info(file["ab"].id).addr
    return forge(path, number(address) + bytes(4), number(address) + b"\3\0\0\0")


def endless_attribute(path: Path) -> Path:
    return forge(path, number(2), number(1 << 40), after=b"texts\0")


FORGED = {
    wrong_size: r"object '/aa': float32\[3, 5\] needs 60 bytes, but 48 are stored",
    values_past_the_end: "object '/aa': .* 48 are stored at byte .* damaged or cut short",
    same_names: "object '/': two members have the name 'aa'",
    member_of_no_type: "object '/': 'ab' is a member of no known type",
    endless_attribute: "object '/': an attribute of 1099511627776 values in",
}


@pytest.mark.parametrize("forged", FORGED, ids=lambda forged: forged.__name__)
def test_what_contradicts_itself_is_refused(tmp_path: Path, forged: Callable[[Path], Path]) -> None:
    def fill(file: h5py.File) -> None:
        file.attrs["texts"] = ["one", "two"]
        file["aa"] = values("f4")
        file["ab"] = values("f4", (2,))

    with pytest.raises(CheckpointError, match=FORGED[forged]):
        datasets(forged(write(tmp_path / "a.h5", fill)))


def test_an_attribute_of_an_unknown_type_is_left_alone_without_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", lambda file: file.attrs.update({"number": np.int64(3)}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree = read_tree(file_region(forge(path, b"\x08\0\0\0\0\0", b"\x03\0\0\0\0\0", after=b"number\0")))
    assert tree.attributes == {"number": None}


def test_a_tensor_cut_off_after_opening_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", lambda file: file.update({"x": np.arange(4096.0)}))
    tensor = read_tree(file_region(path)).members["x"].tensor
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="cut short"):
        tensor.read()


def sample(path: Path) -> bytes:
    """A file that has a little of everything that is read."""

    def fill(file: h5py.File) -> None:
        file.attrs["layer_names"] = ["a", "b"]
        file.attrs["keras_version"] = np.bytes_(b"2.1.5")
        for name in "ab":
            group = file.create_group(f"{name}/deeper")
            group.attrs["weight_names"] = np.array([b"kernel:0", b"bias:0"])
            group.create_dataset("kernel:0", data=values("f4", (9, 5)), chunks=(4, 5), compression="gzip", shuffle=True)
            group["bias:0"] = values(">f8", (5,))
        file["flags"] = values("?")

    return write(path, fill).read_bytes()


def test_a_file_cut_short_anywhere_is_refused_in_one_line(tmp_path: Path) -> None:
    data = sample(tmp_path / "a.h5")
    path = tmp_path / "cut.h5"
    for size in [*range(8), *range(8, len(data), len(data) // 60), len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(CheckpointError) as caught:
            datasets(path)
        assert "\n" not in str(caught.value)


def mutated(data: bytes, generator: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(generator.choice([1, 1, 2, 5])):
        place = generator.randrange(len(changed))
        number = generator.choice([0, 1, 96, len(data), 1 << 32, (1 << 63) - 1, (1 << 64) - 1])
        replacement = generator.choice([bytes([generator.getrandbits(8)]), struct.pack("<Q", number), bytes(16)])
        changed[place : place + len(replacement)] = replacement
    return bytes(changed)


def test_mutated_files_raise_nothing_but_checkpoint_errors(tmp_path: Path) -> None:
    generator = random.Random(20)
    data = sample(tmp_path / "a.h5")
    path = tmp_path / "mutant.h5"
    refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(600):
            path.write_bytes(mutated(data, generator))
            try:
                datasets(path)
            except CheckpointError as error:
                refused += 1
                assert "\n" not in str(error)
    assert 100 < refused < 500


# Writing.


@pytest.mark.parametrize("dtype", [*NATIVE, "bfloat16"])
def test_every_type_is_written_as_keras_writes_it(tmp_path: Path, dtype: str) -> None:
    array = values("V2").view(BFLOAT16) if dtype == "bfloat16" else values(dtype)
    frame_of(tmp_path / "a.h5", {"x": array}).fill()
    write(tmp_path / "b.h5", lambda file: file.create_group("g").update({"x": array}))
    with h5py.File(tmp_path / "a.h5") as ours, h5py.File(tmp_path / "b.h5") as reference:
        assert ours["g/x"].dtype == reference["g/x"].dtype
        assert ours["g/x"][()].tobytes() == array.tobytes()
        assert (ours["g/x"].chunks, ours["g/x"].compression) == (None, None)
        assert ours["g/x"].attrs.get("dtype") == ("bfloat16" if dtype == "bfloat16" else None)
    assert_same_bits(datasets(tmp_path / "a.h5")["g/x"], array)


def made(output: Output) -> np.ndarray:
    memory = np.empty(output.shape, output.dtype)
    output.fill(memory)
    return memory


def test_a_stream_and_a_file_are_the_same_bytes_whenever_they_are_written(tmp_path: Path) -> None:
    arrays = {"scalar": np.float64(1), "none": np.zeros((0, 2)), **{f"x{i}": values("f4", (i, 3)) for i in range(1, 9)}}
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    frame = frame_of(tmp_path / "a.h5", arrays, {"name": text_attribute("größe"), "n": np.arange(3)})
    stream = [part if isinstance(part, bytes) else made(part).tobytes() for part in frame.parts()]
    frame.fill()
    again = frame_of(tmp_path / "b.h5", arrays, {"name": text_attribute("größe"), "n": np.arange(3)})
    again.fill()
    assert b"".join(stream) == (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    with h5py.File(tmp_path / "a.h5") as file:
        assert {name: file["g"][name][()].tobytes() for name in arrays} == {n: a.tobytes() for n, a in arrays.items()}
        assert file["g"].attrs["name"] == "größe"
        assert file["g"].attrs["n"].tolist() == [0, 1, 2]


def test_types_that_keras_has_not_are_refused(tmp_path: Path) -> None:
    array = np.zeros(3, ml_dtypes.float8_e4m3fn)
    with pytest.raises(RefusedError, match="tensor 'g/x' is float8_e4m3fn, which Keras cannot store in HDF5"):
        frame_of(tmp_path / "a.h5", {"x": array})


def test_an_attribute_that_cannot_be_copied_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="attribute 'truth' of '/g' is neither number nor text"):
        frame_of(tmp_path / "a.h5", {}, {"truth": None})


def test_a_path_that_cannot_be_written_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(WeightportError, match="cannot be written as HDF5"):
        frame_of(tmp_path / "missing" / "a.h5", {"x": values("f4")})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "a JSON object was expected, found a list"),
        ("{", "not readable as JSON"),
        ('{"a": ' + "[" * 100000, "not readable as JSON"),
        ('{"name": "\\ud800"}', "not readable as JSON"),
        (b'{"name": "\xff"}', "not readable as JSON"),
        ('{"a": 1}' + " " * _hdf5.MAX_JSON_BYTES, "more than the limit"),
    ],
    ids=["list", "cut", "deep", "surrogate", "bytes", "long"],
)
def test_bad_json_is_refused(text: str | bytes, message: str) -> None:
    with pytest.raises(CheckpointError, match=f"^here: .*{message}"):
        parse_json(text, "here")


def test_json_is_read_as_keras_reads_it() -> None:
    assert parse_json('{"a": 1, "a": 2, "b": Infinity, "c": "\\ud83d\\ude00"}', "here") == {
        "a": 2,
        "b": float("inf"),
        "c": "😀",
    }
