"""An accelerator without hardware: a device that torch names and no build has, whose tensors the CPU computes.

What lies on it behaves as on a real one. numpy cannot read it; tensors of two devices do not mix; new tensors are
on it only where that is asked for; a copy to main memory that is not waited for has no values yet. Operations are
noted, and among them those that the program waits for.
"""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import RLock
from types import SimpleNamespace
from typing import Any

import torch
from torch.utils._pytree import tree_map

KIND = "lazy"

#: Operations whose result, or the size of it, the program needs; indexing waits for a mask, or one in main memory.
WAITING = {"_local_scalar_dense", "equal", "nonzero", "masked_select"}

#: Operations that torch lets take tensors of main memory too: copies, and indices.
MIXING = {"copy_", "_to_copy", "index", "index_put_", "_index_put_impl_"}


@dataclass(eq=False)
class Stream:
    """A queue of copies to main memory that are not finished."""

    pending: list[Callable[[], Any]] = field(default_factory=list)
    synchronised: int = 0

    def synchronize(self) -> None:
        self.synchronised += 1
        while self.pending:
            self.pending.pop(0)()


@dataclass
class Accelerator:
    """What has happened on the devices since :func:`accelerator` was entered.

    Attributes:
        operations: Names of the operations on each device, in order.
        waits: The operations that were waited for.
        copies: Copies to main memory that were not waited for when they were asked for.
        to_host: Bytes of all copies to main memory.
        held: Tensors and bytes of each storage on the devices, by its address.
        peak: Most bytes on the devices at one time, without the scratch memory of operations.
        streams: The current stream of each device.
    """

    operations: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    waits: list[str] = field(default_factory=list)
    copies: int = 0
    to_host: int = 0
    held: dict[int, tuple[int, int]] = field(default_factory=dict)
    peak: int = 0
    streams: dict[torch.device, Stream] = field(default_factory=dict)
    lock: RLock = field(default_factory=RLock)

    def hold(self, storage: Any) -> None:
        with self.lock:
            count, _ = self.held.get(storage._cdata, (0, 0))
            self.held[storage._cdata] = count + 1, storage.nbytes()
            self.peak = max(self.peak, sum(size for _, size in self.held.values()))

    def release(self, address: int) -> None:
        with self.lock:
            count, size = self.held.pop(address)
            if count > 1:
                self.held[address] = count - 1, size

    def current_stream(self, device: torch.device) -> Stream:
        return self.streams.setdefault(torch.device(device), Stream())


_noted = Accelerator()


@contextmanager
def accelerator() -> Iterator[Accelerator]:
    """The devices ``lazy:0``, ``lazy:1`` and so on, as ``torch.lazy``."""
    global _noted
    _noted = Accelerator()
    setattr(torch, KIND, SimpleNamespace(current_stream=_noted.current_stream, synchronize=lambda: None))
    try:
        yield _noted
    finally:
        delattr(torch, KIND)


class Tensor(torch.Tensor):
    """A tensor on the accelerator; ``held`` has its values."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor, device: torch.device) -> Tensor:
        found = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=device,
        )
        found.held = held
        storage = held.untyped_storage()
        _noted.hold(storage)
        weakref.finalize(found, _noted.release, storage._cdata)
        return found

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = _computed(func, args, kwargs or {})
        if torch.Tag.inplace_view in func.tags:  # the shape of the tensor itself changes
            args[0].data = Tensor(args[0].held, args[0].device)
        return found

    def __repr__(self, **_: Any) -> str:
        return f"Tensor({self.held}, device={self.device})"


def _computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """The result of an operation on the values, on the device of its arguments or the one that is asked for."""
    name, given = func.overloadpacket.__name__, {}
    devices = set()

    def held(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and (value.ndim or isinstance(value, Tensor)):
            devices.add(str(value.device))
        if isinstance(value, Tensor):
            given[id(value.held)] = value
            return value.held
        return value

    args, kwargs = tree_map(held, args), tree_map(held, kwargs)
    if name not in MIXING and len(devices) > 1:
        raise RuntimeError(f"{name}: expected all tensors on the same device, found {sorted(devices)}")
    source = next(iter(given.values())).device
    wanted = torch.device(kwargs.pop("device", None) or source)
    into_host = name == "copy_" and id(args[0]) not in given
    _noted.operations[str(source)].append(name)
    if wanted.type == "cpu" or into_host:
        return _copied(func, args, kwargs, _noted.current_stream(source))
    indices = [index for index in args[1] if index is not None] if name.startswith("index") else []
    if name in WAITING or any(index.dtype == torch.bool or id(index) not in given for index in indices):
        _noted.waits.append(name)

    def placed(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        return given[id(value)] if id(value) in given else Tensor(value, wanted)

    return tree_map(placed, func(*args, **kwargs))


def _copied(func: Any, args: Any, kwargs: dict[str, Any], stream: Stream) -> torch.Tensor:
    """A copy to main memory: waited for, or without values until the stream is."""
    copy: torch.Tensor = func(*args, **kwargs)
    _noted.to_host += copy.nbytes
    if not kwargs.get("non_blocking"):
        _noted.waits.append("copy")
        stream.synchronize()
        return copy
    _noted.copies += 1
    values = copy.clone()
    copy.fill_(float("nan") if copy.is_floating_point() else 0)
    stream.pending.append(lambda: copy.copy_(values))
    return copy


_library = torch.library.Library("aten", "IMPL")


def _empty(
    size: Any, *, device: torch.device, dtype: Any = None, memory_format: Any = None, **_: Any
) -> Tensor:
    place = torch.device(device.type, device.index or 0)
    held = torch.empty(
        size, dtype=dtype, device="cpu", memory_format=memory_format or torch.contiguous_format
    )
    return Tensor(held, place)


def _empty_strided(size: Any, stride: Any, *, device: torch.device, dtype: Any = None, **_: Any) -> Tensor:
    held = torch.empty_strided(size, stride, dtype=dtype, device="cpu")
    return Tensor(held, torch.device(device.type, device.index or 0))


_library.impl("empty.memory_format", _empty, KIND.title())
_library.impl("empty_strided", _empty_strided, KIND.title())


def _copy_from(source: torch.Tensor, target: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    """What torch calls for an index in Python numbers."""
    source, into = (side.held if isinstance(side, Tensor) else side for side in (source, target))
    into.copy_(source)
    return target


_library.impl("_copy_from", _copy_from, KIND.title())
