"""The Hub as this package meets it: revisions pinned before anything is read, failures as sentences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from hf_affscore.errors import AffscoreError, DatasetError, ModelError

Kind = Literal["model", "dataset"]


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
