"""Saves and restores the state of a model, which a forward pass may change in evaluation mode too.

Examples are observers of quantisation-aware training, queues and counters in buffers, and layers that write to
their parameters: they ignore the training flag. The state is restored to the bit:

- after every pass, values and identity of parameters, buffers and tensors in attributes, so that each pass starts
  from the original model;
- at the end also the other attributes of every module, with what is in lists, tuples, dictionaries and sets, arrays
  of numpy and random generators among them. Attributes that a pass adds, which are mostly caches, are removed.

Modules that a model holds in a list, out of sight of ``modules()``, belong to it. What objects of other classes
hold does not.

Small tensors are copied at once, and a large one when the model is about to write to it: functions that write are
observed before they run. Every tensor counts its writes, which shows changes that were not observed; for a large
tensor without a copy, such a change is an error. Not detected: writes to a large tensor through ``.data`` inside an
activation module, or through numpy.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from hf_affscore.capture.contents import SMALL, reachable, restorer
from hf_affscore.capture.exotic import is_plain
from hf_affscore.errors import ModelError

#: Attributes that torch itself keeps in a module; other code may add and remove hooks meanwhile.
_OF_TORCH = vars(nn.Module()).keys()


class ModelState:
    """The state of all modules of a model at the time of construction.

    Example:
        >>> model = nn.BatchNorm1d(1)
        >>> state = ModelState(model)
        >>> output = model(torch.ones(2, 1))
        >>> state.restore()
        >>> model.running_mean, model.num_batches_tracked
        (tensor([0.]), tensor(0))
    """

    def __init__(self, model: nn.Module) -> None:
        self._restorers: list[tuple[str, Callable[[], bool]]] = []  # of everything but tensors, with paths
        self._named: list[tuple[dict[str, Any], dict[str, Tensor]]] = []  # those of parameters and buffers
        self._held: dict[int, _Held] = {}  # by the identity of the tensor
        self._uncopied: dict[int, list[_Held]] = {}  # by the memory of the tensor
        self._silent: list[_Held] | None = None  # tensors whose counters do not show their changes
        self._modules = set(model.modules())
        for path, module in model.named_modules():
            self._note_module(path, module)

    def before(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Copy the large tensors that a function is about to write to."""
        if not self._uncopied:
            return
        written: Iterable[Any] = (kwargs["out"],) if "out" in kwargs else ()
        if _writes(function):
            written = (*written, *args[:1], *(kwargs.values() if not args else ()))
        elif _may_write_to_any(function):
            written = (*written, *args, *kwargs.values())
        for tensor in _tensors(written):
            if is_plain(tensor):
                for held in self._uncopied.pop(tensor.untyped_storage().data_ptr(), ()):
                    held.make_copy()

    def restore_tensors(self) -> None:
        """Restore parameters, buffers and tensors in attributes; called after every pass.

        Raises:
            ModelError: A tensor without a copy was written to.
        """
        for now, was in self._named:
            for name, tensor in was.items():
                if now.get(name) is not tensor:
                    now[name] = tensor
        changed = [held for held in self._held.values() if held.is_changed()]
        if self._silent is None:
            known = set(map(id, changed))
            self._silent = [
                held for held in self._held.values() if id(held) not in known and not held.is_as_copied()
            ]
        self._put_back([*changed, *self._silent])

    def restore(self) -> None:
        """Restore everything; called after the last pass.

        Raises:
            ModelError: As in :meth:`restore_tensors`.
        """
        lost = [path for path, restore in self._restorers if not restore()]
        self._put_back(self._held.values(), lost)

    def _put_back(self, tensors: Iterable[_Held], lost: Sequence[str] = ()) -> None:
        lost = [*lost, *(held.path for held in tensors if not held.put_back())]
        if lost:
            raise ModelError(
                f"Expected a model whose forward pass leaves its weights alone; {', '.join(lost[:3])} were written "
                "to in a way that could not be undone, and are no longer what they were. Load the model again, and "
                "pass it without what updates them."
            )

    def _note_module(self, path: str, module: nn.Module) -> None:
        attributes = vars(module)
        for of_torch in (attributes, module._modules, module._non_persistent_buffers_set):
            self._note_content(path, of_torch)
        for named in (module._parameters, module._buffers):
            tensors = {name: tensor for name, tensor in named.items() if tensor is not None}
            self._note_content(path, named)
            self._named.append((named, tensors))
            self._note_tensors(path, tensors.items())
        for name, value in attributes.items():
            if name not in _OF_TORCH:
                for part in reachable(value):
                    self._note_part(f"{path}.{name}".lstrip("."), part)

    def _note_content(self, path: str, value: Any) -> None:
        restore = restorer(value)
        if restore is not None:
            self._restorers.append((path, restore))

    def _note_part(self, path: str, part: Any) -> None:
        """Note a value in an attribute of a module."""
        if isinstance(part, Tensor):
            self._note_tensors("", [(path, part)])
        elif isinstance(part, nn.Module):
            for inside, module in part.named_modules():
                if module not in self._modules:
                    self._modules.add(module)
                    self._note_module(f"{path}.{inside}".rstrip("."), module)
        else:
            self._note_content(path, part)

    def _note_tensors(self, path: str, tensors: Iterable[tuple[str, Tensor]]) -> None:
        for name, tensor in tensors:
            if id(tensor) in self._held or not is_plain(tensor) or tensor.is_meta:
                continue
            held = _Held(f"{path}.{name}".lstrip("."), tensor)
            self._held[id(tensor)] = held
            if tensor.nbytes <= SMALL:
                held.make_copy()
            else:
                self._uncopied.setdefault(tensor.untyped_storage().data_ptr(), []).append(held)


@dataclass(eq=False)
class _Held:
    """A tensor of the model.

    Attributes:
        path: Its path in the model.
        tensor: The tensor itself.
    """

    path: str
    tensor: Tensor

    def __post_init__(self) -> None:
        self._memory = (
            self.tensor.detach()
        )  # stays where it is when ``tensor.data`` is set, and shares its counter
        self._copy: Tensor | None = None
        self._count = self._writes_so_far()

    def make_copy(self) -> None:
        with torch.no_grad():
            self._copy = self._memory.clone()

    def is_changed(self) -> bool:
        """Whether its counter or its memory shows a change."""
        return self._writes_so_far() != self._count or self._is_elsewhere()

    def is_as_copied(self) -> bool:
        """Whether it equals its copy bit for bit; True without a copy."""
        return self._copy is None or torch.equal(bits(self._memory), bits(self._copy))

    def put_back(self) -> bool:
        """Restore its memory and its values. Returns False if the values are lost."""
        with torch.no_grad():
            if self._is_elsewhere():
                self.tensor.data = self._memory
            if self._copy is None:
                return self._writes_so_far() == self._count
            if not self.is_as_copied():
                self._memory.copy_(self._copy)
            self._count = self._writes_so_far()
        return True

    def _is_elsewhere(self) -> bool:
        now, was = self.tensor, self._memory
        if now.shape != was.shape or now.dtype != was.dtype or now.device != was.device:
            return True
        return now.data_ptr() != was.data_ptr() or now.stride() != was.stride()

    def _writes_so_far(self) -> int:
        # Tensors made in inference mode have no counter; only code in that mode can write to them.
        return 0 if self._memory.is_inference() else self._memory._version


def bits(tensor: Tensor) -> Tensor:
    """The memory of a tensor, in bytes."""
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors among some values, and in lists and dictionaries among them."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple | deque):
            yield from (item for item in value if isinstance(item, Tensor))
        elif isinstance(value, dict):
            yield from (item for item in value.values() if isinstance(item, Tensor))


@cache
def _writes(function: Callable[..., Any]) -> bool:
    """Whether a function writes to its first argument: ``add_``, ``x[0] = 1``, ``x.data = y``, ``init.ones_``."""
    name = getattr(function, "__name__", "")
    return name in ("__setitem__", "__set__") or (name.endswith("_") and not name.endswith("__"))


@cache
def _may_write_to_any(function: Callable[..., Any]) -> bool:
    """Whether the schema of an operator declares that it writes to some of its arguments."""
    if isinstance(function, torch._ops.OpOverloadPacket):
        overloads: list[str] = function.overloads()  # type: ignore[no-untyped-call]
        return any(getattr(function, name)._schema.is_mutable for name in overloads)
    return isinstance(function, torch._ops.OpOverload) and function._schema.is_mutable
