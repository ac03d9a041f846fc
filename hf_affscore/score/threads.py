"""One BLAS thread per score: the same bits in every pool, and two scores at a time beat one on two cores.

OpenBLAS adds in another order when it splits a product over threads, so a score would depend on the machine
in its last digits. The cap is the process's, not the thread's; hence the count of those who need it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

import scipy.linalg  # noqa: F401  (its BLAS must be loaded before the controller looks)
from threadpoolctl import ThreadpoolController


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


class _SharedCap:
    """The cap stands while anybody needs it: the first to come sets it, the last to leave lifts it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._users = 0
        self._limiter: Any = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._users == 0:
                self._limiter = _controller().limit(limits=1, user_api="blas")
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._limiter.restore_original_limits()


#: ``with one_blas_thread(): ...`` in any number of threads at once.
one_blas_thread = _SharedCap()
