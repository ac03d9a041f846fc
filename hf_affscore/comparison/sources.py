"""Where signatures come from: objects in memory, folders that hold one or many, and collections on the Hub."""

from __future__ import annotations

import os

import pandas as pd

from hf_affscore.errors import InputError
from hf_affscore.signature import Signature

Source = Signature | str | os.PathLike[str]


def read(source: Source) -> list[Signature]:
    """The signatures that ``source`` stands for.

    Args:
        source: A signature; a folder that holds a signature, or any number of them further down; or the name
            of a collection on the Hub.

    Raises:
        SignatureError: There is no signature, or a damaged one.
        HubError: There is neither a folder nor a repository of that name, or the Hub cannot be reached.
    """
    from hf_affscore.publish import load_signatures

    return [source] if isinstance(source, Signature) else load_signatures(source)


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
