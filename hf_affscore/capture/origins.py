"""Which values in a forward pass no operator of torch has made.

Such are results of other threads, of numpy, and of kernels that write to memory by themselves (Triton, CUDA,
ctypes), be it memory of their own or that of a tensor which was handed to them. They are told from constants, which
are made elsewhere, too, but not anew in every pass:

- In the first pass that is followed, a tensor of unknown origin counts only if it has a row per image.
- In later passes any counts that was neither there before nor made by an operator.
- What :func:`torch.tensor` or :func:`torch.from_numpy` made of numbers is new in every pass. It counts if it has a
  row per image, and is certain only if that holds for other numbers of images as well.

Only floating-point tensors of two or more axes count.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from hf_affscore.capture.exotic import tensors_in
from hf_affscore.capture.state import bits


class Origins:
    """Follows the tensors of a model over one or more passes.

    Attributes:
        in_doubt: Whether a tensor of unknown origin was met that may be a constant; another pass will tell.
    """

    def __init__(self, model: nn.Module) -> None:
        self.in_doubt = False
        self._model = model
        # Storages. A weak reference keeps an address from being used again.
        self._made: dict[int, StorageWeakRef] = {}
        self._is_first = True
        self._begin()

    def begin_pass(self) -> None:
        """Forget what is gone since the last pass."""
        self._is_first = not self._made
        alive = (item for item in self._made.items() if not item[1].expired())  # type: ignore[no-untyped-call]
        self._made = dict(alive)
        if self._is_first:
            for module in self._model.modules():
                for tensor in tensors_in([vars(module), module._parameters, module._buffers]):
                    self.note(tensor)
        self._begin()

    def _begin(self) -> None:
        self.in_doubt = False
        self._rows: set[int] = set()  # lengths of the first axes of the model's inputs
        self._blank: set[int] = set()  # storages that nothing has been written to
        self._lent: dict[int, tuple[Tensor, Tensor]] = {}  # tensors handed to others, and copies

    def note_input(self, tensor: Tensor) -> None:
        """The caller of the model hands in this tensor, whatever its origin."""
        self.note(tensor)
        if tensor.is_floating_point() and tensor.ndim > 0:
            self._rows.add(len(tensor))

    def note(self, tensor: Tensor, *, blank: bool = False) -> None:
        """An operator has made this tensor, with values or ``blank``."""
        storage = _storage(tensor)
        if storage not in self._made:
            self._made[storage] = StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]
            if blank:
                self._blank.add(storage)

    def note_write(self, tensor: Tensor) -> None:
        """An operator has written to this tensor."""
        self._blank.discard(_storage(tensor))
        self._lent.pop(_storage(tensor), None)

    def note_loan(self, tensor: Tensor) -> None:
        """The memory of this tensor is handed to others, who may write to it."""
        if not tensor.is_meta and tensor.is_floating_point():
            self._lent[_storage(tensor)] = tensor, tensor.detach().clone()

    def is_unknown(self, tensor: Tensor, *, reads: bool, lifted: bool) -> bool:
        """Whether no operator has made the values of this tensor; said once.

        Args:
            tensor: A tensor that is used.
            reads: Whether its values are used.
            lifted: Whether it has just been made of numbers or an array.
        """
        storage = _storage(tensor)
        overwritten = self._is_overwritten(storage)
        blank = reads and storage in self._blank
        known = storage in self._made and not blank and not overwritten
        if known or not self._rows:  # before there are inputs, what runs is not the model's
            return False
        self.note(tensor)
        self._blank.discard(storage)
        if tensor.ndim < 2 or not tensor.is_floating_point():
            return False
        if overwritten or (len(tensor) in self._rows and (len(tensor) > 1 or not self._is_first)):
            return True
        self.in_doubt |= not lifted
        return not (self._is_first or lifted)

    def _is_overwritten(self, storage: int) -> bool:
        """Whether somebody has changed memory that was handed out."""
        if storage not in self._lent:
            return False
        tensor, copy = self._lent[storage]
        changed = not torch.equal(bits(tensor.detach()), bits(copy))
        if changed:
            del self._lent[storage]
        return changed


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
