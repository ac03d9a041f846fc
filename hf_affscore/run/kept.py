"""The pooled rows that an analysis has kept: one activation at a time, and scored again under other options."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from hf_affscore.errors import SignatureError
from hf_affscore.record import Record, call_name
from hf_affscore.run.keep import PATTERN, ImageId, about
from hf_affscore.run.progress import bar
from hf_affscore.run.rescore import Samples, rescored
from hf_affscore.signature import Signature
from hf_affscore.spelling import checked_keywords, did_you_mean

if TYPE_CHECKING:
    Array = npt.NDArray[np.floating[Any]]

T = TypeVar("T")


class ActivationRows(NamedTuple):
    """The rows of one activation.

    Attributes:
        pre: Before it, shape ``(n, d)``, float32 or float64.
        post: After it.
        ids: Which image each row is of, n of them.
    """

    pre: Array
    post: Array
    ids: tuple[ImageId, ...]


@dataclass(frozen=True, eq=False)
class Rows(Mapping[str, ActivationRows]):
    """Kept rows by the name of the activation, in execution order; each is read when it is asked for.

    Attributes:
        folder: Where they lie.
        signature: The signature of the analysis that kept them.
        ids: Which image each row is of; of several groups, one after the other.
    """

    folder: Path
    signature: Signature
    ids: tuple[ImageId, ...]
    _files: Mapping[str, Sequence[Path]]  # one for each group

    def __getitem__(self, name: str) -> ActivationRows:
        if name not in self._files:
            raise KeyError(f"there are no rows of {name!r}.{did_you_mean(name, self._files)}")
        pre, post = zip(*map(_read, self._files[name]), strict=True)
        return ActivationRows(np.concatenate(pre), np.concatenate(post), self.ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __repr__(self) -> str:
        return (
            f"Rows({self.signature.name!r}: {len(self)} activations, {len(self.ids)} images, {self.folder})"
        )

    def apply(
        self,
        function: Callable[[Array, Array], T],
        *,
        names: Sequence[str] | None = None,
        progress: bool = True,
    ) -> dict[str, T]:
        """What a function gives for every activation.

        Args:
            function: Called with the rows before and after an activation, each of shape ``(n, d)``.
            names: The activations; default: all.
            progress: Show progress on stderr if it is a terminal.

        Example:
            >>> import tempfile
            >>> from hf_affscore import analyze
            >>> from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     _ = analyze(DEMO_MODEL, DEMO_DATASET, num_samples=32, keep_rows=folder, cache=False)
            ...     dead = load_rows(folder).apply(lambda pre, post: (post == 0).all(axis=0).sum())
            >>> len(dead)
            19
        """
        found: dict[str, T] = {}
        with bar(len(names or self), "Rows", "activation", enabled=progress) as shown:
            for name in names or self:
                rows = self[name]
                found[name] = function(rows.pre, rows.post)
                shown.update()
        return found

    @checked_keywords()
    def rescore(
        self,
        *,
        regularization: float | Literal["relative"] | None = None,
        shrinkage: bool | None = None,
        num_groups: int | None = None,
        samples: Samples = None,
        progress: bool = True,
    ) -> Signature:
        """The signature under other options, without a forward pass; equal to that of another analysis, to the bit.

        Args:
            regularization: As in :func:`hf_affscore.analyze`; default, here and below: as it was analysed.
            shrinkage: As in :func:`hf_affscore.analyze`.
            num_groups: As in :func:`hf_affscore.analyze`.
            samples: The rows to use, as a slice or a list of their numbers, as one group; default: all, in the
                groups of the analysis. Sparsity, which was measured on images of the whole analysis, is then
                undefined.
            progress: Show progress on stderr if it is a terminal.

        Returns:
            A signature whose metadata have these options, and the chosen rows as ``dataset.samples``.

        Raises:
            InputError: An option is out of range, or the samples do not exist.
            SignatureError: A file of rows is damaged.
        """
        files = list(self._files.values())
        given = {"regularization": regularization, "shrinkage": shrinkage, "num_groups": num_groups}
        return rescored(
            self.signature,
            self.ids,
            lambda index: list(map(_read, files[index])),
            given,
            samples,
            progress=progress,
        )


@checked_keywords()
def load_rows(folder: str | os.PathLike[str]) -> Rows:
    """The rows that ``analyze(..., keep_rows=folder)`` has written.

    Args:
        folder: That folder.

    Raises:
        SignatureError: It has no rows, the analysis has not ended, or files are missing or damaged.

    Example:
        >>> import tempfile
        >>> from hf_affscore import analyze
        >>> from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sig = analyze(DEMO_MODEL, DEMO_DATASET, num_samples=32, keep_rows=folder, cache=False)
        ...     rows = load_rows(folder)
        ...     first = rows[next(iter(rows))]
        ...     again = rows.rescore(regularization="relative")
        >>> first.pre.shape == first.post.shape == (32, sig.rows[0].dim), len(again.rows) == len(sig.rows)
        (True, True)
    """
    folder = Path(folder)
    signature = Signature.from_pretrained(folder)
    groups = range(signature.metadata["dataset"].get("num_groups", 1))
    try:
        images = [json.loads((folder / f"images-{group:05}.json").read_bytes()) for group in groups]
        ids = tuple(ImageId(**each) for each in itertools.chain.from_iterable(images))
    except (OSError, ValueError, TypeError) as error:
        raise SignatureError(
            f"{folder} has a signature but not which images its rows are of ({error}). Expected a folder that "
            "analyze(..., keep_rows=FOLDER), --keep-rows FOLDER, has written."
        ) from error
    files: dict[tuple[Any, ...], list[Path]] = {}
    for path in sorted(folder.glob(PATTERN)):
        files.setdefault(_call(about(path).get("site", {})), []).append(path)
    missing = [row for row in signature.rows if len(files.get(_call(row), [])) != len(groups)]
    if missing:
        raise SignatureError(
            f"{folder} has no rows of {call_name(missing[0])}"
            f"{f' and {len(missing) - 1} more' if len(missing) > 1 else ''}: their files are missing or damaged. "
            "Analyse again, with another folder."
        )
    return Rows(folder, signature, ids, _by_name(signature.rows, files))


def _by_name(rows: Sequence[Record], files: Mapping[tuple[Any, ...], list[Path]]) -> dict[str, list[Path]]:
    """The files of every activation by its name, with its function where one module calls several."""
    names = [call_name(row) for row in rows]
    several = {name for name in names if names.count(name) > 1}
    return {
        f"{name} {row['activation']}" if name in several else name: files[_call(row)]
        for name, row in zip(names, rows, strict=True)
    }


def _call(fields: Mapping[str, Any]) -> tuple[Any, ...]:
    """What identifies a call."""
    return tuple(fields.get(name) for name in ("module", "activation", "call", "kind"))


def _read(path: Path) -> tuple[Array, Array]:
    from safetensors.numpy import load_file

    try:
        found = load_file(path)
        return found["pre"], found["post"]
    except Exception as error:  # damaged files make libraries raise anything
        raise SignatureError(
            f"{path} cannot be read: {error}. Analyse again, with another folder."
        ) from error
