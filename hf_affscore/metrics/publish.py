"""``hf-affscore metric publish``: publishes the metric as your own Space, with a page, in one commit."""

from __future__ import annotations

from typing import Final, Literal

from hf_affscore.errors import InputError
from hf_affscore.metrics import FOLDER, NAME
from hf_affscore.publish.commit import commit_change
from hf_affscore.publish.markdown import set_metadata
from hf_affscore.tokens import Token

#: Files of the Space, by SDK. evaluate only reads the metric's file.
FILES: Final[dict[str, tuple[str, ...]]] = {
    "static": ("README.md", "index.html", f"{NAME}.py"),
    "gradio": ("README.md", "app.py", "requirements.txt", f"{NAME}.py"),
}


def publish(
    repo_id: str,
    *,
    sdk: Literal["static", "gradio"] = "static",
    private: bool | None = None,
    token: Token = None,
) -> str:
    """Push the metric to a Space; ``evaluate.load(repo_id)`` finds it there.

    Args:
        repo_id: ``user/affinity_signature``; made if it does not exist. evaluate expects the file of a metric to
            have the name of its Space.
        sdk: ``static``: a page that explains the metric. ``gradio``: a page that computes scores; free accounts
            have to pay for it.
        private: Whether a new Space is private; default: the setting of its owner.
        token: Access token with write access; default: the one you logged in with.

    Returns:
        The address of the Space.

    Raises:
        InputError: The name of the Space is not that of the metric.
        HubError: The Hub cannot be reached, or refuses.
    """
    owner, _, name = repo_id.partition("/")
    if not owner or name != NAME:
        raise InputError(
            f"The Space is to be called {repo_id!r}; expected 'USER/{NAME}': evaluate.load('USER/NAME') reads "
            "NAME.py, so that the name of the metric is also that of its Space."
        )
    files = {path: (FOLDER / path).read_bytes() for path in FILES[sdk]}
    if sdk == "static":
        card = set_metadata(files["README.md"].decode(), "sdk", "static")
        files["README.md"] = set_metadata(card, "app_file", "index.html").encode()
    commit = commit_change(
        "space",
        repo_id,
        lambda state: files,
        message="Publish the metric affinity_signature",
        token=token,
        create=True,
        private=private,
        sdk=sdk,
    )
    return str(commit.repo_url)
