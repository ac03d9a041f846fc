"""What a kernel or an operator computes, as far as its name tells."""

from __future__ import annotations

import re
from typing import Literal

#: What a name can tell; each is a role of :mod:`hf_affscore.capture.activations`.
Kernel = Literal["recurrent", "attention", "softmax", "fused"]

#: Namespaces of operators whose activations can be recognised by name.
NAMESPACES = {
    *("aten", "prim", "prims", "quantized", "quantized_decomposed", "torchvision", "image", "torchaudio"),
    *("onednn", "mkldnn", "mkl", "sparse", "inductor", "c10d", "_c10d_functional", "profiler"),
}

#: Words in the names of kernels, the more telling first: ``_cudnn_rnn``, ``flash_attn_fwd``, ``_safe_softmax``; and
#: those of activations that are computed together with something else: ``conv2d_relu``, ``silu_and_mul``.
_WORDS: tuple[tuple[Kernel, str], ...] = (
    ("recurrent", "lstm|gru|rnn"),
    ("attention", "attention|attn"),
    ("softmax", "softmax"),
    (
        "fused",
        "c?e?lu|[gs]elu|relu6?|silu|swish|mish|p?relu|tanh|sigmoid|hardswish|hardsigmoid|hardtanh|softplus"
        "|(?:sw|ge|re)i?glu|activation|pointwise",
    ),
)
_PATTERNS = tuple((kernel, re.compile(f"(?:^|_)(?:{words})(?:_|$)")) for kernel, words in _WORDS)

#: Names of what computes gradients, or arranges weights.
_OTHERS = re.compile("backward|flatten_weight|_params$")


def kernel_of_name(name: str) -> Kernel | None:
    """What a kernel with an activation in it is, by its name, or ``None``.

    Example:
        >>> kernel_of_name("conv2d_relu"), kernel_of_name("_safe_softmax"), kernel_of_name("conv2d")
        ('fused', 'softmax', None)
    """
    if _OTHERS.search(name):
        return None
    return next((kernel for kernel, words in _PATTERNS if words.search(name)), None)
