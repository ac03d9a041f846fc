"""Where signatures come from: objects in memory, and folders that hold one or many."""

from __future__ import annotations

import os
from pathlib import Path

from hf_affscore.errors import SignatureError
from hf_affscore.signature import JSON_FILE, Signature

Source = Signature | str | os.PathLike[str]


def read(source: Source) -> list[Signature]:
    """The signatures that ``source`` stands for.

    Args:
        source: A signature; or a folder that holds a signature, or any number of them further down. Those
            are read in the order of their paths.

    Raises:
        SignatureError: The folder does not exist, holds no signature, or holds a damaged one.
    """
    if isinstance(source, Signature):
        return [source]
    folder = Path(source)
    found = sorted(path.parent for path in folder.rglob(JSON_FILE))
    if not found:
        state = f"no {JSON_FILE} in it or below" if folder.is_dir() else "not a folder here"
        raise SignatureError(
            f"No signature in {source}: {state}. Make one with `hf-affscore analyze ... --output {source}`."
        )
    return [Signature.from_pretrained(path) for path in found]
