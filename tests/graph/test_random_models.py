"""Random models in ONNX Runtime against Keras. ``python tests/graph/test_random_models.py 200`` runs more of them."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import keras
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))  # where it is run as a script

from graph_checks import assert_same, randomise
from graph_random import random_model

IN_CI = 30
TOLERANCE = 1e-4


@pytest.mark.parametrize("seed", range(IN_CI))
def test_a_random_model_computes_what_keras_does(seed, tmp_path) -> None:
    assert_same(randomise(random_model(seed), seed), tmp_path, tolerance=TOLERANCE)


def main(count: int) -> int:
    """Run many, print the seeds that fail."""
    failed = []
    for seed in range(count):
        keras.backend.clear_session()
        with tempfile.TemporaryDirectory() as folder:
            try:
                assert_same(randomise(random_model(seed), seed), Path(folder), tolerance=TOLERANCE)
            except Exception as error:
                failed.append(seed)
                print(f"seed {seed}: {type(error).__name__}: {str(error).strip()[:300]}", flush=True)
    print(f"{count} models, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
