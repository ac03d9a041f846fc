"""Pull requests on the Hub: an open one is found again, so that no second one is opened.

The response to the request that opens one can be lost, and a command can be run twice. An open pull request of the
same user with the same title counts as the same proposal: new changes are committed to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hf_affscore.hub import Kind

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo, Discussion, HfApi


def open_proposal(api: HfApi, kind: Kind, repo_id: str, title: str) -> Discussion | None:
    """The open pull request with this title by the owner of the token, or None.

    Raises:
        Exception: Any error of the Hub's client, except that discussions are disabled: the result is then None.
    """
    from huggingface_hub.errors import HfHubHTTPError

    me = str(api.whoami()["name"])
    found = api.get_repo_discussions(
        repo_id, repo_type=kind, author=me, discussion_type="pull_request", discussion_status="open"
    )
    try:
        mine = [one for one in found if one.is_pull_request and one.status == "open" and one.author == me]
    except HfHubHTTPError as error:
        if error.response.status_code in (403, 404, 410):
            return None
        raise
    return next((one for one in mine if one.title.strip() == title.partition("\n")[0].strip()), None)


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
