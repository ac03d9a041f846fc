"""What differs between versions of other libraries: each piece names the version at which it can go.

Everything else in this package is written for the newest version of a library. Nothing heavy is imported here
before a function is called.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

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

    ``HfApi.resolve_revision`` came with huggingface-hub 2.0.

    Raises:
        Exception: What the client raises for a repository or revision that is not there, or one of
            :func:`unresolved_errors`.
    """
    if hasattr(api, "resolve_revision"):
        return str(api.resolve_revision(repo_id, repo_type=kind, revision=revision).resolved)
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return str(api.repo_info(repo_id, repo_type=kind, revision=revision).sha)
    except Exception as error:
        offline = is_connection_error(error) or isinstance(error, (*unresolved_errors(), ConnectionError))
        known = _cached_commit(repo_id, kind, revision or "main") if offline else None
        if known is not None:
            return known
        if offline:
            raise LocalEntryNotFoundError(f"no commit of {repo_id} is known without the Hub") from error
        raise


def _cached_commit(repo_id: str, kind: str, revision: str) -> str | None:
    """The commit that the local cache has under the name of a branch or tag, or under its own."""
    from pathlib import Path

    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    folder = Path(HF_HUB_CACHE) / repo_folder_name(repo_id=repo_id, repo_type=kind)
    if (folder / "snapshots" / revision).is_dir():
        return revision
    reference = folder / "refs" / revision
    return reference.read_text().strip() if reference.is_file() else None
