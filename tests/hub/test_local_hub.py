"""The unmodified clients accept the local Hub: what the other tests rest on."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    hf_hub_download,
    snapshot_download,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from hf_affscore import compat
from tests.hub import LocalHub

LARGE = bytes(range(256)) * 8192  # 2 MiB, more than the Hub keeps in git


def test_a_new_repository_belongs_to_the_token(hub: LocalHub) -> None:
    api = HfApi(token=hub.token("ada"))
    url = api.create_repo("ada/net", private=True)
    assert url == f"{hub.endpoint}/ada/net"
    assert api.whoami()["name"] == "ada"
    info = api.model_info("ada/net")
    assert info.private
    assert [file.rfilename for file in info.siblings or []] == [".gitattributes"]
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_repo("ada/net")
    assert api.create_repo("ada/net", exist_ok=True) == url
    with pytest.raises(HfHubHTTPError, match="403"):
        api.create_repo("grace/net")


def test_small_and_large_files_go_up_and_come_back(hub: LocalHub, tmp_path: Path) -> None:
    api = HfApi(token=hub.token("ada"))
    api.create_repo("ada/data", repo_type="dataset")
    operations = [CommitOperationAdd("a/small.txt", b"small"), CommitOperationAdd("large.bin", LARGE)]
    commit = api.create_commit("ada/data", operations, commit_message="two", repo_type="dataset")
    assert hub.files("dataset", "ada/data") == {"a/small.txt": b"small", "large.bin": LARGE}
    assert [line.method for line in hub.log if line.storage] == ["PUT"]

    folder = Path(snapshot_download("ada/data", repo_type="dataset", cache_dir=tmp_path))
    assert (folder / "large.bin").read_bytes() == LARGE
    assert (folder / "a/small.txt").read_bytes() == b"small"
    assert folder.name == commit.oid
    assert not any(line.authorized for line in hub.log if line.storage), "a token left the Hub"


def test_the_same_bytes_make_no_commit(hub: LocalHub) -> None:
    api = HfApi(token=hub.token("ada"))
    api.create_repo("ada/net")
    for _ in range(2):
        operations = [CommitOperationAdd("x.txt", b"x"), CommitOperationAdd("y.bin", LARGE)]
        api.create_commit("ada/net", operations, commit_message="again")
    assert len(api.list_repo_commits("ada/net")) == 2


def test_a_commit_on_a_stale_parent_is_refused(hub: LocalHub) -> None:
    api = HfApi(token=hub.token("ada"))
    api.create_repo("ada/net")
    parent = api.model_info("ada/net").sha
    for attempt in ("first", "second"):
        operation = CommitOperationAdd(f"{attempt}.txt", b"")
        if attempt == "second":
            with pytest.raises(HfHubHTTPError, match="412"):
                api.create_commit("ada/net", [operation], commit_message=attempt, parent_commit=parent)
        else:
            api.create_commit("ada/net", [operation], commit_message=attempt, parent_commit=parent)
    assert set(hub.files("model", "ada/net")) == {"first.txt"}


def test_anyone_with_a_write_token_may_open_a_pull_request(hub: LocalHub) -> None:
    hub.add("model", "ada/net", {"README.md": b"# Net"})
    api = HfApi(token=hub.token("grace"))
    operation = CommitOperationAdd("README.md", b"# A better net")
    commit = api.create_commit("ada/net", [operation], commit_message="better", create_pr=True)
    assert commit.pr_url == f"{hub.endpoint}/ada/net/discussions/1"
    assert hub.files("model", "ada/net")["README.md"] == b"# Net"
    path = hf_hub_download("ada/net", "README.md", revision="refs/pr/1")
    assert Path(path).read_text() == "# A better net"
    with pytest.raises(HfHubHTTPError, match="403"):
        api.create_commit("ada/net", [CommitOperationAdd("x", b"")], commit_message="no")


def test_files_and_folders_are_listed_and_deleted(hub: LocalHub) -> None:
    hub.add("dataset", "ada/data", {"a/b/c.txt": b"c", "a/d.txt": b"d", "e.txt": b"e"})
    api = HfApi(token=hub.token("ada"))
    names = [item.path for item in api.list_repo_tree("ada/data", repo_type="dataset")]
    assert names == [".gitattributes", "a", "e.txt"]
    deep = [item.path for item in api.list_repo_tree("ada/data", "a", recursive=True, repo_type="dataset")]
    assert deep == ["a/b", "a/b/c.txt", "a/d.txt"]
    found = api.get_paths_info("ada/data", ["a/d.txt", "missing"], repo_type="dataset")
    assert [item.path for item in found] == ["a/d.txt"]
    api.create_commit(
        "ada/data",
        [CommitOperationDelete("a/", is_folder=True)],
        commit_message="remove",
        repo_type="dataset",
    )
    assert set(hub.files("dataset", "ada/data")) == {"e.txt"}


def test_branches_are_separate(hub: LocalHub) -> None:
    hub.add("model", "ada/net", {"x": b"1"})
    api = HfApi(token=hub.token("ada"))
    api.create_branch("ada/net", branch="wild/one")
    api.upload_file(path_or_fileobj=b"2", path_in_repo="x", repo_id="ada/net", revision="wild/one")
    assert hub.files("model", "ada/net")["x"] == b"1"
    assert hub.files("model", "ada/net", "wild/one")["x"] == b"2"
    assert {branch.name for branch in api.list_repo_refs("ada/net").branches} == {"main", "wild/one"}


def test_what_is_missing_is_named(hub: LocalHub) -> None:
    hub.add("model", "ada/net", {"x": b""})
    with pytest.raises(RepositoryNotFoundError):
        hf_hub_download("ada/other", "x")
    with pytest.raises(EntryNotFoundError):
        hf_hub_download("ada/net", "y")
    with pytest.raises(RevisionNotFoundError):
        hf_hub_download("ada/net", "x", revision="nowhere")


def test_private_and_gated_repositories_open_to_the_right_tokens(hub: LocalHub) -> None:
    hub.add("model", "ada/secret", {"x": b"s"}, private=True)
    hub.add("model", "ada/gated", {"x": b"g"}, gated=True).granted.add("grace")
    ada, grace, eve = (hub.token(name, "read") for name in ("ada", "grace", "eve"))
    for token in (False, grace):
        with pytest.raises(RepositoryNotFoundError):
            hf_hub_download("ada/secret", "x", token=token)
    for token in (False, eve):
        with pytest.raises(GatedRepoError):
            hf_hub_download("ada/gated", "x", token=token)
    assert Path(hf_hub_download("ada/secret", "x", token=ada)).read_bytes() == b"s"
    assert Path(hf_hub_download("ada/gated", "x", token=grace)).read_bytes() == b"g"
    with pytest.raises(compat.client_error(), match="Invalid user token"):
        HfApi(token="hf_unknown").whoami()


def test_a_read_only_token_cannot_write(hub: LocalHub) -> None:
    hub.add("model", "ada/net")
    api = HfApi(token=hub.token("ada", "read"))
    for pull_request in (False, True):
        operation = CommitOperationAdd("x", b"")
        with pytest.raises(HfHubHTTPError, match="403"):
            api.create_commit("ada/net", [operation], commit_message="x", create_pr=pull_request)


def test_ordered_faults_happen_once(hub: LocalHub) -> None:
    hub.add("model", "ada/net", {"x": b""})
    hub.fail("GET", "/api/models/ada/net", 429, retry_after=7)
    hub.fail("GET", "/api/models/ada/net")
    api = HfApi()
    with pytest.raises(HfHubHTTPError, match="429") as error:
        api.model_info("ada/net")
    assert error.value.response.headers["Retry-After"] == "7"
    with pytest.raises(Exception, match=r"(?i)disconnected|reset"):
        api.model_info("ada/net")
    assert api.model_info("ada/net").id == "ada/net"
    assert [line.status for line in hub.log] == [429, None, 200]


def test_an_answer_can_be_lost_after_its_request_took_effect(hub: LocalHub) -> None:
    hub.add("model", "ada/net")
    hub.fail("POST", "/commit/", after=True)
    api = HfApi(token=hub.token("ada"))
    with pytest.raises(Exception, match=r"(?i)disconnected|reset"):
        api.create_commit("ada/net", [CommitOperationAdd("x", b"1")], commit_message="x")
    assert hub.files("model", "ada/net") == {"x": b"1"}


def test_a_cut_large_upload_is_retried_by_the_client(hub: LocalHub) -> None:
    hub.fail("PUT", "/lfs/")
    api = HfApi(token=hub.token("ada"))
    api.create_repo("ada/net")
    api.upload_file(path_or_fileobj=LARGE, path_in_repo="w.bin", repo_id="ada/net")
    assert [line.status for line in hub.log if line.method == "PUT"] == [None, 200]


def test_datasets_streams_and_pushes(hub: LocalHub) -> None:
    import datasets

    token = hub.token("ada")
    datasets.Dataset.from_dict({"n": list(range(100))}).push_to_hub("ada/data", token=token)
    streamed = datasets.load_dataset("ada/data", split="train", streaming=True)
    assert [row["n"] for row in streamed.skip(10).take(3)] == [10, 11, 12]
    assert len(datasets.load_dataset("ada/data", split="train")) == 100


def test_datasets_streams_an_image_folder(hub: LocalHub) -> None:
    import datasets
    from PIL import Image

    def png(value: int) -> bytes:
        buffer = io.BytesIO()
        Image.new("L", (4, 4), value).save(buffer, "PNG")
        return buffer.getvalue()

    hub.add("dataset", "ada/images", {f"train/{n}.png": png(n) for n in range(5)})
    rows = datasets.load_dataset("ada/images", split="train", streaming=True)
    assert sorted(row["image"].getpixel((0, 0)) for row in rows) == [0, 1, 2, 3, 4]


def test_transformers_pushes_and_loads_a_model(hub: LocalHub, tmp_path: Path) -> None:
    from transformers import AutoModelForImageClassification, ResNetConfig

    config = ResNetConfig(
        embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], num_labels=3, layer_type="basic"
    )
    model = AutoModelForImageClassification.from_config(config)
    model.push_to_hub("ada/net", token=hub.token("ada"))
    assert {"config.json", "model.safetensors"} <= set(hub.files("model", "ada/net"))
    loaded = AutoModelForImageClassification.from_pretrained("ada/net", cache_dir=tmp_path)
    assert sum(p.numel() for p in loaded.parameters()) == sum(p.numel() for p in model.parameters())


def test_a_fresh_process_knows_only_this_hub(hub: LocalHub, tmp_path: Path) -> None:
    hub.add("model", "ada/net", {"x": b""}, private=True)
    code = "import huggingface_hub as h, json; print(json.dumps(h.model_info('ada/net').sha))"
    done = hub.run("-c", code, home=tmp_path, token=hub.token("ada"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == hub.repo("model", "ada/net").refs["main"]
    assert hub.run("-c", code, home=tmp_path).returncode != 0


METRIC = """
import datasets
import evaluate


class Metric(evaluate.Metric):
    def _info(self):
        features = datasets.Features({"predictions": datasets.Value("int64")})
        return evaluate.MetricInfo(description="", citation="", features=features)

    def _compute(self, predictions):
        return {"sum": sum(predictions)}
"""


LOAD = """
import evaluate
print(evaluate.load("ada/total").compute(predictions=[1, 2])["sum"])
try:
    evaluate.load("total")
except FileNotFoundError as error:
    print(type(error).__name__)
"""


def test_evaluate_finds_a_space_and_accepts_that_there_is_none(hub: LocalHub, tmp_path: Path) -> None:
    hub.add("space", "ada/total", {"total.py": METRIC.encode()})
    hub.store.missing = 404
    done = hub.run("-c", LOAD, home=tmp_path)
    assert done.stdout.split() == ["3", "FileNotFoundError"], done.stderr
    asked = [line for line in hub.log if "/spaces/evaluate-metric/total/resolve/" in line.path]
    assert asked
    assert {line.status for line in asked} == {404}
