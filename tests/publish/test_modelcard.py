"""The section in a model's card: merged into what is there, as a pull request where it must be."""

from __future__ import annotations

import pytest

import hf_affscore as ha
from hf_affscore.errors import HubError
from hf_affscore.publish.markdown import BEGIN, END
from tests.hub import LocalHub
from tests.publish.samples import signature

CARD = b"---\r\nlicense: mit # mine\r\n---\r\n# Net\r\n\r\nBy Ada.  \r\n"


def card(hub: LocalHub, revision: str = "main") -> bytes:
    return hub.files("model", "ada/net", revision)["README.md"]


def test_the_owner_commits_and_nothing_else_changes(hub: LocalHub) -> None:
    hub.add("model", "ada/net", {"README.md": CARD, "config.json": b"{}"})
    token = hub.token("ada")
    update = ha.update_model_card(signature(), "ada/net", token=token)
    assert update.url == f"{hub.endpoint}/ada/net/commit/{hub.repo('model', 'ada/net').refs['main']}"
    assert card(hub).startswith(CARD)
    assert hub.files("model", "ada/net")["affinity_signature.png"].startswith(b"\x89PNG")
    assert b"the median score is 0.500, from 0.250 to 0.750" in card(hub)
    assert len(hub.repo("model", "ada/net").history()) == 3

    ha.update_model_card(signature(), "ada/net", token=token)
    assert len(hub.repo("model", "ada/net").history()) == 3, "the same again is no commit"
    again = ha.update_model_card(signature(scores=(0.125,)), "ada/net", token=token)
    assert "-Over" not in again.diff
    assert card(hub).startswith(CARD)
    assert card(hub).count(BEGIN.encode()) == card(hub).count(END.encode()) == 1
    assert b"0.125" in card(hub)
    assert b"0.250" not in card(hub)


def test_a_stranger_opens_a_pull_request(hub: LocalHub) -> None:
    hub.add("model", "ada/net", {"README.md": CARD})
    update = ha.update_model_card(signature(), "ada/net", token=hub.token("eve"))
    assert update.url == f"{hub.endpoint}/ada/net/discussions/1"
    assert card(hub) == CARD
    assert card(hub, "refs/pr/1").startswith(CARD)
    with pytest.raises(HubError, match="may not write there"):
        ha.update_model_card(signature(), "ada/net", token=hub.token("eve"), create_pr=False)


def test_the_owner_may_ask_for_a_pull_request(hub: LocalHub) -> None:
    hub.add("model", "ada/net")
    update = ha.update_model_card(signature(), "ada/net", token=hub.token("ada"), create_pr=True)
    assert update.url
    assert update.url.endswith("/discussions/1")


def test_a_dry_run_changes_nothing_and_shows_everything(hub: LocalHub) -> None:
    hub.add("model", "ada/net", {"README.md": CARD})
    update = ha.update_model_card(signature(), "ada/net", dry_run=True, with_model_index=True)
    assert update.url is None
    assert card(hub) == CARD
    assert {line.method for line in hub.log} <= {"GET", "HEAD"}
    added = [
        line[1:] for line in update.diff.splitlines() if line.startswith("+") and not line.startswith("+++")
    ]
    assert BEGIN in added
    assert "model-index:" in added
    assert not [
        line for line in update.diff.splitlines() if line.startswith("-") and not line.startswith("---")
    ]


def test_the_section_survives_model_push_to_hub(hub: LocalHub) -> None:
    """A model's own push writes a card only where there is none."""
    from transformers import AutoModelForImageClassification, ResNetConfig

    config = ResNetConfig(embedding_size=4, hidden_sizes=[4], depths=[1], num_labels=3, layer_type="basic")
    model = AutoModelForImageClassification.from_config(config)
    token = hub.token("ada")
    model.push_to_hub("ada/net", token=token)
    theirs = card(hub)
    ha.update_model_card(signature(), "ada/net", token=token)
    merged = card(hub)
    assert merged.startswith(theirs)
    model.push_to_hub("ada/net", token=token)
    assert card(hub) == merged


def test_a_missing_model_is_named(hub: LocalHub) -> None:
    with pytest.raises(HubError, match="Model 'ada/net' was not found"):
        ha.update_model_card(signature(), "ada/net", token=hub.token("ada"))
