"""Tensors that lack what most code assumes of a tensor: strides, a storage or a length.

They are sparse, nested, quantised and opaque tensors, tensors inside a transform of torch.func, and subclasses with
their own rules of computation. A model may compute with them, so code that observes it must not assume strides, a
storage or a length. Tensors on the meta device are not among them: they only lack values.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

#: The dispatch rule of ordinary tensors, and of subclasses that only carry attributes.
_NO_RULES = torch.Tensor.__torch_dispatch__


def has_rules(kind: type) -> bool:
    """Whether tensors of a class compute by rules of their own."""
    return kind is not Tensor and getattr(kind, "__torch_dispatch__", _NO_RULES) is not _NO_RULES


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is dense, with strides and a storage, and computes as torch computes.

    Example:
        >>> is_plain(torch.ones(2)), is_plain(torch.ones(2).to_sparse())
        (True, False)
    """
    return (
        not is_lazy(tensor)
        and not has_rules(type(tensor))
        and tensor.layout is torch.strided
        and not tensor.is_quantized
        and not tensor.is_nested
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    )


def kind_of(tensor: Tensor) -> str:
    """The kind of a tensor that is not plain, in words."""
    if tensor.is_quantized:
        return "quantised tensor"
    if tensor.is_nested:
        return "nested tensor"
    layout = str(tensor.layout).removeprefix("torch.")
    return f"{layout} tensor" if layout != "strided" else type(tensor).__name__


def tensors_in(values: Any) -> Iterator[Tensor]:
    """The plain tensors that have entries, in nested tuples, lists and dictionaries."""
    if isinstance(values, Tensor):
        if is_plain(values) and values.numel() > 0:
            yield values
    elif isinstance(values, dict):
        yield from tensors_in(tuple(values.values()))
    elif isinstance(values, tuple | list):
        for value in values:
            yield from tensors_in(value)
