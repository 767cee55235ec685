"""The pytest plugin: a fixture ``parity`` that asserts, and a mark that repeats a test over seeds and lengths.

    @pytest.mark.parity(seeds=[0, 1, 2], lengths=[3, 50])
    def test_the_conversion(parity):
        parity(keras_model, torch_module)

Nothing but pytest is imported until the fixture is called.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .result import Parity

MARK = "parity"


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known, so that it passes --strict-markers."""
    config.addinivalue_line(
        "markers", f"{MARK}(seeds, lengths): repeat a test that uses the fixture parity for each seed and length"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each seed and each length that the mark names."""
    mark = metafunc.definition.get_closest_marker(MARK)
    if mark is None or MARK not in metafunc.fixturenames:
        return
    unknown = sorted(set(mark.kwargs) - {"seeds", "lengths"})
    if unknown or mark.args:
        pytest.fail(f"{metafunc.definition.nodeid}: parity takes seeds=[...] and lengths=[...] only", pytrace=False)
    seeds, lengths = mark.kwargs.get("seeds", [0]), mark.kwargs.get("lengths", [None])
    cases = list(product(seeds, lengths))
    names = ["-".join([f"seed{seed}", *([f"length{length}"] if length is not None else [])]) for seed, length in cases]
    metafunc.parametrize(MARK, cases, indirect=True, ids=names)


@pytest.fixture
def parity(request: pytest.FixtureRequest) -> Callable[..., Parity]:
    """:func:`weightport.parity.assert_parity` with the seed and the length of this test."""
    from .assertion import assert_parity

    seed, length = getattr(request, "param", (0, None))
    if length is None:
        return partial(assert_parity, seed=seed)
    return partial(assert_parity, seed=seed, lengths=(length,))
