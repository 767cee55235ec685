"""One pair of layers, compared place by place: both sides' stored blocks as the numbers that the mathematics has.

Blocks are read as they are stored and compared a few rows at a time, so that memory is bounded by the tensors of one
layer, which most formats map and never load.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from .blocks import StoredBlock, sum_class
from .checkpoint import Array, DType, Setting
from .differences import DIFFERING, MISSING, SAME, PlaceDifference, RoleComparison
from .engine import Read, strided
from .flattening import divided_axes
from .kinds import Role
from .layer_pairs import LayerPair, LayerSide
from .notation import is_spatial, spatial_names
from .planner import SumClass, is_floating, size_problems, sum_classes

CHUNK = 1 << 20
"""Elements that are compared at a time."""


@dataclass(frozen=True)
class Tolerance:
    """What counts as the same: |a - b| <= absolute + relative x the larger magnitude.

    Both are zero by default: values are the same when they are equal, or, where a side sums several stored values or
    the two are stored in other dtypes, when they agree to the precision of the coarser dtype."""

    relative: float = 0.0
    absolute: float = 0.0


EXACTLY = Tolerance()


def sizes_that_differ(pair: LayerPair) -> tuple[str, ...]:
    """One line for each size in which the two sides differ; such layers have no places in common."""
    return tuple(size_problems(pair.a.parts, pair.b.parts, ("A", "B")))


def compare_roles(pair: LayerPair, tolerance: Tolerance = EXACTLY) -> tuple[RoleComparison, ...]:
    """Every parameter of a pair whose sizes agree, in the kind's order. Bookkeeping is not compared."""
    settings = summing_settings(pair)
    classes = sum_classes(pair.kind, pair.a.parts, pair.b.parts, settings)
    read_a, read_b = pair.a.reader(), pair.b.reader()
    return tuple(
        _compare_role(role, own, (read_a, read_b), tolerance)
        for role in pair.kind.roles.values()
        if not role.incidental and (own := [group for group in classes if group.role is role])
    )


def coarsest_precision(pair: LayerPair) -> Tolerance:
    """One unit in the last place of the coarsest floating-point dtype in which either layer is stored."""
    tensors = [
        side.checkpoint.tensors[name]
        for side in (pair.a, pair.b)
        for part in side.parts
        for name in part.names.values()
    ]
    dtype = _coarser(tensor.dtype for tensor in tensors)
    limit = _Limit.of(EXACTLY, dtype)
    return Tolerance(limit.relative, limit.absolute)


def summing_settings(pair: LayerPair) -> dict[str, Setting]:
    """The settings under which sums are compared: where the sides disagree on what sums, those of the side that has
    stored the sum alone."""
    for settings in ({**pair.a.settings, **pair.b.settings}, {**pair.b.settings, **pair.a.settings}):
        if all(_sums_hold(side, settings) for side in (pair.a, pair.b)):
            return settings
    return {**pair.a.settings, **pair.b.settings}


def _sums_hold(side: LayerSide, settings: Mapping[str, Setting]) -> bool:
    """Whether no stored block is a sum of places that these settings keep apart."""
    blocks = (block for part in side.parts for block in part.blocks())
    return all(
        len({sum_class(side.kind, block.role, place, settings) for place in block.covers}) == 1 for block in blocks
    )


def _compare_role(
    role: Role, classes: Sequence[SumClass], reads: tuple[Read, Read], tolerance: Tolerance
) -> RoleComparison:
    absent = {side for group in classes for side, blocks in (("A", group.sources), ("B", group.targets)) if not blocks}
    if absent and role.absent is None:
        return RoleComparison(role.name, MISSING, note=f"{' and '.join(sorted(absent))} has none")
    compared = [_compare_place(group, reads, tolerance) for group in classes]
    places = tuple(found.place for found in compared if found.place is not None)
    note = f"{' and '.join(sorted(absent))} has none, and computes with {role.absent:g}" if absent else ""
    return RoleComparison(
        role=role.name,
        verdict=DIFFERING if places else SAME,
        elements=sum(found.elements for found in compared),
        precision=", ".join(dict.fromkeys(found.precision for found in compared if found.precision)),
        nan=sum(found.nan for found in compared),
        places=places,
        note=note,
    )


@dataclass(frozen=True)
class _Compared:
    """What one place was found to be."""

    elements: int
    nan: int
    precision: str
    place: PlaceDifference | None


def _compare_place(group: SumClass, reads: tuple[Read, Read], tolerance: Tolerance) -> _Compared:
    axes, shape = _axes_of(group)
    sides = [
        _Terms.of(group.role, blocks, read, axes)
        for blocks, read in zip((group.sources, group.targets), reads, strict=True)
    ]
    dtype = _coarser(dtype for side in sides for dtype in side.dtypes)
    exact = len({dtype for side in sides for dtype in side.dtypes}) < 2 and not any(side.computed for side in sides)
    limit = _Limit.of(tolerance, None if exact else dtype)
    worst, differing, nan = _Worst(), 0, 0
    for start, stop in _chunks(shape):
        if exact and _plainly_equal(sides[0], sides[1], start, stop):
            continue
        (a, a_size), (b, b_size) = (side.chunk(start, stop) for side in sides)
        a, b = np.broadcast_arrays(a, b)
        distance, both_nan = _distance(a, b)
        over = limit.exceeded(distance, np.maximum(a_size, b_size))
        nan += int(both_nan.sum())
        found = int(over.sum())
        if found:
            differing += found
            worst.see(np.where(over, distance, -1.0), a, b, start)
    place = None
    if differing:
        index = tuple(int(i) for i in np.unravel_index(worst.position, shape)) if shape else ()
        size = prod(shape)
        place = PlaceDifference(group.labels, axes, size, differing, worst.distance, index, worst.a, worst.b)
    return _Compared(prod(shape), nan, "" if exact or dtype is None else dtype.name, place)


@dataclass
class _Worst:
    """The largest difference so far, and where it is in the flat place."""

    distance: float = -1.0
    position: int = 0
    a: float = 0.0
    b: float = 0.0

    def see(self, distance: Array, a: Array, b: Array, start: int) -> None:
        position = int(np.argmax(distance))
        found = float(distance.flat[position])
        if found > self.distance:
            self.distance = found
            self.position = start * (distance[0].size if distance.ndim else 1) + position
            self.a, self.b = float(a.flat[position]), float(b.flat[position])


@dataclass(frozen=True)
class _Limit:
    """The difference up to which two numbers are the same."""

    relative: float
    absolute: float

    @classmethod
    def of(cls, tolerance: Tolerance, dtype: DType | None) -> _Limit:
        """The tolerance, and one unit in the last place of ``dtype`` where it is given."""
        if dtype is None or not is_floating(dtype):
            return cls(tolerance.relative, tolerance.absolute)
        facts = _float_facts(dtype)
        return cls(tolerance.relative + float(facts.eps), tolerance.absolute + float(facts.smallest_subnormal))

    def exceeded(self, distance: Array, size: Array) -> Array:
        """Where a distance is more than the numbers' size allows; an infinite one always is."""
        allowed = self.absolute + self.relative * np.where(np.isfinite(size), size, 0.0)
        return np.asarray((distance > allowed) | np.isinf(distance))


@dataclass(frozen=True)
class _Terms:
    """One side of a place: the stored blocks whose signed sum, and a constant, the mathematics has there."""

    arrays: tuple[tuple[Array, int], ...]
    constant: float

    @classmethod
    def of(cls, role: Role, blocks: Sequence[StoredBlock], read: Read, axes: Sequence[str]) -> _Terms:
        if not blocks:
            return cls((), float(role.absent or 0.0))
        stored = [
            (strided(np.ascontiguousarray(read(block.tensor)), block.block, axes), block.sign)
            for block in blocks
            if block.tensor
        ]
        return cls(tuple(stored), sum(block.adds for block in blocks))

    @property
    def dtypes(self) -> set[DType]:
        return {array.dtype for array, _ in self.arrays}

    @property
    def computed(self) -> bool:
        """Whether the number is computed from what is stored, so that another side may hold it rounded."""
        return len(self.arrays) > 1 or bool(self.arrays and self.constant)

    def chunk(self, start: int, stop: int) -> tuple[Array, Array]:
        """The numbers of some rows, and the sum of their terms' magnitudes, to which rounding is relative."""
        total, size = np.asarray(self.constant), np.asarray(abs(self.constant))
        for array, sign in self.arrays:
            rows = (array[start:stop] if array.ndim else array).astype(np.float64)
            total, size = total + sign * rows, size + np.abs(rows)
        return total, size


def _plainly_equal(one: _Terms, other: _Terms, start: int, stop: int) -> bool:
    """Whether both hold the same numbers as they are stored, which is soon told; NaN is left to a closer look."""
    if len(one.arrays) != 1 or len(other.arrays) != 1 or one.constant or other.constant:
        return False
    (ours, sign), (theirs, other_sign) = one.arrays[0], other.arrays[0]
    return sign == other_sign and ours.ndim > 0 and np.array_equal(ours[start:stop], theirs[start:stop])


def _axes_of(group: SumClass) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The sized axes of a place in the role's order, and their sizes."""
    block = next(block.block for block in (*group.sources, *group.targets))
    sizes = dict(block.regroup or ((name, size) for name, size, _ in block.axes))
    names = [
        name for axis in group.role.axes for name in (spatial_names(axis, sizes) if is_spatial((axis,)) else [axis])
    ]
    axes = [axis for axis in divided_axes(names, sizes) if axis in sizes]
    return tuple(axes), tuple(sizes[axis] for axis in axes)


def _chunks(shape: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ranges along the first axis, of about CHUNK elements each."""
    if not shape:
        yield 0, 1
        return
    rows = max(CHUNK // max(prod(shape[1:]), 1), 1)
    for start in range(0, shape[0], rows):
        yield start, min(start + rows, shape[0])


def _distance(a: Array, b: Array) -> tuple[Array, Array]:
    """|a - b|, and where both are NaN. Equal infinities and NaN beside NaN are at no distance, NaN beside a number is
    infinitely far."""
    nan_a, nan_b = np.isnan(a), np.isnan(b)
    with np.errstate(invalid="ignore"):
        distance = np.where(a == b, 0.0, np.abs(a - b))
    both = nan_a & nan_b
    return np.where(both, 0.0, np.where(nan_a | nan_b, np.inf, distance)), both


def _coarser(dtypes: Iterable[DType]) -> DType | None:
    """The floating-point dtype with the fewest digits."""
    floating = [dtype for dtype in dtypes if is_floating(dtype)]
    return max(floating, key=lambda dtype: (float(_float_facts(dtype).eps), dtype.name), default=None)


def _float_facts(dtype: DType) -> np.finfo[np.floating[np.typing.NBitBase]]:
    import ml_dtypes

    return ml_dtypes.finfo(dtype)  # type: ignore[no-any-return]
