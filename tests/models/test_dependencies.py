"""What a checkpoint is made of besides its own files is part of the key of its cached analyses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

import hf_affscore as ha
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
from hf_affscore.errors import ModelError
from hf_affscore.models.dependencies import dependencies
from hf_affscore.options import Options
from hf_affscore.run import runner
from hf_affscore.run.cache import cache_entries
from hf_affscore.sources import locate
from tests.hub import LocalHub


def test_the_states_of_what_else_a_checkpoint_is_made_of(hub: LocalHub, tmp_path: Path) -> None:
    """The base of an adapter, in a folder or at a commit, and code in another repository."""

    def write(folder: Path, **content: object) -> None:
        folder.mkdir(exist_ok=True)
        for name, value in content.items():
            (folder / f"{name}.json").write_text(json.dumps(value))

    def states(**options: Any) -> dict[str, str]:
        source = locate("model", str(tmp_path / "net"), revision=None, token=None)
        return dependencies(source, Options(**options))

    api = HfApi(token=hub.token("ada"))
    for name in ("ada/base", "ada/code"):
        api.create_repo(name)
        api.upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id=name)
    seen = []
    write(tmp_path / "base", config={})
    for base in (str(tmp_path / "base"), "ada/base"):
        write(tmp_path / "net", adapter_config={"base_model_name_or_path": base})
        seen += [states(), states()]
        assert seen[-1] == seen[-2]
        write(tmp_path / "base", config={"changed": base})
        api.upload_file(path_or_fileobj=base.encode(), path_in_repo="config.json", repo_id="ada/base")
        seen.append(states())
    assert len({json.dumps(each) for each in seen}) == 4
    (tmp_path / "net" / "adapter_config.json").unlink()
    for file in ("config", "preprocessor_config"):
        write(tmp_path / "net", **{file: {"auto_map": {"AutoModel": ["ada/code--net.Net", None]}}})
        assert states() == {}
        before = states(trust_remote_code=True)
        api.upload_file(path_or_fileobj=file.encode(), path_in_repo="net.py", repo_id="ada/code")
        assert before.keys() == {"ada/code"}
        assert states(trust_remote_code=True) != before
        write(tmp_path / "net", **{file: {}})
    assert states(loader="own:load", trust_remote_code=True) == {}


def test_a_base_that_is_gone_is_a_sentence(hub: LocalHub, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "ada/gone"}')
    with pytest.raises(ModelError, match="'ada/gone' was not found"):
        ha.analyze(tmp_path, DEMO_DATASET, num_samples=8, progress=False)


def test_another_state_of_them_is_another_entry_of_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_AFFSCORE_CACHE", str(tmp_path))
    for state in ("1", "2", "2"):
        monkeypatch.setattr(runner, "dependencies", lambda source, options, state=state: {"ada/base": state})
        ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=8, exclude=["resnet.encoder.*"], progress=False)
    assert sorted(entry.asked["model"]["others"]["ada/base"] for entry in cache_entries()) == ["1", "2"]
