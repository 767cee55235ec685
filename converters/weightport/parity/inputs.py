"""What goes into both models: input specs of the two sides made one, and random arrays that fit them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..checkpoint import Array
from ..errors import UsageError

BATCH = 3
LENGTHS = (7, 12)
"""What free dimensions become: long enough for a recurrent layer to show what it does with its state."""


@dataclass(frozen=True)
class InputSpec:
    """One input: ``shape`` with None where any size goes (the batch first, as a rule), a dtype's name.

    ``tokens`` is the number of integers that it may be (rows of an embedding), 0 where nothing says. ``masks`` says
    that the token 0 hides a step, or that the input itself is a mask."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str = "float32"
    tokens: int = 0
    masks: bool = False

    @property
    def is_mask(self) -> bool:
        """Whether the input itself says which steps count."""
        return self.dtype == "bool" or (self.masks and not self.tokens)


@dataclass(frozen=True)
class Case:
    """One set of inputs, and in words what it is. ``masked`` says that it has steps which a mask hides."""

    what: str
    arrays: tuple[Array, ...]
    masked: bool = False


def merged(ours: Sequence[InputSpec], theirs: Sequence[InputSpec]) -> tuple[InputSpec, ...]:
    """One spec for both sides: a size that one of them fixes is fixed, and the smaller range of integers goes.

    Inputs pair by name where all names agree, else by order. Raises UsageError where there are more on one side."""
    if len(ours) != len(theirs):
        listed = [", ".join(spec.name for spec in specs) or "none" for specs in (ours, theirs)]
        raise UsageError(f"the two models take different inputs: {listed[0]} against {listed[1]}")
    by_name = {spec.name: spec for spec in theirs}
    if set(by_name) == {spec.name for spec in ours}:
        theirs = [by_name[spec.name] for spec in ours]
    return tuple(_merged(one, other) for one, other in zip(ours, theirs, strict=True))


def _merged(one: InputSpec, other: InputSpec) -> InputSpec:
    shape = one.shape
    if len(one.shape) == len(other.shape):
        orders = (other.shape, _channels_last(other.shape), _swapped(other.shape))
        fits = [sizes for sizes in orders if _agree(one.shape, sizes)]
        if fits:
            shape = tuple(mine if mine is not None else theirs for mine, theirs in zip(one.shape, fits[0], strict=True))
    tokens = min((n for n in (one.tokens, other.tokens) if n), default=0)
    return replace(one, shape=shape, tokens=tokens, masks=one.masks or other.masks)


def _agree(one: Sequence[int | None], other: Sequence[int | None]) -> bool:
    return all(a is None or b is None or a == b for a, b in zip(one, other, strict=True))


def _channels_last(shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
    return (shape[0], *shape[2:], shape[1]) if len(shape) > 2 else shape


def _swapped(shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
    return (shape[1], shape[0], *shape[2:]) if len(shape) > 2 else shape


def cases(specs: Sequence[InputSpec], seed: int, reach: int = 0, wanted: Sequence[int] = LENGTHS) -> list[Case]:
    """Random inputs: two seeds at each of the wanted lengths, where one is free; more seeds where the batch is fixed.

    ``reach`` is what the kernels of the model need in every direction of space. Where an embedding masks its token 0,
    one more case ends its sequences with it."""
    free = any(size is None for spec in specs for size in spec.shape[1:])
    batch = next((spec.shape[0] for spec in specs if spec.shape and spec.shape[0] is not None), BATCH)
    seeds = range(seed, seed + (2 if batch >= BATCH else 2 * BATCH))
    lengths = [length + reach for length in wanted] if free else [0]
    made = []
    for length in lengths:
        for number in seeds:
            generator = np.random.default_rng([number, length])
            arrays = tuple(_array(spec, batch, length, generator) for spec in specs)
            made.append(Case(f"seed {number}" + (f", length {length}" if free else ""), arrays))
    return made + _padded_case(specs, made[-1])


def _array(spec: InputSpec, batch: int, length: int, generator: np.random.Generator) -> Array:
    shape = [batch if axis == 0 else length for axis in range(len(spec.shape))]
    shape = [size if given is None else given for given, size in zip(spec.shape, shape, strict=True)]
    if spec.is_mask:
        return _prefixes(shape, generator).astype(spec.dtype)
    if np.dtype(spec.dtype).kind in "iu":
        # Token 0 is kept for the case that masks it; without an embedding, small integers suit most uses.
        return generator.integers(1 if spec.masks else 0, spec.tokens or 2, shape).astype(spec.dtype)
    return generator.normal(size=shape).astype(spec.dtype)


def _prefixes(shape: Sequence[int], generator: np.random.Generator) -> Array:
    """True up to a random step of each sequence, at least the first."""
    if len(shape) < 2:
        return np.ones(shape, bool)
    ends = generator.integers(1, shape[1] + 1, (shape[0], 1, *[1] * (len(shape) - 2)))
    steps = np.arange(shape[1]).reshape(1, -1, *[1] * (len(shape) - 2))
    return np.broadcast_to(steps < ends, shape).copy()


def _padded_case(specs: Sequence[InputSpec], case: Case) -> list[Case]:
    if not any(spec.masks and spec.tokens for spec in specs):
        return []
    arrays = []
    for spec, array in zip(specs, case.arrays, strict=True):
        kept = np.ones(array.shape, bool)
        if spec.masks and spec.tokens and array.ndim > 1:
            ends = 1 + np.arange(len(array)) % array.shape[1]
            kept = np.arange(array.shape[1]) < ends[:, None]
        arrays.append(np.where(kept, array, np.zeros((), array.dtype)))
    return [Case(f"{case.what}, padded with the masked token 0", tuple(arrays), masked=True)]


def given_cases(inputs: object, specs: Sequence[InputSpec] | None) -> list[Case]:
    """Inputs that the caller gives: an array, a list of arrays, arrays by name, or an ``.npy`` or ``.npz`` file.

    Raises UsageError where names are not those of the model's inputs, or nothing is given."""
    what = "the given inputs"
    if isinstance(inputs, str | Path):
        what = Path(inputs).name
        inputs = _load(Path(inputs))
    if isinstance(inputs, Mapping):
        arrays = _by_name({str(name): np.asarray(array) for name, array in inputs.items()}, specs)
    elif isinstance(inputs, list | tuple):
        arrays = [np.asarray(array) for array in inputs]
    else:
        arrays = [np.asarray(inputs)]
    if not arrays:
        raise UsageError(f"{what}: no arrays in it")
    return [Case(what, tuple(arrays))]


def _load(path: Path) -> object:
    try:
        loaded = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not an .npy or .npz file of plain arrays: {error}") from error
    return {name: loaded[name] for name in loaded.files} if hasattr(loaded, "files") else loaded


def _by_name(arrays: Mapping[str, Array], specs: Sequence[InputSpec] | None) -> list[Array]:
    """In the order of the model's inputs where it names them, else in the order in which they were given."""
    names = [spec.name for spec in specs or ()]
    if not names or len(arrays) == 1:
        return list(arrays.values())
    if set(names) != set(arrays):
        raise UsageError(f"the inputs are called {', '.join(arrays)}, and the model's are {', '.join(names)}")
    return [arrays[name] for name in names]
