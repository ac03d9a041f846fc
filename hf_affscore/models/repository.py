"""The files of a checkpoint: names are listed first, contents are read on demand."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_affscore.errors import ModelError
from hf_affscore.hub import client
from hf_affscore.retries import waited
from hf_affscore.sources import Source
from hf_affscore.tokens import Token

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

CONFIG, CARD = "config.json", "README.md"


@dataclass(frozen=True)
class Repository:
    """A checkpoint in a folder, or on the Hub at one commit.

    Attributes:
        source: Its location and state.
        token: Access token for the Hub.
    """

    source: Source
    token: Token = field(default=None, repr=False)

    @cached_property
    def files(self) -> frozenset[str]:
        """Names of its files relative to its root; for a folder, down to one folder below."""
        if self.source.commit is None:
            return _names(Path(self.source.location))
        from huggingface_hub import constants, snapshot_download

        location, commit = self.source.location, self.source.commit
        if constants.HF_HUB_OFFLINE:
            return _names(Path(snapshot_download(location, revision=commit, local_files_only=True)))
        api = client(self.token)
        found = waited(lambda: api.model_info(location, revision=commit))
        return frozenset(sibling.rfilename for sibling in found.siblings or ())

    def path(self, name: str) -> Path:
        """The local path of one file; a file on the Hub is downloaded."""
        if self.source.commit is None:
            return Path(self.source.location) / name
        from huggingface_hub import hf_hub_download

        commit = self.source.commit
        return Path(hf_hub_download(self.source.location, name, revision=commit, token=self.token))

    def path_on_disk(self, name: str) -> Path | None:
        """The local path of one file; None if the file is on the Hub and was not downloaded."""
        if self.source.commit is None:
            return self.path(name)
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.source.location, name, revision=self.source.commit)
        return Path(found) if isinstance(found, str) else None

    def folder(self, names: Iterable[str]) -> Path:
        """A local folder that contains these files under their names.

        Args:
            names: At least one file.
        """
        here = {name: self.path(name) for name in names}
        name, path = next(iter(here.items()))
        return path.parents[name.count("/")]

    def part(self, name: str) -> Repository:
        """A folder as a separate checkpoint; if it has safetensors, other formats of weights are not downloaded."""
        files = [each for each in self.files if each.startswith(f"{name}/")]
        if any(each.endswith(".safetensors") for each in files):
            files = [each for each in files if not each.endswith((".bin", ".h5", ".onnx"))]
        location = str(self.folder(files) / name)
        return Repository(replace(self.source, location=location, commit=None), self.token)

    def json(self, name: str) -> dict[str, Any]:
        """The object in a JSON file; empty if there is no such file.

        Raises:
            ModelError: The file does not contain a JSON object.
        """
        if name not in self.files:
            return {}
        try:
            content = json.loads(self.path(name).read_bytes())
        except ValueError as error:
            raise ModelError(f"{name} of {self.source.name!r} could not be read as JSON: {error}") from error
        if not isinstance(content, dict):
            raise ModelError(
                f"{name} of {self.source.name!r} could not be read: it holds a {type(content).__name__}; expected "
                "an object."
            )
        return content

    @cached_property
    def config(self) -> dict[str, Any]:
        """Its ``config.json``; empty if there is none."""
        return self.json(CONFIG)

    @cached_property
    def card(self) -> ModelCardData | None:
        """The metadata of its card; None if it has no readable card."""
        from huggingface_hub import ModelCard

        if CARD not in self.files:
            return None
        try:
            card: Any = ModelCard(self.path(CARD).read_text(encoding="utf-8"), ignore_metadata_errors=True)
        except Exception:  # a card is optional, and its parser may raise anything
            return None
        data: ModelCardData = card.data
        return data

    @property
    def library_name(self) -> str | None:
        """The library that its card names, if any."""
        name = getattr(self.card, "library_name", None)
        return name if isinstance(name, str) else None


def _names(folder: Path) -> frozenset[str]:
    paths = [*folder.glob("*"), *folder.glob("*/*")]
    return frozenset(path.relative_to(folder).as_posix() for path in paths if path.is_file())
