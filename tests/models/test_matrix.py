"""The table of docs/models.md: its fast part is made again, and it has every kind."""

import pytest

from tests.models.matrix import DOCUMENT, KINDS, Kind, examine, is_installed
from tests.versions import needs

#: What older libraries do not write, load or build without memory.
NEWER = {
    "video (V-JEPA 2), repeated frame": needs("transformers", "5", "it fails in networks as small as this"),
    "images and text": needs("torch", "2.11", "it does not build such a network without memory"),
    "no image processor": needs("transformers", "5", "another processor is the usual one"),
    "vision-language, packed patches (Qwen2-VL)": needs(
        "transformers", "5", "its operators are counted otherwise"
    ),
    "vision-language, packed patches (Qwen2.5-VL)": needs(
        "transformers", "5", "its operators are counted otherwise"
    ),
    "OCR (Donut)": needs("transformers", "5", "its processor makes nothing of very small images"),
}
INSTALLED = [
    pytest.param(kind, marks=NEWER.get(kind.name, ()), id=f"{kind.library} {kind.name}")
    for kind in KINDS
    if is_installed(kind)
]


@pytest.mark.parametrize("kind", INSTALLED)
def test_inspect_and_analyze_see_what_is_counted(kind: Kind) -> None:
    row = examine(kind)
    assert row.is_right, row


def test_the_page_has_every_kind_and_none_that_differs() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for kind in KINDS:
        assert f"| {kind.name} |" in text
    assert "differs" not in text
