"""Access to the Hub: revisions are pinned before anything is read, and failures get clear messages."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from hf_affscore.compat import client_error, resolve_revision, status_of, unresolved_errors
from hf_affscore.errors import AffscoreError, DatasetError, HubError, InputError, ModelError, shown_cause
from hf_affscore.retries import waited
from hf_affscore.tokens import Token, checked_token

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Kind = Literal["model", "dataset", "space"]

_CALLED: dict[Kind, str] = {"model": "Model", "dataset": "Data set", "space": "Space"}

_REPO_ID = re.compile(r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?/[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?", re.ASCII)

_LOG_IN = "log in with `hf auth login` or pass a token"


def client(token: Token = None) -> HfApi:
    """The Hub's client; every request has this package and its version in the user agent.

    Raises:
        InputError: The token that was passed, set in the environment or stored at login is malformed.
    """
    from huggingface_hub import HfApi, get_token

    from hf_affscore.version import __version__

    token = checked_token(token)
    if token is None or token is True:
        checked_token(get_token(), "The access token in HF_TOKEN, or that of the stored login,")
    return HfApi(token=token, library_name="hf_affscore", library_version=__version__)


def pin(kind: Kind, repo_id: str, *, revision: str | None, token: Token) -> str:
    """Resolve ``revision`` of a repository to a commit, so that all files come from one state.

    Offline, the commit is the one in the local cache.

    Raises:
        ModelError, DatasetError: The repository or revision does not exist or is not accessible, or there is
            neither a connection nor a cached copy.
    """
    with failures_named(kind, repo_id, revision):
        api = client(token)
        return waited(lambda: resolve_revision(api, repo_id, kind=kind, revision=revision))


def is_repo_id(text: str | None) -> bool:
    """Whether ``text`` is a valid repository name, and so is safe in an address or in code.

    Example:
        >>> is_repo_id("microsoft/resnet-50"), is_repo_id("../etc"), is_repo_id(None)
        (True, False, False)
    """
    return bool(text) and len(str(text)) <= 96 and _REPO_ID.fullmatch(str(text)) is not None


def public_commit(kind: Kind, repo_id: str) -> str:
    """The newest commit of a public repository; for public web pages.

    The Hub is asked without a token: neither the token of the page nor the cache of its machine opens a private
    repository.

    Raises:
        InputError: The name is not valid, or a local file or folder has that name.
        ModelError, DatasetError: There is no such public repository, or the Hub cannot be reached.
    """
    if not is_repo_id(repo_id) or os.path.lexists(repo_id):
        raise InputError(
            f"{repo_id!r} is no repository; expected the name of a public repository such as user/name."
        )
    with failures_named(kind, repo_id):
        api = client(False)
        return str(waited(lambda: api.repo_info(repo_id, repo_type=kind)).sha)


@contextmanager
def failures_named(
    kind: Kind,
    repo_id: str,
    revision: str | None = None,
    *,
    publishing: bool = False,
    writing: bool = False,
    sdk: str | None = None,
) -> Iterator[None]:
    """Turn errors of the Hub's clients into one sentence about ``repo_id`` with a next step.

    Args:
        kind: Whether the repository is a model, a data set or a Space.
        repo_id: Its name.
        revision: The requested revision.
        publishing: Whether signatures are published there: the error is then a
            :class:`~hf_affscore.errors.HubError`, else a ModelError or DatasetError.
        writing: Whether the repository is written to, not only read.
        sdk: SDK of a Space that may have to be created.
    """
    from huggingface_hub.errors import HFValidationError

    error_class: type[AffscoreError] = ModelError if kind == "model" else DatasetError
    theirs: tuple[type[Exception], ...] = (client_error(), *unresolved_errors(), HFValidationError, OSError)
    try:
        yield
    except theirs as error:
        what = f"{_CALLED[kind]} {repo_id!r}"
        sentence = explain(error, what, revision, writing=writing, sdk=sdk)
        if sentence is None:
            raise
        raise (HubError if publishing else error_class)(sentence) from shown_cause(error)


def explain(
    error: Exception, what: str, revision: str | None = None, *, writing: bool = False, sdk: str | None = None
) -> str | None:
    """What failed for ``what`` and what to do, or ``None`` if the error is not from the Hub."""
    from huggingface_hub import errors

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
        return f"{what} needs a token, and none is set: {_LOG_IN}."
    if isinstance(error, unresolved_errors()):
        return (
            f"{what} is neither a local folder nor in the local cache, and the Hub could not be reached. "
            "Check the path, or go online once (unset HF_HUB_OFFLINE)."
        )
    if status_of(error) is not None:
        return _explain_status(error, what, writing=writing, sdk=sdk)
    if isinstance(error, client_error()):
        return (
            f"{what}: the connection to the Hub broke ({type(error).__name__}: {error}). "
            "Check the network, then try again; for something on this machine check the path."
        )
    return None


def _explain_status(error: Any, what: str, *, writing: bool, sdk: str | None) -> str:
    """A sentence for a response of the Hub that has no error class of its own."""
    status = error.response.status_code
    if status == 401:
        return f"{what}: the Hub does not accept the token (401). Create one in your Hub settings, then {_LOG_IN}."
    if status == 402 and sdk == "gradio":
        return (
            f"{what}: the Hub asks for a paid account (402). Free accounts can create static Spaces "
            "(sdk='static', --sdk static); Gradio needs PRO."
        )
    if status == 402:
        return (
            f"{what}: the Hub asks for a paid account (402): the storage that the account has may be used up. "
            "Look at its billing page on the Hub, remove what is not needed, or use another account."
        )
    if status == 403 and writing:
        is_space = what.startswith(_CALLED["space"])  # pages and metrics are not proposed to others
        proposal = (
            ", or one of your own" if is_space else ", or open a pull request (create_pr=True, --create-pr)"
        )
        return f"{what}: the token may not write there (403). Use one with write access to it{proposal}."
    if status == 403:
        return f"{what}: the token may not read it (403). Use one with read access, or {_LOG_IN}."
    if status in (409, 412):
        return f"{what} kept changing during the upload ({status}). Try again when fewer others write to it."
    if status == 429:
        wait = error.response.headers.get("Retry-After")
        return (
            f"{what}: too many requests to the Hub (429). "
            f"Try again {f'in {wait} seconds' if wait else 'later'}; the limit is higher when logged in."
        )
    if status >= 500:
        return f"{what}: the Hub had an internal error ({status}). Try again later."
    said = str(getattr(error, "server_message", None) or error).strip().rstrip(".")
    if status == 404:
        return (
            f"{what}: the Hub does not find it (404): {said}. Check the name, and that the token may see it."
        )
    return f"{what}: the Hub refused ({status}): {said}. Look at its page on the Hub, then try again."
