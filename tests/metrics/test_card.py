"""The metric card is the Space's README, follows evaluate's template, and what it shows is true."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import RepoCard

from hf_affscore.metrics import FOLDER

ROOT = Path(__file__).parents[2]
CARD = ROOT / "metric_card.md"
TEMPLATE = [
    "# Metric Card for affinity_signature",
    "## Metric Description",
    "## How to Use",
    "### Inputs",
    "### Output Values",
    "#### Values from Popular Papers",
    "### Examples",
    "## Limitations and Bias",
    "## Citation",
    "## Further References",
]


def test_the_card_is_the_readme_of_the_space():
    assert (FOLDER / "README.md").read_bytes() == CARD.read_bytes(), (
        f"cp metric_card.md {FOLDER / 'README.md'}"
    )


def test_the_card_follows_the_template():
    assert re.findall(r"^#+ .*", CARD.read_text(), re.MULTILINE) == TEMPLATE


def test_the_space_is_set_up_in_the_card():
    settings = RepoCard(CARD.read_text()).data.to_dict()
    assert settings["sdk"] == "gradio"
    assert (FOLDER / settings["app_file"]).is_file()
    assert settings["tags"] == ["evaluate", "metric"]
