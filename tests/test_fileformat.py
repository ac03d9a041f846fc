"""Stored signatures are checked before they are believed: whatever the bytes, a signature or a clear refusal."""

from __future__ import annotations

import hashlib
import io
import json
import math
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hf_affscore import fileformat
from hf_affscore.errors import SignatureError
from hf_affscore.fileformat import JSON_FILE, SOURCE, TABLE_FILE
from hf_affscore.signature import Record, Signature
from tests.publish.samples import signature

FILES = signature(cka=0.25).to_files()
DOCUMENT = json.loads(FILES[JSON_FILE])
TABLE = pq.read_table(io.BytesIO(FILES[TABLE_FILE]))


def pair(document: Any = None, table: bytes | None = None) -> dict[str, bytes]:
    """The two files with another document or table, and the checksum that belongs to it."""
    table = FILES[TABLE_FILE] if table is None else table
    document = json.loads(FILES[JSON_FILE]) if document is None else document
    if isinstance(document, dict) and isinstance(document.get("table"), dict):
        document["table"]["sha256"] = hashlib.sha256(table).hexdigest()
    return {JSON_FILE: json.dumps(document).encode(), TABLE_FILE: table}


def parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def read_or_refuse(files: dict[str, bytes]) -> None:
    """What is accepted works; what is not raises the one error there is for it."""
    try:
        sig = Signature.from_files(files, "the folder")
    except SignatureError as error:
        assert "the folder" in str(error)  # noqa: PT017
        return
    sig.summary()
    sig.to_dict()
    repr(sig)
    assert Signature.from_files(sig.to_files(), "again") == sig


def test_the_table_names_its_source_in_every_row() -> None:
    assert TABLE.column_names[: len(SOURCE)] == list(SOURCE)
    assert set(TABLE["model"].to_pylist()) == {"ada/net"}
    assert "model" not in Signature.from_files(FILES, "here").rows[0]


def test_a_table_without_its_source_still_loads() -> None:
    """Written before the source was in the table."""
    old = parquet(TABLE.drop_columns(list(SOURCE)))
    assert Signature.from_files(pair(table=old), "here") == signature(cka=0.25)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
places = [
    ("format",),
    ("schema_version",),
    ("metadata",),
    ("skipped",),
    ("table",),
    ("summary",),
    *[("metadata", part) for part in DOCUMENT["metadata"]],
    ("metadata", "model", "id"),
    ("metadata", "model", "revision"),
    ("metadata", "dataset", "id"),
    ("skipped", 0),
    ("skipped", 0, "reason"),
]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(places), json_values)
def test_any_value_anywhere_in_the_document(place: tuple[Any, ...], value: Any) -> None:
    document = json.loads(FILES[JSON_FILE])
    target = document
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value
    read_or_refuse(pair(document))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_bytes_in_the_document(data: st.DataObject) -> None:
    content = bytearray(FILES[JSON_FILE])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    read_or_refuse({**FILES, JSON_FILE: bytes(content[: data.draw(st.integers(0, len(content)))])})


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_damaged_bytes_in_the_table(data: st.DataObject) -> None:
    content = bytearray(FILES[TABLE_FILE])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    length = data.draw(st.just(len(content)) | st.integers(0, len(content)))
    read_or_refuse(pair(table=bytes(content[:length])))


@pytest.mark.parametrize(
    "column",
    [
        pa.array([["nested"]] * 4),
        pa.array([b"bytes"] * 4),
        pa.array([None] * 4),
        pa.array(["text"] * 4),
    ],
)
@pytest.mark.parametrize("name", ["affinity_score", "index", "model"])
def test_columns_of_other_types_are_refused(name: str, column: pa.Array) -> None:
    if name == "model" and column.type == pa.string():
        return
    changed = TABLE.set_column(TABLE.column_names.index(name), name, column)
    with pytest.raises(SignatureError, match="columns that no signature has"):
        Signature.from_files(pair(table=parquet(changed)), "here")


def test_a_column_twice_or_no_score_is_refused() -> None:
    for changed in (TABLE.append_column("module", TABLE["module"]), TABLE.drop_columns(["affinity_score"])):
        with pytest.raises(SignatureError, match="columns that no signature has"):
            Signature.from_files(pair(table=parquet(changed)), "here")


def test_sizes_are_limited_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    many = parquet(pa.table({"index": pa.array([0] * (fileformat.MAX_ROWS + 1), pa.int64())}))
    assert len(many) < 10_000, "a small file that announces many rows"
    with pytest.raises(SignatureError, match="at most 100000"):
        Signature.from_files(pair(table=many), "here")
    monkeypatch.setattr(fileformat, "MAX_DOCUMENT", 100)
    with pytest.raises(SignatureError, match=r"signature\.json in here has \d+ bytes; .* at most 100"):
        Signature.from_files(FILES, "here")


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"format": NaN}', b"1" * 10_000, b"\xff", b"", b"null"])
def test_odd_json_is_refused(text: bytes) -> None:
    with pytest.raises(SignatureError, match="not a"):
        Signature.from_files({**FILES, JSON_FILE: text}, "here")


@pytest.mark.parametrize(
    ("score", "fine"), [(0.0, True), (1.0, True), (math.nan, True), (5.0, False), (-0.1, False)]
)
def test_a_score_is_between_0_and_1_or_undefined(score, fine, tmp_path):
    folder = Signature((Record(index=0, module="act", affinity_score=score),), (), {}).save_pretrained(
        tmp_path
    )
    if fine:
        assert len(Signature.from_pretrained(folder).rows) == 1
    else:
        with pytest.raises(SignatureError, match=r"outside 0 to 1"):
            Signature.from_pretrained(folder)


def test_half_a_surrogate_pair_is_refused_when_read(tmp_path):
    folder = Signature(
        (Record(index=0, module="act", affinity_score=0.5),), (), {"model": {"id": "x"}}
    ).save_pretrained(tmp_path)
    document = folder / "signature.json"
    document.write_bytes(document.read_bytes().replace(b'"x"', rb'"\ud800"'))
    with pytest.raises(SignatureError, match="is not a JSON document"):
        Signature.from_pretrained(folder)
