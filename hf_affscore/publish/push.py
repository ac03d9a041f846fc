"""Adds a signature to a collection on the Hub."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hf_affscore.blocks import refuse_blocks
from hf_affscore.errors import HubError, InputError, warn
from hf_affscore.publish.cards import dataset_card
from hf_affscore.publish.commit import State, commit_change
from hf_affscore.publish.index import INDEX_FILE, PICTURE_FILE, Entry, read_index, write_index
from hf_affscore.publish.reuse import without_note_of
from hf_affscore.signature import Signature

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo


def push_signature(
    signature: Signature,
    repo_id: str,
    *,
    private: bool | None,
    token: str | bool | None,
    revision: str | None,
    create_pr: bool,
    commit_message: str | None,
) -> CommitInfo:
    """Add ``signature`` to the collection ``repo_id``, see :meth:`Signature.push_to_hub`."""
    if not signature.rows:
        raise InputError(f"The signature of {signature.name} has no rows; expected at least one to publish.")
    refuse_blocks(signature.rows, "A collection")
    signature = without_note_of(repo_id, signature)
    entry = Entry.of(signature)
    files = {**signature.to_files(), PICTURE_FILE: picture(signature)}

    said: list[str] = []  # faults of the card, one for each attempt

    def change(state: State) -> dict[str, bytes]:
        present = _present(state)
        added = entry.in_place_of(present.values())
        entries = {**present, added.folder: added}
        before = state.read_card()
        try:
            card = {"README.md": dataset_card(before, list(entries.values()), repo_id).encode()}
        except InputError as error:
            said.append(str(error))
            card = {}
        its_files = {f"{added.folder}/{name}": content for name, content in files.items()}
        return {**its_files, INDEX_FILE: write_index(entries.values()), **card}

    commit = commit_change(
        "dataset",
        repo_id,
        change,
        message=commit_message or one_line(f"Signature of {entry.model} on {entry.dataset}"),
        token=token,
        revision=revision,
        create_pr=create_pr,
        create=True,
        private=private,
    )
    if said:
        warn(f"The signature is in {repo_id}, but not in its card, which was left as it is. {said[-1]}")
    return commit


def _present(state: State) -> dict[str, Entry]:
    """The entries that are already in the collection, by folder."""
    content = state.read(INDEX_FILE)
    if content is not None:
        return read_index(content, state.repo_id)
    if any(path.startswith("signatures/") for path in state.paths):
        raise HubError(
            f"{state.repo_id} holds signatures, but {INDEX_FILE}, which lists them, is gone. Restore it from the "
            "repository's history, or push to another repository."
        )
    return {}


def picture(signature: Signature) -> bytes:
    """The signature as a PNG; the same signature gives the same bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / PICTURE_FILE
        signature.plot(path)
        return path.read_bytes()


def one_line(text: str) -> str:
    """Text from outside as one printable line, for a commit message."""
    return "".join(character if character.isprintable() else " " for character in text)[:120]
