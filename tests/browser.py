"""Debian's Chromium without a window, for pages that people look at. Nothing is downloaded.

A folder of tests that wants an empty page takes the fixture in its conftest:
``from tests.browser import page as page``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

#: Without these Chromium looks for its makers' servers at every start.
_QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium. Without it tests are skipped, but not in CI, where it has to be there."""
    path = shutil.which("chromium")
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "chromium is not installed: apt-get install chromium"
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page() -> Iterator[Page]:
    """An empty page; what its scripts complain about fails the test."""
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1100, "height": 1200})
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield page
    assert not complaints, complaints


class Diary:
    """What a page said on its console, which errors and dialogs it had, and what it requested."""

    def __init__(self, page: Page) -> None:
        self.said: list[str] = []
        self.requested: list[str] = []
        page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (self.said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: self.requested.append(request.url))
