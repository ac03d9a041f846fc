"""The gallery Space: started as a Space starts it, driven in a browser."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.resources import files

import pytest
from huggingface_hub import RepoCard
from playwright.sync_api import expect

from hf_affscore.cli import main
from hf_affscore.errors import InputError
from hf_affscore.spaces.push import push_gallery
from tests.browser import Diary, chromium
from tests.signatures import make_signature

APP = files("hf_affscore").joinpath("spaces", "gallery", "app.py")


@contextlib.contextmanager
def serving(app, **environment):
    """The address of the running app; it is stopped in the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"GRADIO_SERVER_PORT": str(port), "GRADIO_ANALYTICS_ENABLED": "False", **environment}
    process = subprocess.Popen([sys.executable, str(app)], env=os.environ | settings)
    address = f"http://127.0.0.1:{port}/"
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5):
                break
            time.sleep(0.3)
        assert process.poll() is None, "the app did not start"
        yield address
    finally:
        process.terminate()
        process.wait(30)


def signatures():
    for name, base in (("a<b>", 0.2), ("b", 0.3), ("c", 0.9)):
        scores = [base, base + 0.05, base, base - 0.1]
        yield make_signature(scores, name=name, cka=scores)


@pytest.fixture(name="folder")
def _folder(tmp_path):
    for signature in signatures():
        signature.save_pretrained(tmp_path / "signatures" / signature.name[0])
    return tmp_path / "signatures"


@pytest.mark.slow
def test_the_gallery_shows_a_folder_and_refuses_others(folder):
    with serving(APP, AFFSCORE_COLLECTION=str(folder)) as address, chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        diary = Diary(page)
        page.goto(address)
        report = page.frame_locator("iframe[title=Report]")
        expect(report.locator("#about")).to_have_text(
            "3 networks on 64 images of cifar10, test.", timeout=60_000
        )
        expect(report.locator("td.name").filter(has_text="a<b>")).to_have_count(1)
        report.get_by_role("button", name="Clear selection").click()
        report.get_by_label("c", exact=True).check()
        expect(report.locator("#pair-note")).to_contain_text("1 selected")
        page.get_by_role("tab", name="Pictures").click()
        expect(page.get_by_test_id("matplotlib").locator("img")).to_have_count(4, timeout=30_000)
        page.get_by_label("Collection").fill(str(folder / "b"))
        page.get_by_role("button", name="Show").click()
        expect(
            page.get_by_text("is no repository; expected a data set such as user/signatures")
        ).to_be_visible()
        assert diary.said == []
        assert {url for url in diary.requested if not url.startswith((address, "data:", "blob:"))} <= {
            "about:srcdoc"
        }


def test_a_push_is_one_commit_with_the_collection_in_it(hub, capsys):
    for _ in range(2):  # the same again changes nothing
        with pytest.raises(SystemExit) as stop:
            main(
                [
                    "space",
                    "push",
                    "ada/gallery",
                    "--signatures",
                    "ada/signatures",
                    "--token",
                    hub.token("ada"),
                ]
            )
        assert stop.value.code == 0
    assert capsys.readouterr().out.split() == [f"{hub.endpoint}/spaces/ada/gallery"] * 2
    pushed = hub.files("space", "ada/gallery")
    assert pushed["collection.txt"] == b"ada/signatures\n"
    assert pushed["app.py"] == APP.read_bytes()
    assert set(pushed) >= {"README.md", "requirements.txt"}
    assert len(hub.repo("space", "ada/gallery").history()) == 2
    card = RepoCard(pushed["README.md"].decode(), ignore_metadata_errors=False).data
    assert (card.sdk, card.app_file) == ("gradio", "app.py")


def test_a_space_cannot_show_this_machine(hub):
    with pytest.raises(InputError, match="expected a data set on the Hub such as user/signatures"):
        push_gallery("ada/gallery", "/home/ada/signatures", token=hub.token("ada"))


@pytest.mark.slow
def test_a_pushed_gallery_shows_its_collection_on_the_hub(hub, tmp_path):
    for signature in signatures():
        signature.push_to_hub("ada/signatures", token=hub.token("ada"))
    push_gallery("ada/gallery", "ada/signatures", token=hub.token("ada"))
    for name, content in hub.files("space", "ada/gallery").items():
        (tmp_path / name).write_bytes(content)
    with serving(tmp_path / "app.py") as address, chromium() as browser:
        page = browser.new_page()
        page.goto(address)
        about = page.frame_locator("iframe[title=Report]").locator("#about")
        expect(about).to_have_text("3 networks on 64 images of cifar10, test.", timeout=60_000)
        page.get_by_label("Collection").fill("ada/none")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_text("'ada/none' was not found")).to_be_visible(timeout=30_000)
