"""``hf-affscore space push``: pushes the gallery to your own Space, in one commit.

A static Space is one page without a server: the report about a collection, made here and pushed. A Gradio Space is
a server that reads any public collection that a visitor names; free accounts have to pay for it.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final, Literal

from hf_affscore.comparison import compare
from hf_affscore.errors import InputError
from hf_affscore.hub import client, failures_named, is_repo_id
from hf_affscore.publish.bundle import with_package
from hf_affscore.publish.commit import Change, commit_change
from hf_affscore.publish.fetch import load_from_hub
from hf_affscore.report import render_report
from hf_affscore.retries import retried
from hf_affscore.tokens import Token

Sdk = Literal["static", "gradio"]

#: The file of the Gradio Space that names its collection.
COLLECTION_FILE: Final = "collection.txt"


def push_gallery(
    repo_id: str, signatures: str, *, sdk: Sdk = "static", private: bool | None = None, token: Token = None
) -> str:
    """Push the gallery to a Space that shows the collection ``signatures``.

    Args:
        repo_id: ``user/gallery``; made if it does not exist.
        signatures: The data set repository of signatures to show.
        sdk: ``static``: a page about the current state of the collection, to be pushed again when it changes.
            ``gradio``: a server that reads public collections, this one first.
        private: Whether a new Space is private; default: the setting of its owner.
        token: Access token with write access; default: the one you logged in with.

    Returns:
        The address of the Space.

    Raises:
        InputError: ``signatures`` is not the name of a repository, or it is private and the Space is not; or a
            Gradio Space is to bring along a package that is not installed.
        SignatureError: The collection has no signature, or a damaged one.
        HubError: The Hub cannot be reached, or refuses.
    """
    if not is_repo_id(signatures):
        raise InputError(
            f"signatures is {signatures!r}; expected a data set on the Hub such as user/signatures: a Space "
            "cannot read this machine. Push your signatures there with `hf-affscore push`."
        )
    if sdk == "static":
        _refuse_to_publish(signatures, repo_id, private, token)
    change = _static(signatures, token) if sdk == "static" else _gradio(signatures)
    commit = commit_change(
        "space",
        repo_id,
        change,
        message=f"Show the signatures of {signatures}",
        token=token,
        create=True,
        private=private,
        sdk=sdk,
    )
    return str(commit.repo_url)


def _static(signatures: str, token: Token) -> Change:
    """The files of the static Space, made from the current state of the collection."""
    comparison = compare(load_from_hub(signatures, token=token), allow_differences=True)
    readme = files(__package__).joinpath("static", "README.md").read_text(encoding="utf-8")
    contents = {
        "README.md": readme.replace("%COLLECTION%", signatures).encode(),
        "index.html": render_report(comparison).encode(),
    }
    return lambda state: contents


def _gradio(signatures: str) -> Change:
    """The files of the Gradio Space, which reads the collection itself."""
    folder = files(__package__).joinpath("gallery")
    readme, page = (folder.joinpath(name).read_bytes() for name in ("README.md", "app.py"))
    return with_package(page, {"README.md": readme, COLLECTION_FILE: f"{signatures}\n".encode()})


def _refuse_to_publish(signatures: str, repo_id: str, private: bool | None, token: Token) -> None:
    """Refuse to make a public page from a private collection.

    Raises:
        InputError: The collection is private and the Space is not.
        HubError: The collection does not exist, or you have no access to it.
    """
    from huggingface_hub.errors import RepositoryNotFoundError

    api = client(token)
    with failures_named("dataset", signatures, publishing=True):
        if not retried(lambda: api.dataset_info(signatures)).private:
            return
    with failures_named("space", repo_id, publishing=True):
        try:
            hidden = bool(retried(lambda: api.space_info(repo_id)).private)
        except RepositoryNotFoundError:  # it will be made
            hidden = private is True
    if not hidden:
        raise InputError(
            f"{signatures} is private, and the page in {repo_id} would show it to everybody. Make the Space "
            "private (private=True, --private where it is new), or the collection public."
        )
