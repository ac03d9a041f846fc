"""What a collection lists, and how one of its signatures is meant."""

from __future__ import annotations

import dataclasses
import io
import re
import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_affscore import Signature
from hf_affscore.errors import SignatureError
from hf_affscore.publish.index import Entry, folder_name, matching, read_index, write_index
from tests.publish.samples import COMMIT, signature

#: Names that Windows keeps for devices.
RESERVED = {
    "CON",
    "PRN",
    "AUX",
    "NUL",
    *(f"{port}{number}" for port in ("COM", "LPT") for number in range(10)),
}


@given(st.text(max_size=200), st.text(max_size=50))
def test_folder_names_are_safe_everywhere(model: str, dataset: str) -> None:
    name = folder_name({"model": model, "dataset": dataset})
    assert re.fullmatch(r"([^\W_]|-)*-?[0-9a-f]{12}", name)
    assert name == unicodedata.normalize("NFC", name)
    assert len(name.encode()) <= 80
    assert name.partition(".")[0].upper() not in RESERVED


@pytest.mark.parametrize(
    ("model", "readable"),
    [
        ("模型/名", "模型-名"),
        ("Ада/Сеть", "ада-сеть"),
        ("u\u0308ber/net", "über-net"),
        ("CON", "con"),
        ("🙂", ""),
    ],
)
def test_folder_names_can_be_read_in_any_script(model: str, readable: str, tmp_path: Path) -> None:
    name = folder_name({"model": model})
    assert name.rpartition("-")[0] == readable
    sig = signature(model)
    sig.save_pretrained(tmp_path / name)
    assert Signature.from_pretrained(tmp_path / name).name == model


def test_keys_that_differ_in_case_or_in_one_part_have_folders_of_their_own() -> None:
    sources = [
        {"model": "ada/net"},
        {"model": "Ada/Net"},
        {"model": "ada-net"},
        {"model": "ada_net"},
        {"model": "ada/net", "model_revision": "1"},
        {"model": "ada/net", "dataset": "1"},
        {"model": "ada/net", "dataset_split": "1"},
    ]
    assert len({folder_name(source) for source in sources}) == len(sources)
    assert folder_name({"model": "ada/net"}) == folder_name({"model": "ada/net", "dataset": None})


def test_an_index_reads_back_and_does_not_depend_on_order() -> None:
    entries = [Entry.of(signature(name)) for name in ("b/b", "a/a", "größe")]
    content = write_index(entries)
    assert content == write_index(reversed(entries))
    assert set(read_index(content, "here").values()) == set(entries)


def changed(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def test_columns_of_a_newer_version_are_left_out_and_missing_ones_are_empty() -> None:
    entry = Entry.of(signature())
    table = pq.read_table(io.BytesIO(write_index([entry])))
    newer = table.append_column("future", pa.array([1])).drop_columns(["created"])
    assert list(read_index(changed(newer), "here").values()) == [dataclasses.replace(entry, created=None)]


@pytest.mark.parametrize(
    "damage",
    [
        lambda table: table.select([]).append_column("x", pa.array([1])),
        lambda table: table.set_column(0, "model", pa.array([1])),
        lambda table: table.append_column("model", pa.array(["twice"])),
        lambda table: table.set_column(table.column_names.index("options"), "options", pa.array(["[1]"])),
        lambda table: table.set_column(
            table.column_names.index("columns"), "columns", pa.array(["{" * 9999])
        ),
    ],
)
def test_a_damaged_index_is_refused(damage) -> None:  # type: ignore[no-untyped-def]
    table = pq.read_table(io.BytesIO(write_index([Entry.of(signature())])))
    with pytest.raises(SignatureError, match=r"summary.parquet in here.*Restore it"):
        read_index(changed(damage(table)), "here")


def test_one_signature_is_chosen_or_the_choices_are_listed() -> None:
    entries = [
        Entry.of(signature()),
        Entry.of(signature(revision="f" * 40)),
        Entry.of(signature("ada/other", dataset="cifar10")),
    ]
    assert matching(entries, {"model": "ada/other"}, "x") == entries[2]
    assert matching(entries, {"dataset": "cifar10", "model": None}, "x") == entries[2]
    assert matching(entries, {"model": "ada/net", "model_revision": COMMIT[:7]}, "x") == entries[0]
    with pytest.raises(SignatureError, match=r"x has 2 signatures for model='ada/net'\. Choose") as error:
        matching(entries, {"model": "ada/net"}, "x")
    assert "model_revision='ffff" in str(error.value)
    assert "cifar10" not in str(error.value)
    with pytest.raises(SignatureError, match=r"x has no signature for model='eve/net'\. It has 3:"):
        matching(entries, {"model": "eve/net"}, "x")


def test_an_untrained_network_is_a_signature_of_its_own_and_meant_only_when_asked_for() -> None:
    trained, random = Entry.of(signature()), Entry.of(signature(weights="random, seed 0"))
    assert trained.folder != random.folder
    assert matching([trained, random], {"model": "ada/net"}, "x") == trained
    assert matching([trained, random], {"model": "ada/net", "weights": "random"}, "x") == random
    assert matching([random], {"model": "ada/net"}, "x") == random
