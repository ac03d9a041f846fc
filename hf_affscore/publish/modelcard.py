"""Adds a section about a signature to a model's card."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from hf_affscore.blocks import refuse_blocks
from hf_affscore.errors import InputError
from hf_affscore.hub import client, failures_named
from hf_affscore.publish.belonging import check_belongs, faults_beside, faults_of, faults_on_hub
from hf_affscore.publish.cards import MODEL_PICTURE, model_card, model_index
from hf_affscore.publish.commit import State, commit_change
from hf_affscore.publish.push import picture
from hf_affscore.retries import retried
from hf_affscore.signature import Signature
from hf_affscore.spelling import checked_keywords
from hf_affscore.storage import write_atomically
from hf_affscore.tokens import Token


@dataclass(frozen=True)
class CardUpdate:
    """The result of an update.

    Attributes:
        diff: The change of the card, as a unified diff; empty if the card is up to date.
        url: The commit or pull request; ``None`` for a dry run, and for a card in a file.
    """

    diff: str
    url: str | None


@checked_keywords()
def update_model_card(
    signature: Signature,
    repo_id: str,
    *,
    create_pr: bool | None = None,
    with_model_index: bool = False,
    force: bool = False,
    dry_run: bool = False,
    token: Token = None,
    revision: str | None = None,
    commit_message: str | None = None,
) -> CardUpdate:
    """Add a section with the picture, the table and the meaning of a signature to a model's card.

    The section replaces that of an earlier update; nothing else in the card changes.

    Args:
        signature: The signature of this model.
        repo_id: The model on the Hub.
        create_pr: Open a pull request; default: yes, unless the repository is yours or your organisation's.
        with_model_index: Also add the median score to the card's ``model-index``.
        force: Write it even if it is of another model, of other weights, or of images that the card does not name.
        dry_run: Change nothing, only return what would change.
        token: Access token for the Hub; default: the one you logged in with.
        revision: Branch to update; default: ``main``.
        commit_message: First line of the commit.

    Raises:
        HubError: The model does not exist, you have no access to it, or the Hub cannot be reached.
        InputError: The signature does not belong on this card, or the card's metadata or its earlier section is
            damaged.
    """
    refuse_blocks(signature.rows, "A model card")
    changed: dict[str, str] = {}
    image = picture(signature)

    def change(state: State) -> dict[str, bytes]:
        before = state.read_card()
        if not force:
            faults = faults_on_hub(signature, state.api, repo_id, state.commit)
            check_belongs(faults + faults_of(signature, before))
        after = _updated(before, signature, repo_id.rpartition("/")[2] if with_model_index else None)
        changed["diff"] = _diff(before, after)
        return {"README.md": after.encode(), MODEL_PICTURE: image}

    if dry_run:
        with failures_named("model", repo_id, revision, publishing=True):
            retried(lambda: change(State.at(client(token), "model", repo_id, revision)))
        return CardUpdate(changed["diff"], None)
    with failures_named("model", repo_id, revision, publishing=True, writing=True):
        create_pr = not retried(lambda: _owns(repo_id, token)) if create_pr is None else create_pr
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


def update_local_card(
    signature: Signature,
    path: str | os.PathLike[str],
    *,
    with_model_index: bool = False,
    force: bool = False,
    dry_run: bool = False,
) -> CardUpdate:
    """Like :func:`update_model_card`, for a card in a local file; the picture is written to the same folder.

    Args:
        signature: The signature of the model that the card describes.
        path: The card; made if it does not exist.
        with_model_index: Also add the median score to the card's ``model-index``.
        force: Write it even if it is of another checkpoint than the one beside the card, of random weights, or of
            images that the card does not name.
        dry_run: Change nothing, only return what would change.

    Raises:
        InputError: The signature does not belong on this card, or the card cannot be read, written or is damaged.
    """
    refuse_blocks(signature.rows, "A model card")
    path = Path(path)
    try:
        before = path.read_bytes().decode() if path.exists() else ""
        if not force:
            check_belongs(faults_beside(signature, path.resolve().parent) + faults_of(signature, before))
        after = _updated(before, signature, path.resolve().parent.name if with_model_index else None)
        if not dry_run:
            write_atomically(path.parent / MODEL_PICTURE, picture(signature))
            write_atomically(path, after.encode())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The card {path} could not be read or written: {error}. Expected a text file in UTF-8, in a folder "
            "that you can write to."
        ) from error
    return CardUpdate(_diff(before, after), None)


def _updated(card: str, signature: Signature, name: str | None) -> str:
    """The card with the section and, if ``name`` is given, a result in the model-index of that model."""
    updated = model_card(card, signature)
    return updated if name is None else model_index(updated, signature, name)


def _owns(repo_id: str, token: Token) -> bool:
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
