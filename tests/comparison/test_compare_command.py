"""``hf-affscore compare`` and ``hf-affscore report``."""

import json

import pytest

import hf_affscore as ha
from hf_affscore.cli import main
from hf_affscore.signature import Signature
from tests.signatures import make_signature


@pytest.fixture(name="folder")
def _folder(tmp_path):
    for name, base in (("a", 0.2), ("b", 0.3), ("c", 0.9)):
        scores = [base, base + 0.05, base, base - 0.1]
        make_signature(scores, name=name, cka=scores).save_pretrained(tmp_path / "signatures" / name)
    return tmp_path / "signatures"


def run(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    out, err = capsys.readouterr()
    return stop.value.code, out, err


def test_compare_prints_each_network_with_its_nearest(capsys, folder):
    code, out, _ = run(capsys, "compare", folder)
    assert code == 0
    lines = {line.split()[0]: line.split() for line in out.splitlines() if line[:2] in ("a ", "b ", "c ")}
    assert lines["a"][1:3] == ["4", "0.2000"]
    assert lines["a"][-2:] == ["b", "(0.180)"]  # 0.1, 0.1, 0.05, 0, 0.1 along the path
    assert lines["c"][-2] == "b"
    assert "cka        +1.00 ±0.00  3, 3 with fewer than 8 scores" in out


def test_printing_a_comparison_is_the_same_text(capsys, folder):
    comparison = ha.compare([folder])
    assert run(capsys, "compare", folder)[1] == f"{comparison}\n"
    assert repr(comparison) == "Comparison('a', 'b', 'c')"


def test_json_is_one_document(capsys, folder, tmp_path):
    _, out, _ = run(capsys, "compare", folder / "a", folder / "b", "--json", "--output", tmp_path / "out")
    document = json.loads(out)
    assert [line["network"] for line in document["networks"]] == ["a", "b"]
    assert json.loads((tmp_path / "out" / "comparison.json").read_text()) == document


def test_published_figures_and_differences(capsys, folder, tmp_path):
    table = tmp_path / "published.csv"
    table.write_text("network,accuracy\na,0.75\n")
    _, out, _ = run(capsys, "compare", folder, "--published", table)
    assert "0.7500" in next(line for line in out.splitlines() if line.startswith("a "))
    other = make_signature([0.5, 0.6], name="d")
    other.metadata["dataset"]["split"] = "train"
    other.save_pretrained(folder / "d")
    code, _, _ = run(capsys, "compare", folder)
    assert "dataset.split is 'test' in a, b, c but 'train' in d" in code
    code, out, _ = run(capsys, "compare", folder, "--allow-differences")
    assert code == 0
    assert "made differently: dataset.split" in out


def test_report_writes_one_page_and_says_where(capsys, folder, tmp_path):
    page = tmp_path / "report.html"
    code, out, _ = run(capsys, "report", folder, "-o", page)
    assert code == 0
    assert out == f"report: {page}\n"
    assert page.read_text().startswith("<!doctype html>")


def test_a_collection_on_the_hub_is_a_source(capsys, folder, hub):
    for path in folder.iterdir():
        Signature.from_pretrained(path).push_to_hub("ada/signatures", token=hub.token("ada"))
    code, out, _ = run(capsys, "compare", "ada/signatures", "--json")
    assert code == 0
    assert sorted(line["network"] for line in json.loads(out)["networks"]) == ["a", "b", "c"]


def test_names_are_not_markup_in_the_terminal(capsys, tmp_path):
    make_signature([0.5], name="[bold]x[/bold][/red]").save_pretrained(tmp_path / "evil")
    _, out, _ = run(capsys, "compare", tmp_path / "evil")
    assert "[bold]x[/bold][/red]" in out
