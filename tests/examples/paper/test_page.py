"""docs/paper.md says what the JSON files say, and what it tells people to type exists."""

import csv
import doctest
import json
import re
import sys

import pytest
import timm

from examples.paper import __main__ as everything
from examples.paper import common, figures, residual
from examples.paper.common import DOCS, FOLDER
from examples.paper.page import EXPERIMENTS, PAGE, module, written

PAPER = DOCS.parent / "examples" / "paper"


def test_the_page_is_what_the_values_are():
    page = PAGE.read_text()
    assert written(page) == page
    marked = re.findall(r"<!-- (\w+): written", page)
    assert sorted(marked) == sorted([*EXPERIMENTS, "figures"])


def test_other_values_make_another_page(tmp_path, monkeypatch, capsys):
    for name in EXPERIMENTS:
        document = json.loads((FOLDER / f"{name}.json").read_text())
        if name == "polynomials":
            document["values"]["scores"]["3"] = 0.123
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    copy = tmp_path / "paper.md"
    copy.write_text(PAGE.read_text())
    monkeypatch.setattr(everything, "PAGE", copy)
    monkeypatch.setattr(sys, "argv", ["examples.paper", "--docs", "--output", str(tmp_path)])
    everything.main()
    assert "| x^3 | 0.71 | 0.123 |" in copy.read_text()
    assert "1.00, 0.12, 0.58" in copy.read_text()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_has_a_module_a_section_and_a_picture(name):
    page = PAGE.read_text()
    assert f"](paper/{name}.png)" in page
    assert (FOLDER / f"{name}.png").is_file()
    assert any(f"examples.paper.{name}`" in figure.command for figure in figures.FIGURES)
    assert module(name).__doc__


def test_no_experiment_is_forgotten():
    helpers = {"__init__", "__main__", "common", "networks", "page", "figures"}
    assert {path.stem for path in PAPER.glob("*.py")} - helpers == set(EXPERIMENTS)


def test_every_experiment_took_less_than_five_minutes():
    for name in EXPERIMENTS:
        conditions = json.loads((FOLDER / f"{name}.json").read_text())["conditions"]
        assert conditions["cpu_seconds"] < 300
        assert conditions["threads"] == 1


def test_what_the_page_says_of_residual_blocks_is_in_the_values():
    values = json.loads((FOLDER / "residual.json").read_text())["values"]
    residual_blocks, plain_blocks = values["residual"], values["plain"]
    assert residual_blocks["second_higher"] == 36
    assert min(residual_blocks["ashman_each"]) > 2
    assert len(residual_blocks["peaks"]) == 1  # apart, and yet not two modes
    assert 12 <= plain_blocks["second_higher"] <= 24
    assert max(plain_blocks["ashman_each"]) < 0.5


def test_checkpoints_are_33_that_timm_has_on_the_hub():
    names = (PAPER / "checkpoints.txt").read_text().split()
    assert len(set(names)) == len(names) == 33
    assert set(names) <= {f"timm/{name}" for name in timm.list_pretrained()}
    with open(PAPER / "checkpoints.csv", newline="") as file:
        assert [line["network"] for line in csv.DictReader(file)] == names


@pytest.mark.parametrize("each", [common, residual])
def test_docstrings_of_the_examples_run(each):
    failed, tried = doctest.testmod(each)
    assert tried
    assert not failed
