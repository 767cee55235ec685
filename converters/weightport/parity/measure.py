"""How far two arrays are apart, and whether that is rounding. Pure NumPy, nothing of models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..checkpoint import Array, DType


@dataclass(frozen=True)
class Difference:
    """One output of both sides held against each other.

    ``maximum`` and ``mean`` are of |a - b|, ``relative`` is the maximum over the largest |a|, ``ulps`` the maximum in
    spacings of the dtype at the largest |a|, ``cosine`` of both as vectors, ``place`` where the maximum is and
    ``values`` what the two sides have there. ``tolerance`` is what rounding can do. ``problem`` is what no tolerance
    excuses: another shape, a NaN, nothing to compare.
    """

    shape: tuple[int, ...]
    tolerance: float
    maximum: float = 0.0
    mean: float = 0.0
    relative: float = 0.0
    ulps: float = 0.0
    cosine: float = 1.0
    place: tuple[int, ...] = ()
    values: tuple[float, float] = (0.0, 0.0)
    problem: str = ""

    @property
    def agrees(self) -> bool:
        """Whether the two are the same but for rounding. A NaN anywhere is no agreement."""
        return not self.problem and self.maximum <= self.tolerance

    @property
    def excess(self) -> float:
        """How many tolerances the difference is; infinite for a problem."""
        if self.problem:
            return float("inf")
        return self.maximum / self.tolerance if self.tolerance else float("inf") if self.maximum else 0.0


def compare(one: Array, other: Array, dtype: DType, tolerance: float, relative_tolerance: float = 0.0) -> Difference:
    """Hold two arrays against each other; ``dtype`` is the coarser of what the two sides compute in.

    ``relative_tolerance`` is added to ``tolerance`` times the largest |one|."""
    shape = tuple(one.shape)
    problem = _problem(one, other)
    if problem:
        return Difference(shape, tolerance, problem=problem)
    ours, theirs = np.asarray(one, np.float64), np.asarray(other, np.float64)
    with np.errstate(invalid="ignore"):
        apart = np.where(ours == theirs, 0.0, np.abs(ours - theirs))
    worst = np.unravel_index(int(np.argmax(apart)), shape)
    finite = ours[np.isfinite(ours)]
    largest = float(np.abs(finite).max()) if finite.size else 0.0
    maximum = float(apart[worst])
    return Difference(
        shape=shape,
        tolerance=tolerance + relative_tolerance * largest,
        maximum=maximum,
        mean=float(apart.mean()),
        relative=maximum / largest if largest else 0.0 if not maximum else float("inf"),
        ulps=maximum / spacing(largest, dtype),
        cosine=_cosine(ours, theirs),
        place=tuple(int(index) for index in worst),
        values=(float(ours[worst]), float(theirs[worst])),
    )


def spacing(value: float, dtype: DType) -> float:
    """The distance from ``value`` to the next number of a floating-point dtype; 1 for integers."""
    if dtype.kind in "iub":
        return 1.0
    _, exponent = np.frexp(value)
    return float(np.ldexp(2 * unit_roundoff(dtype), int(exponent) - 1)) if value else 2 * unit_roundoff(dtype)


def unit_roundoff(dtype: DType) -> float:
    """Half the distance from 1 to the next number: what one operation can round by, relatively. 0 for integers."""
    if dtype.kind in "iub":
        return 0.0
    import ml_dtypes

    return float(ml_dtypes.finfo(dtype).eps) / 2


def _problem(one: Array, other: Array) -> str:
    if one.shape != other.shape:
        return f"shape {list(one.shape)} against {list(other.shape)}"
    if not one.size:
        return f"nothing to compare: shape {list(one.shape)} has no elements"
    found = [int(np.isnan(np.asarray(array, np.float64)).sum()) for array in (one, other)]
    if any(found):
        return f"NaN: {found[0]} elements against {found[1]} of {one.size}"
    return ""


def _cosine(one: Array, other: Array) -> float:
    """Of two arrays as vectors; 1 where both are zero, 0 where one is or where either is infinite."""
    norms = float(np.linalg.norm(one)), float(np.linalg.norm(other))
    if not all(np.isfinite(norms)):
        return 1.0 if np.array_equal(one, other) else 0.0
    if not all(norms):
        return 1.0 if not any(norms) else 0.0
    return float(np.sum(one / norms[0] * (other / norms[1])))
