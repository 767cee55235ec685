"""Random models as ONNX and as PyTorch source, against Keras; ``tests/benchmarks/random_models.py`` runs more."""

from __future__ import annotations

import pytest

from graph_checks import largest_error
from random_graphs import random_model
from random_graphs.comparison import TARGETS, compared
from random_graphs.coverage import what_is_in

SEEDS = range(11)
"""One for every kind of input."""
TOLERANCE = 1e-4


@pytest.fixture(scope="module", params=SEEDS)
def drawn(request):
    return request.param, random_model(request.param)


@pytest.mark.parametrize("to", TARGETS)
def test_a_random_model_computes_what_keras_does(drawn, to, tmp_path) -> None:
    seed, model = drawn
    assert largest_error(compared(model, to, seed, tmp_path)) <= TOLERANCE


def test_a_seed_always_draws_the_same_model() -> None:
    assert list(what_is_in(random_model(5))) == list(what_is_in(random_model(5)))
