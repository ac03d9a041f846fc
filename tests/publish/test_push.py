"""Collections on a real Hub over real HTTP: pushed, merged, read back."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import snapshot_download

import hf_affscore as ha
from hf_affscore.errors import AffscoreWarning, HubError, InputError, SignatureError
from hf_affscore.publish.index import INDEX_FILE, Entry, read_index
from hf_affscore.signature import Signature
from tests.hub import LocalHub
from tests.hub.local import ROOT
from tests.publish.samples import signature

REPO = "ada/signatures"


def commits(hub: LocalHub) -> int:
    return len(hub.repo("dataset", REPO).history())


def folders(hub: LocalHub) -> set[str]:
    return {path.split("/")[1] for path in hub.files("dataset", REPO) if path.startswith("signatures/")}


def test_a_push_is_one_commit_with_everything_in_it(hub: LocalHub) -> None:
    sig = signature()
    commit = sig.push_to_hub(REPO, token=hub.token("ada"), commit_message="Mine")
    history = hub.repo("dataset", REPO).history()
    assert [c.title for c in history] == ["Mine", "initial commit"]
    assert commit.oid == history[0].oid
    folder = Entry.of(sig).folder
    files = hub.files("dataset", REPO)
    assert set(files) == {
        "README.md",
        INDEX_FILE,
        *(f"{folder}/signature.{suffix}" for suffix in ("json", "parquet", "png")),
    }
    assert files[f"{folder}/signature.png"].startswith(b"\x89PNG")
    assert {line.method for line in hub.log if line.path.endswith("/commit/main")} == {"POST"}


def test_every_request_names_the_package(hub: LocalHub) -> None:
    signature().push_to_hub(REPO, token=hub.token("ada"))
    ha.load_signatures(REPO)
    assert hub.log
    agents = {line.user_agent for line in hub.log if not line.storage}
    assert all(agent.startswith(f"hf_affscore/{ha.__version__};") for agent in agents), agents


def test_the_same_again_changes_nothing(hub: LocalHub) -> None:
    token = hub.token("ada")
    first = signature().push_to_hub(REPO, token=token)
    again = signature().push_to_hub(REPO, token=token)
    assert first.oid == again.oid
    assert commits(hub) == 2


def test_a_newer_run_of_the_same_replaces_it_and_others_stay(hub: LocalHub) -> None:
    token = hub.token("ada")
    signature("ada/other").push_to_hub(REPO, token=token)
    signature(scores=(0.1,)).push_to_hub(REPO, token=token)
    newer = signature(scores=(0.9, 0.8), created="2027-01-01T00:00:00+00:00")
    newer.push_to_hub(REPO, token=token)
    assert len(folders(hub)) == 2
    assert Signature.from_pretrained(REPO, model="ada/net") == newer
    assert Signature.from_pretrained(REPO, model="ada/other") == signature("ada/other")


def test_many_networks_data_sets_and_revisions_are_one_table(hub: LocalHub) -> None:
    import datasets

    token = hub.token("ada")
    signatures = [
        signature(),
        signature(revision="f" * 40),
        signature(dataset="cifar10", split="train"),
        signature(
            "Ada/Net", cka=0.5, affinity_score_effects=(1, -2, 1)
        ),  # another case, columns the others lack
    ]
    for sig in signatures:
        sig.push_to_hub(REPO, token=token)
    assert len(folders(hub)) == 4
    expected = sorted((sig.name, row.module) for sig in signatures for row in sig.rows)
    for streaming in (False, True):
        rows = list(datasets.load_dataset(REPO, split="train", streaming=streaming))
        assert sorted((row["model"], row["module"]) for row in rows) == expected
        assert {row["cka"] for row in rows} == {None, 0.5}
        assert [1, -2, 1] in [row["affinity_score_effects"] for row in rows]
        assert {row["dataset"] for row in rows} == {"ada/images", "cifar10"}
    summary = datasets.load_dataset(REPO, "summary", split="train").to_pandas()
    assert sorted(summary["model"]) == sorted(sig.name for sig in signatures)
    assert summary.loc[summary["model"] == "Ada/Net", "median"].item() == 0.5
    loaded = ha.load_signatures(REPO)
    assert all(sig in loaded for sig in signatures)
    assert len(loaded) == 4


def test_the_repository_is_private_if_asked(hub: LocalHub) -> None:
    token = hub.token("ada")
    signature().push_to_hub(REPO, token=token, private=True)
    assert hub.repo("dataset", REPO).private
    assert Signature.from_pretrained(REPO, token=token) == signature()
    with pytest.raises(HubError, match="not found"):
        Signature.from_pretrained(REPO, token=False)


def test_a_pull_request_leaves_main_as_it_is(hub: LocalHub) -> None:
    signature().push_to_hub(REPO, token=hub.token("ada"))
    commit = signature("eve/net").push_to_hub(REPO, token=hub.token("eve"), create_pr=True)
    assert commit.pr_url == f"{hub.endpoint}/datasets/{REPO}/discussions/1"
    assert len(folders(hub)) == 1
    assert len(ha.load_signatures(REPO, revision="refs/pr/1")) == 2


def test_a_branch_is_committed_to_and_a_revision_pins(hub: LocalHub) -> None:
    from huggingface_hub import HfApi

    token = hub.token("ada")
    first = signature().push_to_hub(REPO, token=token)
    HfApi(token=token).create_branch(REPO, repo_type="dataset", branch="more")
    signature("ada/other").push_to_hub(REPO, token=token, revision="more")
    signature(scores=(0.1,)).push_to_hub(REPO, token=token)
    assert len(ha.load_signatures(REPO)) == 1
    assert len(ha.load_signatures(REPO, revision="more")) == 2
    assert Signature.from_pretrained(REPO, revision=first.oid) == signature()
    with pytest.raises(HubError, match="no revision 'nowhere'"):
        signature().push_to_hub(REPO, token=token, revision="nowhere")


def test_what_others_put_into_the_card_and_the_repository_stays(hub: LocalHub) -> None:
    hub.add(
        "dataset", REPO, {"README.md": b"---\nlicense: mit  # mine\n---\n# Mine \xc3\xa9\n", "x.txt": b"x"}
    )
    signature().push_to_hub(REPO, token=hub.token("ada"))
    files = hub.files("dataset", REPO)
    assert files["README.md"].startswith(b"---\nlicense: mit  # mine\n")
    assert b"---\n# Mine \xc3\xa9\n" in files["README.md"]
    assert files["x.txt"] == b"x"


def test_a_signature_without_rows_is_not_published(hub: LocalHub) -> None:
    with pytest.raises(InputError, match="has no rows"):
        signature(scores=()).push_to_hub(REPO, token=hub.token("ada"))
    assert not hub.log


def test_a_card_that_is_not_text_is_left_alone(hub: LocalHub) -> None:
    hub.add("dataset", REPO, {"README.md": b"\xff"})
    with pytest.raises(InputError, match="not UTF-8"):
        signature().push_to_hub(REPO, token=hub.token("ada"))
    assert hub.files("dataset", REPO) == {"README.md": b"\xff"}


def test_a_lost_index_is_not_papered_over(hub: LocalHub) -> None:
    token = hub.token("ada")
    signature().push_to_hub(REPO, token=token)
    hub.repo("dataset", REPO).commit("main", {INDEX_FILE: None}, "oops")
    with pytest.raises(HubError, match="Restore it"):
        signature("ada/other").push_to_hub(REPO, token=token)


def test_fetched_once_it_is_there_offline(hub: LocalHub, tmp_path: Path) -> None:
    signature().push_to_hub(REPO, token=hub.token("ada"))
    code = (
        f"import hf_affscore as ha; print(ha.Signature.from_pretrained({REPO!r}, model='ada/net').scores[0])"
    )
    assert hub.run("-c", code, home=tmp_path).stdout == "0.25\n"
    before = len(hub.log)
    offline = hub.run("-c", code, home=tmp_path, settings={"HF_HUB_OFFLINE": "1"})
    assert offline.stdout == "0.25\n", offline.stderr
    assert len(hub.log) == before
    empty = tmp_path / "new"
    empty.mkdir()
    missing = hub.run("-c", code, home=empty, settings={"HF_HUB_OFFLINE": "1"})
    assert "is neither a local folder nor in the local cache" in missing.stderr


def test_local_copies_are_read_alike(hub: LocalHub, tmp_path: Path) -> None:
    token = hub.token("ada")
    for name in ("ada/net", "ada/other"):
        signature(name).push_to_hub(REPO, token=token)
    copy = Path(snapshot_download(REPO, repo_type="dataset", local_dir=tmp_path / "copy"))
    assert Signature.from_pretrained(copy, model="ada/other") == signature("ada/other")
    assert ha.load_signatures(copy) == ha.load_signatures(REPO)
    single = signature().save_pretrained(tmp_path / "one")
    assert Signature.from_pretrained(single) == Signature.from_pretrained(single, model="ada/net")
    assert ha.load_signatures(single) == [signature()]
    pushed = hub.files("dataset", REPO)[f"{Entry.of(signature()).folder}/signature.parquet"]
    assert (single / "signature.parquet").read_bytes() == pushed


def test_equal_signatures_are_as_many_as_there_are(hub: LocalHub, tmp_path: Path) -> None:
    """Two folders with the same signature, and two training steps with the same scores."""
    for name in ("first", "second"):
        signature().save_pretrained(tmp_path / "same" / name)
    assert ha.load_signatures(tmp_path / "same") == [signature(), signature()]
    with pytest.raises(SignatureError, match="has 2 signatures"):
        Signature.from_pretrained(tmp_path / "same")
    steps = [signature(step=step) for step in (0, 100)]
    for sig in steps:
        sig.push_to_hub(REPO, token=hub.token("ada"))
        sig.save_pretrained(tmp_path / "steps" / f"step-{sig.metadata['training']['step']:06}")
    assert len(folders(hub)) == 2
    for source in (REPO, tmp_path / "steps"):
        found = ha.load_signatures(source)
        assert sorted(sig.metadata["training"]["step"] for sig in found) == [0, 100]
        assert [Signature.from_pretrained(source, training_step=step) for step in (0, 100)] == steps
    compared = ha.compare(tmp_path / "steps" / name for name in ("step-000000", "step-000100"))
    assert compared.names == ("ada/net (step 0)", "ada/net (step 100)")
    assert b"ada/net](https://huggingface.co/ada/net) (step 100)" in hub.files("dataset", REPO)["README.md"]


def test_other_options_are_another_signature(hub: LocalHub) -> None:
    token, sig = hub.token("ada"), signature()
    options = [{"num_samples": 64}, {"num_samples": 512}, {"num_samples": 64, "pooling": "channels"}]
    made = [replace(sig, metadata={**sig.metadata, "options": each}) for each in options]
    for each in made:
        each.push_to_hub(REPO, token=token)
    assert len(folders(hub)) == 3
    # What changes rounding only, or what the key has already.
    same = [
        {"device": "cuda"},
        {"device_memory_limit": 4.0},
        {"batch_size": 64},
        {"revision": "main"},
        {"split": "test"},
    ]
    for more in same:
        again = replace(sig, metadata={**sig.metadata, "options": {**options[0], **more}})
        again.push_to_hub(REPO, token=token)
    assert len(folders(hub)) == 3
    assert Signature.from_pretrained(REPO, options={"num_samples": 512}) == made[1]
    assert Signature.from_pretrained(REPO, options={"pooling": "channels"}) == made[2]
    choices = r"has 2 signatures for options=.*\n(.*\n)?.*options={'num_samples': 64, 'pooling': 'channels'}"
    with pytest.raises(SignatureError, match=choices):
        Signature.from_pretrained(REPO, options={"num_samples": 64})
    with pytest.raises(SignatureError, match="has no signature for options="):
        Signature.from_pretrained(REPO, options={"num_sample": 64})


def test_a_collection_without_settings_is_loaded_and_added_to(hub: LocalHub) -> None:
    """Written by version 0.1, whose keys had no options."""
    hub.add("dataset", REPO, ROOT / "tests" / "data" / "collection_without_settings")
    old = folders(hub)
    first, second = ha.load_signatures(REPO)
    assert (first, second.name) == (signature(), "ada/other")
    newer = signature(scores=(0.9, 0.8), created="2027-01-01T00:00:00+00:00")
    newer.push_to_hub(REPO, token=hub.token("ada"))
    assert folders(hub) == old, "the same analysis takes the place of the older one"
    larger = replace(newer, metadata={**newer.metadata, "options": {"num_samples": 512}})
    larger.push_to_hub(REPO, token=hub.token("ada"))
    newer.push_to_hub(REPO, token=hub.token("ada"))
    assert len(folders(hub) - old) == 1
    assert [each in ha.load_signatures(REPO) for each in (newer, second, larger)] == [True] * 3


@pytest.mark.parametrize(
    "metadata", ["license: [mit", "license: mit\nlicense: [", "- a list", "a: 2026-02-31", "{"]
)
def test_a_broken_card_does_not_end_a_push(hub: LocalHub, metadata: str) -> None:
    card = f"---\n{metadata}\n---\n# Mine\n".encode()
    hub.add("dataset", REPO, {"README.md": card})
    with pytest.warns(AffscoreWarning, match=r"left as it is\. The metadata .* Repair it first"):
        signature().push_to_hub(REPO, token=hub.token("ada"))
    assert hub.files("dataset", REPO)["README.md"] == card
    assert ha.load_signatures(REPO) == [signature()]


PUSHES = """
import sys
from tests.publish.samples import signature
writer = int(sys.argv[1])
for number in range(5):
    signature(f"ada/net-{writer}-{number}").push_to_hub("ada/signatures")
"""


@pytest.mark.slow
def test_eight_writers_at_once_lose_nothing(hub: LocalHub, tmp_path: Path) -> None:
    token = hub.token("ada")
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    writers = []
    for writer in range(8):
        home = tmp_path / str(writer)
        home.mkdir()
        settings = {**environment, "HOME": str(home), **hub.environment(home, token)}
        command = [sys.executable, "-c", PUSHES, str(writer)]
        writers.append(subprocess.Popen(command, env=settings, cwd=home, stderr=subprocess.PIPE, text=True))
    failures = [writer.communicate(timeout=300)[1] for writer in writers if writer.wait(300) != 0]
    assert not failures, failures[0]

    history = hub.repo("dataset", REPO).history()
    assert len(history) == 41
    for count, commit in enumerate(reversed(history[:-1]), start=1):
        entries = read_index(commit.files[INDEX_FILE].content, "history")
        assert len(entries) == count
        for folder in entries:
            names = ("signature.json", "signature.parquet")
            Signature.from_files({name: commit.files[f"{folder}/{name}"].content for name in names}, folder)
        card = commit.files["README.md"].content.decode()
        assert all(folder in card for folder in entries)
    expected = {f"ada/net-{writer}-{number}" for writer in range(8) for number in range(5)}
    assert {sig.name for sig in ha.load_signatures(REPO)} == expected
