"""What differs between versions of other libraries: each piece names the version at which it can go.

Everything else in this package is written for the newest version of a library. Nothing heavy is imported here
before a function is called.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_affscore.storage import write_atomically

if TYPE_CHECKING:
    from huggingface_hub import HfApi


@cache
def client_error() -> type[Exception]:
    """What the HTTP library below the Hub's client raises, connection failures included.

    huggingface-hub 0.x speaks through requests, 1.x through httpx and 2.x through httpx2. All of them derive
    ``HfHubHTTPError`` from that library's own base class, which is found there without naming the library. It can
    become an import of httpx2 where huggingface-hub 2.0 is the lower bound.

    Example:
        >>> from huggingface_hub.errors import HfHubHTTPError
        >>> issubclass(HfHubHTTPError, client_error())
        True
    """
    from huggingface_hub.errors import HfHubHTTPError

    theirs = [
        base
        for base in HfHubHTTPError.__mro__
        if base.__module__.split(".")[0] not in ("huggingface_hub", "builtins")
    ]
    return theirs[-1]  # the most general: requests has RequestException above its HTTPError


def is_connection_error(error: BaseException) -> bool:
    """Whether a request got no answer at all: no connection, a broken one, or a timeout.

    The client's errors carry the answer as ``response``; requests sets that to None where there was none.
    """
    return isinstance(error, client_error()) and getattr(error, "response", None) is None


def status_of(error: BaseException) -> int | None:
    """The HTTP status of the answer that an error of the Hub is about; None where there was no answer.

    In huggingface-hub 0.x even an ``HfHubHTTPError`` may come without one: ``LocalEntryNotFoundError`` does. Its
    uploads raise the HTTP library's own error, which has the answer too.
    """
    response = getattr(error, "response", None) if isinstance(error, client_error()) else None
    return None if response is None else int(response.status_code)


@cache
def unresolved_errors() -> tuple[type[Exception], ...]:
    """What the Hub's client raises where neither Hub nor cache knows which commit a revision is.

    huggingface-hub 2.0 brought ``RevisionResolutionError``; before, ``LocalEntryNotFoundError`` says it.
    """
    from huggingface_hub import errors

    names = ("RevisionResolutionError", "OfflineModeIsEnabled", "LocalEntryNotFoundError")
    return tuple(getattr(errors, name) for name in names if hasattr(errors, name))


def resolve_revision(api: HfApi, repo_id: str, *, kind: str, revision: str | None) -> str:
    """The commit that a revision stands for: asked of the Hub, or from the local cache without a connection.

    ``HfApi.resolve_revision`` came with huggingface-hub 2.0, and does both.

    Raises:
        Exception: What the client raises for a repository or revision that is not there, or one of
            :func:`unresolved_errors`.
    """
    if hasattr(api, "resolve_revision"):
        return str(api.resolve_revision(repo_id, repo_type=kind, revision=revision).resolved)
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    cache_folder = Path(HF_HUB_CACHE) / repo_folder_name(repo_id=repo_id, repo_type=kind)
    try:
        commit = str(api.repo_info(repo_id, repo_type=kind, revision=revision).sha)
    except Exception as error:
        if not (is_connection_error(error) or isinstance(error, (*unresolved_errors(), ConnectionError))):
            raise
        return _cached_commit(cache_folder, revision or "main", error)
    if revision != commit:
        _remember(cache_folder, revision or "main", commit)
    return commit


def image_processor_of(config: type) -> type | None:
    """The image processor that belongs to a class of configurations of transformers: the fast one, if any.

    The table holds a dictionary by backend; in transformers 4 it held a pair, slow and fast.
    """
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING

    if config not in IMAGE_PROCESSOR_MAPPING:
        return None
    found: Any = IMAGE_PROCESSOR_MAPPING[config]
    by_backend = found if isinstance(found, dict) else dict(zip(("pil", "torchvision"), found, strict=True))
    kind: type | None = by_backend.get("torchvision") or by_backend.get("pil")
    return kind


def backend_of(processor: Any) -> str:
    """What an image processor of transformers computes with: "torchvision" or "pil".

    Processors say so since transformers 5; in 4 the ones with torchvision have a base class of their own.
    """
    if hasattr(processor, "backend"):
        return str(processor.backend)
    bases = {base.__name__ for base in type(processor).__mro__}
    return "torchvision" if "BaseImageProcessorFast" in bases else "pil"


def _cached_commit(cache_folder: Path, revision: str, error: Exception) -> str:
    """The commit that the client's cache has for a branch, tag or commit."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    if (cache_folder / "snapshots" / revision).is_dir():
        return revision
    try:
        return (cache_folder / "refs" / revision).read_text(encoding="utf-8").strip()
    except OSError:
        raise LocalEntryNotFoundError(f"no commit of {revision!r} is in the cache") from error


def _remember(cache_folder: Path, revision: str, commit: str) -> None:
    """Keep the commit of a branch or tag where the client keeps it; what is loaded by commit does not do that."""
    reference = cache_folder / "refs" / revision
    with suppress(OSError):  # a cache that cannot be written to
        reference.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(reference, commit.encode())
