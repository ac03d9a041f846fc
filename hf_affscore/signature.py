"""The data model: what an analysis found, how it was made, and the two files it is kept in.

A signature is a list of rows, one per activation call in execution order; a list of what was seen and not
scored; and metadata that names everything which changes a number. On disk it is one folder:

- ``signature.json``: schema version, metadata, summary, skipped calls, and the checksum of the table;
- ``signature.parquet``: the rows.

Both are written beside their destination and renamed into place, the JSON document last, so that a reader
finds either the old signature, the new one, or a checksum that says the pair does not belong together. What
is in them stands in :mod:`hf_affscore.fileformat`; a Hub repository keeps the same two files.

One file, since a person who looks up what a signature can do reads it here, and most of its lines say so.
"""

from __future__ import annotations

import numbers
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from hf_affscore.errors import InputError, SignatureError
from hf_affscore.evidence import evidence_of
from hf_affscore.fileformat import (
    IDENTITY,
    JSON_FILE,
    SCHEMA_VERSION,
    TABLE_FILE,
    decode,
    encode,
    header,
    plain,
)
from hf_affscore.record import Record, call_name
from hf_affscore.storage import write_atomically
from hf_affscore.summary import summarize
from hf_affscore.verdict import Interval, interval_of, verdict

if TYPE_CHECKING:
    import pandas as pd
    from huggingface_hub import CommitInfo
    from matplotlib.figure import Figure

__all__ = [
    "IDENTITY",
    "JSON_FILE",
    "NUMBERS_VERSION",
    "SCHEMA_VERSION",
    "TABLE_FILE",
    "Record",
    "Signature",
    "call_name",
    "images",
]

#: Raised whenever the same images through the same network give other numbers than before.
NUMBERS_VERSION = 2


# Doors upwards. The data model stands below pictures and the Hub; these methods reach up to them, each from inside
# its body, because a person looks for them on the object: ``plot`` (hf_affscore.plots), ``from_pretrained`` of a
# collection (hf_affscore.publish.fetch) and ``push_to_hub`` (hf_affscore.publish.push). A test holds the list.


@dataclass(frozen=True, eq=False)
class Signature:
    """The non-linearity signature of one network on one set of images.

    Attributes:
        rows: One record per activation call, in execution order. ``affinity_score`` is rho of the paper
            (equation 6): 1 where the activation acts as a positive semi-definite affine map on the data,
            nan (with a ``reason``) where it is undefined.
        skipped: One record per call that was seen and not scored: ``module``, ``activation``, ``call``,
            ``kind`` and ``reason``.
        metadata: ``model``, ``dataset``, ``preprocessing``, ``options`` (everything that changes a number)
            and ``environment`` (versions and devices).

    Example:
        >>> row = Record(index=0, module="relu", affinity_score=0.5)
        >>> sig = Signature(rows=(row,), skipped=(), metadata={})
        >>> sig.scores
        array([0.5])
        >>> sig.summary()["median"]
        0.5
    """

    rows: tuple[Record, ...]
    skipped: tuple[Record, ...]
    metadata: dict[str, Any]

    @property
    def scores(self) -> npt.NDArray[np.float64]:
        """Affinity scores in execution order, shape ``(len(rows),)``, float64, nan where undefined."""
        return np.array([row["affinity_score"] for row in self.rows], dtype=np.float64)

    @property
    def name(self) -> str:
        """What the network is called: the Hub id, folder or class it came from, and if it is untrained."""
        model = self.metadata.get("model", {})
        return str(model.get("id", "unknown")) + (" (random weights)" if model.get("weights") else "")

    def summary(self) -> dict[str, float | int]:
        """What the scores that are evidence sum up to; the others are counted by kind.

        Returns:
            ``min``, ``max``, ``mean``, ``median`` and ``std`` (divisor ``count``); ``mean_stderr`` and
            ``median_stderr``, which take into account that all layers see the same images; ``count``, the number
            of scores that are evidence; ``few_samples``, ``constant_output``, ``ridge_dominates`` and
            ``undefined``, the numbers of those that are not, by :mod:`hf_affscore.evidence`.
        """
        return summarize(self.rows)

    @property
    def verdict(self) -> tuple[str, ...]:
        """What can be done with these scores, in one to three lines; see :mod:`hf_affscore.verdict`."""
        return verdict(self.rows, self.metadata)

    @property
    def interval(self) -> Interval:
        """What ``affinity_score_low`` and ``_high`` are an interval for; files of numbers version 1 differ."""
        return interval_of(self.metadata)

    def near_linear(self, threshold: float = 0.99) -> tuple[Record, ...]:
        """The activations that act as affine maps on these images: those that score at least ``threshold``.

        Left out are scores that are no evidence: a dead activation scores 1 because there is nothing to explain,
        and with few images for its width every layer scores near 1.

        Args:
            threshold: Smallest score, from 0 to 1.

        Raises:
            InputError: The threshold is no number from 0 to 1.

        Example:
            >>> rows = tuple(Record(module=name, affinity_score=s) for name, s in (("a", 0.7), ("b", 0.995)))
            >>> [row.module for row in Signature(rows=rows, skipped=(), metadata={}).near_linear()]
            ['b']
        """
        given: Any = threshold
        number = isinstance(given, numbers.Real) and not isinstance(given, bool)  # Python's or numpy's
        if not number or not 0 <= threshold <= 1:
            raise InputError(f"threshold is {threshold!r}; expected a score from 0 to 1, such as 0.99.")
        found = (row for row in self.rows if row["affinity_score"] >= threshold)  # never true of nan
        return tuple(row for row in found if evidence_of(row) == "ok")

    def to_dataframe(self) -> pd.DataFrame:
        """The rows as a table, one column per field."""
        import pandas as pd

        return pd.DataFrame([dict(row) for row in self.rows])

    def to_dict(self) -> dict[str, Any]:
        """Everything as one JSON-ready document; undefined numbers are ``None``."""
        return {**header(), **plain(self._content()), "rows": plain(self.rows)}

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """The signature as a picture: score against execution order.

        Args:
            path: Where to save it as well; the suffix (``.png``, ``.svg``, ``.pdf``) chooses the format.
        """
        from hf_affscore.plots import plot_signature

        return plot_signature(self, path)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> Path:
        """Write the signature into ``folder`` (made if missing) and return the folder.

        Raises:
            SignatureError: The folder cannot be written; what was there before is unchanged.
        """
        folder = Path(folder)
        files = self.to_files()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in files.items():  # the table first
                write_atomically(folder / name, content)
        except OSError as error:
            raise SignatureError(
                f"The signature could not be written to {folder}: {error.strerror or error}. "
                "Choose a folder you can write to, with space left."
            ) from error
        return folder

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        *,
        model: str | None = None,
        model_revision: str | None = None,
        weights: str | None = None,
        dataset: str | None = None,
        dataset_config: str | None = None,
        dataset_split: str | None = None,
        dataset_revision: str | None = None,
        training_step: int | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
    ) -> Self:
        """Read back what :meth:`save_pretrained` or :meth:`push_to_hub` wrote.

        Args:
            source: The folder of one signature, or a collection of many: a data set repository on the Hub
                (``"user/signatures"``), or a local copy of one.
            model: Which network of a collection, by the id it was analysed under. This and the next seven
                may be left out as long as one signature remains.
            model_revision: Its commit, or the beginning of it.
            weights: ``"random"`` for one that was analysed untrained; default: the checkpoint's own weights
                where both are there.
            dataset: The data set it was analysed on.
            dataset_config: The configuration of that data set.
            dataset_split: Its split.
            dataset_revision: Its commit, or the beginning of it.
            training_step: The step of the training that it was measured at.
            revision: Branch, tag or commit of the collection on the Hub.
            token: Access token for the Hub.

        Raises:
            SignatureError: Nothing is stored there, none or several of a collection's signatures are meant,
                the files are damaged or do not belong together, or a newer version of this package wrote
                them.
            HubError: The repository is missing, closed to you, or cannot be reached and is not in the cache.
        """
        choice = {
            "model": model,
            "model_revision": model_revision,
            "weights": weights,
            "dataset": dataset,
            "dataset_config": dataset_config,
            "dataset_split": dataset_split,
            "dataset_revision": dataset_revision,
            "training_step": None if training_step is None else str(training_step),
        }
        if (Path(source) / JSON_FILE).is_file() and not any(choice.values()):
            return cls.from_files(_read_files(Path(source)), str(source))
        from hf_affscore.publish.fetch import fetch_signature

        return fetch_signature(cls, source, choice, revision=revision, token=token)

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], where: str) -> Self:
        """A signature from the bytes of its two files.

        Raises:
            SignatureError: They are damaged or do not belong together; ``where`` names them in the message.
        """
        document, rows = decode(files[JSON_FILE], files[TABLE_FILE], where)
        return cls(
            rows=tuple(Record(**fields) for fields in rows),
            skipped=tuple(Record(**fields) for fields in document["skipped"]),
            metadata=document["metadata"],
        )

    def to_files(self) -> dict[str, bytes]:
        """The two files of the signature, by name. The same signature gives the same bytes."""
        return encode(self._content(), self.rows)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        commit_message: str | None = None,
    ) -> CommitInfo:
        """Add the signature to a data set repository on the Hub, in one commit.

        The repository, made if missing, may hold signatures of many networks on many data sets; one that
        differs from this in none of them is replaced. Pushing the same again changes nothing, and any number
        of processes may push at once.

        Args:
            repo_id: ``"user/signatures"``.
            private: Whether a repository made here is private; default: as the account is set up.
            token: Access token for the Hub; default: the one you logged in with.
            revision: Branch to commit to; default: ``main``.
            create_pr: Open a pull request instead of committing.
            commit_message: First line of the commit.

        Returns:
            The commit, with its ``commit_url`` and, where there is one, its ``pr_url``.

        Raises:
            HubError: The Hub refused or could not be reached; the signature is as it was.
        """
        from hf_affscore.publish.push import push_signature

        return push_signature(
            self,
            repo_id,
            private=private,
            token=token,
            revision=revision,
            create_pr=create_pr,
            commit_message=commit_message,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Signature):
            return NotImplemented
        return self.rows == other.rows and self.skipped == other.skipped and self.metadata == other.metadata

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        summary = self.summary()
        return (
            f"Signature({self.name!r}: {len(self.rows)} activation{'s' * (len(self.rows) != 1)}, "
            f"{len(self.skipped)} skipped, "
            f"median {summary['median']:.3f}, min {summary['min']:.3f}, max {summary['max']:.3f})"
        )

    def _content(self) -> dict[str, Any]:
        return {"metadata": self.metadata, "summary": self.summary(), "skipped": self.skipped}


def _read_files(folder: Path) -> dict[str, bytes]:
    try:
        return {name: (folder / name).read_bytes() for name in (JSON_FILE, TABLE_FILE)}
    except OSError as error:
        raise SignatureError(
            f"No signature in {folder}: expected {JSON_FILE} and {TABLE_FILE} "
            f"({error.strerror or error}). Make one with `hf-affscore analyze ... --output {folder}`."
        ) from error


def images(signature: Signature) -> str:
    """What the network looked at, in words.

    Example:
        >>> images(Signature((), (), {"dataset": {"id": "cifar10", "split": "test", "num_samples": 512}}))
        '512 images of cifar10, test'
    """
    dataset = signature.metadata.get("dataset", {})
    parts = [str(dataset[key]) for key in ("id", "config", "split") if dataset.get(key)]
    count = dataset.get("num_samples")
    return f"{'' if count is None else f'{count} '}images of {', '.join(parts) or 'an unknown source'}"
