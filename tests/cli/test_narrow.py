"""Every table fits the terminal, whatever the names are, and numbers its rows as pictures do."""

from __future__ import annotations

import re
import tempfile

import pytest

import hf_affscore as ha
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
from hf_affscore.cli import main, printing
from hf_affscore.comparison.difference import difference
from hf_affscore.names import columns
from hf_affscore.run.cache import CacheEntry
from hf_affscore.run.many import Outcome
from tests.signatures import make_signature

LONG = "a-long-organisation-name/efficientnet-lite0-imagenet-finetuned-on-very-many-photographs-of-food"
WIDE = "模型的组织/" + "很长的名字" * 12
WIDTH = 80
WIDTHS = (WIDTH, 60)


def network(name, scores=(0.5, 0.6, 0.7, 0.8)):
    """A signature whose modules and data set have long names too."""
    signature = make_signature(scores, name=name)
    path = (
        "a_wrapper.of_another_wrapper.backbone.encoder.stages.{}.blocks.{}.intermediate.activation_function"
    )
    for place, row in enumerate(signature.rows):
        row._fields.update(module=path.format(place // 2, place % 2), affinity_score_stderr=0.01)
    signature.metadata["dataset"]["id"] = "another-organisation/" + "photographs-" * 8
    return signature


def shown(name):
    """What ``show`` prints of a saved signature."""
    with tempfile.TemporaryDirectory() as folder:
        network(name).save_pretrained(folder)
        with pytest.raises(SystemExit, match="0"):
            main(["show", folder])


def compared():
    return ha.compare([network(LONG), network(LONG + "-rounded", (0.4, 0.6, 0.7, 0.9)), network(WIDE)])


def entry(name):
    asked = {"model": {"name": name}, "dataset": {"name": name}}
    values = {
        "key": "0123456789abcdef" * 2,
        "finished": True,
        "changed": "2026-11-29T12:00:00",
        "size": 10**9,
    }
    return CacheEntry(**values, asked=asked | {"options": {"include": ["*" * 90]}})


TABLES = {
    "print(sig)": lambda: print(network(WIDE)),
    "analyze": lambda: print(network(LONG)),
    "analyze many": lambda: printing.print_outcomes(
        [
            Outcome(LONG, network(LONG)),
            Outcome(WIDE, network(WIDE)),
            Outcome("a" * 70, None, "It is gone. " * 20),
        ]
    ),
    "show": lambda: shown(LONG),
    "show, other letters": lambda: shown(WIDE),
    "inspect": lambda: print(ha.inspect(DEMO_MODEL)),
    "inspect, skipped": lambda: print(ha.inspect(DEMO_MODEL, exclude=["*stages.1*"])),
    "compare": lambda: print(compared()),
    "diff": lambda: print(difference(network(LONG), network(WIDE, (0.9, 0.6, 0.7, 0.8)))),
    "diff, rows without a partner": lambda: print(difference(network(LONG), network(WIDE, (0.9, 0.6)))),
    "cache ls": lambda: printing.print_cache([entry(LONG), entry(WIDE)]),
}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("table", TABLES)
def test_no_line_is_wider_than_the_terminal(table, width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    TABLES[table]()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 2
    assert [line for line in lines if columns(line) > width] == []


@pytest.mark.parametrize("table", ["print(sig)", "show", "inspect", "diff"])
def test_rows_are_numbered_and_what_names_begin_with_is_said_once(table, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    TABLES[table]()
    text = capsys.readouterr().out
    (prefix,) = re.findall(r"^module names without their common beginning (\S+)$", text, re.MULTILINE)
    assert text.count(prefix) == 1
    numbers = [int(number) for number in re.findall(r"^ *(\d+)  \S", text, re.MULTILINE)]
    assert sorted(numbers) == list(range(len(numbers)))
    assert len(numbers) >= 4


def test_memory_adds_up_as_it_is_printed(monkeypatch, capsys):
    """Each phase is the sum of its parts, the peak is the largest phase, and the time the sum of its steps."""
    monkeypatch.setenv("COLUMNS", "200")
    print(ha.inspect(DEMO_MODEL, num_samples=8192))
    text = capsys.readouterr().out
    phases = re.findall(r"^  \w+ +([\d.]+) GB = (.*)$", text, re.MULTILINE)
    assert len(phases) == 3
    for total, parts in phases:
        assert float(total) == pytest.approx(sum(map(float, re.findall(r"[\d.]+", parts))), abs=1e-9)
    assert re.search(r"^  peak +([\d.]+) GB$", text, re.MULTILINE)[1] == max(total for total, _ in phases)
    seconds, steps = re.search(r"^  time +(\d+) s = (.*)$", text, re.MULTILINE).groups()
    assert int(seconds) == sum(map(int, re.findall(r"\d+", steps)))


def test_an_analysis_of_the_demo_has_the_same_numbers_in_html(monkeypatch):
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    signature = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=8)
    html = signature._repr_html_()
    assert [int(cell) for cell in re.findall(r'<tr><td style="text-align: right">(\d+)</td>', html)] == list(
        range(len(signature.rows))
    )
