"""The network that is being trained: removes its wrappers, and refuses sharded weights."""

from __future__ import annotations

from torch import nn

from hf_affscore.errors import ModelError


def unwrapped(model: nn.Module) -> nn.Module:
    """The network inside its wrappers for data parallel training and compilation."""
    from accelerate.utils import extract_model_from_parallel

    inner: nn.Module = extract_model_from_parallel(model, keep_torch_compile=False)
    return inner if inner is model else unwrapped(inner)


def refuse_sharded(model: nn.Module) -> None:
    """Raise if no process has the whole network: FSDP, tensor parallelism, DeepSpeed's ZeRO-3.

    Raises:
        ModelError: The weights are sharded over processes.
    """
    wrapped = any(type(part).__name__ == "FullyShardedDataParallel" for part in model.modules())
    spread = any(hasattr(p, "device_mesh") or hasattr(p, "ds_id") for p in model.parameters())
    if wrapped or spread:
        raise ModelError(
            f"Expected a network that every process has whole; the weights of {type(model).__name__} are spread "
            "over processes. Train with data parallelism, or analyse saved checkpoints."
        )
