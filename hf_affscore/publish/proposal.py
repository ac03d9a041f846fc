"""Pull requests on the Hub: one that is there already is found again, so that no second one is opened.

The response to the request that opens one can be lost, and a command can be run twice, by two processes at once. A
pull request of the same user with the same title counts as the same proposal: new changes are committed to it while
it is open, and what was declined is not proposed again.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hf_affscore.hub import Kind

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo, Discussion, HfApi

#: Seconds that a process waits for another one that may be opening the same pull request.
PATIENCE = 300


def proposals(api: HfApi, kind: Kind, repo_id: str, title: str) -> list[Discussion]:
    """The pull requests with this title by the owner of the token, newest first; none without discussions.

    Raises:
        Exception: Any error of the Hub's client, except that discussions are disabled.
    """
    from huggingface_hub.errors import HfHubHTTPError

    me = str(api.whoami()["name"])
    found = api.get_repo_discussions(repo_id, repo_type=kind, author=me, discussion_type="pull_request")
    title = title.partition("\n")[0].strip()
    try:
        mine = [
            one for one in found if one.is_pull_request and one.author == me and one.title.strip() == title
        ]
    except HfHubHTTPError as error:
        if error.response.status_code in (403, 404, 410):
            return []
        raise
    return sorted(mine, key=lambda one: one.num, reverse=True)


@contextlib.contextmanager
def one_at_a_time(kind: Kind, repo_id: str, title: str) -> Iterator[None]:
    """Between looking for a pull request and opening it, no other process of this machine opens it.

    Where no lock can be written, or another process holds it for longer than :data:`PATIENCE`, there is none.
    """
    from filelock import FileLock
    from huggingface_hub.constants import HF_HOME

    folder = Path(HF_HOME) / "hf_affscore" / "proposals"
    name = hashlib.sha256(f"{kind} {repo_id} {title}".encode()).hexdigest()[:16]
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(FileLock(folder / f"{name}.lock", timeout=PATIENCE))
        yield


def as_part_of(proposal: Discussion, commit: CommitInfo) -> CommitInfo:
    """The information about a commit, with the URL of its pull request."""
    from huggingface_hub import CommitInfo

    return CommitInfo(
        commit_url=commit.commit_url,
        commit_message=commit.commit_message,
        commit_description=commit.commit_description,
        oid=commit.oid,
        pr_url=proposal.url,
    )
