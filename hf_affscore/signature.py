"""The data model: the result of an analysis, its metadata, and the two files that store it.

A signature has rows, one per activation call in execution order; a list of skipped calls; and metadata that names
everything that changes a number. On disk it is one folder:

- ``signature.json``: schema version, metadata, summary, skipped calls, and the checksum of the table;
- ``signature.parquet``: the rows.

Both are written under temporary names and renamed, the JSON document last. So a reader finds the old signature,
the new one, or a checksum that does not match. :mod:`hf_affscore.fileformat` defines their content; a Hub
repository has the same two files.

One file, so that all methods of a signature can be looked up in one place; most of its lines document them.
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

from hf_affscore.blocks import (
    are_blocks,
    effective_depth,
    refuse_blocks,
    summary_of_blocks,
    verdict_of_blocks,
)
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
from hf_affscore.listing import signature_html, signature_text
from hf_affscore.record import Record, call_name
from hf_affscore.spelling import checked_keywords
from hf_affscore.storage import write_atomically
from hf_affscore.summary import EFFECTS, summarize
from hf_affscore.tables import terminal_width
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

#: The pictures beside a signature.
_PICTURES = ("signature.png", "signature.svg", "signature.pdf")

#: Increased whenever the same images and the same network give other numbers than before.
NUMBERS_VERSION = 2


# Doors upwards, against the layering. The data model is below plots and publish, but users look for these on the
# object: ``plot`` (hf_affscore.plots), ``from_pretrained`` of a collection (hf_affscore.publish.fetch) and
# ``push_to_hub`` (hf_affscore.publish.push). Each imports inside its body. A test holds the list.


@dataclass(frozen=True, eq=False)
class Signature:
    """The non-linearity signature of one network on one set of images.

    Attributes:
        rows: One record per activation call, in execution order. ``affinity_score`` is rho of the paper
            (equation 6): 1 if the activation acts as a positive semi-definite affine map on the data, nan (with
            a ``reason``) if it is undefined. With ``level="blocks"`` one record per block and part of one, with the
            numbers of :mod:`hf_affscore.score.block` in place of a score.
        skipped: One record per call that was not scored: ``module``, ``activation``, ``call``, ``kind`` and
            ``reason``.
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
        """Affinity scores in execution order, shape ``(len(rows),)``, float64, nan where undefined.

        Raises:
            InputError: It is a signature of blocks.
        """
        refuse_blocks(self.rows, "scores")
        return np.array([row["affinity_score"] for row in self.rows], dtype=np.float64)

    @property
    def effective_depth(self) -> float:
        """Blocks, each counted by the share of its output that no affine map of its input predicts.

        The sum over blocks of ``1 - r2_heldout``, from 0 to 1 each (:mod:`hf_affscore.blocks`).

        Raises:
            InputError: It is a signature of activations.

        Example:
            >>> rows = tuple(Record(part="block", r2_heldout=value) for value in (0.75, 0.5))
            >>> Signature(rows=rows, skipped=(), metadata={}).effective_depth
            0.75
        """
        return effective_depth(self.rows)

    @property
    def name(self) -> str:
        """The name of the network: its Hub id, folder or class, and a note if its weights are random."""
        model = self.metadata.get("model", {})
        return str(model.get("id", "unknown")) + (" (random weights)" if model.get("weights") else "")

    def summary(self) -> dict[str, float | int]:
        """Summarise the scores that are evidence, and count the others by kind.

        Returns:
            ``min``, ``max``, ``mean``, ``median`` and ``std`` (divisor ``count``); ``mean_stderr`` and
            ``median_stderr``, which account for the fact that all layers see the same images; ``count``, the number
            of scores that are evidence; and ``few_samples``, ``constant_output``, ``ridge_dominates`` and
            ``undefined``, the numbers of the other scores (:mod:`hf_affscore.evidence`). Of blocks: their number,
            ``blocks``, and ``effective_depth``.
        """
        if are_blocks(self.rows):
            return summary_of_blocks(self.rows)
        return summarize(self.rows)

    @property
    def verdict(self) -> tuple[str, ...]:
        """How the scores can be used, in one to three lines; see :mod:`hf_affscore.verdict`."""
        return verdict_of_blocks(self.rows) if are_blocks(self.rows) else verdict(self.rows, self.metadata)

    @property
    def interval(self) -> Interval:
        """The quantity whose interval is ``affinity_score_low`` to ``_high``; numbers version 1 differs."""
        return interval_of(self.metadata)

    @checked_keywords()
    def near_linear(self, threshold: float = 0.99) -> tuple[Record, ...]:
        """The activations that act as affine maps on these images: those with a score of at least ``threshold``.

        Scores that are not evidence are left out: a dead activation scores 1 because its output is constant, and
        with too few images for its width every layer scores near 1.

        Args:
            threshold: Smallest score, from 0 to 1.

        Raises:
            InputError: The threshold is not a number from 0 to 1, or it is a signature of blocks.

        Example:
            >>> rows = tuple(Record(module=name, affinity_score=s) for name, s in (("a", 0.7), ("b", 0.995)))
            >>> [row.module for row in Signature(rows=rows, skipped=(), metadata={}).near_linear()]
            ['b']
        """
        refuse_blocks(self.rows, "near_linear")
        given: Any = threshold
        number = isinstance(given, numbers.Real) and not isinstance(given, bool)  # Python's or numpy's
        if not number or not 0 <= threshold <= 1:
            raise InputError(f"threshold is {threshold!r}; expected a score from 0 to 1, such as 0.99.")
        found = (row for row in self.rows if row["affinity_score"] >= threshold)  # never true of nan
        return tuple(row for row in found if evidence_of(row) == "ok")

    def to_dataframe(self) -> pd.DataFrame:
        """The rows as a table, one column per field; the lists of effects, which no cell can show, are left out."""
        import pandas as pd

        return pd.DataFrame([dict(row) for row in self.rows]).drop(columns=EFFECTS, errors="ignore")

    def to_dict(self) -> dict[str, Any]:
        """The whole signature with its verdict as one JSON-ready document; undefined numbers are ``None``."""
        return {
            **header(),
            **plain(self._content()),
            "verdict": list(self.verdict),
            "rows": plain(self.rows),
        }

    @checked_keywords()
    def plot(self, path: str | os.PathLike[str] | None = None, *, reference: bool = False) -> Figure:
        """Plot the scores against execution order.

        Args:
            path: File to save the picture to; the suffix (``.png``, ``.svg``, ``.pdf``) selects the format.
            reference: Whether to draw the scores of well-known networks behind, in grey.
        """
        from hf_affscore.plots import plot_blocks, plot_signature

        if are_blocks(self.rows):
            if reference:
                refuse_blocks(self.rows, "reference")
            return plot_blocks(self, path)
        return plot_signature(self, path, reference=reference)

    @checked_keywords()
    def save_pretrained(self, folder: str | os.PathLike[str]) -> Path:
        """Write the signature into ``folder`` (made if missing) and return the folder.

        Where another signature is replaced, its picture (``signature.png``, ``.svg``, ``.pdf``) is removed.

        Raises:
            SignatureError: The folder cannot be written; what was there before is unchanged.
        """
        folder = Path(folder)
        files = self.to_files()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if (folder / JSON_FILE).is_file() and (folder / JSON_FILE).read_bytes() != files[JSON_FILE]:
                for name in _PICTURES:
                    (folder / name).unlink(missing_ok=True)
            for name, content in files.items():  # the table first
                write_atomically(folder / name, content)
        except OSError as error:
            raise SignatureError(
                f"The signature could not be written to {folder}: {error.strerror or error}. "
                "Choose a folder you can write to, with space left."
            ) from error
        return folder

    @classmethod
    @checked_keywords()
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
        options: Mapping[str, Any] | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
    ) -> Self:
        """Load a signature that :meth:`save_pretrained` or :meth:`push_to_hub` wrote.

        Args:
            source: The folder of one signature, or a collection of many: a data set repository on the Hub
                (``"user/signatures"``), or a local copy of one.
            model: The network in a collection, by the id under which it was analysed. This and the next eight
                arguments are needed only if several signatures match.
            model_revision: Its commit, or the beginning of it.
            weights: ``"random"`` for a network with random weights; default: the checkpoint's own weights if the
                collection has both.
            dataset: The data set of the analysis.
            dataset_config: The configuration of that data set.
            dataset_split: Its split.
            dataset_revision: Its commit, or the beginning of it.
            training_step: The training step of the measurement.
            options: Options of the analysis: ``{"num_samples": 512}``.
            revision: Branch, tag or commit of the collection on the Hub.
            token: Access token for the Hub.

        Raises:
            SignatureError: The source has no signature, none or several signatures of a collection match, the
                files are damaged or do not belong together, or a newer version of this package wrote them.
            HubError: The repository does not exist, you have no access to it, or it cannot be reached and is not
                in the cache.
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
        if (Path(source) / JSON_FILE).is_file() and not any([*choice.values(), options]):
            return cls.from_files(_read_files(Path(source)), str(source))
        from hf_affscore.publish.fetch import fetch_signature

        return fetch_signature(cls, source, choice, options, revision=revision, token=token)

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

    @checked_keywords()
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

        The repository is made if it does not exist. It may hold signatures of many networks on many data sets; a
        signature of the same network on the same images with the same options is replaced. Pushing the same
        signature again changes nothing, and any number of processes may push at once.

        Args:
            repo_id: ``"user/signatures"``.
            private: Whether a new repository is private; default: the setting of the account.
            token: Access token for the Hub; default: the one you logged in with.
            revision: Branch to commit to; default: ``main``.
            create_pr: Open a pull request instead of committing.
            commit_message: First line of the commit.

        Returns:
            The commit, with its ``commit_url`` and, for a pull request, its ``pr_url``.

        Raises:
            HubError: The Hub refused or could not be reached; the signature is unchanged.
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

    def __repr__(self) -> str:
        summary = self.summary()
        if are_blocks(self.rows):
            depth = f"effective depth {summary['effective_depth']:.2f}"
            return (
                f"Signature({self.name!r}: {summary['blocks']} blocks, {len(self.skipped)} skipped, {depth})"
            )
        return (
            f"Signature({self.name!r}: {len(self.rows)} activation{'s' * (len(self.rows) != 1)}, "
            f"{len(self.skipped)} skipped, "
            f"median {summary['median']:.3f}, min {summary['min']:.3f}, max {summary['max']:.3f})"
        )

    def __str__(self) -> str:
        """The table of rows with summary and verdict, as wide as the terminal."""
        return signature_text(self, terminal_width())

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        return signature_html(self)

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
    """A description of the images, in words.

    Example:
        >>> images(Signature((), (), {"dataset": {"id": "cifar10", "split": "test", "num_samples": 512}}))
        '512 images of cifar10, test'
    """
    dataset = signature.metadata.get("dataset", {})
    parts = [str(dataset[key]) for key in ("id", "config", "split") if dataset.get(key)]
    count = dataset.get("num_samples")
    return f"{'' if count is None else f'{count} '}images of {', '.join(parts) or 'an unknown source'}"
