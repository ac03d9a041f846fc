"""The metric card is the Space's README, follows evaluate's template, and what it shows is true."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest
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


@pytest.mark.slow
@pytest.mark.parametrize("page", [CARD, ROOT / "docs" / "evaluate.md"], ids=lambda page: page.name)
def test_every_example_runs(page):
    text = re.sub(r"^ *```.*$", "", page.read_text(), flags=re.MULTILINE)  # doctest takes a fence for output
    examples = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    assert examples.examples
    assert text.count(">>> ") == len(examples.examples)
    failed, _ = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples)
    assert failed == 0
