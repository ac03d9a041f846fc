"""What can go wrong between here and the Hub: each a sentence with a next step, retried where that helps."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path

import huggingface_hub
import pytest

import hf_affscore as ha
from hf_affscore import retries
from hf_affscore.errors import AffscoreError, HubError, SignatureError
from hf_affscore.publish import CardUpdate
from hf_affscore.publish.index import INDEX_FILE
from hf_affscore.signature import Signature
from tests.hub import LocalHub
from tests.publish.samples import signature
from tests.versions import is_older

REPO = "ada/signatures"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses are counted instead of waited for; the client's own are skipped too."""
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


def refused(action: Callable[[], object], *sentences: str) -> None:
    sig = signature()
    with pytest.raises(HubError) as error:
        action()
    for sentence in sentences:
        assert sentence in str(error.value)
    assert "hf_" not in str(error.value), "a token in a message"
    assert sig == signature()


def push(token: str | bool | None, **options: object) -> Callable[[], object]:
    return lambda: signature().push_to_hub(REPO, token=token, **options)  # type: ignore[arg-type]


def test_no_token(hub: LocalHub) -> None:
    refused(push(None), "'ada/signatures'", "(401)", "`hf auth login`")
    refused(push(False), "'ada/signatures'", "(401)", "`hf auth login`")
    hub.add("model", "ada/net")
    refused(lambda: ha.update_model_card(signature(), "ada/net"), "needs a token", "`hf auth login`")


def test_a_wrong_token(hub: LocalHub) -> None:
    hub.add("dataset", REPO)
    refused(push("hf_wrong"), "does not accept the token (401)", "`hf auth login`")
    refused(lambda: Signature.from_pretrained(REPO, token="hf_wrong"), "does not accept the token (401)")


def test_a_read_only_token_and_a_repository_of_someone_else(hub: LocalHub) -> None:
    refused(push(hub.token("ada", "read")), "may not write there (403)", "create_pr=True")
    hub.add("dataset", REPO)
    refused(push(hub.token("ada", "read")), "may not write there (403)", "create_pr=True")
    refused(push(hub.token("eve")), "may not write there (403)", "create_pr=True")
    assert hub.files("dataset", REPO) == {}


def test_missing_private_and_gated_repositories(hub: LocalHub) -> None:
    eve = hub.token("eve")
    fetch = lambda **options: lambda: Signature.from_pretrained(REPO, **options)  # noqa: E731
    refused(fetch(), "was not found", "Check the spelling")
    refused(push(eve, create_pr=True), "was not found")
    hub.add("dataset", REPO, private=True)
    refused(fetch(token=eve), "was not found", "if it is private, log in")
    hub.add("dataset", "ada/gated", gated=True)
    signature().push_to_hub("ada/gated", token=hub.token("ada"))
    for token in (False, eve):
        refused(lambda t=token: ha.load_signatures("ada/gated", token=t), "is gated: accept its terms")  # type: ignore[misc]
    hub.repo("dataset", "ada/gated").granted.add("eve")
    assert ha.load_signatures("ada/gated", token=eve) == [signature()]
    with pytest.raises(SignatureError, match=r"neither a folder with signature\.json nor a Hub id"):
        Signature.from_pretrained("no/such/folder")


def test_a_repository_of_something_else(hub: LocalHub) -> None:
    hub.add("dataset", REPO, {"train.csv": b"a,b"})
    refused(lambda: Signature.from_pretrained(REPO), f"has no {INDEX_FILE}", "hf-affscore push")


@pytest.mark.parametrize(
    "where", ["/api/datasets/ada/signatures$", "/preupload/", "/commit/", "/lfs/objects/batch"]
)
@pytest.mark.parametrize("status", [429, 500, 503, None])
def test_faults_that_pass_are_waited_out(
    hub: LocalHub, pauses: list[float], where: str, status: int | None
) -> None:
    token = hub.token("ada")
    hub.add("dataset", REPO)
    method = "GET" if where.endswith("$") else "POST"
    hub.fail(method, where, status, times=2, retry_after=3 if status == 429 else None)
    signature().push_to_hub(REPO, token=token)
    assert len(hub.repo("dataset", REPO).history()) == 2
    assert len(pauses) == 2
    assert all(pause in (3, 4) for pause in pauses) or status != 429


@pytest.mark.parametrize("status", [429, 503, None])
def test_faults_that_pass_are_waited_out_when_reading(
    hub: LocalHub, pauses: list[float], status: int | None
) -> None:
    signature().push_to_hub(REPO, token=hub.token("ada"))
    hub.fail("GET", "/api/datasets/ada/signatures$", status)
    hub.fail("HEAD", f"/resolve/.*/{INDEX_FILE}", status)
    hub.fail("POST", "/paths-info/", status)
    assert Signature.from_pretrained(REPO) == signature()
    by_client = status is not None and not is_older("huggingface-hub", "1")  # a HEAD that got an error
    assert len(pauses) == 3 - by_client


def test_a_connection_cut_within_a_large_upload(hub: LocalHub, pauses: list[float]) -> None:
    hub.fail("PUT", "/lfs/", times=2)
    signature().push_to_hub(REPO, token=hub.token("ada"))
    assert [line.status for line in hub.log if line.method == "PUT"].count(None) == 2
    assert ha.load_signatures(REPO) == [signature()]


@pytest.mark.parametrize(
    ("status", "sentence"), [(None, "connection to the Hub broke"), (502, "internal error (502)")]
)
def test_an_upload_that_never_gets_through(
    hub: LocalHub, pauses: list[float], monkeypatch: pytest.MonkeyPatch, status: int | None, sentence: str
) -> None:
    monkeypatch.setattr(retries, "FAULTS", 2)
    hub.fail("PUT", "/lfs/", status, times=1000)
    refused(push(hub.token("ada")), sentence, "ry again")
    assert hub.files("dataset", REPO) == {}


def test_a_lost_answer_does_not_commit_twice(hub: LocalHub, pauses: list[float]) -> None:
    hub.fail("POST", "/commit/", after=True)
    signature().push_to_hub(REPO, token=hub.token("ada"))
    assert len(hub.repo("dataset", REPO).history()) == 2


@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("status", [None, 500, 504])
def test_a_lost_answer_opens_no_second_pull_request(
    hub: LocalHub, pauses: list[float], after: bool, status: int | None
) -> None:
    signature().push_to_hub(REPO, token=hub.token("ada"))
    for number in range(3):  # of others, on more than one page
        signature(f"eve/{number}").push_to_hub(REPO, token=hub.token("eve"), create_pr=True)
    hub.fail("POST", "/commit/", status, after=after, times=2)
    commit = signature("bob/net").push_to_hub(REPO, token=hub.token("bob"), create_pr=True)
    assert commit.pr_url == f"{hub.endpoint}/datasets/{REPO}/discussions/4"
    assert hub.repo("dataset", REPO).pull_requests == 4
    assert len(ha.load_signatures(REPO, revision="refs/pr/4")) == 2


def test_the_same_command_again_adds_to_its_pull_request(hub: LocalHub) -> None:
    hub.add("model", "ada/net", {"README.md": b"# Net\n"})
    eve = hub.token("eve")
    revision = hub.repo("model", "ada/net").refs["main"]
    sig, newer = signature(revision=revision), signature(revision=revision, scores=(0.125,))
    first = ha.update_model_card(sig, "ada/net", token=eve)
    assert ha.update_model_card(sig, "ada/net", token=eve) == CardUpdate("", first.url)
    assert len(hub.repo("model", "ada/net").history("refs/pr/1")) == 3
    ha.update_model_card(newer, "ada/net", token=eve)
    assert hub.repo("model", "ada/net").pull_requests == 1
    assert b"0.125" in hub.files("model", "ada/net", "refs/pr/1")["README.md"]
    assert ha.update_model_card(sig, "ada/net", token=hub.token("bob")).url != first.url
    hub.repo("model", "ada/net").proposals["refs/pr/1"].status = "closed"
    assert ha.update_model_card(sig, "ada/net", token=eve).url == f"{first.url[:-1]}3"


def test_what_was_declined_is_not_proposed_again(hub: LocalHub) -> None:
    hub.add("model", "ada/net", {"README.md": b"# Net\n"})
    repo, eve = hub.repo("model", "ada/net"), hub.token("eve")
    sig = signature(revision=repo.refs["main"])
    first = ha.update_model_card(sig, "ada/net", token=eve)
    repo.proposals["refs/pr/1"].status = "closed"
    again = lambda **options: ha.update_model_card(sig, "ada/net", token=eve, **options)  # noqa: E731
    refused(again, f"was closed: {first.url}", "Reopen it there", "--commit-message")
    assert repo.pull_requests == 1
    assert again(commit_message="Once more").url == f"{first.url[:-1]}2"


def test_what_was_merged_is_not_proposed_again_and_news_are(hub: LocalHub) -> None:
    hub.add("model", "ada/net", {"README.md": b"# Net\n"})
    repo, eve = hub.repo("model", "ada/net"), hub.token("eve")
    sig = signature(revision=repo.refs["main"])
    first = ha.update_model_card(sig, "ada/net", token=eve)
    repo.commit("main", dict(repo.head("refs/pr/1").files), "merged")
    repo.proposals["refs/pr/1"].status = "merged"
    assert ha.update_model_card(sig, "ada/net", token=eve).diff == ""
    assert repo.pull_requests == 1
    newer = signature(revision=sig.metadata["model"]["revision"], scores=(0.125,))
    assert ha.update_model_card(newer, "ada/net", token=eve).url == f"{first.url[:-1]}2"


SLOW = """
import os, time
from hf_affscore.publish import commit
from tests.publish.samples import signature
look = commit.proposals
def looked(*arguments):
    found = look(*arguments)
    time.sleep(2)  # the other process looks now, too
    return found
commit.proposals = looked
print(signature("bob/net").push_to_hub("ada/signatures", create_pr=True).pr_url)
"""


def test_two_processes_open_one_pull_request(hub: LocalHub, tmp_path: Path) -> None:
    signature().push_to_hub(REPO, token=hub.token("ada"))
    bob = hub.token("bob")
    with ThreadPoolExecutor(2) as threads:
        runs = list(threads.map(lambda _: hub.run("-c", SLOW, home=tmp_path, token=bob), range(2)))
    assert [run.returncode for run in runs] == [0, 0], runs
    assert {run.stdout for run in runs} == {f"{hub.endpoint}/datasets/{REPO}/discussions/1\n"}
    assert hub.repo("dataset", REPO).pull_requests == 1


def test_a_date_to_wait_for(hub: LocalHub, pauses: list[float]) -> None:
    hub.fail("POST", "/commit/", 429, retry_after=formatdate(time.time() + 100, usegmt=True))
    signature().push_to_hub(REPO, token=hub.token("ada"))
    assert 90 < pauses[0] <= 100


def test_a_conflict_merges_what_the_other_wrote(hub: LocalHub, pauses: list[float]) -> None:
    hub.fail("POST", "/commit/", 412, times=3)
    token = hub.token("ada")
    signature("ada/other").push_to_hub(REPO, token=token)
    hub.fail("POST", "/commit/", 409)
    signature().push_to_hub(REPO, token=token)
    assert len(pauses) == 4
    assert {sig.name for sig in ha.load_signatures(REPO)} == {"ada/net", "ada/other"}


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (429, "too many requests to the Hub (429). Try again in 1 seconds"),
        (500, "an internal error (500)"),
        (412, "kept changing"),
        (None, "the connection to the Hub broke"),
    ],
)
def test_faults_that_stay_end_in_a_sentence(
    hub: LocalHub, pauses: list[float], monkeypatch: pytest.MonkeyPatch, status: int | None, sentence: str
) -> None:
    monkeypatch.setattr(retries, "FAULTS", 5)
    monkeypatch.setattr(retries, "CONFLICTS", 5)
    hub.fail("POST", "/commit/", status, times=1000, retry_after=1 if status == 429 else None)
    refused(push(hub.token("ada")), sentence, "ry again")
    assert len(pauses) == 4
    assert max(pauses) <= retries.LONGEST_PAUSE


def test_nobody_waits_an_hour(hub: LocalHub, pauses: list[float]) -> None:
    hub.fail("POST", "/commit/", 429, retry_after=3600)
    refused(push(hub.token("ada")), "Try again in 3600 seconds")
    assert pauses == []


def test_a_refusal_for_good_is_not_repeated(hub: LocalHub, pauses: list[float]) -> None:
    hub.fail("POST", "/commit/", 418)
    refused(push(hub.token("ada")), "the Hub refused (418)")
    assert pauses == []


@pytest.mark.parametrize("where", ["/api/repos/create", "/lfs/objects/batch", "/commit/"])
def test_a_full_account_is_not_told_about_spaces(hub: LocalHub, pauses: list[float], where: str) -> None:
    hub.fail("POST", where, 402)
    with pytest.raises(
        HubError, match=r"Data set 'ada/signatures': .*paid account \(402\): the storage"
    ) as error:
        push(hub.token("ada"))()
    assert "Space" not in str(error.value)
    assert pauses == []


def test_metadata_that_the_hub_does_not_accept(hub: LocalHub) -> None:
    hub.add("model", "ada/net", {"README.md": b"---\nnever closed\n"})
    sig = signature(revision=hub.repo("model", "ada/net").refs["main"])
    update = lambda: ha.update_model_card(sig, "ada/net", token=hub.token("ada"))  # noqa: E731
    refused(update, "does not accept the card", "not closed by ---")


def fresh_sessions() -> None:
    """The client 0.x looks at the setting once, when it opens a session."""
    if is_older("huggingface-hub", "1"):
        huggingface_hub.utils.reset_sessions()


def test_offline(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    fresh_sessions()
    refused(push(hub.token("ada")), "could not be reached", "unset HF_HUB_OFFLINE")
    monkeypatch.undo()
    fresh_sessions()
    assert not hub.log


def test_files_that_are_too_large_are_not_downloaded(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    signature().push_to_hub(REPO, token=hub.token("ada"))
    monkeypatch.setattr("hf_affscore.publish.fetch.MAX_TABLE", 100)
    before = len([line for line in hub.log if line.storage])
    with pytest.raises(SignatureError, match="was not downloaded"):
        Signature.from_pretrained(REPO)
    assert len([line for line in hub.log if line.storage]) == before


def test_damage_in_a_collection_is_named(hub: LocalHub) -> None:
    from tests.hub.storage import Blob

    signature().push_to_hub(REPO, token=hub.token("ada"))
    repo = hub.repo("dataset", REPO)
    path = next(path for path in repo.head().files if path.endswith("signature.json"))
    repo.commit("main", {path: Blob(b"{}", lfs=False)}, "damage")
    with pytest.raises(SignatureError, match=r"signature.json in ada/signatures/.* is not a signature"):
        Signature.from_pretrained(REPO)
    with pytest.raises(AffscoreError):
        ha.load_signatures(REPO)
