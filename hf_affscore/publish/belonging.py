"""Checks whether a signature belongs on a model's card: same model, same weights, images named in the card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from hf_affscore.checksums import model_checksum
from hf_affscore.errors import InputError
from hf_affscore.publish.frontmatter import metadata_of
from hf_affscore.signature import Signature
from hf_affscore.sources import WEIGHTS

if TYPE_CHECKING:
    from huggingface_hub import HfApi

#: Suffixes of files that can change the outputs of a checkpoint.
_SUFFIXES = (".json", ".safetensors", ".bin", ".pt", ".pth", ".py")


def check_belongs(faults: Sequence[str]) -> None:
    """Refuse a signature with faults.

    Raises:
        InputError: There are faults; the message lists all of them.
    """
    if faults:
        raise InputError(
            f"The signature does not belong on this card: {'; '.join(faults)}. Analyse what the card describes, or "
            "write the signature there anyway with force=True (--force)."
        )


def faults_of(signature: Signature, card: str) -> list[str]:
    """Faults that show in the signature and the card alone: random weights, images that the card does not name."""
    faults = []
    weights = signature.metadata.get("model", {}).get("weights")
    if weights:
        faults.append(f"it was made with {weights} weights, the card describes a trained model")
    try:
        listed = metadata_of(card).get("datasets") or []
    except InputError:  # invalid metadata does not stop the update; the Hub validates the card
        listed = []
    known = [str(name) for name in (listed if isinstance(listed, list) else [listed])]
    dataset = str(signature.metadata.get("dataset", {}).get("id") or "unnamed images")
    if known and _last(dataset) not in map(_last, known):
        faults.append(f"it was made on {dataset!r}, the card names {', '.join(map(repr, known))}")
    return faults


def faults_beside(signature: Signature, folder: Path) -> list[str]:
    """Faults of the signature of a local checkpoint for a card beside another one: another name, and other files.

    Either alone is allowed: a checkpoint may be copied, and files may have been added to it.
    """
    model = signature.metadata.get("model", {})
    name, checksum = model.get("id"), str(model.get("revision"))
    other = checksum.startswith("sha256:") and folder.name != name
    weights = other and any(file.suffix in WEIGHTS for file in folder.iterdir())
    if not weights or model_checksum(folder) == checksum:
        return []
    return [
        f"it is of {name!r}, the card is beside the checkpoint in {folder.name!r}, whose files are others"
    ]


def faults_on_hub(signature: Signature, api: HfApi, repo_id: str, commit: str) -> list[str]:
    """Faults of a signature for the card of a repository: another model, other weights.

    Args:
        signature: The signature.
        api: The Hub's client.
        repo_id: The model that the card describes.
        commit: The commit of the card.

    Raises:
        Exception: Any error of the Hub's client.
    """
    model = signature.metadata.get("model", {})
    name, revision = str(model.get("id")), str(model.get("revision"))
    if name.casefold() != repo_id.casefold():
        return [f"it is of {name!r}, the card is that of {repo_id!r}"]
    changed = _changed(api, repo_id, revision, commit)
    if changed is None:
        return [f"it is of commit {revision}, which {repo_id!r} does not have; the card is at {commit}"]
    if changed:
        return [f"it is of commit {revision}, the card is at {commit}, where {changed[0]} is another"]
    return []


def _changed(api: HfApi, repo_id: str, before: str, after: str) -> list[str] | None:
    """Files of the checkpoint that differ between two commits; ``None`` if a commit does not exist."""
    from huggingface_hub.errors import HFValidationError, RevisionNotFoundError

    if before == after:
        return []
    states = []
    for revision in (before, after):
        try:
            info = api.model_info(repo_id, revision=revision, files_metadata=True)
        except (RevisionNotFoundError, HFValidationError):
            return None
        states.append({file.rfilename: file.blob_id for file in info.siblings or ()})
    names = sorted(
        name for name in states[0].keys() | states[1].keys() if PurePosixPath(name).suffix in _SUFFIXES
    )
    return [name for name in names if states[0].get(name) != states[1].get(name)]


def _last(name: str) -> str:
    """A data set's name without its owner: ``imagenet-1k`` is also ``ILSVRC/imagenet-1k``."""
    return name.rpartition("/")[2].casefold()
