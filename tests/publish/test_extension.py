"""``hf affscore``: the console script follows the convention of ``hf extensions``."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

import hf_affscore
from tests.hub.local import ROOT, LocalHub
from tests.release.building import LEFT_OVER
from tests.versions import needs


def test_the_console_script_has_the_name_that_an_extension_needs() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts["hf-affscore"] == "hf_affscore.cli:main"


@needs("huggingface-hub", "1.5", "its command has no extensions")
def test_registered_as_the_documentation_says_hf_runs_it(hub: LocalHub, tmp_path: Path) -> None:
    """The commands of docs/publishing.md, word for word, with this interpreter's ``hf``."""
    shell = re.findall(r"```bash\n(folder=.*?)```", (ROOT / "docs/publishing.md").read_text(), re.DOTALL)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, module in (("hf-affscore", "hf_affscore.cli"), ("hf", "huggingface_hub.cli.hf")):
        script = programs / name
        script.write_text(f"#!{sys.executable}\nfrom {module} import main\nmain()\n")
        script.chmod(0o755)
    settings = {
        "PATH": f"{programs}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        **hub.environment(tmp_path / "hf"),
    }

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


#: ``hf``, for which GitHub is a server on this machine; all else is the client's own: what it asks for, the
#: environment that it makes, its call of pip, its manifest, and how it runs the command.
HF = """
import os, subprocess, sys
from huggingface_hub.cli import extensions, hf

def here(url):
    url = url.replace("https://raw.githubusercontent.com", os.environ["GITHUB"] + "/raw")
    return url.replace("https://github.com", os.environ["GITHUB"])

ask, run = extensions._github_request, subprocess.run
extensions._github_request = lambda method, url, **options: ask(method, here(url), **options)
subprocess.run = lambda command, **options: run([here(word) for word in command], **options)
sys.argv[0] = "hf"
hf.main()
"""


class GitHub(BaseHTTPRequestHandler):
    """A repository ``ada/hf-affscore`` with this checkout."""

    archive: bytes
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        contents = {
            "/ada/hf-affscore": b"",
            "/ada/hf-affscore/archive/HEAD.zip": self.archive,
            "/ada/hf-affscore.git/info/refs": b"# service\n" + b"0" * 40 + b" HEAD\0\n",
            "/raw/ada/hf-affscore/HEAD/pyproject.toml": (ROOT / "pyproject.toml").read_bytes(),
        }
        content = contents.get(self.path.partition("?")[0])
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content or b"")

    do_HEAD = do_GET  # noqa: N815 - the name that http.server calls

    def log_message(self, format: str, *args: object) -> None:
        """What was asked for is in ``asked``."""


@pytest.mark.slow
@needs("huggingface-hub", "2", "its command asks GitHub in another way")
def test_hf_installs_it_from_a_repository(hub: LocalHub, tmp_path: Path) -> None:
    """Without dependencies, which the new environment borrows: to install torch again would take minutes."""
    shutil.copytree(ROOT, tmp_path / "source" / "hf-affscore-HEAD", ignore=LEFT_OVER)
    archive = shutil.make_archive(str(tmp_path / "HEAD"), "zip", tmp_path / "source")
    GitHub.archive = Path(archive).read_bytes()
    server = ThreadingHTTPServer(("127.0.0.1", 0), GitHub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings = {
        "PATH": "/usr/bin:/bin",  # no uv, whose answers come from its cache
        "HOME": str(tmp_path),
        "GITHUB": f"http://127.0.0.1:{server.server_address[1]}",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path.endswith("site-packages")),
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # which is how pip spells it
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        **hub.environment(tmp_path / "hf"),
    }

    def run(*words: str) -> str:
        command = [sys.executable, "-c", HF, *words]
        done = subprocess.run(
            command, env=settings, cwd=tmp_path, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        run("extensions", "install", "ada/hf-affscore")
    finally:
        server.shutdown()
        server.server_close()
    extension = tmp_path / ".local/share/hf/extensions/hf-affscore"
    manifest = json.loads((extension / "manifest.json").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert manifest["type"] == "python"
    assert manifest["description"] == project["description"]
    assert Path(manifest["executable_path"]).is_relative_to(extension)
    assert any(path.endswith("/archive/HEAD.zip") for path in GitHub.asked)
    assert run("affscore", "--version").strip() == f"hf-affscore {hf_affscore.__version__}"
    run("affscore", "skill", "install", "--target", "skills")
    assert (tmp_path / "skills/hf-affscore/llms.txt").read_bytes() == (ROOT / "docs/llms.txt").read_bytes()
