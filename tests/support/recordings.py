"""The recordings under ``fixtures/recordings``: what real frameworks computed, and how far a layout's reading of the
same tensors is from it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from weightport.layouts import Layout
from weightport.logical import logical_arrays
from weightport.reference import run
from weightport.views import view_of

FOLDER = Path(__file__).parents[2] / "fixtures" / "recordings"

# Frameworks whose own arithmetic is rougher than float32's rounding; each recorder says so beside its numbers.
ROUGH = {"mindspore": 2e-4}


@dataclass(frozen=True)
class Recording:
    """One layer that a real framework ran."""

    name: str
    layout: str
    tensors: dict[str, np.ndarray]
    inputs: np.ndarray
    outputs: np.ndarray
    settings: dict[str, Any]
    storage: dict[str, Any]
    sizes: dict[str, int]

    @property
    def framework(self) -> str:
        """The framework that made it."""
        return self.layout.split(".")[0]

    @property
    def tolerance(self) -> float:
        """What the real output may differ by from the float64 mathematics."""
        return 1e-12 if self.outputs.dtype == np.float64 else ROUGH.get(self.framework, 1e-5)


def load_recording(path: Path) -> Recording:
    """One file of the folder."""
    with np.load(path) as file:
        meta = json.loads(str(file["meta"]))
        tensors = {key.removeprefix("tensor/"): file[key] for key in file.files if key.startswith("tensor/")}
        return Recording(
            name=f"{path.parent.name}/{path.stem}",
            layout=meta["layout"],
            tensors=tensors,
            inputs=file["input/x"],
            outputs=file["output/y"],
            settings={name: _plain(value) for name, value in meta["settings"].items()},
            storage=meta.get("storage", {}),
            sizes=meta.get("sizes", {}),
        )


def _plain(value: Any) -> Any:
    """A setting as the library has it; JSON has lists for tuples."""
    return tuple(value) if isinstance(value, list) else value


RECORDINGS = [load_recording(path) for path in sorted(FOLDER.glob("*/*.npz"))]


def output_of(layout: Layout, recording: Recording, tensors: dict[str, np.ndarray], **options: Any) -> np.ndarray:
    """What the reference computes from tensors that are stored in a layout, for the recording's input."""
    shapes = {name: array.shape for name, array in tensors.items()}
    view = view_of(layout, shapes, recording.settings, **options)
    settings = {**view.settings, **recording.settings}
    return run(layout.kind.name, logical_arrays(view, tensors.__getitem__), settings, recording.inputs)


def distance(layout: Layout, recording: Recording) -> float:
    """How far the recorded output is from what the layout makes of the recorded tensors."""
    ours = output_of(layout, recording, recording.tensors, storage=recording.storage, sizes=recording.sizes)
    return float(np.abs(ours - recording.outputs).max())
