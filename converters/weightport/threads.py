"""Two things at once: large copies and checksums leave the interpreter's lock, so threads are enough."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache
from threading import local
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

Result = TypeVar("Result")

WORKERS = min(2, os.cpu_count() or 1)
"""Two threads have a disk and the memory busy; more only hold more pages at a time."""


class _Here(local):
    """What the thread that asks is."""

    is_worker = False

    def become_worker(self) -> None:
        self.is_worker = True


_here = _Here()


def side_by_side(actions: Sequence[Callable[[], Result]]) -> list[Result]:
    """The results of all actions, carried out on more than one thread where there are several; the first error is
    raised.

    An action that has actions of its own carries them out itself: workers that wait for workers would wait for ever.
    """
    if len(actions) == 1 or WORKERS == 1 or _here.is_worker:
        return [action() for action in actions]
    return [future.result() for future in [_threads().submit(action) for action in actions]]


@cache
def _threads() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(WORKERS, thread_name_prefix="weightport", initializer=_here.become_worker)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.cache_clear)  # a forked process has none of its parent's threads
