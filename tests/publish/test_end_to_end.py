"""A person's whole way, as commands in fresh processes with a fresh home; nothing they leave has the token."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from hf_affscore.assets import DEMO_MODEL
from hf_affscore.publish.markdown import BEGIN
from hf_affscore.signature import Signature
from tests.hub import LocalHub

REPO = "ada/signatures"
ANALYZE = ("-m", "hf_affscore", "analyze", "ada/net", "--dataset", "ada/images", "--num-samples", "24")


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.radial_gradient("L").resize((8, 8)).point(lambda pixel: (pixel * value) % 256).save(buffer, "PNG")
    return buffer.getvalue()


def fill(hub: LocalHub, token: str) -> None:
    """A model and an image data set, pushed by the clients that people push them with."""
    import datasets
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    api.create_repo("ada/net")
    api.upload_folder(repo_id="ada/net", folder_path=DEMO_MODEL)
    api.upload_file(repo_id="ada/net", path_in_repo="README.md", path_or_fileobj=b"# Net\n")
    images = datasets.Dataset.from_dict({"image": [{"bytes": png(n), "path": None} for n in range(1, 33)]})
    images.cast_column("image", datasets.Image()).push_to_hub("ada/images", split="test", token=token)


def assert_nowhere(token: str, hub: LocalHub, home: Path, *outputs: str) -> None:
    """The token is in no output, file, commit, or address."""
    for text in outputs:
        assert token not in text
    secret = token.encode()
    for path in home.rglob("*"):
        assert token not in path.name
        if path.is_file():
            assert secret not in path.read_bytes(), path
    for repo in hub.store.repositories.values():
        for commit in repo.commits.values():
            assert token not in commit.title + commit.description + " ".join(commit.files)
            assert not [path for path, blob in commit.files.items() if secret in blob.content]
    assert not [line for line in hub.log if token in line.path]
    assert not [line for line in hub.log if line.storage and line.authorized]


@pytest.mark.slow
def test_analyze_publish_read_back_and_update_the_card(hub: LocalHub, tmp_path: Path) -> None:
    import datasets

    token = hub.token("ada")
    fill(hub, token)
    analyzed = hub.run(*ANALYZE, "--token", token, "--push-to-hub", REPO, home=tmp_path)
    assert analyzed.returncode == 0, analyzed.stderr
    assert f"published: {hub.endpoint}/datasets/{REPO}/commit/" in analyzed.stdout
    assert len(hub.repo("dataset", REPO).history()) == 2

    local = next(tmp_path.glob("affscore-*"))
    sig = Signature.from_pretrained(REPO, model="ada/net", dataset="ada/images")
    assert sig == Signature.from_pretrained(local)
    assert sig.metadata["model"]["revision"] == hub.repo("model", "ada/net").refs["main"]
    assert sig.metadata["dataset"]["revision"] == hub.repo("dataset", "ada/images").refs["main"]
    assert sig.metadata["options"]["trust_remote_code"] is False
    rows = list(datasets.load_dataset(REPO, split="train", streaming=True))
    assert [row["affinity_score"] for row in rows] == sig.scores.tolist()
    assert {row["model"] for row in rows} == {"ada/net"}

    pushed = hub.run("-m", "hf_affscore", "push", str(local), REPO, home=tmp_path, token=token)
    assert pushed.returncode == 0, pushed.stderr
    assert len(hub.repo("dataset", REPO).history()) == 2, "the same again is no commit"

    card = ("-m", "hf_affscore", "card", str(local), "ada/net")
    shown = hub.run(*card, "--dry-run", "--model-index", home=tmp_path, token=token)
    assert "+model-index:" in shown.stdout
    updated = hub.run(*card, "--model-index", home=tmp_path, token=token)
    assert updated.returncode == 0, updated.stderr
    text = hub.files("model", "ada/net")["README.md"].decode()
    assert "# Net\n" in text
    assert BEGIN in text
    runs = (analyzed, pushed, shown, updated)
    assert_nowhere(token, hub, tmp_path, *(run.stdout + run.stderr for run in runs))


@pytest.mark.slow
def test_a_failed_push_never_loses_the_analysis(hub: LocalHub, tmp_path: Path) -> None:
    token = hub.token("ada", "read")
    hub.add("model", "ada/net", DEMO_MODEL)
    hub.add("dataset", "ada/images", {f"test/{n}.png": png(n) for n in range(1, 33)})
    token_option = ("--token", token)
    failed = hub.run(*ANALYZE, *token_option, "--push-to-hub", REPO, home=tmp_path)
    assert failed.returncode == 1
    local = next(tmp_path.glob("affscore-*"))
    assert len(Signature.from_pretrained(local).rows) == 19
    assert "may not write there (403)" in failed.stderr
    assert f"Publish it with `hf-affscore push {local.name} {REPO}`" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert_nowhere(token, hub, tmp_path, failed.stdout, failed.stderr)

    crash = f"""
from hf_affscore.options import Options
from tests.publish.samples import signature
print(Options(token={token!r}))
signature().push_to_hub({REPO!r}, token={token!r})
"""
    script = tmp_path / "script.py"
    script.write_text(crash.replace(repr(token), "__import__('os').environ['SECRET']"))
    crashed = hub.run(str(script), home=tmp_path, settings={"SECRET": token, "HF_DEBUG": "1"})
    assert "HubError" in crashed.stderr
    assert_nowhere(token, hub, tmp_path, crashed.stdout, crashed.stderr)


def test_a_proxy_is_used(hub: LocalHub, tmp_path: Path) -> None:
    """Addresses that only the proxy knows are reached through it."""
    from tests.publish.samples import signature

    token = hub.token("ada")
    folder = signature().save_pretrained(tmp_path / "sig")
    proxied = {"HF_ENDPOINT": "http://hub.invalid", "http_proxy": hub.endpoint, "no_proxy": ""}
    pushed = hub.run(
        "-m", "hf_affscore", "push", str(folder), REPO, home=tmp_path, token=token, settings=proxied
    )
    assert pushed.returncode == 0, pushed.stderr
    assert Signature.from_pretrained(REPO) == signature()
