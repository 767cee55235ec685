"""Check a conversion with no framework installed: every pair of layers runs on one input, in float64 NumPy.

python docs/examples/check_by_reference.py model.keras model.safetensors
"""

from __future__ import annotations

import sys

import numpy as np

import weightport as wp
from weightport.logical import logical_arrays
from weightport.match import Pair, Side, match
from weightport.reference import run

Array = np.ndarray
LIMIT = 1e-12


def weights(side: Side, pair: Pair, layers: tuple[wp.Layer, ...]) -> list[dict[str, Array]]:
    """What the layers' stored tensors mean: one dictionary a stacked layer, from role to array."""
    tensors = side.checkpoint.tensors
    return [
        arrays
        for layer in layers
        for arrays in logical_arrays(
            side.view(layer, pair.kind), lambda name, layer=layer: tensors[layer.tensors[name]].read()
        )
    ]


def example_input(kind: str, arrays: dict[str, Array]) -> Array:
    """A random input that fits the first layer: batch 3, five steps or five places on every axis of space."""
    generator = np.random.default_rng(1)
    if kind == "embedding":
        return generator.integers(0, len(arrays["weight"]), (3, 5))
    if kind == "conv":
        _, channels, *kernel = arrays["weight"].shape
        return generator.normal(size=(3, *(5 + size for size in kernel), channels))
    if kind == "attention":
        return generator.normal(size=(3, 5, 3 * 4))
    if kind == "multi_head_attention":
        sizes = [arrays[f"{part}_weight"].shape[-1] for part in ("query", "key", "value")]
        return generator.normal(size=(3, 5, sum(sizes)))
    first = arrays.get("input_weight", arrays.get("weight", arrays.get("running_mean", arrays.get("scale"))))
    return generator.normal(size=(3, 5, first.shape[-1]))


def main(source: str, target: str) -> None:
    """Compare every pair of layers; exit status 1 where one differs."""
    ours, theirs = Side(wp.open(source)), Side(wp.open(target))
    worst = 0.0
    for pair in match(ours, theirs, {}):
        settings = {name: v for name, v in pair.sources[0].settings.items() if name not in {"groups", "activation"}}
        before, after = weights(ours, pair, pair.sources), weights(theirs, pair, pair.targets)
        inputs = example_input(pair.kind, before[0])
        outputs = [run(pair.kind, side, settings, inputs) for side in (before, after)]
        difference = float(np.abs(outputs[0] - outputs[1]).max())
        name, largest = pair.targets[0].name, np.abs(outputs[0]).max()
        print(f"{name:30} {pair.kind:12} max |difference| {difference:.1e} of {largest:.2g}")
        worst = max(worst, difference)
    verdict = "the same" if worst <= LIMIT else "DIFFERENT"
    print(f"{source} and {target} compute {verdict}: max |difference| {worst:.1e}, by the NumPy references")
    sys.exit(0 if worst <= LIMIT else 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
