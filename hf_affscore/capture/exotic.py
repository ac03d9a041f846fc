"""Tensors that are not what most code takes a tensor for: without memory of their own, or without rows.

Sparse, nested, quantised and opaque tensors, those of a transform of torch.func, and subclasses with rules of their
own. A model may compute with them; whoever watches it must not assume that they have strides, a storage, a
length. The meta device is none of these: shapes are all that it lacks values for.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

#: What ordinary tensors, and subclasses that only carry attributes, have in the place of rules of their own.
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
