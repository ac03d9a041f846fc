"""``hf-affscore diff``."""

import json

import pytest

import hf_affscore as ha
from hf_affscore.cli import main
from hf_affscore.signature import Record, Signature
from tests.comparison.test_difference import EFFECT, made


def run(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    out, err = capsys.readouterr()
    return stop.value.code, out, err


@pytest.fixture(name="pair")
def _pair(tmp_path):
    made([0.5, 0.6, 0.7], effects=EFFECT).save_pretrained(tmp_path / "before")
    made([0.5, 0.9, 0.7001], effects=EFFECT).save_pretrained(tmp_path / "after")
    return tmp_path / "before", tmp_path / "after"


def test_the_largest_change_comes_first_and_the_verdict_last(capsys, pair):
    code, out, _ = run(capsys, "diff", *pair)
    assert code == 0
    assert out.startswith("Change of the affinity score from A to B (B - A)\nA  net\nB  net (2)\n")
    assert "module names without their common beginning layers." in out
    lines = [line.split() for line in out.splitlines() if " ReLU " in line]
    assert [line[0] for line in lines] == ["1", "2", "0"]
    assert lines[0][1:6] == ["1.act", "ReLU", "0.6000", "0.9000", "+0.30000"]
    assert [line[-1] == "changed" for line in lines] == [True, True, False]
    assert out.splitlines()[-1].startswith("Both are of the same images")


def test_printing_a_difference_is_the_same_text(capsys, pair):
    comparison = ha.compare(pair)
    found = comparison.difference(*comparison.names)
    assert run(capsys, "diff", *pair)[1] == f"{found}\n"
    assert repr(found).startswith("Difference('net' → 'net (2)': 2 of 3 scores changed")


@pytest.mark.parametrize("columns", [80, 120])
def test_no_line_of_the_table_is_wider_than_the_terminal(capsys, tmp_path, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    names = [f"timm_model.blocks.{i}.2.conv_pw_expansion.normalisation.activation" for i in range(12)]
    made([0.5] * 12, names=names).save_pretrained(tmp_path / "a")
    made([0.5] * 11 + [0.9], names=names).save_pretrained(tmp_path / "b")
    _, out, _ = run(capsys, "diff", tmp_path / "a", tmp_path / "b")
    assert max(map(len, out.splitlines())) <= columns
    assert len([line for line in out.splitlines() if " ReLU " in line]) == 12  # none is folded
    assert len({line.split()[1] for line in out.splitlines() if " ReLU " in line}) == 12


def test_json_and_output(capsys, pair, tmp_path):
    code, out, _ = run(capsys, "diff", *pair, "--json", "--output", tmp_path / "out")
    document = json.loads(out)
    assert code == 0
    assert json.loads((tmp_path / "out" / "difference.json").read_text()) == document
    assert [row["significant"] for row in document["changes"]] == [True, True, False]
    assert document["paired"] is True
    assert (tmp_path / "out" / "difference.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_of_many_signatures_is_no_side(capsys, pair):
    code, _, _ = run(capsys, "diff", pair[0].parent, pair[1])
    assert "has 2 signatures (net, net); expected one" in code


def test_rows_without_a_partner_are_listed(capsys, pair, tmp_path):
    whole = Signature.from_pretrained(pair[0])
    other = Record(**{**whole.rows[1], "module": "new.act"})
    Signature((whole.rows[0], other, whole.rows[2]), (), whole.metadata).save_pretrained(tmp_path / "c")
    _, out, _ = run(capsys, "diff", pair[0], tmp_path / "c")
    assert "only in A: layers.1.act (ReLU)" in out
    assert "only in B: new.act (ReLU)" in out


def test_two_architectures_and_other_images_are_errors_with_a_next_step(capsys, pair, tmp_path):
    made([0.5, 0.6], names=["a.act", "b.act"]).save_pretrained(tmp_path / "other")
    code, _, _ = run(capsys, "diff", pair[0], tmp_path / "other", "--allow-differences")
    assert "hf-affscore compare" in code


def test_a_collection_on_the_hub_is_a_side(capsys, pair, hub):
    Signature.from_pretrained(pair[0]).push_to_hub("ada/signatures", token=hub.token("ada"))
    code, out, _ = run(capsys, "diff", "ada/signatures", pair[1])
    assert code == 0
    assert "2 of 3 scores changed" in out
