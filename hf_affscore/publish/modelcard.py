"""A section about its signature in a model's card."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from hf_affscore.hub import client, failures_named
from hf_affscore.publish.cards import MODEL_PICTURE, model_card, model_index
from hf_affscore.publish.commit import State, commit_change
from hf_affscore.publish.push import picture
from hf_affscore.signature import Signature


@dataclass(frozen=True)
class CardUpdate:
    """What an update changes.

    Attributes:
        diff: The card's change, as a unified diff; empty when it is up to date.
        url: The commit or pull request; ``None`` for a dry run.
    """

    diff: str
    url: str | None


def update_model_card(
    signature: Signature,
    repo_id: str,
    *,
    create_pr: bool | None = None,
    with_model_index: bool = False,
    dry_run: bool = False,
    token: str | bool | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
) -> CardUpdate:
    """Put picture, table and meaning of a signature into a model's card, in a section of their own.

    The section replaces the one of an earlier update; nothing else in the card changes.

    Args:
        signature: The signature of this model.
        repo_id: The model on the Hub.
        create_pr: Open a pull request; default: yes, unless the repository is yours or your organisation's.
        with_model_index: Add the median score to the card's ``model-index`` as well.
        dry_run: Change nothing, only say what would change.
        token: Access token for the Hub; default: the one you logged in with.
        revision: Branch to update; default: ``main``.
        commit_message: First line of the commit.

    Raises:
        HubError: The model is missing or closed to you, or the Hub cannot be reached.
        InputError: The card's metadata or its earlier section is damaged.
    """
    changed: dict[str, str] = {}
    image = picture(signature)

    def change(state: State) -> dict[str, bytes]:
        before = state.read_card()
        after = model_card(before, signature)
        if with_model_index:
            after = model_index(after, signature, repo_id.rpartition("/")[2])
        changed["diff"] = _diff(before, after)
        return {"README.md": after.encode(), MODEL_PICTURE: image}

    if dry_run:
        with failures_named("model", repo_id, revision, publishing=True):
            change(State.at(client(token), "model", repo_id, revision))
        return CardUpdate(changed["diff"], None)
    with failures_named("model", repo_id, revision, publishing=True):
        create_pr = not _owns(repo_id, token) if create_pr is None else create_pr
    info = commit_change(
        "model",
        repo_id,
        change,
        message=commit_message or "Add the non-linearity signature to the model card",
        token=token,
        revision=revision,
        create_pr=create_pr,
    )
    return CardUpdate(changed["diff"], info.pr_url or info.commit_url)


def _owns(repo_id: str, token: str | bool | None) -> bool:
    """Whether the repository is in the namespace of the token's user, or of one of their organisations."""
    who = client(token).whoami()
    return repo_id.split("/")[0] in {who["name"], *(org["name"] for org in who.get("orgs", []))}


def _diff(before: str, after: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), "README.md", "README.md (updated)"
    )
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )
