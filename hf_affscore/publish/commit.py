"""Changing a repository on the Hub, safely: one commit on a named parent, begun again when someone was faster.

A change is a function from a state of the repository to the files that differ afterwards. Where another
commit comes in between, the Hub refuses ours (412), and the function is asked again with the new state, so
that nothing anyone wrote is lost. Faults that pass (rate limits, server errors, broken connections) are
waited out in the same loop; a commit that took effect although its answer was lost shows in the next state,
where nothing is left to change.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hf_affscore.errors import HubError, InputError
from hf_affscore.hub import Kind, client, failures_named

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo, DatasetInfo, HfApi, ModelInfo, SpaceInfo

ATTEMPTS = 30
LONGEST_PAUSE = 8.0  # seconds between two attempts
PATIENCE = 300.0  # seconds that a Retry-After may ask for


@dataclass(frozen=True)
class State:
    """A repository at one commit."""

    api: HfApi
    kind: Kind
    repo_id: str
    commit: str
    paths: frozenset[str]

    @classmethod
    def at(cls, api: HfApi, kind: Kind, repo_id: str, revision: str | None) -> State:
        """The repository as it stands now on a branch."""
        ask: dict[Kind, Callable[..., ModelInfo | DatasetInfo | SpaceInfo]]
        ask = {"model": api.model_info, "dataset": api.dataset_info, "space": api.space_info}
        info = ask[kind](repo_id, revision=revision)
        paths = frozenset(file.rfilename for file in info.siblings or ())
        return cls(api, kind, repo_id, str(info.sha), paths)

    def read(self, path: str) -> bytes | None:
        """Content of a file, or ``None`` where there is none."""
        if path not in self.paths:
            return None
        found = self.api.hf_hub_download(self.repo_id, path, repo_type=self.kind, revision=self.commit)
        return Path(found).read_bytes()

    def read_card(self) -> str:
        """The card's text with its line ends, empty where there is none.

        Raises:
            InputError: It is not UTF-8, which the Hub's clients cannot write back.
        """
        try:
            return (self.read("README.md") or b"").decode()
        except UnicodeDecodeError as error:
            raise InputError(
                f"The card of {self.repo_id} is not UTF-8 ({error}). Repair it first."
            ) from error


Change = Callable[[State], Mapping[str, bytes]]


def commit_change(
    kind: Kind,
    repo_id: str,
    change: Change,
    *,
    message: str,
    token: str | bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    create: bool = False,
    private: bool | None = None,
) -> CommitInfo:
    """Commit what ``change`` wants changed, and nothing when the repository has these bytes already.

    Args:
        kind: Whether the repository is a model, a data set or a Space, which is one of Gradio when it is made here.
        repo_id: Its name.
        change: From a state to new contents by path.
        message: First line of the commit.
        token: Access token for the Hub.
        revision: Branch to commit to, or for a pull request to start from.
        create_pr: Open a pull request instead.
        create: Make the repository if it is missing.
        private: Whether one made here is private.

    Raises:
        HubError: The Hub refused, or could not be reached in :data:`ATTEMPTS` attempts.
    """
    from httpx2 import HTTPError

    api = client(token)
    with failures_named(kind, repo_id, revision, publishing=True):
        for attempt in range(1, ATTEMPTS + 1):
            try:
                state = _state(api, kind, repo_id, revision, create=create and not create_pr, private=private)
                return _commit(state, change(state), message, revision, create_pr=create_pr)
            except HTTPError as error:
                pause = _pause(error, attempt)
                if pause is None or attempt == ATTEMPTS:
                    raise
            time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def _pause(error: Exception, attempt: int) -> float | None:
    """Seconds to wait before the next attempt, or ``None`` where no attempt would help.

    Pauses double and are drawn at random below that, so that writers who collided once do not again.
    """
    from httpx2 import TransportError
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        wait = error.response.headers.get("Retry-After", "")
        if status in (429, 503) and wait.isdigit():
            return float(wait) if float(wait) <= PATIENCE else None
        if status not in (409, 412, 429) and status < 500:
            return None
    elif not isinstance(error, TransportError):
        return None
    return random.uniform(0, min(LONGEST_PAUSE, 0.25 * 2**attempt))


def _state(
    api: HfApi, kind: Kind, repo_id: str, revision: str | None, *, create: bool, private: bool | None
) -> State:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        return State.at(api, kind, repo_id, revision)
    except GatedRepoError:
        raise
    except RepositoryNotFoundError:
        if not create:
            raise
        sdk = "gradio" if kind == "space" else None
        api.create_repo(repo_id, repo_type=kind, private=private, exist_ok=True, space_sdk=sdk)
        return State.at(api, kind, repo_id, revision)


def _commit(
    state: State, files: Mapping[str, bytes], message: str, revision: str | None, *, create_pr: bool
) -> CommitInfo:
    """One commit on top of ``state``. Files the repository has already are left out by the client."""
    from httpx2 import HTTPError
    from huggingface_hub import CommitOperationAdd

    try:
        with _without_bars():
            return state.api.create_commit(
                state.repo_id,
                [CommitOperationAdd(path, content) for path, content in files.items()],
                commit_message=message,
                repo_type=state.kind,
                revision=revision,
                create_pr=create_pr,
                parent_commit=state.commit,
            )
    except RuntimeError as error:  # the client wraps what happened to a large file
        if isinstance(error.__cause__, HTTPError):
            raise error.__cause__ from None
        raise
    except ValueError as error:  # the Hub's verdict on the metadata of a card
        if "README.md" not in str(error):
            raise
        raise HubError(f"The Hub does not accept the card of {state.repo_id!r}: {error}") from error


@contextlib.contextmanager
def _without_bars() -> Iterator[None]:
    """The client's progress bars off: three small files are there before a bar is."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
