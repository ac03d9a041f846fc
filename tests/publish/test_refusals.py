"""What the Hub refuses, at every command that writes: a sentence with what happened and the next step, no token."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from hf_affscore import retries
from hf_affscore.cli import main
from hf_affscore.errors import AffscoreWarning
from hf_affscore.options import Options
from hf_affscore.publish.reuse import PublishedSignatures
from hf_affscore.sources import Source
from tests.hub import LocalHub
from tests.publish.samples import signature

#: Every command that writes, what it writes to, and how a message calls that.
COMMANDS = {
    "push": (["push", "FOLDER", "ada/new"], "Data set 'ada/new'"),
    "push, pull request": (["push", "FOLDER", "ada/old", "--create-pr"], "Data set 'ada/old'"),
    "card": (["card", "FOLDER", "ada/net"], "Model 'ada/net'"),
    "card, pull request": (["card", "FOLDER", "ada/net", "--create-pr"], "Model 'ada/net'"),
    "space": (["space", "push", "ada/page", "--signatures", "ada/old"], "Space 'ada/page'"),
    "space, Gradio": (
        ["space", "push", "ada/page", "--signatures", "ada/old", "--sdk", "gradio"],
        "Space 'ada/page'",
    ),
    "metric": (["metric", "publish", "ada/affinity_signature"], "Space 'ada/affinity_signature'"),
}
#: What a message says for each status: what happened, and the next step.
SENTENCES = {
    401: ("does not accept the token (401)", "log in with `hf auth login`"),
    402: ("asks for a paid account (402)", "use another account"),
    403: ("the token may not write there (403)", "Use one with write access to it"),
    404: ("does not find it (404)", "Check the name"),
    409: ("kept changing during the upload (409)", "Try again"),
    429: ("too many requests to the Hub (429)", "Try again in 1 seconds"),
    503: ("had an internal error (503)", "Try again later"),
}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits, and two attempts are enough."""
    monkeypatch.setattr(time, "sleep", lambda pause: None)
    monkeypatch.setattr(retries, "FAULTS", 2)
    monkeypatch.setattr(retries, "CONFLICTS", 2)


@pytest.mark.parametrize("status", SENTENCES)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_refusal_is_a_sentence_with_a_next_step(
    hub: LocalHub, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, status: int
) -> None:
    token = hub.token("ada", pays=True)
    hub.add("model", "ada/net", {"README.md": b"# Net\n"})
    sig = signature(revision=hub.repo("model", "ada/net").refs["main"])
    sig.save_pretrained(tmp_path / "signature")
    sig.push_to_hub("ada/old", token=token)
    commits = {key: len(repo.commits) for key, repo in hub.store.repositories.items()}
    writes = r"^/api/(repos/create|(models|datasets|spaces)/[^/]+/[^/]+/(preupload|commit)/)"
    hub.fail("POST", writes, status, times=1000, retry_after=1 if status == 429 else None)
    words, called = COMMANDS[command]
    words = [str(tmp_path / "signature") if word == "FOLDER" else word for word in words]
    with pytest.raises(SystemExit) as stop:
        main([*words, "--token", token])
    everything = capsys.readouterr().err + str(stop.value.code)
    (said,) = (
        line for line in everything.splitlines() if "error:" in line
    )  # the client tells of its own attempts
    happened, step = SENTENCES[status]
    if "Gradio" in command and status == 402:
        step = "--sdk static"
    if status == 409 and command in ("push", "space", "space, Gradio", "metric"):
        happened, step = "was not found", "Check the spelling"  # it is said to be there, and is not
    assert said.startswith(f"hf-affscore: error: {called}")
    assert happened in said
    assert step in said
    assert "--create-pr" not in said or command.startswith(("push", "card"))
    assert token not in everything
    now = {key: len(repo.commits) for key, repo in hub.store.repositories.items()}
    assert now == commits, "nothing was written"


@pytest.mark.parametrize("status", [status for status in SENTENCES if status != 409])
def test_what_cannot_be_reused_is_said_and_computed(hub: LocalHub, status: int) -> None:
    """Reading: the sentences speak of reading."""
    token = hub.token("ada")
    signature().push_to_hub("ada/old", token=token)
    hub.fail("GET", "/api/datasets/ada/old", status, times=1000, retry_after=1 if status == 429 else None)
    published = PublishedSignatures("ada/old", token)
    model, dataset = (Source(name, name, "0" * 40, "0" * 40) for name in ("ada/net", "ada/images"))
    happened, step = SENTENCES[status]
    if status == 403:
        happened, step = "the token may not read it (403)", "Use one with read access"
    with pytest.warns(AffscoreWarning) as said:
        assert published.find(model, dataset, Options(), []) is None
    (message,) = (str(one.message) for one in said if one.category is AffscoreWarning)
    assert message.startswith(
        "No published signature of ada/net could be used, so it is computed. Data set 'ada/old'"
    )
    assert happened in message
    assert step in message
    assert token not in message
