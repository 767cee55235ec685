"""What the pickle of a PyTorch file is made of: the names that it may mention, and the inert records they become."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..checkpoint import DType
from ._pickle import Builder, Global, Opaque, dictionary
from ._torch_dtypes import BYTES, DTYPE_OF_NAME, DTYPE_OF_STORAGE, OTHER_DTYPES, OTHER_STORAGES

MAX_KEY = 100


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of elements in the file, by its key there. ``dtype`` is None for element types that NumPy lacks.

    ``begin`` and ``length`` cut a part out of it, in elements (only files of PyTorch before 0.4 do)."""

    key: str
    type_name: str
    dtype: DType | None
    numel: int
    begin: int
    length: int

    @property
    def itemsize(self) -> int:
        """The bytes of an element."""
        return OTHER_STORAGES[self.type_name] if self.dtype is None else self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A strided view of a storage, as the pickle describes it: nothing of it is checked against the file yet.

    ``problem`` says why its values cannot be carried, where that is known."""

    storage: Storage
    dtype: DType | None
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A tensor that is not a strided array, and why it cannot be carried."""

    problem: str


def storage_of(arguments: tuple[Any, ...]) -> Storage:
    """The storage behind a persistent id: ``('storage', class, key, device, numel)``, in old files with a view."""
    identity = arguments[0]
    if type(identity) is not tuple or len(identity) not in (5, 6) or identity[0] not in ("storage", b"storage"):
        raise ValueError("refers to something outside it that is no storage: refused")
    kind, key, numel = identity[1], identity[2], identity[4]
    name = kind.name.rpartition(".")[2].removeprefix("_") if type(kind) is Global else ""
    if name not in DTYPE_OF_STORAGE and name not in OTHER_STORAGES:
        raise ValueError("has a storage of an unknown class: it is damaged")
    if type(key) is not str or len(key) > MAX_KEY or not _is_size(numel):
        raise ValueError("has a storage without a key or a length: it is damaged")
    begin, length = _part(identity[5] if len(identity) == 6 else None, numel)
    return Storage(key, name, DTYPE_OF_STORAGE.get(name), numel, begin, length)


def _part(view: object, numel: int) -> tuple[int, int]:
    if view is None:
        return 0, numel
    if type(view) is not tuple or len(view) != 3 or not (_is_size(view[1]) and _is_size(view[2])):
        raise ValueError("has a view of a storage that is no view: it is damaged")
    if view[1] + view[2] > numel:
        raise ValueError(f"has a view that ends at element {view[1] + view[2]} of a storage of {numel}: it is damaged")
    return view[1], view[2]


def _rebuild_tensor(arguments: tuple[Any, ...]) -> StoredTensor:
    """``(storage, offset, size, stride, requires_grad, backward_hooks, metadata)``; the first files had four."""
    storage = arguments[0] if arguments else None
    metadata = arguments[6] if len(arguments) > 6 else None
    return _stored(storage, arguments[1:4], storage.dtype if type(storage) is Storage else None, metadata)


def _rebuild_tensor_v3(arguments: tuple[Any, ...]) -> StoredTensor:
    """The same with the dtype before the metadata."""
    if len(arguments) < 7 or type(arguments[6]) is not Global or not arguments[6].name.startswith("torch."):
        raise ValueError("rebuilds a tensor without a dtype: it is damaged")
    name = arguments[6].name.removeprefix("torch.")
    metadata = arguments[7] if len(arguments) > 7 else None
    tensor = _stored(arguments[0], arguments[1:4], DTYPE_OF_NAME.get(name), metadata)
    return tensor if tensor.dtype is not None else _with_problem(tensor, f"is of {name}, which NumPy cannot hold")


def _stored(storage: object, place: tuple[Any, ...], dtype: DType | None, metadata: object) -> StoredTensor:
    if type(storage) is not Storage or len(place) != 3:
        raise ValueError("rebuilds a tensor without a storage: it is damaged")
    offset, shape, stride = place
    if not (_is_size(offset) and _are_sizes(shape) and _are_sizes(stride) and len(shape) == len(stride)):
        raise ValueError("rebuilds a tensor whose offset, shape or strides are no sizes: it is damaged or unsafe")
    tensor = StoredTensor(storage, dtype, offset, shape, stride)
    marks = [str(mark) for mark, on in metadata.items() if on] if type(metadata) is dict else []
    if marks:
        return _with_problem(tensor, f"is marked as {' and '.join(marks)}: save tensor.resolve_conj().resolve_neg()")
    if storage.dtype is None:
        return _with_problem(tensor, f"is quantized ({storage.type_name}): save tensor.dequantize()")
    return tensor


def _with_problem(tensor: StoredTensor, problem: str) -> StoredTensor:
    return StoredTensor(tensor.storage, tensor.dtype, tensor.offset, tensor.shape, tensor.stride, problem)


def _rebuild_parameter(arguments: tuple[Any, ...]) -> StoredTensor | Unreadable:
    """A parameter is the tensor that it holds."""
    if not arguments or type(arguments[0]) not in (StoredTensor, Unreadable):
        raise ValueError("makes a parameter of something that is no tensor: it is damaged")
    tensor: StoredTensor | Unreadable = arguments[0]
    return tensor


def _rebuild_from_type(arguments: tuple[Any, ...]) -> object:
    """``(function, class, arguments, attributes)``: a tensor that had attributes set on it, which are dropped."""
    function, inner = (arguments[0], arguments[2]) if len(arguments) == 4 else (None, None)
    builder = _TENSOR_BUILDERS.get(function.name) if type(function) is Global else None
    if builder is None or type(inner) is not tuple:
        raise ValueError("rebuilds a tensor by a function that makes none: refused as unsafe")
    return builder(inner)


def _unreadable(problem: str, arguments: tuple[Any, ...]) -> Unreadable:
    del arguments
    return Unreadable(problem)


def _size(arguments: tuple[Any, ...]) -> object:
    return arguments[0] if len(arguments) == 1 and type(arguments[0]) is tuple else Opaque("torch.Size")


def _opaque(name: str, arguments: tuple[Any, ...]) -> Opaque:
    del arguments
    return Opaque(name)


def _is_size(value: object) -> bool:
    return type(value) is int and value >= 0


def _are_sizes(values: object) -> bool:
    return type(values) is tuple and all(map(_is_size, values))


_TENSOR_BUILDERS: Mapping[str, Builder] = {
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v3": _rebuild_tensor_v3,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": _rebuild_parameter,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _rebuild_parameter,
    "torch.nn.parameter.Parameter": _rebuild_parameter,
}
_UNREADABLE_TENSORS = {
    "torch._utils._rebuild_qtensor": "is quantized: save tensor.dequantize()",
    "torch._utils._rebuild_sparse_tensor": "is sparse: save tensor.to_dense()",
    "torch._utils._rebuild_sparse_csr_tensor": "is sparse: save tensor.to_dense()",
    "torch._utils._rebuild_nested_tensor": "is nested: save tensor.to_padded_tensor(0)",
    "torch._utils._rebuild_meta_tensor_no_storage": "is on the meta device and has no values: save a loaded model",
    "torch._utils._rebuild_wrapper_subclass": "has no values: save a loaded model",
    "torch._utils._rebuild_device_tensor_from_numpy": "is from a device without storages: save tensor.cpu()",
}

# What training scripts keep beside the weights. It is never looked into; a name that is not here may be code.
_BOOKKEEPING = {
    "_codecs": "encode",
    "addict.addict": "Dict",
    "argparse": "Namespace",
    "collections": "deque",
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "easydict": "EasyDict",
    "lightning.fabric.utilities.data": "AttributeDict",
    "lightning_fabric.utilities.data": "AttributeDict",
    "munch": "Munch",
    "numpy": "dtype ndarray bool bool_ float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 str_",
    "numpy.core.multiarray": "_reconstruct scalar",
    "numpy.core.numeric": "_frombuffer",
    "numpy._core.multiarray": "_reconstruct scalar",
    "numpy._core.numeric": "_frombuffer",
    "numpy.dtypes": "Float16DType Float32DType Float64DType Int32DType Int64DType UInt8DType BoolDType",
    "omegaconf.base": "ContainerMetadata Metadata",
    "omegaconf.dictconfig": "DictConfig",
    "omegaconf.listconfig": "ListConfig",
    "omegaconf.nodes": "AnyNode BooleanNode FloatNode IntegerNode StringNode",
    "pathlib": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",
    "pathlib._local": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",
    "pytorch_lightning.callbacks.early_stopping": "EarlyStopping",
    "pytorch_lightning.callbacks.model_checkpoint": "ModelCheckpoint",
    "pytorch_lightning.utilities.parsing": "AttributeDict",
    "torch": "device per_tensor_affine per_channel_affine per_channel_affine_float_qparams",
    "torch.serialization": "_get_layout",
    "torch.torch_version": "TorchVersion",
    "types": "SimpleNamespace",
    "typing": "Any Dict List Optional Union",
    "uuid": "UUID",
    "yacs.config": "CfgNode",
    "builtins": "bool bytearray bytes complex dict float frozenset int list object range set slice str tuple",
    # Protocol 2 gives the classes above the names that they had in Python 2.
    "__builtin__": "bool bytearray bytes complex dict float frozenset int list object set slice str tuple "
    "basestring long unicode xrange",
}


def _names() -> Iterator[tuple[str, Builder | None]]:
    for module, names in _BOOKKEEPING.items():
        for name in names.split():
            yield f"{module}.{name}", partial(_opaque, f"{module}.{name}")
    for dtype in (*DTYPE_OF_NAME, *OTHER_DTYPES):
        yield f"torch.{dtype}", None
    for storage in (*DTYPE_OF_STORAGE, *OTHER_STORAGES):
        yield f"torch.{storage}", None
        yield f"torch.cuda.{storage}", None
    yield f"torch.storage.{BYTES}", None
    yield f"torch.storage._{BYTES}", None
    yield "torch.Tensor", None
    yield "torch.Size", _size
    for container in ("OrderedDict", "defaultdict", "Counter"):
        yield f"collections.{container}", dictionary
    yield from _TENSOR_BUILDERS.items()
    for name, problem in _UNREADABLE_TENSORS.items():
        yield name, partial(_unreadable, problem)
    yield "torch._tensor._rebuild_from_type_v2", _rebuild_from_type
    yield "torch._tensor._rebuild_from_type", _rebuild_from_type


NAMES: Mapping[str, Builder | None] = dict(_names())
"""Every name that the pickle of a PyTorch file may mention, and what a call of it makes."""
