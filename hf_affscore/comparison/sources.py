"""Where signatures come from: objects in memory, and folders that hold one or many."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from hf_affscore.errors import InputError, SignatureError
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


def read_published(path: str | os.PathLike[str]) -> pd.DataFrame:
    """A CSV file of what is known about networks: the first column is the name, the header names the figures.

    Raises:
        InputError: The file is missing, is no such table, or names a network twice.
    """
    try:
        table = pd.read_csv(path, index_col=0)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} could not be read as a table: {error}. Expected a CSV file with a header such as "
            "network,year,accuracy,num_parameters and one line per network."
        ) from error
    table.index = table.index.map(str)
    twice = table.index[table.index.duplicated()].unique()
    if len(twice):
        raise InputError(f"{path} names {', '.join(twice)} more than once; expected one line per network.")
    return table
