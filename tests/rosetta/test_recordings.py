"""Every layout means what its framework computes: the recorded tensors, read through the layout, give the output."""

from __future__ import annotations

import pytest

from recordings import FOLDER, RECORDINGS, distance
from weightport.layouts import all_layouts, layout_named

LIMIT = 5_000_000


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name)
def test_the_reference_on_the_recorded_tensors_gives_the_recorded_output(recording):
    assert distance(layout_named(recording.layout), recording) <= recording.tolerance


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name)
def test_recorded_values_hide_nothing(recording):
    """No zeros in a bias, more than one sample where the framework allows it, more than two steps."""
    assert recording.inputs.shape[0] >= 3 or recording.framework in {"ncnn", "tflite"}
    assert recording.inputs.shape[1] >= 3
    for name, array in recording.tensors.items():
        assert "init" in name or (array != 0).all(), name


def test_every_layout_that_claims_a_recording_has_one():
    recorded = {recording.layout for recording in RECORDINGS}
    for layout in all_layouts().values():
        assert (layout.name in recorded) == (layout.verified == "recorded"), layout.name


def test_every_layout_names_its_source():
    assert [layout.name for layout in all_layouts().values() if not layout.source] == []


def test_the_table_has_thirty_frameworks_and_most_are_recorded():
    frameworks = {layout.framework for layout in all_layouts().values()}
    recorded = {layout.framework for layout in all_layouts().values() if layout.verified == "recorded"}
    assert len(frameworks) >= 30
    assert len(recorded) >= 22


def test_every_framework_has_its_recorder_beside_its_recordings():
    for folder in {path.parent for path in FOLDER.glob("*/*.npz")}:
        assert list(folder.glob("record.*")), folder.name


def test_the_folder_stays_small():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < LIMIT
