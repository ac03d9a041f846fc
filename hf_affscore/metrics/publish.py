"""``hf-affscore metric publish``: the metric as a Space of your own, with a page, in one commit."""

from __future__ import annotations

from typing import Final

from hf_affscore.errors import InputError
from hf_affscore.metrics import FOLDER, NAME
from hf_affscore.publish.commit import commit_change

#: What makes up the Space.
FILES: Final = ("README.md", "app.py", "requirements.txt", f"{NAME}.py")


def publish(repo_id: str, *, private: bool | None = None, token: str | bool | None = None) -> str:
    """Push the metric to a Space; ``evaluate.load(repo_id)`` finds it there.

    Args:
        repo_id: ``user/affinity_signature``; made if there is none. evaluate expects the file of a metric to
            have the name of its Space.
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
    files = {path: (FOLDER / path).read_bytes() for path in FILES}
    commit = commit_change(
        "space",
        repo_id,
        lambda state: files,
        message="Publish the metric affinity_signature",
        token=token,
        create=True,
        private=private,
    )
    return str(commit.repo_url)
