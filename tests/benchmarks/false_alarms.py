"""Right conversions of random models, verified between every two frameworks: how many are called wrong?

python tests/benchmarks/false_alarms.py [MODELS] [FIRST_SEED]
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import numpy as np

import weightport as wp


def main(count: int = 200, first: int = 0) -> None:
    """Print every false alarm, and how much of its tolerance the nearest pair used."""
    from parity_models import exported
    from random_models import random_model

    alarms, used = 0, []
    for seed in range(first, first + count):
        model, twin, shape = random_model(seed)
        wp.convert(model, twin)
        graph = exported(twin, shape)
        for one, other in ((model, twin), (model, graph), (twin, graph)):
            parity = wp.verify(one, other, seed=seed)
            used += [output.difference.excess for output in parity.outputs]
            if not parity:
                alarms += 1
                print(f"seed {seed}: {parity.frameworks}: {parity.summary}")
                print("   ", [str(depth) for depth in parity.depths], *parity.causes, sep="\n    ")
        if seed % 20 == 19:
            print(f"{seed + 1 - first} models, {alarms} false alarms", flush=True)
    shares = np.array(used)
    print(
        f"{count} models, {3 * count} comparisons, {alarms} false alarms; share of the tolerance that was used: "
        f"median {np.median(shares):.3f}, 99 of 100 below {np.quantile(shares, 0.99):.3f}, largest {shares.max():.3f}"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
