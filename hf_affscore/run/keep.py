"""Writes the pooled rows of an analysis into a folder, one file per activation, while its layers are scored.

The folder has, beside the two files of the signature:

- ``rows-00000-00003.safetensors``: ``pre`` and ``post`` of one activation in one group of images, shape ``(n, d)``,
  with its call site in the header; the first number is the group's, and 0 where there is one;
- ``images-00000.json``: which image each row of the group is of: position in the draw, row number, file,
  fingerprint of its pixels.

Each file is written under a temporary name and renamed, and the signature comes last: a folder with a signature is
complete. An interrupted analysis goes on with the files that it has. Of two analyses that write at a time the one
that began first ends with an error: rows of both would be in one folder. :mod:`hf_affscore.run.kept` reads them.
"""

from __future__ import annotations

import dataclasses
import json
import os
import uuid
from pathlib import Path
from typing import Any, NamedTuple

from hf_affscore.capture.features import SiteFeatures
from hf_affscore.capture.sites import CallSite
from hf_affscore.errors import InputError, SignatureError
from hf_affscore.fileformat import JSON_FILE, TABLE_FILE
from hf_affscore.run.collect import Group
from hf_affscore.signature import Signature
from hf_affscore.storage import write_atomically

PATTERN, IMAGES_PATTERN = "rows-*.safetensors", "images-*.json"

#: Names the analysis that writes into a folder now.
WRITER_FILE = ".writer"


class ImageId(NamedTuple):
    """Which image a row is of.

    Attributes:
        position: Its position in the draw, from 0.
        row: Its number in the split, whose name and commit the signature's metadata have, or in the sequence of
            images; None in a stream of archives that are read in random order.
        file: Its file; None if it has none.
        fingerprint: A short digest of its pixels.
    """

    position: int
    row: int | None
    file: str | None
    fingerprint: str


class RowKeeper:
    """The folder of :func:`hf_affscore.analyze`'s ``keep_rows``; without one it keeps nothing and lacks nothing.

    Args:
        folder: Where the rows go. With several processes, a folder that all of them reach.
        key: What identifies the analysis for a resumed run; empty if nothing does.
    """

    def __init__(self, folder: str | Path | None = None, key: str = "") -> None:
        self.folder = None if folder is None else Path(folder)
        self._key = key
        self.writer = ""  # what begin() has given in the main process, in every process

    def has(self, signature: Signature) -> bool:
        """Whether the folder has the rows of a finished signature; true if none are to be kept."""
        if self.folder is None:
            return True
        groups = signature.metadata["dataset"]["num_groups"]
        if len(list(self.folder.glob(PATTERN))) < len(signature.rows) * groups:
            return False
        try:
            return Signature.from_pretrained(self.folder) == signature
        except SignatureError:
            return False

    def begin(self) -> str:
        """Make the folder ready: rows of this analysis stay, those of an interrupted other one are removed.

        Returns:
            What tells this analysis from any other that begins in the folder; empty without a folder.

        Raises:
            InputError: It has the rows of another finished analysis or other files, or cannot be written.
        """
        if self.folder is None:
            return ""
        writer = uuid.uuid4().hex
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            names = sorted(os.listdir(self.folder))
            rows = list(self.folder.glob(PATTERN))
            others = [path for path in rows if not self._key or about(path).get("key") != self._key]
            if JSON_FILE in names and (others or not rows):
                raise InputError(
                    f"keep_rows is {str(self.folder)!r}, which has a finished signature; expected a new or empty "
                    "folder. Choose another, or remove this one."
                )
            images = list(self.folder.glob(IMAGES_PATTERN))
            own = {TABLE_FILE, JSON_FILE, *(path.name for path in (*rows, *images))}
            foreign = [name for name in names if name not in own and not name.startswith(".")]
            if foreign:
                raise InputError(
                    f"keep_rows is {str(self.folder)!r}, which has other files, such as {foreign[0]!r}; expected a "
                    "new or empty folder. Choose another."
                )
            (self.folder / JSON_FILE).unlink(missing_ok=True)  # until all is there again
            for path in (*others, *self.folder.glob(f".{PATTERN}.*")):
                path.unlink()
            write_atomically(self.folder / WRITER_FILE, writer.encode())
        except OSError as error:
            raise InputError(
                f"keep_rows is {str(self.folder)!r}, which cannot be used: {error.strerror or error}. Choose a "
                "folder that you can write to."
            ) from error
        return writer

    def lacks(self, group: int, place: int, site: CallSite, images: str) -> bool:
        """Whether rows that are to be kept are not there yet.

        Args:
            group: Number of the group of images.
            place: Place of the call in the execution order.
            site: The call.
            images: The common identity of the images.
        """
        if self.folder is None:
            return False
        return about(self._path(group, place)) != self._described(site, images)

    def keep(self, group: int, place: int, site: CallSite, images: str, rows: SiteFeatures) -> None:
        """Write the rows of one call; arguments as of :meth:`lacks`."""
        if self.folder is None:
            return
        from safetensors.numpy import save

        header = {"about": json.dumps(self._described(site, images))}
        self._write(self._path(group, place).name, save({"pre": rows.pre, "post": rows.post}, header))

    def keep_images(self, number: int, group: Group) -> None:
        """Write which image each row of a group is of."""
        if self.folder is not None:
            seen = zip(group.places, group.fingerprints, strict=True)
            ids = [ImageId(*place, fingerprint)._asdict() for place, fingerprint in seen]
            self._write(f"images-{number:05}.json", json.dumps(ids).encode())

    def finish(self, signature: Signature) -> None:
        """Write the signature, which makes the folder complete."""
        if self.folder is not None:
            self._check_writer(self.folder)
            signature.save_pretrained(self.folder)
            (self.folder / WRITER_FILE).unlink(missing_ok=True)

    def _check_writer(self, folder: Path) -> None:
        """Fail where another analysis has begun since; a file that a shared disk does not show yet is none."""
        try:
            writer = (folder / WRITER_FILE).read_text(encoding="utf-8")
        except OSError:
            return
        if writer != self.writer:
            raise InputError(
                f"keep_rows is {str(folder)!r}, in which another analysis has begun since. Expected a folder for "
                "each: start this one again with another."
            )

    def _path(self, group: int, place: int) -> Path:
        assert self.folder is not None
        return self.folder / f"rows-{group:05}-{place:05}.safetensors"

    def _described(self, site: CallSite, images: str) -> dict[str, Any]:
        return {"key": self._key, "images": images, "site": dataclasses.asdict(site)}

    def _write(self, name: str, content: bytes) -> None:
        assert self.folder is not None
        self._check_writer(self.folder)
        try:
            write_atomically(self.folder / name, content)
        except OSError as error:
            raise InputError(
                f"The rows could not be written to {self.folder / name}: {error.strerror or error}. Make room, or "
                "choose another folder, and start the same analysis again: it goes on where it stopped."
            ) from error


def about(path: Path) -> dict[str, Any]:
    """What the header of a file of rows says; empty if it is missing or damaged."""
    from safetensors import safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            found: dict[str, Any] = json.loads(file.metadata()["about"])
            return found
    except Exception:  # damaged files make libraries raise anything
        return {}
