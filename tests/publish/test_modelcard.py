"""The section in a model's card: merged into what is there, as a pull request where it must be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import hf_affscore as ha
from hf_affscore.checksums import model_checksum
from hf_affscore.cli import main
from hf_affscore.errors import HubError, InputError
from hf_affscore.publish.cards import MODEL_PICTURE
from hf_affscore.publish.markdown import BEGIN, END
from hf_affscore.signature import Signature
from tests.hub import LocalHub
from tests.hub.storage import Blob
from tests.publish.samples import COMMIT, signature

CARD = b"---\r\nlicense: mit # mine\r\n---\r\n# Net\r\n\r\nBy Ada.  \r\n"


def card(hub: LocalHub, revision: str = "main") -> bytes:
    return hub.files("model", "ada/net", revision)["README.md"]


def current(hub: LocalHub, **fields: Any) -> Signature:
    """A signature of the model as it is on the Hub now."""
    return signature(revision=hub.repo("model", "ada/net").refs["main"], **fields)


def test_the_owner_commits_and_nothing_else_changes(hub: LocalHub) -> None:
    hub.add("model", "ada/net", {"README.md": CARD, "config.json": b"{}"})
    token, sig = hub.token("ada"), current(hub)
    update = ha.update_model_card(sig, "ada/net", token=token)
    assert update.url == f"{hub.endpoint}/ada/net/commit/{hub.repo('model', 'ada/net').refs['main']}"
    assert card(hub).startswith(CARD)
    assert hub.files("model", "ada/net")["affinity_signature.png"].startswith(b"\x89PNG")
    assert b"the median score is 0.500, from 0.250 to 0.750" in card(hub)
    assert len(hub.repo("model", "ada/net").history()) == 3

    ha.update_model_card(sig, "ada/net", token=token)
    assert len(hub.repo("model", "ada/net").history()) == 3, "the same again is no commit"
    again = ha.update_model_card(current(hub, scores=(0.125,)), "ada/net", token=token)
    assert "-Over" not in again.diff
    assert card(hub).startswith(CARD)
    assert card(hub).count(BEGIN.encode()) == card(hub).count(END.encode()) == 1
    assert b"0.125" in card(hub)
    assert b"0.250" not in card(hub)


def test_a_stranger_opens_a_pull_request(hub: LocalHub) -> None:
    hub.add("model", "ada/net", {"README.md": CARD})
    update = ha.update_model_card(current(hub), "ada/net", token=hub.token("eve"))
    assert update.url == f"{hub.endpoint}/ada/net/discussions/1"
    assert card(hub) == CARD
    assert card(hub, "refs/pr/1").startswith(CARD)
    with pytest.raises(HubError, match="may not write there"):
        ha.update_model_card(current(hub), "ada/net", token=hub.token("eve"), create_pr=False)


def test_the_owner_may_ask_for_a_pull_request(hub: LocalHub) -> None:
    hub.add("model", "ada/net")
    update = ha.update_model_card(current(hub), "ada/net", token=hub.token("ada"), create_pr=True)
    assert update.url
    assert update.url.endswith("/discussions/1")


def test_a_dry_run_changes_nothing_and_shows_everything(hub: LocalHub) -> None:
    hub.add("model", "ada/net", {"README.md": CARD})
    update = ha.update_model_card(current(hub), "ada/net", dry_run=True, with_model_index=True)
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
    ha.update_model_card(current(hub), "ada/net", token=token)
    merged = card(hub)
    assert merged.startswith(theirs)
    model.push_to_hub("ada/net", token=token)
    assert card(hub) == merged


def test_a_missing_model_is_named(hub: LocalHub) -> None:
    with pytest.raises(HubError, match="Model 'ada/net' was not found"):
        ha.update_model_card(signature(), "ada/net", token=hub.token("ada"))


LISTED = b"---\ndatasets:\n- ILSVRC/imagenet-1k\n---\n# Net\n"


@pytest.mark.parametrize(
    ("fields", "sentences"),
    [
        ({"model": "ada/other"}, ["of 'ada/other', the card is that of 'ada/net'"]),
        ({"model": "net", "revision": "sha256:" + "0" * 64}, ["of 'net', the card is that of 'ada/net'"]),
        ({"revision": COMMIT}, [f"of commit {COMMIT}, which 'ada/net' does not have; the card is at "]),
        ({"revision": None}, ["of commit None, which 'ada/net' does not have"]),
        ({"weights": "random, seed 0"}, ["random, seed 0 weights, the card describes a trained model"]),
        ({"dataset": "digits"}, ["made on 'digits', the card names 'ILSVRC/imagenet-1k'"]),
        ({"weights": "random, seed 0", "dataset": "noise", "model": "x"}, ["of 'x'", "random", "on 'noise'"]),
    ],
)
def test_a_signature_of_something_else_is_refused(
    hub: LocalHub, fields: dict[str, Any], sentences: list[str]
) -> None:
    hub.add("model", "ada/net", {"README.md": LISTED, "config.json": b"{}"})
    other = signature(
        **{"dataset": "imagenet-1k", "revision": hub.repo("model", "ada/net").refs["main"], **fields}
    )
    token = hub.token("ada")
    for dry_run in (True, False):
        with pytest.raises(
            InputError, match=r"does not belong on this card.*force=True \(--force\)"
        ) as error:
            ha.update_model_card(other, "ada/net", token=token, dry_run=dry_run)
        assert all(sentence in str(error.value) for sentence in sentences)
    assert card(hub) == LISTED
    ha.update_model_card(other, "ada/net", token=token, force=True)
    assert card(hub).startswith(LISTED)


def test_newer_weights_are_other_weights_and_a_newer_card_is_not(hub: LocalHub) -> None:
    repo = hub.add("model", "ada/net", {"README.md": CARD, "config.json": b"{}", "model.safetensors": b"1"})
    token, sig = hub.token("ada"), current(hub, model="Ada/Net")
    for _ in range(2):  # the second time the first one is a newer commit
        ha.update_model_card(sig, "ada/net", token=token)
    repo.commit("main", {"notes.txt": Blob(b"x", lfs=False)}, "notes")
    ha.update_model_card(sig, "ada/net", token=token)
    repo.commit("main", {"model.safetensors": Blob(b"2", lfs=True)}, "trained longer")
    with pytest.raises(
        InputError, match=r"of commit .*, the card is at .*, where model.safetensors is another"
    ):
        ha.update_model_card(sig, "ada/net", token=token)


def test_a_card_in_a_file_needs_no_hub(
    hub: LocalHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved, path = signature().save_pretrained(tmp_path / "saved"), tmp_path / "net" / "README.md"
    path.parent.mkdir()

    def run(*options: str) -> object:
        with pytest.raises(SystemExit) as stop:
            main(["card", str(saved), *options])
        return stop.value.code

    path.write_bytes(CARD)
    assert run("--local", str(path), "--dry-run", "--model-index") == 0
    assert path.read_bytes() == CARD
    assert "+model-index:" in capsys.readouterr().out
    for _ in range(2):
        assert run("--local", str(path)) == 0
    assert capsys.readouterr().out.split() == [str(path)] * 2
    assert path.read_bytes().startswith(CARD)
    assert path.read_bytes().count(BEGIN.encode()) == 1
    assert (path.parent / MODEL_PICTURE).read_bytes().startswith(b"\x89PNG")
    assert not hub.log
    path.write_bytes(LISTED)
    assert "made on 'ada/images', the card names" in str(run("--local", str(path)))
    assert path.read_bytes() == LISTED
    assert run("--local", str(path), "--force") == 0
    path.unlink()
    assert run("--local", str(path)) == 0
    assert "either a model on the Hub or --local" in str(run())
    assert "either a model on the Hub or --local" in str(run("ada/net", "--local", str(path)))
    assert "could not be read or written" in str(run("--local", str(tmp_path / "none" / "README.md")))


def test_a_signature_of_a_checkpoint_is_not_written_beside_another(tmp_path: Path) -> None:
    """Names alone say little, since folders are copied; nor do files alone, since some are added."""
    for folder, weights in (("net", b"a"), ("copy", b"a"), ("other", b"b")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "model.safetensors").write_bytes(weights)
    sig = signature("net", revision=model_checksum(tmp_path / "net"))
    (tmp_path / "net" / "trainer_state.json").write_text("{}")
    for folder in ("net", "copy"):
        ha.publish.update_local_card(sig, tmp_path / folder / "README.md")
    other = tmp_path / "other" / "README.md"
    with pytest.raises(InputError, match="it is of 'net', the card is beside the checkpoint in 'other'"):
        ha.publish.update_local_card(sig, other)
    ha.publish.update_local_card(sig, other, force=True)


def test_the_task_is_the_models_own(hub: LocalHub) -> None:
    text = b"---\npipeline_tag: object-detection\n---\n"
    hub.add("model", "ada/net", {"README.md": text})
    ha.update_model_card(current(hub), "ada/net", token=hub.token("ada"), with_model_index=True)
    assert b"type: object-detection\n      name: Object Detection" in card(hub)
