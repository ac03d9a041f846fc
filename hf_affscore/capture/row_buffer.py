"""Memory for small arrays that outlive a forward pass, separate from the memory of its activations.

Rows that stay on the heap between freed activations would fragment it, so that no activation fits into the gaps:
the process would grow by the size of the activations every few batches.
"""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import numpy.typing as npt

#: Arrays per block; pages that are not yet written to take no memory.
ARRAYS = 64
_ALIGNMENT = 64


class RowBuffer:
    """Keeps arrays side by side in memory mappings; a mapping is freed with its last array.

    Example:
        >>> buffer = RowBuffer()
        >>> buffer.keep(np.arange(3))
        array([0, 1, 2])
    """

    def __init__(self) -> None:
        self._free = np.empty(0, dtype=np.uint8)

    def keep(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A copy of ``array``, in the buffer."""
        size = -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
        if size > self._free.nbytes:
            self._free = np.frombuffer(mmap.mmap(-1, ARRAYS * size), dtype=np.uint8)
        place, self._free = self._free[:size], self._free[size:]
        kept = place[: array.nbytes].view(array.dtype).reshape(array.shape)
        kept[...] = array
        return kept
