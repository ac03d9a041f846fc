"""``hf-affscore metric publish``: publishes the metric as your own Space, with a page, in one commit."""

from __future__ import annotations

from typing import Literal

from hf_affscore.errors import InputError
from hf_affscore.metrics import FOLDER, NAME
from hf_affscore.publish.bundle import with_package
from hf_affscore.publish.commit import Change, commit_change
from hf_affscore.publish.frontmatter import set_metadata
from hf_affscore.tokens import Token

_FILE = f"{NAME}.py"


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
        InputError: The name of the Space is not that of the metric, or a Gradio Space is to bring along a package
            that is not installed.
        HubError: The Hub cannot be reached, or refuses.
    """
    owner, _, name = repo_id.partition("/")
    if not owner or name != NAME:
        raise InputError(
            f"The Space is named {repo_id!r}; expected 'USER/{NAME}': evaluate.load('USER/NAME') looks in the "
            "Space for NAME.py, so the Space must have the name of the metric."
        )
    commit = commit_change(
        "space",
        repo_id,
        _static() if sdk == "static" else _gradio(),
        message="Publish the metric affinity_signature",
        token=token,
        create=True,
        private=private,
        sdk=sdk,
    )
    return str(commit.repo_url)


def _static() -> Change:
    """A page that explains the metric, and the metric's file, which is all that evaluate reads."""
    card = set_metadata((FOLDER / "README.md").read_text(encoding="utf-8"), "sdk", "static")
    card = set_metadata(card, "app_file", "index.html")
    files = {path: (FOLDER / path).read_bytes() for path in ("index.html", _FILE)}
    return lambda state: {"README.md": card.encode(), **files}


def _gradio() -> Change:
    """A page that computes, and the metric's file."""
    files = {path: (FOLDER / path).read_bytes() for path in ("README.md", _FILE)}
    return with_package((FOLDER / "app.py").read_bytes(), files)
