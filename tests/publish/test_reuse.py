"""A published signature takes the place of an analysis that would compute it again, and of no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import snapshot_download

import hf_affscore as ha
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
from hf_affscore.cli import main
from hf_affscore.errors import AffscoreWarning, InputError
from hf_affscore.run import runner
from hf_affscore.signature import Record, Signature
from tests.hub import LocalHub
from tests.hub.storage import Blob

REPO = "ada/signatures"
OPTIONS: dict[str, Any] = {"num_samples": 8, "cache": False, "progress": False}


class ComputedError(Exception):
    """The analysis went as far as loading the model."""


@pytest.fixture(scope="module")
def made() -> Signature:
    """What one analysis gives, for all tests; its source is filled in by :func:`published`."""
    return ha.analyze(DEMO_MODEL, DEMO_DATASET, **OPTIONS)


@pytest.fixture
def published(hub: LocalHub, made: Signature, monkeypatch: pytest.MonkeyPatch) -> Signature:
    """A signature in a collection, its model and its images on the Hub; from now on nothing is computed."""
    model = hub.add("model", "ada/net", DEMO_MODEL).refs["main"]
    images = hub.add("dataset", "ada/images", DEMO_DATASET).refs["main"]
    sig = with_metadata(
        made, model={"id": "ada/net", "revision": model}, dataset={"id": "ada/images", "revision": images}
    )
    sig.push_to_hub(REPO, token=hub.token("ada"))

    def load_checkpoint(*_: object) -> None:
        raise ComputedError

    monkeypatch.setattr(runner, "load_checkpoint", load_checkpoint)
    return sig


def with_metadata(signature: Signature, **parts: Any) -> Signature:
    """The signature with other values in parts of its metadata; a part that is no dictionary is replaced."""
    metadata = {**signature.metadata}
    for name, values in parts.items():
        metadata[name] = {**metadata[name], **values} if isinstance(values, dict) else values
    return replace(signature, metadata=metadata)


def analyzed(model: str = "ada/net", dataset: str = "ada/images", **options: Any) -> Signature:
    return ha.analyze(model, dataset, **{**OPTIONS, "reuse": REPO, **options})


def test_what_is_published_is_fetched_and_says_so(
    hub: LocalHub,
    published: Signature,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    found = analyzed(progress=True)
    commit = hub.repo("dataset", REPO).refs["main"]
    assert found.metadata.pop("reused") == {"collection": REPO, "commit": commit}
    assert found == published
    assert f"Fetched from {REPO}" in capsys.readouterr().err
    arguments = ["ada/net", "--dataset", "ada/images", "--num-samples", "8", "--no-cache", "--reuse", REPO]
    with pytest.raises(SystemExit, match="0"):
        main(["analyze", *arguments, "--json"])
    assert json.loads(capsys.readouterr().out)["metadata"]["reused"]["collection"] == REPO
    monkeypatch.setenv("HF_TOKEN", hub.token("ada"))
    with pytest.raises(SystemExit, match="0"):
        main(["analyze", *arguments, "--push-to-hub", REPO, "--output", str(tmp_path)])
    assert hub.repo("dataset", REPO).refs["main"] == commit, "the same again is no commit"


def test_a_signature_from_elsewhere_keeps_the_note_in_another_collection(
    hub: LocalHub, published: Signature
) -> None:
    analyzed().push_to_hub("ada/mine", token=hub.token("ada"))
    assert ha.load_signatures("ada/mine")[0].metadata["reused"]["collection"] == REPO


@pytest.mark.parametrize(
    "options",
    [
        {"num_samples": 9},
        {"pooling": "channels"},
        {"seed": 1},
        {"include": ["softmax"]},
        {"random_weights": True},
        {"loader": "os:getcwd"},
        {"loader": print},
        {"processor": "imagenet"},
        {"model": str(DEMO_MODEL)},
        {"dataset": str(DEMO_DATASET)},
        {"dataset": "noise"},
        {"dataset": "hf://datasets/ada/images/data"},
    ],
    ids=str,
)
def test_another_analysis_is_computed(hub: LocalHub, published: Signature, options: dict[str, Any]) -> None:
    hub.add("dataset", "ada/images", {"data/x.png": b""}) if "data" in str(options.get("dataset")) else None
    with pytest.raises(ComputedError):
        analyzed(**options)


@pytest.mark.parametrize("options", [{"device": "cpu"}, {"batch_size": 4}, {"revision": "main"}], ids=str)
def test_options_that_change_rounding_or_name_the_same_commit_do_not_matter(
    published: Signature, options: dict[str, Any]
) -> None:
    assert analyzed(**options).rows == published.rows


def test_an_adapter_is_computed(published: Signature, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit of its base is in no key of a collection."""
    monkeypatch.setattr(runner, "dependencies", lambda *_: {"ada/base": "0" * 40})
    with pytest.raises(ComputedError):
        analyzed()


def test_a_newer_commit_is_another_model(hub: LocalHub, published: Signature) -> None:
    hub.repo("model", "ada/net").commit("main", {"x.txt": Blob(b"x", lfs=False)}, "newer")
    with pytest.raises(ComputedError):
        analyzed()
    assert analyzed(revision=published.metadata["model"]["revision"]).rows == published.rows


def republished(hub: LocalHub, signature: Signature) -> None:
    """A collection with an honest index and another signature behind it."""
    repo = hub.repo("dataset", REPO)
    for name, content in signature.to_files().items():
        (path,) = (path for path in repo.head().files if path.endswith(name))
        repo.commit("main", {path: Blob(content, lfs=False)}, "another")


OTHER: list[dict[str, Any]] = [
    {"numbers_version": 1},
    {"numbers_version": None},
    {"model": {"id": "ada/other"}},
    {"model": {"revision": "0" * 40}},
    {"model": {"weights": "random, seed 0"}},
    {"model": {"deterministic": False}},
    {"model": {"batch_dependent": True}},
    {"dataset": {"revision": "0" * 40}},
    {"options": {"num_samples": 9}},
    {"options": {"unknown": 1}},
    {"preprocessing": {"source": "argument"}},
    {"preprocessing": []},
    {"environment": {"registered_activations": ["mine"]}},
    {"training": 3},
]


@pytest.mark.parametrize("parts", OTHER, ids=str)
def test_the_signature_itself_is_checked_not_its_line_in_the_index(
    hub: LocalHub, published: Signature, parts: dict[str, Any]
) -> None:
    if "training" in parts:
        parts = {"training": None}
        published = replace(published, metadata={**published.metadata, "training": {"step": 3}})
    else:
        published = with_metadata(published, **parts)
    republished(hub, published)
    with pytest.raises(ComputedError):
        analyzed()


def with_row(signature: Signature, **fields: Any) -> Signature:
    return replace(signature, rows=(Record(**{**signature.rows[0], **fields}), *signature.rows[1:]))


DAMAGE: dict[str, Callable[[Signature], Signature]] = {
    "no rows": lambda sig: replace(sig, rows=()),
    "a score that is no number": lambda sig: with_row(sig, affinity_score=float("nan"), reason=None),
    "names that do not print": lambda sig: with_row(sig, module="\x1b[31mred"),
    "no number of images": lambda sig: with_metadata(sig, dataset={"num_samples": "8"}),
    "missing weights without names": lambda sig: with_metadata(sig, model={"missing_weights": {"number": 1}}),
    "a draw without its end": lambda sig: with_metadata(sig, dataset={"draw": {"method": "beginning"}}),
}


@pytest.mark.parametrize("fault", DAMAGE)
def test_damage_is_said_and_the_signature_computed(hub: LocalHub, published: Signature, fault: str) -> None:
    republished(hub, DAMAGE[fault](published))
    with pytest.warns(AffscoreWarning, match=f"is damaged: it has {fault}"), pytest.raises(ComputedError):
        analyzed()


def test_a_file_that_is_no_signature_is_said(hub: LocalHub, published: Signature) -> None:
    repo = hub.repo("dataset", REPO)
    (path,) = (path for path in repo.head().files if path.endswith("signature.json"))
    repo.commit("main", {path: Blob(b"\x80\x04cos\nsystem\n.", lfs=False)}, "a pickle")
    with pytest.warns(AffscoreWarning, match="is not a JSON document"), pytest.raises(ComputedError):
        analyzed()


def test_a_collection_that_is_not_there_is_said_once(hub: LocalHub, published: Signature) -> None:
    with pytest.warns(AffscoreWarning, match="'ada/none' was not found") as said:
        outcomes = ha.analyze_many(["ada/net", "ada/net"], "ada/images", **{**OPTIONS, "reuse": "ada/none"})
    assert [str(outcome.error).split(":")[0] for outcome in outcomes] == ["ComputedError"] * 2
    assert len(said) == 1
    with pytest.raises(InputError, match=r"expected the name of a collection on the Hub"):
        analyzed(reuse="/home/ada/signatures")


def test_the_list_of_a_collection_is_fetched_once_for_many_models(
    hub: LocalHub, published: Signature
) -> None:
    hub.log.clear()
    outcomes = ha.analyze_many(["ada/net"] * 3, "ada/images", **{**OPTIONS, "reuse": REPO})
    assert [outcome.signature.rows for outcome in outcomes if outcome.signature] == [published.rows] * 3
    asked = [line.path for line in hub.log if line.path.startswith(f"/api/datasets/{REPO}")]
    assert len([path for path in asked if "paths-info" not in path]) == 1
    listings = [line.path for line in hub.log if line.path.endswith("summary.parquet")]
    assert len(listings) == len(set(listings))


def test_rate_limits_are_waited_out(
    hub: LocalHub, published: Signature, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    for where in ("models/ada/net", "datasets/ada/images", f"datasets/{REPO}"):
        hub.fail("GET", f"/api/{where}", 429, retry_after=7)
    assert analyzed().rows == published.rows
    assert pauses == [7, 7, 7]


def test_offline_the_cached_collection_answers(
    hub: LocalHub, published: Signature, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The model's files have to be there as well: they say whether it is an adapter, whose base has a commit."""
    analyzed()
    snapshot_download("ada/net")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert analyzed().rows == published.rows
