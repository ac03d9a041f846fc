"""The Hub as this package meets it: revisions pinned before anything is read, failures as sentences."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hf_affscore.errors import AffscoreError, DatasetError, ModelError

Kind = Literal["model", "dataset"]


@dataclass(frozen=True)
class Source:
    """Where a named model or data set is, and which state of it.

    Attributes:
        name: What it is called in a signature: the Hub id, or the folder's name.
        location: What loaders are given: the Hub id, or the folder's path.
        commit: The commit that loaders are given; None for a folder.
        state: What changes when the content does: the commit, or a checksum of the folder.
    """

    name: str
    location: str
    commit: str | None
    state: str


def locate(kind: Kind, name: str, *, revision: str | None, token: str | bool | None) -> Source:
    """Find a local folder or a Hub repository, and pin its state.

    Raises:
        ModelError, DatasetError: There is no such folder, repository or revision, or no access to it.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        checksum = model_checksum(path) if kind == "model" else dataset_checksum(path)
        return Source(path.resolve().name, str(path), None, checksum)
    if path.exists():
        expected = "a checkpoint's folder" if kind == "model" else "a folder of images or Parquet files"
        error_class = ModelError if kind == "model" else DatasetError
        raise error_class(f"{name} is a file; expected {expected}, or a Hub id.")
    commit = pin(kind, name, revision=revision, token=token)
    return Source(name, name, commit, commit)


def model_checksum(folder: Path) -> str:
    """SHA-256 over the content of the files that make a local checkpoint what it is."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in {".json", ".safetensors", ".bin", ".py"}:
            with path.open("rb") as file:
                digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"


def dataset_checksum(folder: Path) -> str:
    """SHA-256 over names, sizes and times of the files of a data set, which may be too large to read."""
    digest = hashlib.sha256(str(folder.resolve()).encode())
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            stat = path.stat()
            digest.update(f"{path.relative_to(folder)} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def pin(kind: Kind, repo_id: str, *, revision: str | None, token: str | bool | None) -> str:
    """The commit that ``revision`` of a repository stands for now, so that all its parts come from one state.

    Offline, the commit is the one in the local cache.

    Raises:
        ModelError, DatasetError: No such repository or revision, no access, or no connection and no cache.
    """
    from huggingface_hub import HfApi

    with failures_named(kind, repo_id, revision):
        resolved = HfApi().resolve_revision(repo_id, repo_type=kind, revision=revision, token=token)
    return str(resolved.resolved)


@contextmanager
def failures_named(kind: Kind, repo_id: str, revision: str | None = None) -> Iterator[None]:
    """Turn what the Hub's clients raise into one sentence about ``repo_id`` with a next step."""
    from httpx2 import HTTPError
    from huggingface_hub import errors

    what = f"{'Model' if kind == 'model' else 'Data set'} {repo_id!r}"
    error_class: type[AffscoreError] = ModelError if kind == "model" else DatasetError
    try:
        yield
    except errors.GatedRepoError as error:
        raise error_class(
            f"{what} is gated: accept its terms on its Hub page, then log in with `hf auth login`."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise error_class(
            f"{what} was not found: it is neither a local folder nor a repository on the Hub that you can see. "
            "Check the spelling; if it is private, log in with `hf auth login` or pass a token."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise error_class(
            f"{what} has no revision {revision!r}. See its branches and tags on the Hub."
        ) from error
    except errors.HFValidationError as error:
        raise error_class(
            f"{what} is neither a local folder nor a Hub id (expected 'user/name'). Check the path."
        ) from error
    except (
        errors.RevisionResolutionError,
        errors.OfflineModeIsEnabled,
        errors.LocalEntryNotFoundError,
    ) as error:
        raise error_class(
            f"{what} is not in the local cache, and the Hub could not be reached. "
            "Go online (unset HF_HUB_OFFLINE) once, or pass a local folder."
        ) from error
    except HTTPError as error:
        raise error_class(f"{what} could not be read from the Hub: {error}. Try again later.") from error
