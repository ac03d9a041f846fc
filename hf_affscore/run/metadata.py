"""What a signature says about how it was made, and what is asked of the cache: everything that changes a number."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
from typing import Any

from hf_affscore.images.stream import ImageStream
from hf_affscore.models.loading import Checkpoint
from hf_affscore.options import Options
from hf_affscore.run.groups import Totals
from hf_affscore.run.processes import Processes
from hf_affscore.signature import NUMBERS_VERSION
from hf_affscore.sources import Source
from hf_affscore.version import __version__

#: Libraries that take part in making a number.
LIBRARIES = (
    *("torch", "torchvision", "transformers", "timm", "datasets", "accelerate"),
    *("numpy", "scipy", "pillow"),
)

#: How many reasons of images that could not be decoded a signature holds.
REASONS = 20


def asked(model: Source, dataset: Source, options: Options, device: str) -> dict[str, Any]:
    """What an analysis is asked for, JSON-ready: the key of its cache.

    Args:
        model: The checkpoint and its state.
        dataset: The data set and its state.
        options: Those that can change a number are part of it.
        device: Type of the device that the model runs on.
    """
    return {
        "model": {"name": model.name, "state": model.state},
        "dataset": {"name": dataset.name, "state": dataset.state},
        "options": {**options.recorded(), "device": device},
        "numbers_version": NUMBERS_VERSION,
        "versions": versions(),
    }


def metadata(
    checkpoint: Checkpoint,
    stream: ImageStream,
    totals: Totals,
    options: Options,
    processes: Processes,
    precision: str,
) -> dict[str, Any]:
    """Everything that changes a number, and what the numbers were made with.

    Args:
        checkpoint: The model, and its preprocessing.
        stream: The images.
        totals: What was used of them.
        options: Those that can change a number are part of it.
        processes: How many shared the work.
        precision: Of float32 operations while the model ran.
    """
    weights = {"weights": f"random, seed {options.seed}"} if options.random_weights else {}
    return {
        "model": {**checkpoint.metadata, **weights},
        "dataset": {
            **stream.metadata,
            "num_samples": totals.num_samples,
            "num_groups": totals.num_groups,
            "unused": totals.unused,
            "undecodable": len(totals.undecodable),
            "undecodable_reasons": totals.undecodable[:REASONS],
        },
        "preprocessing": checkpoint.preprocessing,
        "options": options.recorded(),
        "numbers_version": NUMBERS_VERSION,
        "environment": {**_environment(checkpoint, processes), "float32_precision": precision},
    }


def versions() -> dict[str, str]:
    """The versions of the libraries that take part in making a number."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def _environment(checkpoint: Checkpoint, processes: Processes) -> dict[str, Any]:
    import torch

    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": {"hf_affscore": __version__, **versions()},
        "device": str(next((p.device for p in checkpoint.module.parameters()), "cpu")),
        "num_threads": torch.get_num_threads(),
        "num_processes": processes.size,
    }
