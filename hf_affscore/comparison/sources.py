"""Sources of signatures: objects in memory, folders with one or many, and collections on the Hub."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pandas as pd

from hf_affscore.errors import InputError
from hf_affscore.signature import Signature

Published = Mapping[str, Mapping[str, Any]]
Source = Signature | str | os.PathLike[str]


def read(source: Source) -> list[Signature]:
    """The signatures of a source.

    Args:
        source: A signature; a folder with a signature, or with any number of them in subfolders; or the name of a
            collection on the Hub.

    Raises:
        SignatureError: The source has no signature, or a damaged one.
        HubError: No folder and no repository has that name, or the Hub cannot be reached.
    """
    from hf_affscore.publish import load_signatures

    return [source] if isinstance(source, Signature) else load_signatures(source)


def read_one(source: Source) -> Signature:
    """The signature of a source that has only one.

    Raises:
        InputError: It has several.
        SignatureError: It has none, or a damaged one.
        HubError: No folder and no repository has that name, or the Hub cannot be reached.
    """
    found = read(source)
    if len(found) > 1:
        named = ", ".join(signature.name for signature in found[:5])
        raise InputError(
            f"{source} has {len(found)} signatures ({named}{', ...' if len(found) > 5 else ''}); expected one. "
            "Name the folder of one; from a collection on the Hub, load it with Signature.from_pretrained(..., "
            "model=...) and save it."
        )
    return found[0]


def read_published(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a CSV file with figures of networks: the first column has their names, the header names the figures.

    Raises:
        InputError: The file is missing, is not such a table, or names a network twice.
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


def by_name(published: Published | pd.DataFrame | None, names: tuple[str, ...]) -> Published:
    """Published figures of the compared networks, by name.

    Raises:
        InputError: They name a network that is not compared.
    """
    if isinstance(published, pd.DataFrame):
        records = published.to_dict(orient="records")
        published = {
            str(name): {str(column): value for column, value in line.items()}
            for name, line in zip(published.index, records, strict=True)
        }
    published = dict(published or {})
    unknown = [name for name in published if name not in names]
    if unknown:
        raise InputError(
            f"published has figures for {', '.join(unknown)}, which is not compared; "
            f"expected names among {', '.join(names)}."
        )
    return published
