"""What counts as a difference: rounding does not, and a NaN, another shape or nothing at all always does."""

from __future__ import annotations

import numpy as np
import pytest

from weightport.parity.measure import compare, spacing, unit_roundoff

FLOAT32 = np.dtype(np.float32)


def test_the_numbers_are_those_of_the_worst_element():
    one = np.array([[1.0, -2.0], [4.0, 8.0]])
    other = one + np.array([[0.0, 0.0], [0.0, 0.5]])
    found = compare(one, other, FLOAT32, tolerance=0.1)
    assert (found.maximum, found.mean, found.place, found.values) == (0.5, 0.125, (1, 1), (8.0, 8.5))
    assert found.relative == 0.5 / 8
    assert found.ulps == 0.5 / np.spacing(np.float32(8))
    assert not found.agrees
    assert found.excess == 5
    assert found.cosine == pytest.approx(np.vdot(one, other) / np.linalg.norm(one) / np.linalg.norm(other))


@pytest.mark.parametrize("place", [0, 3, 7])
@pytest.mark.parametrize("side", [0, 1, 2])
def test_a_nan_anywhere_on_either_side_or_on_both_is_no_agreement(place, side):
    arrays = [np.arange(8.0), np.arange(8.0)]
    for index in (0, 1):
        if side in (index, 2):
            arrays[index][place] = np.nan
    found = compare(*arrays, FLOAT32, tolerance=np.inf)
    assert not found.agrees
    assert "NaN" in found.problem


def test_another_shape_of_the_same_size_is_no_agreement():
    found = compare(np.ones((2, 3)), np.ones((3, 2)), FLOAT32, tolerance=np.inf)
    assert not found.agrees
    assert found.problem == "shape [2, 3] against [3, 2]"


def test_nothing_to_compare_is_no_agreement():
    assert not compare(np.ones((3, 0)), np.ones((3, 0)), FLOAT32, tolerance=np.inf).agrees


def test_infinities_agree_with_themselves_and_with_nothing_else():
    one = np.array([np.inf, -np.inf, 1.0])
    assert compare(one, one, FLOAT32, 0.0).agrees
    assert not compare(one, np.array([np.inf, np.inf, 1.0]), FLOAT32, 1e9).agrees
    assert not compare(one, np.array([1e30, -np.inf, 1.0]), FLOAT32, 1e9).agrees


def test_integers_agree_when_they_are_equal():
    one = np.array([1, 2, 3])
    assert compare(one, one, np.dtype(np.int64), 0.0).agrees
    assert not compare(one, one + np.array([0, 0, 1]), np.dtype(np.int64), 0.0).agrees


@pytest.mark.parametrize("value", [1.0, 1.5, 2.0, 1000.0, 1e-3])
def test_a_spacing_is_numpys(value):
    assert spacing(value, FLOAT32) == np.spacing(np.float32(value))


def test_the_unit_roundoff_is_half_the_machine_epsilon():
    assert unit_roundoff(FLOAT32) == 2.0**-24
    assert unit_roundoff(np.dtype(np.float16)) == 2.0**-11
