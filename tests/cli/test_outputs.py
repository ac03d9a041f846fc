"""Where signatures and their pictures are saved, and that they are not mixed up."""

import json

import pytest

import hf_affscore as ha
from tests.cli.test_cli import SHORT, run
from tests.signatures import make_signature


def test_the_picture_beside_a_signature_is_of_that_signature(capsys, tmp_path):
    first = tmp_path / "first"
    run(capsys, "analyze", *SHORT, "--output", str(first))
    old = (first / "signature.png").read_bytes()
    (first / "signature.svg").write_bytes(b"a picture of the first")
    signature = ha.Signature.from_pretrained(first)
    signature.save_pretrained(first)  # nothing changed
    assert (first / "signature.png").read_bytes() == old
    fewer = ha.Signature(signature.rows[:5], (), signature.metadata)
    fewer.save_pretrained(first)
    assert not {"signature.png", "signature.svg"} & {path.name for path in first.iterdir()}
    fewer.plot(tmp_path / "fewer.png")
    _, out, _ = run(capsys, "show", str(first), "--plot", str(first / "signature.png"))
    assert (first / "signature.png").read_bytes() == (tmp_path / "fewer.png").read_bytes() != old
    assert out == f"{fewer}\npicture:   {first / 'signature.png'}\n"


def test_show_prints_a_saved_signature(capsys, tmp_path):
    signature = make_signature([0.5, 0.6])
    signature.save_pretrained(tmp_path)
    assert run(capsys, "show", str(tmp_path))[:2] == (0, f"{signature}\n")
    assert json.loads(run(capsys, "show", str(tmp_path), "--json")[1]) == signature.to_dict()
    code, _, err = run(capsys, "show", str(tmp_path), "--reference")
    assert code == 1
    assert "say with --plot FILE where it goes" in err


def test_show_draws_what_is_usual_only_where_it_is_asked_for(capsys, tmp_path):
    make_signature([0.5, 0.6]).save_pretrained(tmp_path / "one")
    for name, options in (("plain.svg", []), ("usual.svg", ["--reference"])):
        assert run(capsys, "show", str(tmp_path / "one"), "--plot", str(tmp_path / name), *options)[0] == 0
    texts = ["the middle 80 %" in (tmp_path / name).read_text() for name in ("plain.svg", "usual.svg")]
    assert texts == [False, True]


@pytest.mark.parametrize(
    ("models", "output", "message"),
    [
        (1, "many", "many holds 2 signatures in folders below"),
        (1, ".", "holds 3 signatures in folders below"),
        (1, "one/inside", "one holds a signature, and others inside it would be mixed up"),
        (2, "one", "one holds a signature, and others inside it would be mixed up"),
    ],
)
def test_one_signature_is_not_mixed_into_a_folder_of_many(
    capsys, tmp_path, monkeypatch, models, output, message
):
    for name in ("many/a", "many/b", "one"):
        make_signature([0.5]).save_pretrained(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    arguments = [*SHORT[:1] * models, *SHORT[1:], "--output", output]
    code, out, err = run(capsys, "analyze", *arguments)
    assert (code, out) == (1, "")
    assert message in err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("models", "output"), [(1, "many/c"), (1, "one"), (2, "many")])
def test_a_signature_beside_others_or_in_place_of_one_is_welcome(
    capsys, tmp_path, monkeypatch, models, output
):
    for name in ("many/a", "many/b", "one"):
        make_signature([0.5]).save_pretrained(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    code, _, _ = run(capsys, "analyze", *SHORT[:1] * models, *SHORT[1:], "--output", output)
    assert code == 0
