"""Memory for small arrays that outlive a forward pass, apart from the memory that its activations come from.

Left where they were made, between activations that are freed, rows would cut the heap into gaps that no
activation fits into again: the process would grow by the size of the activations with every few batches.
"""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import numpy.typing as npt

#: Arrays that a block has room for; what is not yet written to costs nothing.
ARRAYS = 64
_ALIGNMENT = 64


class RowBuffer:
    """Arrays side by side in mappings of their own; a mapping ends with the last array in it.

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
