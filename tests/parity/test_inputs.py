"""Inputs are made from what both models say of them, or taken as they are given."""

from __future__ import annotations

import numpy as np
import pytest

from weightport import UsageError
from weightport.parity.inputs import BATCH, InputSpec, cases, given_cases, merged


def test_free_lengths_are_tried_at_two_lengths_with_two_seeds_each_and_a_batch_of_three():
    made = cases([InputSpec("x", (None, None, 4))], seed=5)
    assert [case.arrays[0].shape for case in made] == [(BATCH, 7, 4)] * 2 + [(BATCH, 12, 4)] * 2
    assert len({case.arrays[0].tobytes() for case in made}) == 4
    assert made[0].what == "seed 5, length 7"


def test_the_same_seed_makes_the_same_inputs():
    one, other = (cases([InputSpec("x", (None, 4))], seed=3) for _ in range(2))
    assert all(np.array_equal(a.arrays[0], b.arrays[0]) for a, b in zip(one, other, strict=True))


def test_a_fixed_batch_of_one_is_made_up_for_with_more_seeds():
    made = cases([InputSpec("x", (1, 4))], seed=0)
    assert len(made) == 6
    assert {case.arrays[0].shape for case in made} == {(1, 4)}


def test_tokens_stay_in_the_range_of_their_embedding():
    made = cases([InputSpec("x", (None, 400), "int32", tokens=9)], seed=0)
    assert all((case.arrays[0].min(), case.arrays[0].max()) == (0, 8) for case in made)


def test_a_masked_token_has_a_case_of_its_own_at_the_end_of_the_sequences():
    *whole, padded = cases([InputSpec("x", (None, 6), "int32", tokens=5, masks=True)], seed=0)
    assert all(case.arrays[0].min() > 0 for case in whole)
    tokens = padded.arrays[0]
    assert [int((row > 0).sum()) for row in tokens] == [1, 2, 3]
    assert "padded" in padded.what


@pytest.mark.parametrize("dtype", ["bool", "float32", "int32"])
def test_a_mask_is_true_up_to_a_step_and_never_empty(dtype):
    for case in cases([InputSpec("mask", (None, 9), dtype, masks=True)], seed=0):
        mask = case.arrays[0]
        assert str(mask.dtype) == dtype
        assert mask[:, 0].all()
        assert not (np.diff(mask.astype(int), axis=1) > 0).any()


@pytest.mark.parametrize(
    ("theirs", "shape"),
    [
        ((2, None, 4), (2, None, 4)),
        ((None, 4, 9), (None, 9, 4)),
        ((11, None, 4), (11, None, 4)),
    ],
)
def test_a_size_that_one_side_fixes_is_fixed_whatever_its_order_of_axes(theirs, shape):
    (spec,) = merged([InputSpec("x", (None, None, 4))], [InputSpec("y", theirs)])
    assert spec.shape == shape


def test_inputs_pair_by_name_where_the_names_agree():
    ours = [InputSpec("a", (None, 2)), InputSpec("b", (None, 3))]
    theirs = [InputSpec("b", (5, 3)), InputSpec("a", (4, 2))]
    assert [spec.shape for spec in merged(ours, theirs)] == [(4, 2), (5, 3)]


def test_another_number_of_inputs_is_wrong_usage():
    with pytest.raises(UsageError, match="different inputs: a against b, c"):
        merged([InputSpec("a", (1,))], [InputSpec("b", (1,)), InputSpec("c", (1,))])


def test_given_inputs_are_taken_from_files_arrays_and_names(tmp_path):
    array = np.arange(6.0).reshape(2, 3)
    np.save(tmp_path / "x.npy", array)
    np.savez(tmp_path / "x.npz", b=array + 1, a=array)
    specs = [InputSpec("a", (None, 3)), InputSpec("b", (None, 3))]
    assert np.array_equal(given_cases(tmp_path / "x.npy", None)[0].arrays[0], array)
    assert np.array_equal(given_cases(str(tmp_path / "x.npz"), specs)[0].arrays[1], array + 1)
    assert np.array_equal(given_cases([array], None)[0].arrays[0], array)
    with pytest.raises(UsageError, match="are called b, a, and the model's are x, y"):
        given_cases(tmp_path / "x.npz", [InputSpec("x", (1,)), InputSpec("y", (1,))])


def test_a_file_of_pickled_objects_is_not_read(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UsageError, match="plain arrays"):
        given_cases(tmp_path / "x.npy", None)
