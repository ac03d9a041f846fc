"""One BLAS thread per score: the same bits in every pool, and two scores at a time beat one on two cores.

OpenBLAS adds in another order when it splits a product over threads, so a score would depend on the machine
in its last digits. The limit belongs to the process, not to the thread, so its users are counted: it is set for
the first and lifted after the last.

threadpoolctl accepts such a change from one thread only, the first that made one, and silently ignores all others
while that thread lives. So each change is made by a new thread, which then ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock, Thread
from typing import Any

import scipy.linalg  # noqa: F401  (its BLAS must be loaded before the controller looks)
from threadpoolctl import OpenBLASController, ThreadpoolController


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def _in_a_new_thread(change: Callable[[], None]) -> None:
    OpenBLASController.clear_controlling_thread(force=True)
    thread = Thread(target=change)
    thread.start()
    thread.join()


class _SharedLimit:
    """One BLAS thread for as long as at least one user needs it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._users = 0
        self._limiter: Any = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._users == 0:
                _in_a_new_thread(self._set)
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    _in_a_new_thread(self._lift)

    def _set(self) -> None:
        self._limiter = _controller().limit(limits=1, user_api="blas")

    def _lift(self) -> None:
        self._limiter.restore_original_limits()


#: ``with one_blas_thread(): ...`` in any number of threads at once.
one_blas_thread = _SharedLimit()
