"""Count what the operators of a forward pass compute, move and hold, at PyTorch's dispatch.

Counting semantics:

- Floating point operations are those of convolutions, matrix products and attention, by the formulas of
  ``torch.utils.flop_counter``; a multiply-add counts as two. Its context manager is not used: it registers gradient
  hooks on the inputs of modules, which fails for parameters (class tokens) when gradients are off.
- Bytes moved are those of all inputs and outputs of every operator that is not a view.
- Bytes held are those of tensors that operators created and that are still referenced; weights, images and the
  scratch memory of operators are not included.

Only shapes are read, so counting works on the meta device. A counting error never reaches the model: the counts
are then unknown (None).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

#: Kinds of operators that run at different speeds; a convolution of 1 x 1 is a product of matrices.
Kind = Literal["product", "convolution", "grouped"]


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's is not annotated
    """Counts the operators that run inside the context.

    Attributes:
        flops: Floating point operations by kind.
        moved_bytes: Bytes that operators read and write.
        num_operators: Operators that are not views.
        peak_bytes: Most bytes held at one time.
        problem: Why the counts are incomplete; None if they are complete.

    Example:
        >>> with torch.no_grad(), Operations() as operations:
        ...     output = torch.ones(8, 4) @ torch.ones(4, 2)
        >>> operations.flops["product"]
        128
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops: Counter[Kind] = Counter()
        self.moved_bytes = 0
        self.num_operators = 0
        self.peak_bytes = 0
        self.problem: str | None = None
        self._held_bytes = 0
        self._held: dict[int, tuple[StorageWeakRef, int]] = {}  # storages and their bytes, by address

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if self.problem is None:
            try:
                self._count(func, args, kwargs, output)
            except Exception as error:  # a formula does not support these arguments
                self.problem = f"{func}: {type(error).__name__}: {error}".splitlines()[0]
        return output

    def _count(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        inputs, outputs = list(_tensors((args, tuple(kwargs.values())))), list(_tensors(output))
        self._hold(inputs, outputs)
        if getattr(func, "is_view", False):
            return
        self.num_operators += 1
        self.moved_bytes += sum(tensor.numel() * tensor.element_size() for tensor in (*inputs, *outputs))
        found = _flops(func, args, kwargs, output)
        if found is not None:
            kind, flops = found
            self.flops[kind] += flops

    def _hold(self, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        """Record new storages and update the peak."""
        known = {_address(tensor) for tensor in inputs}
        self._forget()
        for tensor in outputs:
            address = _address(tensor)
            if address is None or address in known or address in self._held:
                continue
            storage = tensor.untyped_storage()
            reference = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
            self._held[address] = reference, storage.nbytes()
            self._held_bytes += storage.nbytes()
        self.peak_bytes = max(self.peak_bytes, self._held_bytes)

    def _forget(self) -> None:
        """Drop freed storages. Python's weak references would not do: torch 2.6 ends them late, 2.11 does not."""
        expired = [key for key, (storage, _) in self._held.items() if storage.expired()]  # type: ignore[no-untyped-call]
        for address in expired:
            self._held_bytes -= self._held.pop(address)[1]


def _address(tensor: Tensor) -> int | None:
    """The identity of a tensor's storage; None for tensors that do not have a single storage."""
    if tensor.layout is not torch.strided:
        return None
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):  # tensors of functorch, or of other subclasses
        return None


def _tensors(values: Any) -> Iterator[Tensor]:
    """All tensors in nested tuples and lists."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, tuple | list):
        for value in values:
            yield from _tensors(value)


def _flops(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> tuple[Kind, int] | None:
    """The kind of an operator and its floating point operations; None for operators that are not counted."""
    packet = getattr(func, "overloadpacket", None)
    if "scaled_dot_product" in str(packet):  # torch has no formula for the CPU and meta variants
        query, key, value = args[:3]
        pairs = query.shape[:-1].numel() * key.shape[-2]
        return "product", 2 * pairs * (query.shape[-1] + value.shape[-1])
    if packet not in flop_registry:
        return None
    flops = int(flop_registry[packet](*args, **kwargs, out_val=output))
    if "conv" not in str(packet):
        return "product", flops
    weight = args[1]
    if weight.shape[2:].numel() == 1:  # a matrix product at every position
        return "product", flops
    return ("grouped" if weight.shape[1] < args[0].shape[1] else "convolution"), flops
