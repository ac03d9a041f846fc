"""The table of docs/models.md: its fast part is made again, and it has every kind."""

import pytest

from tests.models.matrix import DOCUMENT, KINDS, Kind, examine, is_installed

INSTALLED = [kind for kind in KINDS if is_installed(kind)]


@pytest.mark.parametrize("kind", INSTALLED, ids=lambda kind: f"{kind.library} {kind.name}")
def test_inspect_and_analyze_see_what_is_counted(kind: Kind) -> None:
    row = examine(kind)
    assert row.is_right, row


def test_the_page_has_every_kind_and_none_that_differs() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for kind in KINDS:
        assert f"| {kind.name} |" in text
    assert "differs" not in text
