"""Finds a published signature that an analysis would compute again: same commits, options and numbers version.

A collection is content from elsewhere: files are checked as in :mod:`.fetch`, and what a signature says about
itself is compared with what was asked for, whatever the index says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hf_affscore.errors import AffscoreError, InputError, warn
from hf_affscore.fileformat import source_of
from hf_affscore.hub import failures_named, is_repo_id
from hf_affscore.options import Options
from hf_affscore.publish.fetch import Collection
from hf_affscore.publish.index import Entry
from hf_affscore.publish.settings import chosen
from hf_affscore.retries import retried
from hf_affscore.signature import NUMBERS_VERSION, Signature
from hf_affscore.sources import Source
from hf_affscore.tokens import Token

#: The entry in the metadata of a signature that was fetched instead of computed.
NOTE = "reused"


class PublishedSignatures:
    """The signatures of a collection, to be reused; its list is fetched once, when the first is looked for.

    Args:
        repo_id: The collection: ``user/signatures``.
        token: Access token for the Hub.

    Raises:
        InputError: ``repo_id`` is not the name of a repository.
    """

    def __init__(self, repo_id: str, token: Token = None) -> None:
        if not is_repo_id(repo_id):
            raise InputError(
                f"reuse is {repo_id!r}; expected the name of a collection on the Hub such as 'user/signatures'."
            )
        self.repo_id = repo_id
        self._token = token
        self._collection: Collection | None = None
        self._entries: list[Entry] | None = None

    def find(
        self, model: Source, dataset: Source, options: Options, registered: Sequence[str]
    ) -> Signature | None:
        """The published signature of an analysis, with a note in its metadata; None if there is none.

        A collection that cannot be read, and a signature that is damaged, lead to a warning.

        Args:
            model: The checkpoint and its commit.
            dataset: The data set and its commit.
            options: The options of the analysis.
            registered: Names of the activations that were registered in this process.
        """
        own_code = callable(options.loader) or ":" in (options.loader or "")
        if model.commit is None or dataset.commit is None or options.random_weights or own_code:
            return None
        wanted = {
            "model": model.name,
            "model_revision": model.commit,
            "dataset": dataset.name,
            "dataset_revision": dataset.commit,
        }
        try:
            for entry in self._listed():
                if _matches(entry.source, wanted) and entry.chosen == chosen(options.recorded()):
                    signature = self._load(entry)
                    if _is_of(signature, wanted, options, registered):
                        return self._noted(signature)
        except AffscoreError as error:
            warn(f"No published signature of {model.name} could be used, so it is computed. {error}")
        return None

    def _listed(self) -> list[Entry]:
        """The index of the collection; empty after it could not be read once."""
        if self._entries is None:
            self._entries = []
            with failures_named("dataset", self.repo_id, publishing=True):
                self._collection = retried(lambda: Collection.at(self.repo_id, None, self._token))
                self._entries = retried(self._collection.entries)
        return self._entries

    def _load(self, entry: Entry) -> Signature:
        assert self._collection is not None
        collection = self._collection
        with failures_named("dataset", self.repo_id, publishing=True):
            return retried(lambda: collection.load(Signature, [entry]))[0]

    def _noted(self, signature: Signature) -> Signature:
        assert self._collection is not None
        note = {"collection": self.repo_id, "commit": self._collection.commit}
        return replace(signature, metadata={**signature.metadata, NOTE: note})


def without_note_of(repo_id: str, signature: Signature) -> Signature:
    """The signature as the collection ``repo_id`` has it, if it was fetched from there; else unchanged."""
    note = signature.metadata.get(NOTE)
    if not isinstance(note, dict) or note.get("collection") != repo_id:
        return signature
    rest = {name: value for name, value in signature.metadata.items() if name != NOTE}
    return replace(signature, metadata=rest)


def _matches(source: dict[str, str | None], wanted: dict[str, str]) -> bool:
    """Whether it is the source of a trained checkpoint with these commits."""
    free = ("dataset_config", "dataset_split")  # equal options choose equal ones
    return {**dict.fromkeys(source), **wanted} == {
        name: None if name in free else value for name, value in source.items()
    }


def _is_of(signature: Signature, wanted: dict[str, str], options: Options, registered: Sequence[str]) -> bool:
    """Whether a signature is what this analysis would compute, by its own metadata.

    Raises:
        InputError: It is, but it is damaged.
    """
    metadata = signature.metadata
    model, dataset = metadata.get("model", {}), metadata.get("dataset", {})
    recorded = metadata.get("options", {})
    conditions = (
        _matches(source_of(metadata), wanted),
        metadata.get("numbers_version") == NUMBERS_VERSION,
        chosen(recorded) == chosen(options.recorded()),
        _part(metadata, "preprocessing").get("source") == "checkpoint",
        metadata.get("environment", {}).get("registered_activations") == list(registered),
        model.get("deterministic") is True,
        model.get("batch_dependent") is not True or recorded.get("batch_size") == options.batch_size,
    )
    if not all(conditions):
        return False
    lacks, draw = _part(model, "missing_weights"), _part(dataset, "draw")
    faults = {
        "no rows": not signature.rows,
        "a score that is no number, without a reason": any(
            not (math.isfinite(score) or row.get("reason"))
            for row, score in zip(signature.rows, signature.scores, strict=True)
        ),
        "names that do not print": not all(
            str(value).isprintable()
            for row in (*signature.rows, *signature.skipped, {"class": model.get("class", "")})
            for value in row.values()
        ),
        "no number of images": not _whole(dataset.get("num_samples"), 2)
        or not _whole(dataset.get("undecodable"), 0),
        "missing weights without names": bool(lacks)
        and not (_whole(lacks.get("number"), 1) and _are_words(lacks.get("first"))),
        "a draw without its end": draw.get("method") == "beginning"
        and not {"ended", "reached"} <= draw.keys(),
    }
    for fault, there in faults.items():
        if there:
            raise InputError(f"The published signature of {wanted['model']} is damaged: it has {fault}.")
    return True


def _part(metadata: dict[str, Any], name: str) -> dict[str, Any]:
    found = metadata.get(name)
    return found if isinstance(found, dict) else {}


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _are_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) and word.isprintable() for word in value)
