"""The settings of an analysis that can change its numbers, as part of a signature's key in a collection."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hf_affscore.options import Options

#: Options that change a number only by rounding, or that commits stand for.
EQUIVALENT = frozenset(
    {"batch_size", "device", "device_map", "device_memory_limit", "revision", "dataset_revision"}
)

#: Options whose outcome is in the key already: the configuration and the split that were used.
_RESOLVED = frozenset({"split", "dataset_config"})


def chosen(options: Mapping[str, Any]) -> dict[str, Any]:
    """The recorded options that differ from their defaults and can change a number.

    An option that an older version of this package did not have counts as its default.

    Example:
        >>> chosen({"num_samples": 512, "seed": 0, "device": "cuda"})
        {'num_samples': 512}
    """
    usual = Options().recorded()
    return {
        name: value
        for name, value in sorted(options.items())
        if name not in EQUIVALENT and (name not in usual or usual[name] != value)
    }


def settings_of(metadata: Mapping[str, Any]) -> str:
    """The settings of a signature as JSON: its chosen options, and what else it was asked for.

    Example:
        >>> settings_of({"options": {"num_samples": 512, "split": "test"}})
        '{"num_samples": 512}'
    """
    found = {
        name: value for name, value in chosen(metadata.get("options", {})).items() if name not in _RESOLVED
    }
    model, preprocessing = metadata.get("model", {}), metadata.get("preprocessing", {})
    notes = {
        "batch_size": model.get("batch_size"),  # recorded where an output depends on the batch
        "processor": preprocessing.get("class") if preprocessing.get("source") == "argument" else None,
    }
    found |= {name: value for name, value in notes.items() if value is not None}
    return json.dumps(found, ensure_ascii=False, sort_keys=True)
