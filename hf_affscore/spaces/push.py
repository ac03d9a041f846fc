"""``hf-affscore space push``: the gallery as a Space of your own, in one commit."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from hf_affscore.errors import InputError
from hf_affscore.publish.commit import commit_change

#: What makes up the Space, beside the name of its collection.
FILES: Final = ("README.md", "app.py", "requirements.txt")
COLLECTION_FILE: Final = "collection.txt"


def push_gallery(
    repo_id: str, signatures: str, *, private: bool | None = None, token: str | bool | None = None
) -> str:
    """Push the gallery to a Space that shows the collection ``signatures`` first.

    Args:
        repo_id: ``user/gallery``; made if there is none.
        signatures: The data set repository of signatures to show.
        private: Whether a Space that is made here is private; default: as its owner has set.
        token: Access token with write access; default: the one you logged in with.

    Returns:
        The address of the Space.

    Raises:
        InputError: ``signatures`` is no name of a repository.
        HubError: The Hub cannot be reached, or does not allow it.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(signatures)
    except HFValidationError as error:
        raise InputError(
            f"signatures is {signatures!r}; expected a data set on the Hub such as user/signatures: a Space "
            "cannot read this machine. Push your signatures there with `hf-affscore push`."
        ) from error
    folder = files(__package__).joinpath("gallery")
    contents = {name: folder.joinpath(name).read_bytes() for name in FILES}
    contents[COLLECTION_FILE] = f"{signatures}\n".encode()
    commit = commit_change(
        "space",
        repo_id,
        lambda state: contents,
        message=f"Show the signatures of {signatures}",
        token=token,
        create=True,
        private=private,
    )
    return str(commit.repo_url)
