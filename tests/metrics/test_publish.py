"""Installing and publishing, on the command line and in this process, and what stands against it."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import RepoCard

from hf_affscore.cli import main
from hf_affscore.errors import HubError, InputError
from hf_affscore.metrics import FOLDER, NAME
from hf_affscore.metrics.install import install, modules_cache
from hf_affscore.metrics.publish import publish


def test_the_module_cache_is_where_evaluate_looks(monkeypatch):
    for name in ("HF_HOME", "HF_MODULES_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert modules_cache() == Path.home() / ".cache/huggingface/modules"
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert modules_cache() == Path("/xdg/huggingface/modules")
    monkeypatch.setenv("HF_HOME", "~/hf")
    assert modules_cache() == Path.home() / "hf/modules"
    monkeypatch.setenv("HF_MODULES_CACHE", "/modules")
    assert modules_cache() == Path("/modules")


def test_installing_again_changes_nothing(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path))
    with pytest.raises(SystemExit, match="0"):
        main(["metric", "install"])
    assert capsys.readouterr().out.strip() == str(install())
    (found,) = tmp_path.rglob("*.py")
    assert found.relative_to(tmp_path).parts[:3] == (
        "evaluate_modules",
        "metrics",
        f"evaluate-metric--{NAME}",
    )


def test_a_cache_that_cannot_be_written_is_named(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="HF_MODULES_CACHE"):
        install()


@pytest.mark.parametrize("repo_id", [NAME, "ada/score", f"/{NAME}", f"a/b/{NAME}"])
def test_the_space_has_the_name_of_the_metric(hub, repo_id):
    with pytest.raises(InputError, match=f"USER/{NAME}"):
        publish(repo_id, token=hub.token("ada"))
    assert not hub.log


def test_a_space_that_is_there_gets_one_commit_and_none_for_the_same_again(hub):
    hub.add("space", f"ada/{NAME}", {"README.md": b"# mine", "other.txt": b"stays"})
    for _ in range(2):
        address = publish(f"ada/{NAME}", token=hub.token("ada"))
    assert address == f"{hub.endpoint}/spaces/ada/{NAME}"
    assert [request.method for request in hub.log if "/commit/" in request.path] == ["POST"]
    assert hub.files("space", f"ada/{NAME}")["other.txt"] == b"stays"


def test_the_page_is_static_and_gradio_for_those_who_pay(hub):
    publish(f"ada/{NAME}", token=hub.token("ada"))
    assert hub.repo("space", f"ada/{NAME}").sdk == "static"
    files = hub.files("space", f"ada/{NAME}")
    data = RepoCard(files["README.md"].decode()).data
    assert (data.sdk, data.app_file) == ("static", "index.html")
    assert RepoCard(files["README.md"].decode()).text == RepoCard((FOLDER / "README.md").read_text()).text
    assert set(files) == {"README.md", "index.html", f"{NAME}.py"}
    with pytest.raises(HubError, match=r"paid account \(402\).*--sdk static"):
        publish(f"bob/{NAME}", sdk="gradio", token=hub.token("bob"))
    publish(f"eve/{NAME}", sdk="gradio", token=hub.token("eve", pays=True))
    files = hub.files("space", f"eve/{NAME}")
    (wheel,) = (path for path in files if path.endswith(".whl"))
    assert set(files) == {"README.md", "app.py", "page.py", "requirements.txt", f"{NAME}.py", wheel}
    ours = {"README.md": "README.md", "page.py": "app.py", f"{NAME}.py": f"{NAME}.py"}
    assert all(files[path] == (FOLDER / source).read_bytes() for path, source in ours.items())


def test_a_private_space(hub):
    token = hub.token("ada")
    with pytest.raises(SystemExit, match="0"):
        main(["metric", "publish", f"ada/{NAME}", "--private", "--token", token])
    assert hub.repo("space", f"ada/{NAME}").private


def test_what_the_hub_does_not_allow_is_a_sentence(hub):
    with pytest.raises(HubError, match="may not write"):
        publish(f"grace/{NAME}", token=hub.token("ada"))
    with pytest.raises(HubError, match=f"Space 'ada/{NAME}'"):
        publish(f"ada/{NAME}", token="hf_nobody")
