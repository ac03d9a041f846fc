"""The metadata of a signature, and the key of the cache: everything that changes a number."""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_affscore.images.stream import ImageStream
from hf_affscore.models.loading import Checkpoint
from hf_affscore.options import Options
from hf_affscore.run.conditions import conditions
from hf_affscore.run.groups import Totals
from hf_affscore.run.processes import Processes
from hf_affscore.run.stored import digest
from hf_affscore.signature import NUMBERS_VERSION
from hf_affscore.sources import Source
from hf_affscore.version import __version__

if TYPE_CHECKING:
    import torch

#: How many reasons for undecodable images a signature holds at most.
REASONS = 20


def asked(
    model: Source, others: Mapping[str, str], dataset: Source, options: Options, device: torch.device
) -> dict[str, Any]:
    """The request and the conditions of an analysis, JSON-ready: the key of its cache.

    Args:
        model: The checkpoint and its state.
        others: The states of what it is loaded from besides, by name.
        dataset: The data set and its state.
        options: Options that can change a number are part of the key.
        device: Where the model runs; its type is part of the key, its index is not.
    """
    return {
        "model": {"name": model.name, "state": model.state, **({"others": others} if others else {})},
        "dataset": {**json.loads(json.dumps(asdict(dataset))), "location": _location(dataset)},
        "options": {**options.recorded(), "device": device.type},
        "numbers_version": NUMBERS_VERSION,
        "conditions": conditions(options, device),
    }


def _location(source: Source) -> str:
    """The location of a data set, absolute if local: data sets of the same name in two folders differ."""
    is_local = source.commit is None and Path(source.location).exists()
    return str(Path(source.location).resolve()) if is_local else source.location


def metadata(
    checkpoint: Checkpoint,
    stream: ImageStream,
    totals: Totals,
    options: Options,
    processes: Processes,
    precision: str,
) -> dict[str, Any]:
    """The metadata of a signature: everything that changes a number, and the environment.

    Args:
        checkpoint: The model, and its preprocessing.
        stream: The images.
        totals: Totals over the images that were used.
        options: Options that can change a number are included.
        processes: The processes that shared the work.
        precision: Precision of float32 operations while the model ran.
    """
    weights = {"weights": f"random, seed {options.seed}"} if options.random_weights else {}
    return {
        "model": {
            **checkpoint.metadata,
            **weights,
            "deterministic": totals.deterministic,
            "batch_dependent": totals.batch_dependent,
            **({"batch_size": options.batch_size} if totals.batch_dependent else {}),
        },
        "dataset": {
            **stream.metadata,
            "num_samples": totals.num_samples,
            "num_groups": totals.num_groups,
            "unused": totals.unused,
            "fingerprint": digest(totals.fingerprints),  # of all images that were used, in order
            "undecodable": len(totals.undecodable),
            "undecodable_reasons": totals.undecodable[:REASONS],
        },
        "preprocessing": checkpoint.preprocessing | {"applied": "ready_tensors" not in stream.metadata},
        "options": options.recorded(),
        "numbers_version": NUMBERS_VERSION,
        "environment": {**_environment(checkpoint, options, processes), "float32_precision": precision},
    }


def _environment(checkpoint: Checkpoint, options: Options, processes: Processes) -> dict[str, Any]:
    import torch

    device = next((p.device for p in checkpoint.module.parameters()), torch.device("cpu"))
    found = conditions(options, device)
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        **found,
        "versions": {"hf_affscore": __version__, **found["versions"]},
        "device": str(device),
        "num_threads": torch.get_num_threads(),
        "num_processes": processes.size,
    }
