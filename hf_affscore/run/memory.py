"""Memory that is free for Python and not yet for the system."""

from __future__ import annotations

import ctypes
import platform

import pyarrow

_GLIBC = platform.libc_ver()[0] == "glibc"


def give_memory_back() -> None:
    """Hand freed memory back to the system: Arrow's, and where the C library is glibc everybody's.

    The rows of a batch are small and stay; the activations around them are large and go. glibc keeps the gaps
    between the rows, and no activation fits into them again: the process would grow by the size of the
    activations with every few batches.
    """
    pyarrow.default_memory_pool().release_unused()
    if _GLIBC:
        ctypes.CDLL(None).malloc_trim(0)
