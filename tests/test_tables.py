"""Names and tables that fit their place, and how a signature prints itself."""

import dataclasses
import math
import re

import pytest

from hf_affscore.listing import signature_text
from hf_affscore.names import columns, common_prefix, path_end, short_paths, shortened
from hf_affscore.signature import Record
from hf_affscore.tables import Column, html_table, terminal_width, text_table, wrapped
from tests.signatures import make_signature

LONG = [f"timm_model.blocks.{i}.{j}.conv_pw.normalisation.activation" for i in range(3) for j in range(2)]


@pytest.mark.parametrize(
    ("names", "prefix"),
    [
        (["a.b.c", "a.b.d"], "a.b."),
        (["a.b", "a.b.c"], "a."),  # a component of every name is left
        (["layer1.relu", "layer10.relu"], ""),  # whole components only
        (["relu"], ""),
        (["net.relu"], "net."),
        (["", "a.b"], ""),  # the network itself
        ([], ""),
    ],
)
def test_the_common_beginning_is_whole_components(names, prefix):
    assert common_prefix(names) == prefix


@pytest.mark.parametrize("width", range(12, 60, 4))
def test_paths_are_cut_alike_and_stay_apart_while_their_numbers_fit(width):
    short = short_paths(LONG, width)
    assert all(columns(path) <= width for path in short)
    assert len(set(short)) == len(LONG) or width < 20
    assert [re.findall(r"\d+", path) for path in short] == [
        re.findall(r"\d+", path) for path in LONG
    ] or width < 24


@pytest.mark.parametrize("width", range(0, 60, 4))
def test_the_end_of_a_path_is_whole_components(width):
    for path in LONG:
        end = path_end(path, width)
        assert columns(end) <= width
        assert end == path or width < 12 or path.endswith(f".{end.removeprefix('…')}")


@pytest.mark.parametrize(
    "text", ["microsoft/resnet-50", "层归一化激活函数层归一化", "a\nb\tc" * 9, "e\u0301" * 30]
)
@pytest.mark.parametrize("width", [0, 1, 2, 8, 15])
def test_text_is_shortened_in_the_middle_to_what_fits(text, width):
    short = shortened(text, width)
    assert columns(short) <= width
    assert "\n" not in short
    assert "…" in short or width == 0


def test_the_widest_column_gives_way_first_and_numbers_never():
    heads = [
        Column("#", right=True),
        Column("name", flexible=True),
        Column("kind", flexible=True),
        Column("n", right=True),
    ]
    lines = [["0", "a" * 60, "b" * 12, "1234567"], ["1", "c", "d", "7"]]
    table = text_table(heads, lines, 50).splitlines()
    assert max(map(len, table)) == 50
    assert "b" * 12 in table[1]
    assert table[1].endswith("1234567")
    assert table[2].endswith("        7")
    assert len(table) == 3


def test_wide_characters_keep_the_columns_straight():
    table = text_table(
        [Column("name", flexible=True), Column("n", right=True)], [["层层层", "1"], ["abc", "2"]], 40
    )
    assert [columns(line) for line in table.splitlines()] == [9, 9, 9]


def test_html_is_escaped():
    made = html_table([Column("<b>")], [["<script>&"]])
    assert "<script>" not in made
    assert "&lt;script&gt;&amp;" in made


def test_the_width_is_that_of_the_environment_or_120(monkeypatch):
    monkeypatch.setenv("COLUMNS", "77")
    assert terminal_width() == 77
    monkeypatch.setenv("COLUMNS", "")
    assert terminal_width() == 120  # tests write to no terminal


def test_sentences_are_wrapped_between_words():
    text = "Compare with /a/very/long/path-with-hyphens/that-is-not-broken only."
    assert wrapped(text, 30).splitlines() == [
        "Compare with",
        "/a/very/long/path-with-hyphens/that-is-not-broken",
        "only.",
    ]


def with_names(names, **columns):
    signature = make_signature([0.5 + 0.01 * i for i in range(len(names))], **columns)
    rows = tuple(Record(**{**row, "module": name}) for row, name in zip(signature.rows, names, strict=True))
    return dataclasses.replace(signature, rows=rows)


@pytest.mark.parametrize("width", [80, 120])
def test_a_signature_prints_its_table_and_verdict(width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    signature = with_names(LONG, affinity_score_stderr=[0.01] * 5 + [math.nan])
    text = str(signature)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert lines[0] == "org/net on 64 images of cifar10 (test)"
    assert lines[1] == "module names without their common beginning timm_model.blocks."
    assert len([line for line in lines if re.match(r" ?\d  ", line)]) == 6
    assert (lines[4].split()[1] == "0.0.conv_pw.normalisation.activation") is (width == 120)
    assert signature.verdict[0] in text
    assert repr(signature).startswith("Signature(")


def test_a_signature_is_a_table_in_a_notebook_with_every_name_escaped():
    evil = with_names(["<script>alert(1)</script>", "b"], name="<img src=x>", activations=("<b>",))
    page = evil._repr_html_()
    for mark in ("<script", "<img", "<b>"):
        assert mark not in page
    assert page.count("<tr>") == 3
    assert "All 2 scores are evidence." in page


def test_reasons_stand_in_place_of_the_bar_and_empty_signatures_print():
    signature = make_signature(
        [0.5, 0.9, math.nan],
        evidence=["ok", "few_samples", "undefined"],
        reason=[None, "x", "NaN in the output"],
    )
    text = signature_text(signature, 120)
    assert "few samples" in text
    assert "NaN in the output" in text
    assert "There is no score." in str(make_signature([]))
