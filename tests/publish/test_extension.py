"""``hf affscore``: the console script follows the convention of ``hf extensions``."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import hf_affscore
from tests.hub.local import ROOT, LocalHub
from tests.versions import needs


def test_the_console_script_has_the_name_that_an_extension_needs() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts["hf-affscore"] == "hf_affscore.cli:main"


@needs("huggingface-hub", "1", "its command has no extensions")
def test_registered_as_the_documentation_says_hf_runs_it(hub: LocalHub, tmp_path: Path) -> None:
    """The commands of docs/publishing.md, word for word, with this interpreter's ``hf``."""
    pytest.importorskip("huggingface_hub.cli.extensions", reason="this client has no extensions")
    shell = re.findall(r"```bash\n(folder=.*?)```", (ROOT / "docs/publishing.md").read_text(), re.DOTALL)
    programs = tmp_path / "bin"
    programs.mkdir()
    script = programs / "hf-affscore"
    script.write_text(f"#!{sys.executable}\nfrom hf_affscore.cli import main\nmain()\n")
    script.chmod(0o755)
    settings = {
        "PATH": f"{programs}:{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        **hub.environment(tmp_path / "hf"),
    }
    assert shutil.which("hf", path=settings["PATH"]), "huggingface_hub brings the hf command"

    def run(command: str) -> str:
        done = subprocess.run(
            ["bash", "-ec", command], env=settings, cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run(shell[0]).strip() == f"hf-affscore {hf_affscore.__version__}"
    assert "hf affscore" in run("hf extensions list")
    assert "push" in run("hf affscore --help")
    run("hf extensions remove affscore")
    assert not (tmp_path / ".local/share/hf/extensions/hf-affscore").exists()
