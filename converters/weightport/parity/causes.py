"""Why two models part at a layer: its weights, what reaches it, or how it computes. Sentences that say what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..checkpoint import Array, Setting
from ..diagnosis.search import UNEXPLAINED
from ..differences import SAME, LayerComparison
from ..errors import WeightportError
from ..layer_outputs import reference_outputs
from ..layer_pairs import LayerPair, LayerSide
from ..output_diagnosis import explain_output
from ..reference import run
from ..setting_differences import settings_differences
from .between import explain_inputs
from .side_by_side import PairRun, near

MASKED = (
    "it agrees on whole sequences and differs where the token 0 is masked (mask_zero): one model hides those steps and "
    "the other does not; pack the sequences (torch.nn.utils.rnn.pack_padded_sequence), or give both whole ones only"
)


def causes(
    pair: LayerPair, weights: LayerComparison | None, found: PairRun | None, limits: tuple[float, float], before: str
) -> tuple[str, ...]:
    """Why a pair of layers diverges, the likeliest first, each a sentence that begins with the layer's name.

    ``found`` is what both did on one input, None where they were not run; ``limits`` are what rounding can do to what
    they take in and give out; ``before`` names the last layer that still agrees."""
    name = pair.a.name
    sentences = [*_of_weights(weights)]
    if found is not None and not sentences:
        sentences += _of_run(pair, found, limits, before)
    if not sentences:
        sentences += _effective(pair)
    return tuple(f"{name}: {sentence}" for sentence in dict.fromkeys(sentences))


def _of_weights(weights: LayerComparison | None) -> Iterator[str]:
    if weights is None or weights.verdict == SAME:
        return
    yield from weights.problems
    explained = [sentence for sentence in weights.diagnosis if not sentence.startswith(UNEXPLAINED)]
    yield from (f"{sentence}; `weightport convert` carries them as they have to be" for sentence in explained)
    if not weights.problems and len(explained) == len(weights.diagnosis) > 0:
        return
    for role in weights.roles:
        if role.places:
            place = max(role.places, key=lambda found: found.largest)
            where = f" ({', '.join(map(str, place.labels))})" if place.labels else ""
            most = f"most by {place.largest:.3g}{where}"
            yield f"{role.differing} of {role.elements} values of its {role.role} differ, {most}: {UNEXPLAINED} all"


def _of_run(pair: LayerPair, found: PairRun, limits: tuple[float, float], before: str) -> Iterator[str]:
    if not found.takes_the_same(limits[0]):
        sentence = explain_inputs(*found.inputs, limits[0])
        after = f"what stands between {before} and this layer" if before else "what is done to the inputs"
        yield sentence or f"its weights are the same, and what reaches it is not: look at {after}"
        return
    sides = _observed_sides(pair, found, limits[1])
    trained = [
        side for side, array in zip("AB", found.outputs, strict=True) if _by_batch(pair, found, array, limits[1])
    ]
    if trained:
        yield (
            f"{' and '.join(trained)} normalises by the batch and not by the running mean and variance: train mode is "
            "left on; call module.eval(), training=False in Keras, or export for inference"
        )
        return
    differences = _effective(replace(pair, a=sides[0], b=sides[1]))
    yield from differences
    if not differences and not found.same_form:
        shapes = [list(array.shape) for array in found.outputs]
        yield f"it gives out {shapes[0]} in A and {shapes[1]} in B"
    elif not differences:
        yield "its weights and what reaches it are the same, and no usual setting explains what it gives out"


def _effective(pair: LayerPair) -> list[str]:
    """The settings that differ and that change the output, the strongest first."""
    try:
        return [str(effect.setting) for effect in reference_outputs(pair).effects if effect.largest > 0]
    except WeightportError:
        return [str(difference) for difference in settings_differences(pair.a, pair.b)]


def _observed_sides(pair: LayerPair, found: PairRun, limit: float) -> tuple[LayerSide, LayerSide]:
    """Both sides with the settings that explain what they gave out, where those that they state do not."""
    assumed: tuple[dict[str, Setting], ...] = (
        {**pair.b.settings, **pair.a.settings},
        {**pair.a.settings, **pair.b.settings},
    )
    sides = []
    for side, settings, inputs, outputs in zip((pair.a, pair.b), assumed, found.inputs, found.outputs, strict=True):
        try:
            guesses = explain_output(pair.kind.name, side.weights(), settings, inputs, outputs, limit=limit)
        except WeightportError:
            guesses = ()
        sides.append(_with_settings(side, guesses[0].found if guesses else {}))
    other = [
        {name: assumed[index][name] for name in sides[1 - index].settings if name in assumed[index]} for index in (0, 1)
    ]
    return tuple(_with_settings(s, {**o, **s.settings}) for s, o in zip(sides, other, strict=True))  # type: ignore[return-value]


def _with_settings(side: LayerSide, settings: Mapping[str, Setting]) -> LayerSide:
    """The side as if its file stated these settings."""
    first = replace(side.layers[0], settings={**side.layers[0].settings, **settings})
    return replace(side, layers=(first, *side.layers[1:]))


def _by_batch(pair: LayerPair, found: PairRun, observed: Array, limit: float) -> bool:
    """Whether a batch norm's output is what the statistics of the batch itself give."""
    if "running_mean" not in pair.kind.roles or not found.same_form:
        return False
    inputs = found.inputs[0].astype(np.float64)
    axes = tuple(range(inputs.ndim - 1))
    statistics = {"running_mean": inputs.mean(axes), "running_variance": inputs.var(axes)}
    weights: Sequence[Mapping[str, Array]] = [{**pair.a.weights()[0], **statistics}]
    settings = {**pair.b.settings, **pair.a.settings}
    return near(run(pair.kind.name, weights, settings, inputs), observed, limit)
