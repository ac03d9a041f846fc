"""The layout of a collection of signatures: one folder for each, and one table that lists all of them.

::

    README.md                              the card
    summary.parquet                        one line per signature: configuration "summary", and the index
    signatures/<folder>/signature.parquet  its rows: configuration "layers", the default
    signatures/<folder>/signature.json     its metadata
    signatures/<folder>/signature.png      its picture

The name of a folder depends only on the signature's key: its source (:data:`hf_affscore.fileformat.SOURCE`) and its
settings (:mod:`.settings`). So a newer run of the same analysis replaces the old one, and no path is ever read from
a file. Older collections have no settings in their keys; their signatures stay where they are.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

from hf_affscore.blocks import are_blocks
from hf_affscore.errors import SignatureError
from hf_affscore.fileformat import IDENTITY, SOURCE, plain, read_parquet, source_of, type_of, write_parquet
from hf_affscore.options import Options
from hf_affscore.publish.settings import chosen, settings_of
from hf_affscore.signature import Signature

if TYPE_CHECKING:
    import pyarrow as pa

INDEX_FILE = "summary.parquet"
FOLDER = "signatures"
PICTURE_FILE = "signature.png"

_TYPES = {int: "int64", str: "string", bool: "bool", float: "float64", tuple: "list"}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the index: the key, the summary and the settings of a signature."""

    model: str | None = None
    model_revision: str | None = None
    weights: str | None = None
    dataset: str | None = None
    dataset_config: str | None = None
    dataset_split: str | None = None
    dataset_revision: str | None = None
    training_step: str | None = None
    settings: str | None = None  # JSON; None where an older version published it
    num_samples: int | None = None
    num_parameters: int | None = None
    activations: int | None = None
    evidence: int | None = None  # number of activations whose score is evidence
    undefined: int | None = None
    median: float | None = None
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    std: float | None = None
    scores: tuple[float | None, ...] = ()
    options: str = "{}"  # JSON
    versions: str = "{}"  # JSON
    columns: str = "{}"  # JSON: the types of the columns in the table of rows
    created: str | None = None

    @classmethod
    def of(cls, signature: Signature) -> Self:
        """The line for a signature."""
        metadata = signature.metadata
        summary: dict[str, Any] = plain(signature.summary())
        blocks = are_blocks(signature.rows)  # which have no scores
        environment = metadata.get("environment", {})
        scores: tuple[float | None, ...] = () if blocks else tuple(plain(signature.scores.tolist()))
        measures = {name: summary.get(name) for name in ("undefined", "median", "min", "max", "mean", "std")}
        created = environment.get("created")
        values: dict[str, Any] = {
            **source_of(metadata),
            **measures,
            "settings": settings_of(metadata),
            "num_samples": _whole(metadata.get("dataset", {}).get("num_samples")),
            "num_parameters": _whole(metadata.get("model", {}).get("num_parameters")),
            "activations": len(signature.rows),
            "evidence": summary.get("count"),
            "scores": scores,
            "options": _json(metadata.get("options", {})),
            "versions": _json(environment.get("versions", {})),
            "columns": _json(_columns(signature)),
            "created": None if created is None else str(created),
        }
        return cls(**values)

    @property
    def source(self) -> dict[str, str | None]:
        """The signature's key."""
        return {name: getattr(self, name) for name in SOURCE}

    @property
    def folder(self) -> str:
        """The folder of the signature in the collection."""
        return f"{FOLDER}/{folder_name({**self.source, 'settings': self.settings})}"

    @property
    def chosen(self) -> dict[str, Any]:
        """The options of the analysis that differ from their defaults and can change a number."""
        return chosen(json.loads(self.options))

    def in_place_of(self, others: Iterable[Entry]) -> Entry:
        """This entry, under the key of an older one without settings if that is of the same analysis."""
        older = (other for other in others if other.settings is None and other.source == self.source)
        same = any(other.chosen == self.chosen for other in older)
        return replace(self, settings=None) if same else self

    def describe(self) -> str:
        """The key on one line, for messages."""
        known = [f"{name}={value!r}" for name, value in self.source.items() if value is not None]
        return ", ".join([*known, *([f"options={self.chosen}"] if self.chosen else [])])


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _json(value: Any) -> str:
    return json.dumps(plain(value), ensure_ascii=False)


def _columns(signature: Signature) -> dict[str, str]:
    """The types of a table's columns; text for a column without values."""
    types = dict.fromkeys(SOURCE, "string")
    for name in list(signature.rows[0]) if signature.rows else list(IDENTITY):
        types[name] = _TYPES[type_of(name, signature.rows)]
    return types


def folder_name(source: Mapping[str, str | None]) -> str:
    """The folder name for a key: readable, and safe on any file system, including case-insensitive ones.

    Letters and digits of every script are kept, composed, up to 60 bytes. A checksum keeps apart names that
    would be equal without it.

    Example:
        >>> folder_name({"model": "Microsoft/ResNet-50", "dataset": "cifar10"})
        'microsoft-resnet-50-cifar10-139ad0bfe02d'
        >>> folder_name({"model": "模型/сеть"})
        '模型-сеть-3966523d9cfb'
    """
    known = {name: value for name, value in source.items() if value is not None}
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
    words = "-".join(known.get(name, "") for name in ("model", "dataset"))
    readable = re.sub(r"[\W_]+", "-", unicodedata.normalize("NFC", words.lower())).strip("-")
    readable = readable.encode()[:60].decode(errors="ignore")
    return f"{readable}-{digest[:12]}".lstrip("-")


def matching(
    entries: Iterable[Entry],
    choice: Mapping[str, str | None],
    where: str,
    options: Mapping[str, Any] | None = None,
) -> Entry:
    """The one entry that matches a choice.

    Args:
        entries: All entries of the collection.
        choice: Values of the key; revisions and weights may be shortened, and ``None`` matches any value, except
            that random weights match only if they are asked for or if nothing else matches.
        where: Name of the collection in messages.
        options: Values of options of the analysis; one that an entry does not record counts as its default.

    Raises:
        SignatureError: None or several match; the message lists the choices.
    """
    asked: dict[str, Any] = {name: value for name, value in choice.items() if value is not None}
    entries = list(entries)
    found = [entry for entry in entries if all(_fits(entry, name, value) for name, value in asked.items())]
    if options:
        asked["options"] = plain(options)
        found = [entry for entry in found if _has(entry, asked["options"])]
    if "weights" not in asked:
        found = [entry for entry in found if entry.weights is None] or found
    if len(found) == 1:
        return found[0]
    wanted = f" for {', '.join(f'{name}={value!r}' for name, value in asked.items())}" if asked else ""
    listed = "".join(f"\n  {entry.describe()}" for entry in (found or entries)[:20])
    if found:
        raise SignatureError(
            f"{where} has {len(found)} signatures{wanted}. Choose one by naming more of these:{listed}"
        )
    raise SignatureError(f"{where} has no signature{wanted}. It has {len(entries)}:{listed}")


def _has(entry: Entry, options: Mapping[str, Any]) -> bool:
    recorded = {**Options().recorded(), **json.loads(entry.options)}
    return all(name in recorded and recorded[name] == value for name, value in options.items())


def _fits(entry: Entry, name: str, value: str) -> bool:
    actual = entry.source[name]
    shortened = name in ("model_revision", "weights", "dataset_revision")
    return actual == value or (shortened and actual is not None and actual.startswith(value))


def _schema() -> pa.Schema:
    import pyarrow as pa

    integers = {"num_samples", "num_parameters", "activations", "evidence", "undefined"}
    numbers = {"median", "min", "max", "mean", "std"}
    kinds = {name: pa.int64() for name in integers} | {name: pa.float64() for name in numbers}
    kinds["scores"] = pa.list_(pa.float64())
    return pa.schema([(field.name, kinds.get(field.name, pa.string())) for field in fields(Entry)])


def write_index(entries: Iterable[Entry]) -> bytes:
    """The index as a Parquet file, in an order that depends only on its content."""
    import pyarrow as pa

    ordered = sorted(entries, key=lambda entry: entry.folder)
    return write_parquet(pa.Table.from_pylist([asdict(entry) for entry in ordered], _schema()))


def read_index(content: bytes, where: str) -> dict[str, Entry]:
    """The checked entries of an index, by folder; columns that a newer version added are ignored.

    Raises:
        SignatureError: The content is not an index, or is damaged.
    """
    what = f"{INDEX_FILE} in {where}"
    table, schema = read_parquet(content, what), _schema()
    known = [field for field in table.schema if field.name in schema.names]
    wrong = [field.name for field in known if field.type != schema.field(field.name).type]
    if wrong or not known or len(set(table.column_names)) < len(table.column_names):
        raise SignatureError(
            f"{what} is not the index of a collection of signatures (columns: {', '.join(wrong) or 'none'}). "
            "Restore it from the repository's history, or push to another repository."
        )
    rows: list[dict[str, Any]] = table.select([field.name for field in known]).to_pylist()
    entries = [Entry(**{**row, "scores": tuple(row.get("scores") or ())}) for row in rows]
    for entry in entries:
        for name in ("options", "versions", "columns"):
            _check_json(getattr(entry, name), f"Column {name!r} of {what}")
    return {entry.folder: entry for entry in entries}


def _check_json(text: str | None, what: str) -> None:
    try:
        if isinstance(json.loads(text or ""), dict):
            return
    except (ValueError, RecursionError):
        pass
    raise SignatureError(f"{what} does not hold JSON objects. Restore it from the repository's history.")
