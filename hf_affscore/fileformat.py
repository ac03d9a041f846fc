"""The two files of a signature as bytes, and the checks of a stored pair before it is used.

- ``signature.json``: schema version, metadata, summary, skipped calls, and the checksum of the table;
- ``signature.parquet``: one line per row, after the columns that name the network and the images
  (:data:`SOURCE`), so that the tables of many signatures are one table.

This module opens no file and follows no path from one: content from elsewhere is only bytes until it has been
checked. There is no pickle, and sizes are checked before anything is decoded.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_affscore.errors import SignatureError
from hf_affscore.summary import EFFECTS

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 1
JSON_FILE = "signature.json"
TABLE_FILE = "signature.parquet"

#: The columns that identify a row. Every other column is a statistic: a float, text that explains one, or
#: :data:`~hf_affscore.summary.EFFECTS`, a list of whole numbers.
IDENTITY: dict[str, type] = {
    "index": int,  # position in execution order, from 0
    "module": str,  # path of the module that ran, as in named_modules()
    "activation": str,  # class or function: "ReLU", "gelu"
    "call": int,  # number of the call when the same site runs more than once in a forward pass, from 0
    "kind": str,  # "module", "function" or, of what is only skipped, "operator"
    "dim": int,  # features after pooling
    "num_samples": int,  # rows from which the numbers are computed
}

#: The columns that identify the source of a row, equal in all rows of a signature, and their places in the
#: metadata. Together they are the key of a signature: signatures with equal keys are repeated runs of one analysis.
SOURCE: dict[str, tuple[str, str]] = {
    "model": ("model", "id"),
    "model_revision": ("model", "revision"),
    "weights": ("model", "weights"),  # None: the checkpoint's own
    "dataset": ("dataset", "id"),
    "dataset_config": ("dataset", "config"),
    "dataset_split": ("dataset", "split"),
    "dataset_revision": ("dataset", "revision"),
    "training_step": ("training", "step"),  # None: not measured while the network trained
}

# Far above any real network: the largest signature so far has some thousand rows in 300 kB.
MAX_DOCUMENT = 16 * 2**20
MAX_TABLE = 64 * 2**20
MAX_ROWS = 100_000


def source_of(metadata: Mapping[str, Any]) -> dict[str, str | None]:
    """The key of a signature, read from its metadata.

    Example:
        >>> source_of({"model": {"id": "user/net"}})["model"]
        'user/net'
    """
    values = {name: metadata.get(part, {}).get(key) for name, (part, key) in SOURCE.items()}
    return {name: None if value is None else str(value) for name, value in values.items()}


def plain(value: Any) -> Any:
    """``value`` with builtin types only; nan and infinities, which JSON lacks, become ``None``."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def encode(document: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    """The two files, by name; the same signature always gives the same bytes.

    Args:
        document: ``metadata``, ``summary`` and ``skipped``.
        rows: The rows, all with the same fields.
    """
    table = _to_parquet(source_of(document["metadata"]), rows)
    checksum = {"file": TABLE_FILE, "sha256": hashlib.sha256(table).hexdigest()}
    text = json.dumps(
        {**header(), **plain(document), "table": checksum}, indent=2, ensure_ascii=False, allow_nan=False
    )
    return {TABLE_FILE: table, JSON_FILE: f"{text}\n".encode()}


def header() -> dict[str, Any]:
    """The fields that identify a document and its version."""
    return {"format": "hf_affscore.signature", "schema_version": SCHEMA_VERSION}


def decode(document: bytes, table: bytes, where: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The document and the rows, after checks of sizes, schema, types and the checksum.

    Args:
        document: Content of ``signature.json``.
        table: Content of ``signature.parquet``.
        where: Name of the place in messages: a folder, or a repository.

    Raises:
        SignatureError: The files are damaged, too large, do not belong together, or were written by a newer
            version of this package.
    """
    what = f"{JSON_FILE} in {where}"
    for name, content, limit in ((JSON_FILE, document, MAX_DOCUMENT), (TABLE_FILE, table, MAX_TABLE)):
        if len(content) > limit:
            raise SignatureError(
                f"{name} in {where} has {len(content)} bytes; expected at most {limit} in a signature. "
                "It is not used: ask its author."
            )
    try:
        loaded = json.loads(document, parse_constant=_refuse_constant)
        json.dumps(loaded, ensure_ascii=False).encode()  # fails for a lone surrogate, which cannot be written
    except (ValueError, RecursionError) as error:
        raise SignatureError(f"{what} is not a JSON document: {error}") from error
    _check_document(loaded, what)
    if loaded["table"].get("sha256") != hashlib.sha256(table).hexdigest():
        raise SignatureError(
            f"{TABLE_FILE} in {where} is not the table that {JSON_FILE} describes (its checksum differs): "
            "the two files come from different runs, or one is damaged. Write the signature again."
        )
    columns = read_parquet(table, f"{TABLE_FILE} in {where}")
    _check_columns(columns, f"{TABLE_FILE} in {where}")
    rows = columns.drop_columns([name for name in SOURCE if name in columns.column_names]).to_pylist()
    return loaded, [{name: _immutable(value) for name, value in row.items()} for row in rows]


def _immutable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _check_document(document: Any, what: str) -> None:
    """Refuse a document that this version cannot read."""
    if not isinstance(document, dict) or document.get("format") != header()["format"]:
        raise SignatureError(f"{what} is not a signature: its 'format' is not {header()['format']!r}.")
    version = document.get("schema_version")
    if not isinstance(version, int) or not 1 <= version <= SCHEMA_VERSION:
        raise SignatureError(
            f"{what} has schema version {version!r}; this package reads 1 to {SCHEMA_VERSION}. "
            "Upgrade with `pip install -U hf-affscore`."
        )
    kinds = {"metadata": dict, "skipped": list, "table": dict}
    wrong = [key for key, kind in kinds.items() if not isinstance(document.get(key), kind)]
    wrong = wrong or [
        f"metadata.{part}"
        for part in ("model", "dataset", "options", "environment")
        if not isinstance(document["metadata"].get(part, {}), dict)
    ]
    if not wrong and not all(_is_record(record) for record in document["skipped"]):
        wrong = ["skipped"]
    if wrong:
        raise SignatureError(f"{what} lacks {', '.join(wrong)}, or it is damaged; write the signature again.")


def _is_record(value: Any) -> bool:
    scalar = str | int | float | None
    return isinstance(value, dict) and all(isinstance(item, scalar) for item in value.values())


def _to_parquet(source: Mapping[str, str | None], rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as Parquet: identity columns have declared types, statistics the types of their values."""
    import pyarrow as pa

    arrow = {int: pa.int64(), str: pa.string(), bool: pa.bool_(), float: pa.float64()}
    arrow[tuple] = pa.list_(pa.int16())
    types = dict.fromkeys(source, pa.string())
    for name in list(rows[0]) if rows else list(IDENTITY):
        types[name] = arrow[type_of(name, rows)]
    return write_parquet(pa.Table.from_pylist([{**source, **row} for row in rows], pa.schema(types.items())))


def type_of(name: str, rows: Sequence[Mapping[str, Any]]) -> type:
    """The type of a column: declared, or that of its first value; text for a column without values."""
    declared = tuple if name == EFFECTS else IDENTITY.get(name)
    return declared or type(next((row[name] for row in rows if row[name] is not None), ""))


def write_parquet(table: pa.Table) -> bytes:
    """A table as the bytes of a Parquet file."""
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def read_parquet(content: bytes, what: str) -> pa.Table:
    """The table in a Parquet file; its declared size is checked before it is decoded.

    Raises:
        SignatureError: The content is not a Parquet file, damaged, or too large for a signature.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(content))
        groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
        if (
            file.metadata.num_rows > MAX_ROWS
            or sum(group.total_byte_size for group in groups) > 4 * MAX_TABLE
        ):
            raise SignatureError(
                f"{what} declares {file.metadata.num_rows} rows; expected at most {MAX_ROWS} in a signature. "
                "It is not used: ask its author."
            )
        table = file.read()
        table.validate(full=True)
    except (pa.ArrowException, OSError, MemoryError, ValueError) as error:
        if isinstance(error, SignatureError):
            raise
        raise SignatureError(f"{what} is not a Parquet table: {error}") from error
    return table


def _check_columns(table: pa.Table, what: str) -> None:
    """Refuse columns of wrong types, rows without identity, and scores that are missing or out of range."""
    import pyarrow as pa
    import pyarrow.compute as pc

    arrow = {int: pa.int64(), str: pa.string()}
    names = table.column_names
    wrong = [name for name in set(names) if names.count(name) > 1]
    for field in table.schema:
        declared = pa.string() if field.name in SOURCE else arrow.get(IDENTITY.get(field.name, float))
        kinds = (pa.int64(), pa.string(), pa.bool_(), pa.float64()) if declared is None else (declared,)
        if field.name == EFFECTS:
            kinds = (pa.list_(pa.int16()),)
        if field.type not in kinds:
            wrong.append(f"{field.name} ({field.type})")
    scored = "affinity_score" in names
    if table.num_rows and not scored and not {"part", "r2_heldout"} <= set(names):  # which blocks have
        wrong.append("affinity_score (missing)")
    elif table.num_rows and scored and table.schema.field("affinity_score").type != pa.float64():
        wrong.append("affinity_score (not a number)")
    if not wrong:
        wrong = [f"{name} (empty cells)" for name in IDENTITY if name in names and table[name].null_count]
    if not wrong and EFFECTS in names and pc.list_flatten(table[EFFECTS]).null_count:
        wrong = [f"{EFFECTS} (empty cells)"]
    if not wrong and table.num_rows and scored:
        score = table["affinity_score"]
        if pc.any(pc.or_(pc.less(score, -1e-9), pc.greater(score, 1 + 1e-9))).as_py():  # false for nan
            wrong.append("affinity_score (outside 0 to 1)")
    if wrong:
        raise SignatureError(f"{what} has columns that no signature has: {', '.join(wrong)}.")
