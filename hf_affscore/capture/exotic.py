"""Tensors that lack what most code assumes of a tensor: strides, a storage or a length.

They are sparse, nested, quantised and opaque tensors, tensors inside a transform of torch.func, and subclasses with
their own rules of computation. A model may compute with them, so code that observes it must not assume strides, a
storage or a length. Tensors on the meta device are not among them: they only lack values.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

#: The dispatch rule of ordinary tensors, and of subclasses that only carry attributes.
_NO_RULES = torch.Tensor.__torch_dispatch__


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is dense, with strides and a storage, and computes as torch computes.

    Example:
        >>> is_plain(torch.ones(2)), is_plain(torch.ones(2).to_sparse())
        (True, False)
    """
    kind = type(tensor)
    return (
        not is_lazy(tensor)
        and (kind is Tensor or getattr(kind, "__torch_dispatch__", _NO_RULES) is _NO_RULES)
        and tensor.layout is torch.strided
        and not tensor.is_quantized
        and not tensor.is_nested
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    )
