"""Tables of activations, and functions that look up modules and functions in them.

There are two tables: module classes, by the Python module that defines them (so that no library has to be
imported), and functions, by their names in ``torch.nn.functional``. A function stands for all its forms:
``F.relu(x)``, ``torch.relu(x)``, ``x.relu()``, ``x.relu_()`` and ``torch.ops.aten.relu(x)``.

A composite such as QuickGELU is one activation: it is listed as a class, and the calls inside it are ignored. A
gated unit (GLU) is scored by the non-linearity of its gate. Softmax, attention and recurrent cells are in the
tables too, so that they are reported as skipped.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import BuiltinFunctionType, FunctionType
from typing import Any, Literal, TypeVar, cast

import torch
from torch import nn
from torch.overrides import handle_torch_function, has_torch_function

from hf_affscore.capture.kernels import NAMESPACES, kernel_of_name
from hf_affscore.errors import InputError

Role = Literal["activation", "gate", "softmax", "attention", "recurrent", "fused", "custom"]
Target = TypeVar("Target", bound=Callable[..., Any])

#: Module classes by role and defining Python module. A subclass counts as the class it derives from.
MODULES: dict[Role, dict[str, tuple[str, ...]]] = {
    "activation": {
        "torch.nn.modules.activation": (
            *("CELU", "ELU", "GELU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU"),
            *("LogSigmoid", "Mish", "PReLU", "RReLU", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid"),
            *("Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink", "Threshold"),
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
    "gate": {"torch.nn.modules.activation": ("GLU",)},
    "softmax": {"torch.nn.modules.activation": ("LogSoftmax", "Softmax", "Softmax2d", "Softmin")},
    "attention": {"torch.nn.modules.activation": ("MultiheadAttention",)},
    "recurrent": {"torch.nn.modules.rnn": ("GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNCell")},
}

#: Functions by their name in torch.nn.functional.
FUNCTIONS: dict[Role, tuple[str, ...]] = {
    "activation": (
        *("celu", "elu", "gelu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu"),
        *("logsigmoid", "mish", "prelu", "relu", "relu6", "rrelu", "selu", "sigmoid", "silu", "softplus"),
        *("softshrink", "softsign", "tanh", "tanhshrink", "threshold"),
    ),
    "gate": ("glu",),
    "softmax": ("gumbel_softmax", "log_softmax", "softmax", "softmin"),
    "attention": ("multi_head_attention_forward", "scaled_dot_product_attention"),
    "recurrent": (
        *("gru", "gru_cell", "lstm", "lstm_cell"),
        *("rnn_relu", "rnn_relu_cell", "rnn_tanh", "rnn_tanh_cell"),
    ),
}

#: Other names of the same functions, in torch.special and torch's C++ bindings.
ALIASES = {
    "sigmoid": ("expit", "special_expit"),
    "logsigmoid": ("log_sigmoid",),
    "softmax": ("_softmax", "special_softmax"),
    "log_softmax": ("_log_softmax", "special_log_softmax"),
}


#: Where torch's own Python files are.
_TORCH = str(Path(torch.__file__).parent)


@dataclass(frozen=True)
class Activation:
    """An entry of the tables.

    Attributes:
        name: Class name (``"ReLU"``) or function name (``"relu"``).
        role: ``"activation"`` and ``"gate"`` are scored, the others are listed as skipped, with the reason.
    """

    name: str
    role: Role


_registered: dict[Callable[..., Any], Activation] = {}


def register_activation(target: Target) -> Target:
    """Add an activation: a module class, a torch function, or a function of your own.

    Args:
        target: A subclass of ``nn.Module``, whose calls and those of its subclasses are captured; a function of
            torch that takes a tensor (``torch.clamp``); or a Python function. Torch cannot observe calls of Python
            functions, so use the returned function in place of the original. Works as a decorator.

    Returns:
        ``target``, or for a Python function its observable replacement.

    Raises:
        InputError: ``target`` is none of these.

    Example:
        >>> @register_activation
        ... def snake(x: torch.Tensor) -> torch.Tensor:
        ...     return x + x.sin() ** 2
        >>> of_function(snake)
        Activation(name='snake', role='activation')
    """
    name = getattr(target, "__name__", "")
    if not callable(target) or not name or (isinstance(target, type) and not issubclass(target, nn.Module)):
        raise InputError(
            f"Expected a subclass of torch.nn.Module or a function to register, got {target!r}. For an "
            "instance, register its class."
        )
    activation = Activation(name, "activation")
    if isinstance(target, type):
        _registered[target] = activation
    elif target in torch.overrides.get_testing_overrides():  # torch's own: visible in all its forms
        _registered.update(dict.fromkeys((target, *forms(name, f"{name}_")), activation))
    elif target not in _registered:
        target = _visible(target)
        _registered[target] = activation
    return target


def _visible(function: Target) -> Target:
    """A wrapper of ``function`` that reports its calls as torch's own functions do."""

    @functools.wraps(function)
    def reported(*args: Any, **kwargs: Any) -> Any:
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)]
        if has_torch_function(tensors):
            return handle_torch_function(reported, tensors, *args, **kwargs)
        return function(*args, **kwargs)

    return cast(Target, reported)


def of_module(module: nn.Module) -> Activation | None:
    """The activation that a module is, or ``None``.

    Example:
        >>> of_module(nn.ReLU6())
        Activation(name='ReLU6', role='activation')
        >>> of_module(nn.Linear(2, 2)) is None
        True
    """
    name = type(module).__name__
    for base in type(module).__mro__:
        if base in _registered:
            return Activation(name, "activation")
        for role, homes in MODULES.items():
            if base.__name__ in homes.get(base.__module__, ()):
                return Activation(name, role)
    return None


def of_function(function: Callable[..., Any]) -> Activation | None:
    """The activation that a function is, in any of its forms, or ``None``.

    Other tools replace functions of torch by their own, temporarily or for good. A function that replaces an
    activation function of torch counts as that function, whenever it was replaced.

    Example:
        >>> of_function(torch.Tensor.relu_)
        Activation(name='relu', role='activation')
    """
    if isinstance(function, torch._ops.OpOverload):
        function = function.overloadpacket
    try:
        known = _functions().get(function) or _registered.get(function)
    except TypeError:  # a callable object that has no hash
        return _in_place_of(function)
    if known is not None:
        return known
    if isinstance(function, torch._ops.OpOverloadPacket):
        return _operator(function)
    if isinstance(function, torch._ops.HigherOrderOperator):
        return _of_name(function.__name__) or Activation(function.__name__, "custom")
    if isinstance(function, BuiltinFunctionType):
        return _of_name(function.__name__)
    # Python functions of torch itself never stand for another one.
    own = isinstance(function, FunctionType) and function.__code__.co_filename.startswith(_TORCH)
    return None if own and function.__name__ not in _names() else _in_place_of(function)


def _in_place_of(function: Callable[..., Any]) -> Activation | None:
    """The activation function of torch that this function has replaced, or ``None``."""
    if not isinstance(function, FunctionType) and type(function).__module__ == "builtins":
        return None  # methods and descriptors of torch, of which there are many
    for name, activation in _names().items():
        if any(vars(home).get(name) is function for home in (nn.functional, torch, torch.Tensor)):
            return activation
    return None


@cache
def _operator(packet: Any) -> Activation | None:
    """The activation of an operator that is not in the tables, by its name; unknown namespaces count as custom."""
    namespace, _, name = packet._qualified_op_name.partition("::")
    if namespace != "aten" and (activation := _names().get(name.removesuffix("_"))) is not None:
        return activation
    known = _of_name(name)
    return known or (None if namespace in NAMESPACES else Activation(f"{namespace}.{name}", "custom"))


@cache
def _of_name(name: str) -> Activation | None:
    """A kernel whose name tells that there is an activation in it."""
    kernel = kernel_of_name(name)
    return kernel and Activation(name, kernel)


@cache
def _names() -> dict[str, Activation]:
    """The activations of the table by the names of their functions."""
    return {
        form: Activation(name, role)
        for role, names in FUNCTIONS.items()
        for name in names
        for form in (name, f"{name}_", *ALIASES.get(name, ()))
    }


@cache
def _functions() -> dict[Callable[..., Any], Activation]:
    """Every form of every function in the table."""
    return {form: activation for name, activation in _names().items() for form in forms(name)}


def forms(*names: str) -> Iterator[Callable[..., Any]]:
    """Every function of torch that has one of these names: functional, method, binding, operator."""
    # The public places, and below the C++ bindings, which other tools do not replace.
    homes = (
        *(nn.functional, torch, torch.Tensor, torch.special, torch._C._nn, torch.ops.aten),
        *(torch._C.TensorBase, torch._C._VariableFunctions),
    )
    return (getattr(home, name) for home in homes for name in names if hasattr(home, name))


def registered_names() -> list[str]:
    """Full names of the activations registered in this process, sorted: they change which calls are scored."""
    return sorted(
        {
            f"{getattr(target, '__module__', None) or 'torch'}.{getattr(target, '__qualname__', activation.name)}"
            for target, activation in _registered.items()
        }
    )
