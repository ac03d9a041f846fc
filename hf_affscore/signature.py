"""The data model: what an analysis found, how it was made, and the two files it is kept in.

A signature is a list of rows, one per activation call in execution order; a list of what was seen and not
scored; and metadata that names everything which changes a number. On disk it is one folder:

- ``signature.json``: schema version, metadata, summary, skipped calls, and the checksum of the table;
- ``signature.parquet``: the rows.

Both are written beside their destination and renamed into place, the JSON document last, so that a reader
finds either the old signature, the new one, or a checksum that says the pair does not belong together.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from hf_affscore.errors import SignatureError
from hf_affscore.storage import write_atomically

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from matplotlib.figure import Figure

SCHEMA_VERSION = 1

#: Raised whenever the same images through the same network give other numbers than before.
NUMBERS_VERSION = 1
JSON_FILE = "signature.json"
TABLE_FILE = "signature.parquet"

#: The columns that identify a row. Every other column is a statistic: a float, or text that explains one.
IDENTITY: dict[str, type] = {
    "index": int,  # position in execution order, from 0
    "module": str,  # path of the module that ran, as in named_modules()
    "activation": str,  # class or function: "ReLU", "gelu"
    "call": int,  # number of the call when the same site runs more than once in a forward pass, from 0
    "kind": str,  # "module" or "function"
    "dim": int,  # features after pooling
    "num_samples": int,  # rows the numbers rest on
}


class Record(Mapping[str, Any]):
    """One immutable row, read by attribute or by key.

    Example:
        >>> row = Record(module="layer1.0.relu", affinity_score=0.76)
        >>> row.affinity_score == row["affinity_score"]
        True
    """

    __slots__ = ("_fields",)
    _fields: dict[str, Any]

    def __init__(self, /, **fields: Any) -> None:
        object.__setattr__(self, "_fields", fields)

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._fields:
            raise AttributeError(f"this row has no field {name!r}; it has {', '.join(self._fields)}")
        return self._fields[name]

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"rows are immutable; {name!r} was not changed")

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"Record({', '.join(f'{name}={value!r}' for name, value in self._fields.items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_record, (self._fields,))


def _record(fields: Mapping[str, Any]) -> Record:
    return Record(**fields)


@dataclass(frozen=True, eq=False)
class Signature:
    """The non-linearity signature of one network on one set of images.

    Attributes:
        rows: One record per activation call, in execution order. ``affinity_score`` is rho of the paper
            (equation 6): 1 where the activation acts as a positive semi-definite affine map on the data,
            nan (with a ``reason``) where it is undefined.
        skipped: One record per call that was seen and not scored: ``module``, ``activation``, ``call``,
            ``kind`` and ``reason``.
        metadata: ``model``, ``dataset``, ``preprocessing``, ``options`` (everything that changes a number)
            and ``environment`` (versions and devices).

    Example:
        >>> row = Record(index=0, module="relu", affinity_score=0.5)
        >>> sig = Signature(rows=(row,), skipped=(), metadata={})
        >>> sig.scores
        array([0.5])
        >>> sig.summary()["median"]
        0.5
    """

    rows: tuple[Record, ...]
    skipped: tuple[Record, ...]
    metadata: dict[str, Any]

    @property
    def scores(self) -> npt.NDArray[np.float64]:
        """Affinity scores in execution order, shape ``(len(rows),)``, float64, nan where undefined."""
        return np.array([row["affinity_score"] for row in self.rows], dtype=np.float64)

    @property
    def name(self) -> str:
        """What the network is called: the Hub id, folder or class it came from."""
        return str(self.metadata.get("model", {}).get("id", "unknown"))

    def summary(self) -> dict[str, float | int]:
        """Minimum, maximum, mean, median, population standard deviation and count of the defined scores.

        Rows with an undefined score are left out and counted in ``undefined``.
        """
        scores = self.scores
        defined = scores[np.isfinite(scores)]
        values = {
            name: float(getattr(np, name)(defined)) if defined.size else math.nan
            for name in ("min", "max", "mean", "median", "std")
        }
        return {**values, "count": int(defined.size), "undefined": int(scores.size - defined.size)}

    def to_dataframe(self) -> pd.DataFrame:
        """The rows as a table, one column per field."""
        import pandas as pd

        return pd.DataFrame([dict(row) for row in self.rows])

    def to_dict(self) -> dict[str, Any]:
        """Everything as one JSON-ready document; undefined numbers are ``None``."""
        return {**self._document(), "rows": [_plain(dict(row)) for row in self.rows]}

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """The signature as a picture: score against execution order.

        Args:
            path: Where to save it as well; the suffix (``.png``, ``.svg``, ``.pdf``) chooses the format.
        """
        from hf_affscore.plots import plot_signature

        return plot_signature(self, path)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> Path:
        """Write the signature into ``folder`` (made if missing) and return the folder.

        Raises:
            SignatureError: The folder cannot be written; what stood there is unharmed.
        """
        folder = Path(folder)
        table = _to_parquet(self.rows)
        document = self._document()
        document["table"] = {"file": TABLE_FILE, "sha256": hashlib.sha256(table).hexdigest()}
        text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / TABLE_FILE, table)
            write_atomically(folder / JSON_FILE, text.encode())
        except OSError as error:
            raise SignatureError(
                f"The signature could not be written to {folder}: {error.strerror or error}. "
                "Choose a folder you can write to, with space left."
            ) from error
        return folder

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> Self:
        """Read back what :meth:`save_pretrained` wrote.

        Raises:
            SignatureError: Nothing is stored there, the files are damaged or do not belong together, or a
                newer version of this package wrote them.
        """
        folder = Path(folder)
        try:
            document = json.loads((folder / JSON_FILE).read_bytes())
            table = (folder / TABLE_FILE).read_bytes()
        except OSError as error:
            raise SignatureError(
                f"No signature in {folder}: expected {JSON_FILE} and {TABLE_FILE} "
                f"({error.strerror or error}). Make one with `hf-affscore analyze ... --output {folder}`."
            ) from error
        except ValueError as error:
            raise SignatureError(f"{folder / JSON_FILE} is not a JSON document: {error}") from error
        _check(document, table, folder)
        skipped = tuple(Record(**fields) for fields in document["skipped"])
        return cls(rows=_from_parquet(table, folder), skipped=skipped, metadata=document["metadata"])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Signature):
            return NotImplemented
        return (
            _comparable(self.rows) == _comparable(other.rows)
            and self.skipped == other.skipped
            and self.metadata == other.metadata
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        summary = self.summary()
        return (
            f"Signature({self.name!r}: {len(self.rows)} activations, {len(self.skipped)} skipped, "
            f"median {summary['median']:.3f}, min {summary['min']:.3f}, max {summary['max']:.3f})"
        )

    def _document(self) -> dict[str, Any]:
        return {
            "format": "hf_affscore.signature",
            "schema_version": SCHEMA_VERSION,
            "metadata": _plain(self.metadata),
            "summary": _plain(self.summary()),
            "skipped": [_plain(dict(record)) for record in self.skipped],
        }


def _plain(value: Any) -> Any:
    """``value`` with builtin types only; nan and infinities, which JSON does not have, become ``None``."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _comparable(rows: Iterable[Record]) -> list[dict[str, Any]]:
    """Rows in which nan equals nan."""
    return [
        {k: "nan" if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()} for row in rows
    ]


def _schema(rows: tuple[Record, ...]) -> pa.Schema:
    """Arrow types of the columns, also when there is no row: identity as declared, statistics by value."""
    import pyarrow as pa

    arrow = {int: pa.int64(), str: pa.string(), bool: pa.bool_(), float: pa.float64()}
    names = list(rows[0]) if rows else list(IDENTITY)
    types = {}
    for name in names:
        values = (row[name] for row in rows if row[name] is not None)
        types[name] = arrow[IDENTITY.get(name) or type(next(values, ""))]
    return pa.schema(list(types.items()))


def _to_parquet(rows: tuple[Record, ...]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist([dict(row) for row in rows], schema=_schema(rows))
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def _from_parquet(table: bytes, folder: Path) -> tuple[Record, ...]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = pq.read_table(io.BytesIO(table))
    except (pa.ArrowException, OSError) as error:
        raise SignatureError(f"{folder / TABLE_FILE} is not a Parquet table: {error}") from error
    return tuple(Record(**fields) for fields in columns.to_pylist())


def _check(document: Any, table: bytes, folder: Path) -> None:
    """Refuse a document that this version cannot read, and a table that is not the document's."""
    where = folder / JSON_FILE
    if not isinstance(document, dict) or document.get("format") != "hf_affscore.signature":
        raise SignatureError(f"{where} is not a signature: its 'format' is not 'hf_affscore.signature'.")
    version = document.get("schema_version")
    if not isinstance(version, int) or not 1 <= version <= SCHEMA_VERSION:
        raise SignatureError(
            f"{where} has schema version {version!r}; this package reads 1 to {SCHEMA_VERSION}. "
            "Upgrade with `pip install -U hf-affscore`."
        )
    missing = [key for key in ("metadata", "skipped", "table") if key not in document]
    if missing:
        raise SignatureError(f"{where} lacks {', '.join(missing)}; write the signature again.")
    if document["table"].get("sha256") != hashlib.sha256(table).hexdigest():
        raise SignatureError(
            f"{folder / TABLE_FILE} is not the table that {JSON_FILE} describes (its checksum differs): "
            "the two files come from different runs, or one is damaged. Write the signature again."
        )
