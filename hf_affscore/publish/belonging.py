"""Whether a signature belongs on a model's card: the same model, the same weights, images that the card knows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from hf_affscore.errors import InputError
from hf_affscore.publish.markdown import metadata_of
from hf_affscore.signature import Signature

if TYPE_CHECKING:
    from huggingface_hub import HfApi

#: Files that make a checkpoint compute what it computes.
_SUFFIXES = (".json", ".safetensors", ".bin", ".pt", ".pth", ".py")


def check_belongs(faults: Sequence[str]) -> None:
    """Refuse a signature with faults.

    Raises:
        InputError: There is one; the message says all, each with both sides.
    """
    if faults:
        raise InputError(
            f"The signature does not belong on this card: {'; '.join(faults)}. Analyse what the card describes, or "
            "write the signature there all the same with force=True (--force)."
        )


def faults_of(signature: Signature, card: str) -> list[str]:
    """What speaks against a signature on a card, as far as the two say it: untrained weights, foreign images."""
    faults = []
    weights = signature.metadata.get("model", {}).get("weights")
    if weights:
        faults.append(f"it was made with {weights} weights, the card describes a trained model")
    try:
        listed = metadata_of(card).get("datasets") or []
    except InputError:  # the card is merged all the same, and the Hub says what it thinks of it
        listed = []
    known = [str(name) for name in (listed if isinstance(listed, list) else [listed])]
    dataset = str(signature.metadata.get("dataset", {}).get("id") or "unnamed images")
    if known and _last(dataset) not in map(_last, known):
        faults.append(f"it was made on {dataset!r}, the card names {', '.join(map(repr, known))}")
    return faults


def faults_on_hub(signature: Signature, api: HfApi, repo_id: str, commit: str) -> list[str]:
    """What speaks against a signature on the card of a repository: another model, other weights.

    Args:
        signature: The signature.
        api: The Hub's client.
        repo_id: The model whose card it is.
        commit: The commit that the card is at.

    Raises:
        Exception: What the Hub's client raises.
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
    """Files of the checkpoint in which two commits differ; ``None`` where there is no such commit."""
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
