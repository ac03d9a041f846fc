"""What counts as an activation, as data beside the mechanism that looks for it.

Two tables: classes of modules, named by where they are defined (so that nothing has to be imported to look
for them), and functions, named as in ``torch.nn.functional``. A function stands for all its forms:
``F.relu(x)``, ``torch.relu(x)``, ``x.relu()``, ``x.relu_()`` and ``torch.ops.aten.relu(x)``.

A composite such as QuickGELU is one activation: it is listed as a class, and what it calls inside is not
looked at. Softmax, attention and recurrent cells are in the tables too, so that they can be reported as seen
and not scored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
from torch import nn

Role = Literal["activation", "softmax", "attention", "recurrent"]

#: Module classes by defining Python module. A subclass counts as the class it derives from.
MODULES: dict[Role, dict[str, tuple[str, ...]]] = {
    "activation": {
        "torch.nn.modules.activation": (
            *("CELU", "ELU", "GELU", "GLU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh"),
            *("LeakyReLU", "LogSigmoid", "Mish", "PReLU", "RReLU", "ReLU", "ReLU6", "SELU", "SiLU"),
            *("Sigmoid", "Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink", "Threshold"),
        ),
        "transformers.activations": (
            *("AccurateGELUActivation", "ClippedGELUActivation", "FastGELUActivation", "GELUActivation"),
            *("GELUTanh", "LaplaceActivation", "MishActivation", "NewGELUActivation"),
            *("QuickGELUActivation", "ReLUSquaredActivation", "SiLUActivation"),
            *("SqrtSoftplusActivation", "XIELUActivation"),
        ),
        "timm.layers.activations": (
            *("GELU", "GELUTanh", "HardMish", "HardSigmoid", "HardSwish", "Mish", "PReLU"),
            *("QuickGELU", "Sigmoid", "Swish", "Tanh"),
        ),
        "timm.layers.activations_me": ("HardMishMe", "HardSigmoidMe", "HardSwishMe", "MishMe", "SwishMe"),
        "timm.models.metaformer": ("SquaredReLU", "StarReLU"),
        "timm.models.nfnet": ("GammaAct",),
    },
    "softmax": {"torch.nn.modules.activation": ("LogSoftmax", "Softmax", "Softmax2d", "Softmin")},
    "attention": {"torch.nn.modules.activation": ("MultiheadAttention",)},
    "recurrent": {"torch.nn.modules.rnn": ("GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNCell")},
}

#: Functions by the name they have in torch.nn.functional.
FUNCTIONS: dict[Role, tuple[str, ...]] = {
    "activation": (
        *("celu", "elu", "gelu", "glu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh"),
        *("leaky_relu", "logsigmoid", "mish", "prelu", "relu", "relu6", "rrelu", "selu", "sigmoid"),
        *("silu", "softplus", "softshrink", "softsign", "tanh", "tanhshrink", "threshold"),
    ),
    "softmax": ("gumbel_softmax", "log_softmax", "softmax", "softmin"),
    "attention": ("multi_head_attention_forward", "scaled_dot_product_attention"),
    "recurrent": (
        "gru",
        "gru_cell",
        "lstm",
        "lstm_cell",
        "rnn_relu",
        "rnn_relu_cell",
        "rnn_tanh",
        "rnn_tanh_cell",
    ),
}

#: Other names of the same functions: in torch.special and in torch's C++ bindings.
ALIASES = {
    "sigmoid": ("expit", "special_expit"),
    "logsigmoid": ("log_sigmoid",),
    "softmax": ("_softmax", "special_softmax"),
    "log_softmax": ("_log_softmax", "special_log_softmax"),
}

#: Why a role is not scored.
REASONS: dict[Role, str] = {
    "softmax": "softmax mixes the entries of a row and is no element-wise activation",
    "attention": "attention is left out, as in the paper",
    "recurrent": "the gates inside a recurrent cell cannot be observed from outside",
}

_ATTENTION_NAME = re.compile(r"(?:.*_)?(?:attn|attention)(?:_.*)?\d*")


@dataclass(frozen=True)
class Activation:
    """An entry of the tables.

    Attributes:
        name: Class name (``"ReLU"``) or function name (``"relu"``).
        role: ``"activation"`` is scored, the others are reported with a reason.
    """

    name: str
    role: Role


def of_module(module: nn.Module) -> Activation | None:
    """The activation that a module is, or ``None``.

    Example:
        >>> of_module(nn.ReLU6())
        Activation(name='ReLU6', role='activation')
        >>> of_module(nn.Linear(2, 2)) is None
        True
    """
    for base in type(module).__mro__:
        for role, homes in MODULES.items():
            if base.__name__ in homes.get(base.__module__, ()):
                return Activation(type(module).__name__, role)
    return None


def of_function(function: Callable[..., Any]) -> Activation | None:
    """The activation that a function is, in any of its forms, or ``None``.

    Example:
        >>> of_function(torch.Tensor.relu_)
        Activation(name='relu', role='activation')
    """
    if isinstance(function, torch._ops.OpOverload):
        function = function.overloadpacket
    return _functions().get(function)


@cache
def _functions() -> dict[Callable[..., Any], Activation]:
    """Every form of every function in the table."""
    return {
        form: Activation(name, role)
        for role, names in FUNCTIONS.items()
        for name in names
        for form in _forms(name)
    }


def _forms(name: str) -> Iterator[Callable[..., Any]]:
    homes = (nn.functional, torch, torch.Tensor, torch.special, torch._C._nn, torch.ops.aten)
    for home in homes:
        for alias in (name, f"{name}_", *ALIASES.get(name, ())):
            if (form := getattr(home, alias, None)) is not None:
                yield form


def why_skipped(activation: Activation, path: str) -> str | None:
    """Why a call is not scored, or ``None`` if it is.

    As in the paper, what runs inside attention is left out: any module with a path component that has the
    word ``attn`` or ``attention`` in it (``attn``, ``self_attention``, ``attention_output``).

    Args:
        activation: What was called.
        path: Path of the module that ran, or that encloses the call.

    Example:
        >>> why_skipped(Activation("ReLU", "activation"), "blocks.0.attn.proj")
        "inside attention ('attn' in the path), which is left out, as in the paper"
    """
    if activation.role != "activation":
        return REASONS[activation.role]
    inside = next((part for part in path.split(".") if _ATTENTION_NAME.fullmatch(part)), None)
    return inside and f"inside attention ({inside!r} in the path), which is left out, as in the paper"


def looked_for() -> list[str]:
    """Names of everything that is scored when it is called, for messages and documentation."""
    classes = (f"{home}.{name}" for home, names in MODULES["activation"].items() for name in names)
    return [*classes, *(f"torch.nn.functional.{name}" for name in FUNCTIONS["activation"])]
