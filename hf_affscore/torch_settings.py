"""Settings of torch that hold for the whole process, changed while a model is looked at and put back afterwards.

Three of them: the precision of products of float32 matrices and of float32 convolutions, whether compiled code
runs compiled, and whether operators are observed. Threads that need one at the same time share it: the first sets
it, the last puts it back.

Precision, by version of torch:

- Up to 2.8 there are two flags: ``torch.set_float32_matmul_precision`` (matrix products; on a CPU ``"medium"``
  means bfloat16) and ``torch.backends.cudnn.allow_tf32`` (convolutions and recurrent layers), which is on by
  default: on NVIDIA GPUs since Ampere, convolutions keep 10 of 23 bits.
- From 2.9 on, ``fp32_precision`` is set for each backend and operation. The flags are still there, and torch
  raises an error when a flag is read whose setting says otherwise. So both are set, and both are put back.
- ``fp32_precision`` is read and written by torch's private functions here: the public property of
  ``torch.backends.mkldnn`` writes to the setting of all backends (2.14), and reading gives what a setting amounts
  to, not whether it is inherited.
"""

from __future__ import annotations

import itertools
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Any

Operation = tuple[str, str]

#: Backends and operations that have a precision of their own; what has none inherits it from the backend, and
#: that from ``("generic", "all")``.
OPERATIONS: tuple[Operation, ...] = tuple(itertools.product(("cuda", "mkldnn"), ("matmul", "conv", "rnn")))
PARENTS: tuple[Operation, ...] = (("generic", "all"), ("cuda", "all"), ("mkldnn", "all"))

#: What is TF32 where neither it nor what it inherits from was ever set; ``"none"`` would not bring that back.
DEFAULTS: tuple[Operation, ...] = (("cuda", "conv"), ("cuda", "rnn"))

#: What each value of ``torch.get_float32_matmul_precision`` amounts to, on a GPU and on a CPU.
LEGACY = {"highest": ("ieee", "ieee"), "high": ("tf32", "tf32"), "medium": ("tf32", "bf16")}


class Shared:
    """A context that threads share: entered by the first that comes, left by the last that goes.

    Each thread restoring what it found would leave the setting of one that ended earlier.

    Args:
        context: Makes the context.

    Example:
        >>> from contextlib import closing
        >>> from io import StringIO
        >>> file = StringIO()
        >>> shared = Shared(lambda: closing(file))
        >>> with shared:
        ...     with shared:
        ...         pass
        ...     print(file.closed)
        False
        >>> file.closed
        True
    """

    def __init__(self, context: Callable[[], AbstractContextManager[Any]]) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._inside = 0
        self._undo = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._undo.enter_context(self._context())
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._undo.close()


def float32_precision() -> str:
    """The precision of float32 matrix products and convolutions as it is now.

    Returns:
        ``"ieee"``, float32 throughout; else what differs, as in ``"cuda conv tf32, cuda rnn tf32"``.

    Example:
        >>> with full_float32:
        ...     float32_precision()
        'ieee'
    """
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some versions advise against the flags whenever they are read
        if not _has_operations():
            found = {("cuda", "matmul"): LEGACY[torch.get_float32_matmul_precision()][0]}
            found["mkldnn", "matmul"] = LEGACY[torch.get_float32_matmul_precision()][1]
            found["cuda", "conv"] = "tf32" if torch.backends.cudnn.allow_tf32 else "ieee"
        else:
            found = {operation: _get(operation) for operation in OPERATIONS}
    reduced = [f"{' '.join(name)} {value}" for name, value in found.items() if value not in ("ieee", "none")]
    return ", ".join(reduced) or "ieee"


@contextmanager
def _full_float32() -> Iterator[None]:
    """Products and convolutions in float32 throughout; the settings are afterwards as they were, exactly."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = _own_values() if _has_operations() else {}
        matmul, convolutions = _flags()
        # The second flag has a default that cannot be set again: it is left alone where that is in force.
        by_default = bool(values) and "none" in (values["cuda", "conv"], values["cuda", "rnn"])
        _set_flags(matmul and "highest", None if by_default else convolutions and False)
        for operation, value in values.items():
            if value != "none" or operation == PARENTS[0]:
                _set(operation, "ieee")
    try:
        yield
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _set_flags(matmul, None if by_default else convolutions)
            for operation, value in values.items():
                if not (by_default and value == "none" and operation in DEFAULTS):
                    _set(operation, value)


def _has_operations() -> bool:
    """Whether torch has a precision for each operation (2.9 and later)."""
    import torch

    return hasattr(torch._C, "_get_fp32_precision_getter")


def _get(operation: Operation) -> str:
    import torch

    value: str = torch._C._get_fp32_precision_getter(*operation)
    return value


def _set(operation: Operation, value: str) -> None:
    import torch

    torch._C._set_fp32_precision_setter(*operation, value)


def _own_values() -> dict[Operation, str]:
    """The settings themselves, ``"none"`` where one is inherited.

    Reading tells what a setting amounts to. One that follows when the setting above it changes is inherited.
    """
    values = {PARENTS[0]: _get(PARENTS[0])}
    for operation in (*PARENTS[1:], *OPERATIONS):
        above = PARENTS[0] if operation in PARENTS else (operation[0], "all")
        seen = set()
        for value in ("ieee", "tf32"):
            _set(above, value)
            seen.add(_get(operation))
        _set(above, values[above])
        values[operation] = "none" if len(seen) > 1 else _get(operation)
    return values


def _flags() -> tuple[str | None, bool | None]:
    """The two flags; None where torch refuses to read one because the settings say otherwise already."""
    import torch

    matmul, convolutions = None, None
    with suppress(RuntimeError):
        matmul = torch.get_float32_matmul_precision()
    with suppress(RuntimeError):
        convolutions = torch.backends.cudnn.allow_tf32
    return matmul, convolutions


def _set_flags(matmul: str | None, convolutions: bool | None) -> None:
    """Set those that are to be set and have another value."""
    import torch

    if matmul is not None and _flags()[0] != matmul:
        torch.set_float32_matmul_precision(matmul)
    if convolutions is not None and _flags()[1] is not convolutions:
        torch.backends.cudnn.allow_tf32 = convolutions


def _uncompiled() -> AbstractContextManager[Any]:
    import torch

    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance


@contextmanager
def _observing() -> Iterator[None]:
    from torch.utils import _python_dispatch as module

    before = {name: value for name, value in vars(module).items() if name.startswith("_is_in_")}
    try:
        yield
    finally:
        vars(module).update(before)


#: Float32 products and convolutions are computed in float32 throughout.
full_float32 = Shared(_full_float32)

#: Compiled code runs as it was before it was compiled.
uncompiled = Shared(_uncompiled)

#: Operators are observed by a mode of dispatch, which puts torch's record of whether there is one back as found:
#: of two that overlap in threads the last would leave it on, and torch 2.6 would then compile nothing more.
observing = Shared(_observing)
