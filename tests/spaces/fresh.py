"""Every Space that is pushed, in a new environment of its own, as a Space builds and starts it: ``make spaces``.

They are pushed to the local Hub. Of a Gradio Space an environment is made of the pushed ``requirements.txt`` alone,
then the other files come and the page is started and used; a static Space is opened as files. The name of this file
keeps it out of other test runs: it needs ``uv``, PyPI, and 6 GB of disk.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import gradio_client
import pytest
from playwright.sync_api import Page, expect

from hf_affscore.metrics.publish import publish
from hf_affscore.spaces.push import push_gallery
from tests.browser import chromium
from tests.hub import LocalHub
from tests.spaces.serving import serving
from tests.spaces.test_gallery import signatures

GALLERY, METRIC = "ada/gallery", "ada/affinity_signature"
ABOUT = "3 networks on 64 images of cifar10, test."
UV = os.environ.get("UV", "uv")


def gallery(page: Page, address: str) -> None:
    """What a visitor and a program see of the gallery."""
    expect(page.frame_locator("iframe[title=Report]").locator("#about")).to_have_text(ABOUT, timeout=120_000)
    client = gradio_client.Client(address, verbose=False)
    assert [one["network"] for one in client.predict(api_name="/signatures")] == ["a<b>", "b", "c"]
    assert page.request.get(f"{address}gradio_api/mcp/schema").json()[0]["name"] == "signatures"


def metric(page: Page, address: str) -> None:
    """The score of the arrays that the page opens with, and that of the demo's network."""
    page.get_by_role("button", name="Score the arrays").click()
    expect(page.get_by_role("heading", name="Affinity score 0.6788")).to_be_visible(timeout=120_000)
    page.get_by_role("tab", name="Checkpoint").click()
    page.get_by_role("button", name="Score the checkpoint").click()
    expect(page.get_by_role("heading", name="Median 0.")).to_be_visible(timeout=300_000)


def start(name: str, files: dict[str, bytes], use: Callable[[Page, str], None]) -> None:
    """Build and start a Gradio Space, and use it."""
    with tempfile.TemporaryDirectory() as folder:
        here, environment = Path(folder, "space"), Path(folder, "environment")
        here.mkdir()
        (here / "requirements.txt").write_bytes(files["requirements.txt"])
        began = time.monotonic()
        subprocess.run([UV, "venv", "-q", "--python", "3.11", environment], check=True)
        python = environment / "bin" / "python"
        install = [UV, "pip", "install", "-q", "--python", python, "-r", here / "requirements.txt"]
        subprocess.run(install, check=True)
        installed = time.monotonic()
        size = subprocess.run(["du", "-sm", environment], capture_output=True, text=True, check=True).stdout
        for path, content in files.items():
            (here / path).write_bytes(content)
        began_to_start = time.monotonic()
        settings = {"PYTHONPATH": "", "SPACE_ID": name, "HF_HOME": str(Path(folder, "home"))}
        with serving(here / "app.py", python=python, **settings) as address, chromium() as browser:
            started = time.monotonic()
            page = browser.new_page()
            page.goto(address)
            use(page, address)
        print(
            f"{name}, Gradio: installed in {installed - began:.0f} s ({size.split()[0]} MB), started in "
            f"{started - began_to_start:.0f} s, used in {time.monotonic() - started:.0f} s"
        )


def opened(name: str, files: dict[str, bytes], text: str) -> None:
    """Open the page of a static Space as a file."""
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        for path, content in files.items():
            Path(folder, path).write_bytes(content)
        page = browser.new_page()
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(Path(folder, "index.html").as_uri())
        expect(page.get_by_text(text)).to_be_visible()
        assert faults == []
    print(f"{name}, static: opened, {len(files['index.html']) / 1e6:.1f} MB")


@pytest.fixture(name="token")
def _token(hub: LocalHub) -> str:
    """The token of the owner of a collection, who pays for Gradio Spaces."""
    token = hub.token("ada", pays=True)
    for one in signatures():
        one.push_to_hub("ada/signatures", token=token)
    return token


def test_the_static_gallery(hub: LocalHub, token: str) -> None:
    push_gallery(GALLERY, "ada/signatures", token=token)
    opened(GALLERY, hub.files("space", GALLERY), ABOUT)


def test_the_static_metric(hub: LocalHub, token: str) -> None:
    publish(METRIC, token=token)
    opened(METRIC, hub.files("space", METRIC), "pip install hf-affscore evaluate")


def test_the_gradio_gallery(hub: LocalHub, token: str) -> None:
    push_gallery(GALLERY, "ada/signatures", sdk="gradio", token=token)
    start(GALLERY, hub.files("space", GALLERY), gallery)


def test_the_gradio_metric(hub: LocalHub, token: str) -> None:
    publish(METRIC, sdk="gradio", token=token)
    start(METRIC, hub.files("space", METRIC), metric)
