"""The data model and its two files."""

import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest

from hf_affscore.errors import InputError, SignatureError
from hf_affscore.signature import JSON_FILE, NUMBERS_VERSION, TABLE_FILE, Record, Signature


def record(index, score, **more):
    return Record(
        index=index,
        module=f"layer{index}",
        activation="ReLU",
        call=0,
        kind="module",
        dim=4,
        num_samples=8,
        affinity_score=score,
        reason=None if math.isfinite(score) else "NaN in the output",
        **more,
    )


@pytest.fixture
def signature():
    rows = (record(0, 0.5, cka=0.25), record(1, 1 / 3, cka=0.1), record(2, math.nan, cka=math.nan))
    skipped = (
        Record(module="attn", activation="softmax", call=0, kind="function", reason="not elementwise"),
    )
    return Signature(
        rows, skipped, {"model": {"id": "user/größe"}, "options": {"num_samples": 8, "split": None}}
    )


def test_scores_and_summary_leave_undefined_rows_visible(signature):
    np.testing.assert_array_equal(signature.scores, [0.5, 1 / 3, math.nan])
    summary = signature.summary()
    assert summary["count"] == 2
    assert summary["undefined"] == 1
    assert summary["mean"] == pytest.approx(5 / 12, abs=1e-15)
    assert summary["std"] == pytest.approx(1 / 12, abs=1e-15)


def test_a_saved_signature_loads_back_equal(signature, tmp_path):
    folder = signature.save_pretrained(tmp_path / "new" / "folder")
    assert sorted(path.name for path in folder.iterdir()) == [JSON_FILE, TABLE_FILE]
    loaded = Signature.from_pretrained(folder)
    assert loaded == signature
    assert loaded.scores.tobytes() == signature.scores.tobytes()
    assert [type(value) for value in loaded.rows[0].values()] == [
        type(value) for value in signature.rows[0].values()
    ]


def test_saving_twice_gives_the_same_bytes(signature, tmp_path):
    one, two = (signature.save_pretrained(tmp_path / name) for name in "ab")
    for name in (JSON_FILE, TABLE_FILE):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_signatures_differ_when_anything_differs(signature):
    assert signature != Signature(signature.rows[:2], signature.skipped, signature.metadata)
    assert signature != Signature(signature.rows, (), signature.metadata)
    assert signature != Signature(signature.rows, signature.skipped, {})
    assert signature != "signature"


def test_the_json_document_is_strict_json(signature):
    text = json.dumps(signature.to_dict(), allow_nan=False)
    assert json.loads(text)["rows"][2]["affinity_score"] is None


def test_a_failed_write_leaves_the_old_signature_whole(signature, tmp_path, monkeypatch):
    signature.save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(SignatureError, match="No space left on device"):
        Signature(signature.rows[:1], (), {}).save_pretrained(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("file", "damage", "sentence"),
    [
        (JSON_FILE, lambda content: b"{", "is not a JSON document"),
        (JSON_FILE, lambda content: b"[]", "is not a signature"),
        (
            JSON_FILE,
            lambda content: content.replace(b'"schema_version": 1', b'"schema_version": 99'),
            "Upgrade",
        ),
        (JSON_FILE, lambda content: content.replace(b'"skipped"', b'"skapped"'), "lacks skipped"),
        (TABLE_FILE, lambda content: content[:-7], "checksum differs"),
    ],
)
def test_damage_is_named(signature, tmp_path, file, damage, sentence):
    signature.save_pretrained(tmp_path)
    path = tmp_path / file
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SignatureError, match=sentence):
        Signature.from_pretrained(tmp_path)


def test_nothing_there_says_how_to_make_one(tmp_path):
    with pytest.raises(SignatureError, match="hf-affscore analyze"):
        Signature.from_pretrained(tmp_path / "nowhere")


def test_a_signature_without_rows_keeps(tmp_path):
    empty = Signature((), (), {})
    assert Signature.from_pretrained(empty.save_pretrained(tmp_path)) == empty


def test_records_are_immutable_mappings_with_attributes():
    row = record(0, 0.5)
    assert row["module"] == row.module == "layer0"
    with pytest.raises(AttributeError, match="immutable"):
        row.module = "other"
    with pytest.raises(AttributeError, match="it has index, module"):
        row.modul  # noqa: B018
    assert pickle.loads(pickle.dumps(row)) == row


def test_a_dataframe_has_one_line_per_row(signature):
    frame = signature.to_dataframe()
    assert list(frame["module"]) == ["layer0", "layer1", "layer2"]
    assert frame["affinity_score"].dtype == np.float64


def test_a_file_of_numbers_version_1_loads_and_says_which_interval_it_holds():
    old = Signature.from_pretrained(Path(__file__).parent / "data" / "numbers_version_1")
    assert old.interval == "limit of infinitely many images"
    assert (
        Signature((), (), {"numbers_version": NUMBERS_VERSION}).interval == "score at this number of images"
    )
    assert "interval_reason" in old.rows[0]
    assert len(old.rows) == 33
    assert old.summary()["few_samples"] == sum(row.dim >= 512 for row in old.rows) > 0
    assert old.verdict[0].startswith("18 of 33 scores are evidence")
    assert not any("chance" in line for line in old.verdict)  # its errors are not of version 2


def test_near_linear_lists_what_acts_as_an_affine_map():
    scores = {"low": 0.98, "edge": 0.99, "high": 0.999, "undefined": float("nan"), "dead": 1.0, "flat": 0.99}
    words = {"undefined": "undefined", "dead": "constant_output", "flat": "ridge_dominates"}
    rows = tuple(Record(module=n, affinity_score=s, evidence=words.get(n, "ok")) for n, s in scores.items())
    sig = Signature(rows=rows, skipped=(), metadata={})
    assert [row.module for row in sig.near_linear()] == ["edge", "high"]
    assert [row.module for row in sig.near_linear(threshold=0)] == ["low", "edge", "high"]
    assert [row.module for row in sig.near_linear(np.float32(0.995))] == ["high"]
    for wrong in (1.5, -0.1, float("nan"), "high", True, None):
        with pytest.raises(InputError, match="expected a score from 0 to 1"):
            sig.near_linear(wrong)
