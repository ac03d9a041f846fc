"""Changes a repository on the Hub: one commit on a named parent, repeated if another commit comes first.

A change is a function from a state of the repository to the files that it changes. If another commit comes first,
the Hub refuses ours (412), and the function is called again with the new state, so that no other change is lost.
Temporary faults (rate limits, server errors, broken connections) are retried in the same loop. If a commit took
effect but its response was lost, the next state shows it, and nothing is left to change. A pull request that is
already open is found again (:mod:`.proposal`). :mod:`hf_affscore.retries` has the loop.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hf_affscore.compat import status_of
from hf_affscore.errors import HubError, InputError
from hf_affscore.hub import Kind, client, failures_named
from hf_affscore.publish.proposal import as_part_of, one_at_a_time, proposals
from hf_affscore.retries import retried

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo, DatasetInfo, HfApi, ModelInfo, SpaceInfo


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
        """The current state of the repository on a branch."""
        ask: dict[Kind, Callable[..., ModelInfo | DatasetInfo | SpaceInfo]]
        ask = {"model": api.model_info, "dataset": api.dataset_info, "space": api.space_info}
        info = ask[kind](repo_id, revision=revision)
        paths = frozenset(file.rfilename for file in info.siblings or ())
        return cls(api, kind, repo_id, str(info.sha), paths)

    def read(self, path: str) -> bytes | None:
        """Content of a file, or ``None`` if it does not exist."""
        if path not in self.paths:
            return None
        found = self.api.hf_hub_download(self.repo_id, path, repo_type=self.kind, revision=self.commit)
        return Path(found).read_bytes()

    def read_card(self) -> str:
        """The card's text with its own line ends; empty if there is no card.

        Raises:
            InputError: The card is not UTF-8, so that the Hub's clients cannot write it back.
        """
        try:
            return (self.read("README.md") or b"").decode()
        except UnicodeDecodeError as error:
            raise InputError(
                f"The card of {self.repo_id} is not UTF-8 ({error}). Repair it first."
            ) from error


#: From a state to new contents by path; None removes a file.
Change = Callable[[State], Mapping[str, bytes | None]]


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
    sdk: str | None = None,
) -> CommitInfo:
    """Commit the files that ``change`` returns; nothing is committed if the repository already has them.

    Args:
        kind: Whether the repository is a model, a data set or a Space.
        repo_id: Its name.
        change: From a state to new contents by path; None removes a file that is there.
        message: First line of the commit.
        token: Access token for the Hub.
        revision: Branch to commit to, or the base of a pull request.
        create_pr: Open a pull request instead, or add to the one that an earlier call opened.
        create: Make the repository if it does not exist.
        private: Whether a new repository is private.
        sdk: SDK of a new Space: ``static`` or ``gradio``.

    Raises:
        HubError: The Hub refused, other commits came first in all attempts, the Hub could not be reached, or a pull
            request with this change was closed.
    """
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    api = client(token)

    def attempt() -> CommitInfo:
        earlier = proposals(api, kind, repo_id, message) if create_pr else []
        proposal = next((one for one in earlier if one.status in ("open", "draft")), None)
        if proposal is not None:
            state = State.at(api, kind, repo_id, proposal.git_reference)
            return as_part_of(proposal, _commit(state, change(state), message, proposal.git_reference))
        try:
            state = State.at(api, kind, repo_id, revision)
        except RepositoryNotFoundError as error:
            if not create or create_pr or isinstance(error, GatedRepoError):
                raise
            _create(api, kind, repo_id, private, sdk)
            state = State.at(api, kind, repo_id, revision)
        files = change(state)
        for declined in (one for one in earlier if one.status == "closed"):
            _refuse_again(State.at(api, kind, repo_id, declined.git_reference), files, declined.url)
        return _commit(state, files, message, revision, create_pr=create_pr)

    alone = one_at_a_time(kind, repo_id, message) if create_pr else contextlib.nullcontext()
    with alone, failures_named(kind, repo_id, revision, publishing=True, writing=True, sdk=sdk):
        return retried(attempt)


def _refuse_again(declined: State, files: Mapping[str, bytes | None], url: str) -> None:
    """Refuse to propose what a closed pull request proposed.

    Raises:
        HubError: Its files are the same.
    """
    if all(declined.read(path) == content for path, content in files.items()):
        raise HubError(
            f"A pull request of yours with this change was closed: {url}. It is not opened a second time. Reopen "
            "it there if that was a mistake, or give another one another title (commit_message, --commit-message)."
        )


def _create(api: HfApi, kind: Kind, repo_id: str, private: bool | None, sdk: str | None) -> None:
    """Make a repository, unless somebody was faster. The client's ``exist_ok`` expects an address in a 409."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api.create_repo(repo_id, repo_type=kind, private=private, space_sdk=sdk)
    except HfHubHTTPError as error:
        if status_of(error) != 409:
            raise


def _commit(
    state: State,
    files: Mapping[str, bytes | None],
    message: str,
    revision: str | None,
    *,
    create_pr: bool = False,
) -> CommitInfo:
    """One commit on top of ``state``. The client leaves out files that the repository already has."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    try:
        with _without_bars():
            return state.api.create_commit(
                state.repo_id,
                [
                    CommitOperationDelete(path) if content is None else CommitOperationAdd(path, content)
                    for path, content in files.items()
                ],
                commit_message=message,
                repo_type=state.kind,
                revision=revision,
                create_pr=create_pr,
                parent_commit=state.commit,
            )
    except ValueError as error:  # the Hub rejects the metadata of a card
        if "README.md" not in str(error):
            raise
        raise HubError(f"The Hub does not accept the card of {state.repo_id!r}: {error}") from error


@contextlib.contextmanager
def _without_bars() -> Iterator[None]:
    """Turn the client's progress bars off: a commit has only a few small files."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
