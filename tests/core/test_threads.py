"""Actions that run side by side."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from weightport.threads import WORKERS, side_by_side

NESTED = """
from weightport.threads import side_by_side
inner = lambda: side_by_side([lambda: 1, lambda: 2])
print(side_by_side([inner] * 4))
"""


def test_results_come_in_the_order_of_the_actions() -> None:
    assert side_by_side([lambda index=index: index for index in range(20)]) == list(range(20))


@pytest.mark.skipif(WORKERS < 2, reason="one core: nothing runs side by side")
def test_two_actions_run_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=60)
    side_by_side([both.wait, both.wait])


def test_the_first_error_is_raised() -> None:
    def fail() -> None:
        raise ValueError("the second")

    with pytest.raises(ValueError, match="the second"):
        side_by_side([lambda: None, fail, lambda: None])


def test_actions_that_have_actions_of_their_own_end() -> None:
    """In a process of its own, which can be ended where all workers wait for one another."""
    done = subprocess.run([sys.executable, "-c", NESTED], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == str([[1, 2]] * 4)
