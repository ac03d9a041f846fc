"""The number format in which a checkpoint stores its weights, read from the header of a safetensors file."""

from __future__ import annotations

import json
from collections import Counter
from math import prod
from pathlib import Path

from hf_affscore.models.repository import Repository

#: Names of safetensors for the number formats of torch.
FORMATS = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I8": "int8",
    "U8": "uint8",
}

#: A header is JSON of at most this many bytes, as in safetensors itself.
LONGEST_HEADER = 100_000_000


def stored(repository: Repository) -> dict[str, str]:
    """``stored_dtype``: the number format of most weights in a checkpoint's first safetensors file.

    It may have fewer digits than the format in which the weights run. Nothing is downloaded: empty if there is no
    such file on this machine, or the format has no name in torch.
    """
    names = sorted(name for name in repository.files if name.endswith(".safetensors") and "/" not in name)
    path = repository.path_on_disk(names[0]) if names else None
    found = None if path is None else _most(path)
    return {} if found is None else {"stored_dtype": found}


def _most(path: Path) -> str | None:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > LONGEST_HEADER:
            return None
        try:
            header = json.loads(file.read(length))
        except ValueError:
            return None
    sizes: Counter[str] = Counter()
    for name, tensor in header.items():
        if name != "__metadata__":
            sizes[tensor["dtype"]] += prod(tensor["shape"])
    return FORMATS.get(sizes.most_common(1)[0][0]) if sizes else None
