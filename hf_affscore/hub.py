"""The Hub as this package meets it: revisions pinned before anything is read, failures as sentences."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hf_affscore.errors import AffscoreError, DatasetError, HubError, ModelError

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

Kind = Literal["model", "dataset"]

_LOG_IN = "log in with `hf auth login` or pass a token"


def client(token: str | bool | None = None) -> HfApi:
    """The Hub's client, with this package and its version in the user agent of every request."""
    from huggingface_hub import HfApi

    from hf_affscore import __version__

    return HfApi(token=token, library_name="hf_affscore", library_version=__version__)


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
    with failures_named(kind, repo_id, revision):
        resolved = client(token).resolve_revision(repo_id, repo_type=kind, revision=revision)
    return str(resolved.resolved)


@contextmanager
def failures_named(
    kind: Kind, repo_id: str, revision: str | None = None, *, publishing: bool = False
) -> Iterator[None]:
    """Turn what the Hub's clients raise into one sentence about ``repo_id`` with a next step.

    Args:
        kind: Whether the repository is a model or a data set.
        repo_id: Its name.
        revision: The revision that was asked for.
        publishing: The repository is one of signatures, or a card: what is raised is a
            :class:`~hf_affscore.errors.HubError` then, else a ModelError or DatasetError.
    """
    from httpx2 import HTTPError
    from huggingface_hub.errors import HFValidationError, RevisionResolutionError

    error_class: type[AffscoreError] = ModelError if kind == "model" else DatasetError
    try:
        yield
    except (HTTPError, HFValidationError, RevisionResolutionError, OSError) as error:
        what = f"{'Model' if kind == 'model' else 'Data set'} {repo_id!r}"
        sentence = explain(error, what, revision)
        if sentence is None:
            raise
        raise (HubError if publishing else error_class)(sentence) from error


def explain(error: Exception, what: str, revision: str | None = None) -> str | None:
    """What went wrong with ``what`` and what to do, or ``None`` where the error is not the Hub's."""
    from httpx2 import HTTPError
    from huggingface_hub import errors

    unreachable = (
        errors.RevisionResolutionError | errors.OfflineModeIsEnabled | errors.LocalEntryNotFoundError
    )
    if isinstance(error, errors.GatedRepoError):
        return f"{what} is gated: accept its terms on its Hub page, then {_LOG_IN}."
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"{what} was not found: it is neither a local folder nor a repository on the Hub that you can see. "
            f"Check the spelling; if it is private, {_LOG_IN}."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{what} has no revision {revision!r}. See its branches and tags on the Hub."
    if isinstance(error, errors.HFValidationError):
        return f"{what} is neither a local folder nor a Hub id (expected 'user/name'). Check the path."
    if isinstance(error, errors.LocalTokenNotFoundError):
        return f"{what} needs a token, and there is none: {_LOG_IN}."
    if isinstance(error, unreachable):
        return (
            f"{what} is not in the local cache, and the Hub could not be reached. "
            "Go online (unset HF_HUB_OFFLINE) once, or pass a local folder."
        )
    if isinstance(error, errors.HfHubHTTPError):
        return _explain_status(error, what)
    if isinstance(error, HTTPError):
        return (
            f"{what}: the connection to the Hub broke ({type(error).__name__}: {error}). "
            "Check the network, then try again."
        )
    return None


def _explain_status(error: HfHubHTTPError, what: str) -> str:
    """A sentence for an answer of the Hub that has no error class of its own."""
    status = error.response.status_code
    if status == 401:
        return f"{what}: the Hub does not accept the token (401). Make one in your settings there, then {_LOG_IN}."
    if status == 403:
        return (
            f"{what}: the token may not write there (403). Use one with write access to it, "
            "or open a pull request (create_pr=True, --create-pr)."
        )
    if status in (409, 412):
        return (
            f"{what} kept changing while this was to be added ({status}). Try again when fewer others write."
        )
    if status == 429:
        wait = error.response.headers.get("Retry-After")
        return (
            f"{what}: the Hub limits how often it may be asked (429). "
            f"Try again {f'in {wait} seconds' if wait else 'later'}; logged in, the limit is higher."
        )
    if status >= 500:
        return f"{what}: the Hub has a fault of its own ({status}). Try again later; nothing is wrong here."
    return f"{what}: the Hub refused ({status}): {error.server_message or error}"
