"""The Space's page, in a browser, without the network."""

from __future__ import annotations

import doctest
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

import hf_affscore as ha
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
from hf_affscore.metrics import FOLDER
from hf_affscore.metrics.affinity_signature import app
from tests.hub import LocalHub

ROOT = Path(ha.__file__).parents[1]
START = 120  # seconds; Gradio and the package take 5 to 10 to import on a free core


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the page is served, by a process that has no Hub."""
    home = tmp_path_factory.mktemp("home")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "GRADIO_SERVER_PORT": str(port),
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HOME": str(home),
        "HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    log = (home / "log").open("w+")
    server = subprocess.Popen(
        [sys.executable, str(FOLDER / "app.py")], env=os.environ | settings, cwd=home, stdout=log, stderr=log
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START
        while not _answers(url):
            assert server.poll() is None, (home / "log").read_text()
            assert time.monotonic() < deadline, (home / "log").read_text()
            time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=10)
        log.close()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.URLError:
        return False


def drawn(page: Page) -> None:
    """Wait for the plot, which comes after the text beside it; Gradio's icons are pictures too."""
    picture = page.get_by_test_id("matplotlib").locator("img")
    expect(picture).to_be_visible(timeout=20_000)
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 300


def test_the_example_in_the_page_runs():
    assert doctest.testmod(app) == (0, 1)


@pytest.mark.slow
def test_uploaded_images_are_what_a_checkpoint_sees(tmp_path: Path):
    files = [str(tmp_path / f"{number}.png") for number in range(4)]
    for number, file in enumerate(files):
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (8, 8), dtype=np.uint8)).save(file)
    signature = ha.analyze(DEMO_MODEL, [Image.open(file) for file in files], num_samples=4, progress=False)
    sentence, _, table = app.score_checkpoint(str(DEMO_MODEL), "", files)
    assert f"{signature.summary()['median']:.4f}" in sentence
    assert [row[0] for row in table] == [row.module for row in signature.rows]
    Path(files[0]).write_text("no image")
    with pytest.raises(gr.Error, match="PNG or JPEG"):
        app.score_checkpoint("", "", files)


@pytest.mark.parametrize("side", ["model", "dataset"])
@pytest.mark.parametrize(
    "place",
    ["mine/net", "./mine/net", "~/mine/net", "{here}/mine/net", "file://{here}", "hf://ada/net", "ada/net"],
)
def test_a_visitor_reads_neither_the_machine_nor_what_its_token_opens(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: str, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    source = DEMO_MODEL if side == "model" else DEMO_DATASET
    shutil.copytree(source, tmp_path / "mine" / "net")
    hub.add("model" if side == "model" else "dataset", "ada/net", Path(source), private=True)
    monkeypatch.setenv("HF_TOKEN", hub.token("ada"))
    name = place.format(here=tmp_path)
    with pytest.raises(gr.Error, match=r"is no repository|was not found"):
        app.score_checkpoint(name if side == "model" else "", name if side == "dataset" else "", None)


@pytest.mark.slow
def test_a_visitor_may_name_what_is_public(hub: LocalHub) -> None:
    hub.add("model", "ada/net", Path(DEMO_MODEL))
    hub.add("dataset", "ada/images", Path(DEMO_DATASET))
    sentence, _, table = app.score_checkpoint("ada/net", "ada/images", None)
    assert sentence.startswith("## Median 0.")
    assert len(table) == 19


def test_pasted_arrays_show_their_score_and_the_map(page: Page, address: str) -> None:
    page.goto(address)
    before = np.linspace(-1, 1, 200)
    page.get_by_label("Rows before the activation").fill("\n".join(map(str, before)))
    page.get_by_label("Rows after the activation").fill("\n".join(map(str, before**3)))
    page.get_by_role("button", name="Score the arrays").click()
    score = ha.affinity_score(before, before**3)
    expect(page.get_by_role("heading", name=f"Affinity score {score:.4f}")).to_be_visible(timeout=20_000)
    drawn(page)


def test_uploaded_arrays_win_over_pasted_ones(page: Page, address: str, tmp_path: Path) -> None:
    before = np.random.default_rng(0).normal(size=(100, 3))
    np.save(tmp_path / "before.npy", before)
    np.savetxt(tmp_path / "after.csv", np.tanh(before), delimiter=",")
    page.goto(address)
    for position, file in ((1, "after.csv"), (0, "before.npy")):  # a field that is filled leaves the list
        page.locator("input[type=file]:not([accept='image/*'])").nth(position).set_input_files(
            tmp_path / file
        )
        expect(page.locator(f"a[href$='{file}']")).to_be_visible()
    page.get_by_role("button", name="Score the arrays").click()
    score = ha.affinity_score(before, np.tanh(before))
    expect(page.get_by_role("heading", name=f"Affinity score {score:.4f}")).to_be_visible(timeout=20_000)


def test_what_cannot_be_scored_is_explained(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_label("Rows before the activation").fill("one two")
    page.get_by_role("button", name="Score the arrays").click()
    expect(page.get_by_text("cannot be read")).to_be_visible(timeout=20_000)


@pytest.mark.slow
def test_the_demo_network_shows_its_signature(page: Page, address: str) -> None:
    outside: list[str] = []
    page.on("request", lambda sent: outside.append(sent.url) if address not in sent.url else None)
    page.goto(address)
    page.get_by_role("tab", name="Checkpoint").click()
    page.get_by_role("button", name="Score the checkpoint").click()
    expect(page.get_by_role("heading", name="Median 0.")).to_be_visible(timeout=60_000)
    drawn(page)
    expect(page.get_by_text("resnet.embedder.embedder.activation").first).to_be_visible()
    assert not [url for url in outside if url.startswith("http")]
