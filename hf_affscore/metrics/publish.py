"""``hf-affscore metric publish``: the metric as a Space of your own, with a page, in one commit."""

from __future__ import annotations

from typing import Final, Literal

from hf_affscore.errors import InputError
from hf_affscore.metrics import FOLDER, NAME
from hf_affscore.publish.commit import commit_change
from hf_affscore.publish.markdown import set_metadata
from hf_affscore.tokens import Token

#: What makes up the Space. evaluate reads the metric's file, whatever the rest is.
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
        repo_id: ``user/affinity_signature``; made if there is none. evaluate expects the file of a metric to
            have the name of its Space.
        sdk: ``static``: a page that explains the metric. ``gradio``: one that computes, for which the Hub asks free
            accounts to pay.
        private: Whether a Space that is made here is private; default: as its owner has set.
        token: Access token with write access; default: the one you logged in with.

    Returns:
        The address of the Space.

    Raises:
        InputError: The Space would have another name than the metric.
        HubError: The Hub cannot be reached, or does not allow it.
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
