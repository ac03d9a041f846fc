"""Loads signatures from a collection: a repository on the Hub, its cached copy, or a local folder.

All files are fetched from one commit, even if the repository changes meanwhile. Sizes are checked before anything
is downloaded, and contents are checked before they are used (:mod:`hf_affscore.fileformat`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from hf_affscore.compat import resolve_revision
from hf_affscore.errors import HubError, SignatureError
from hf_affscore.fileformat import JSON_FILE, MAX_TABLE, TABLE_FILE
from hf_affscore.hub import client, failures_named, is_repo_id, public_commit
from hf_affscore.publish.index import INDEX_FILE, Entry, matching, read_index
from hf_affscore.retries import retried
from hf_affscore.signature import Signature
from hf_affscore.spelling import checked_keywords
from hf_affscore.tokens import Token

if TYPE_CHECKING:
    from huggingface_hub import HfApi

S = TypeVar("S", bound=Signature)

_THREADS = 8


@dataclass(frozen=True)
class Collection:
    """A collection at one commit; files are fetched on request."""

    api: HfApi
    repo_id: str
    commit: str

    @classmethod
    def at(cls, repo_id: str, revision: str | None, token: Token) -> Self:
        """The collection at the commit that a revision stands for now."""
        api = client(token)
        return cls(api, repo_id, resolve_revision(api, repo_id, kind="dataset", revision=revision))

    def entries(self) -> list[Entry]:
        """All signatures that its index lists."""
        return list(read_index(self.read([INDEX_FILE])[INDEX_FILE], self.repo_id).values())

    def load(self, kind: type[S], entries: Iterable[Entry]) -> list[S]:
        """The signatures of these entries, in order."""
        entries, files = list(entries), (JSON_FILE, TABLE_FILE)
        contents = self.read(f"{entry.folder}/{name}" for entry in entries for name in files)
        return [
            kind.from_files(
                {name: contents[f"{entry.folder}/{name}"] for name in files}, f"{self.repo_id}/{entry.folder}"
            )
            for entry in entries
        ]

    def read(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Contents by path, from the cache if possible."""
        paths = list(paths)
        missing = [path for path in paths if not self._cached(path)]
        if missing:
            self._check_sizes(missing)
        with ThreadPoolExecutor(_THREADS) as threads:
            return dict(zip(paths, threads.map(self._download, paths), strict=True))

    def _cached(self, path: str) -> bool:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.repo_id, path, revision=self.commit, repo_type="dataset")
        return isinstance(found, str)

    def _check_sizes(self, paths: list[str]) -> None:
        infos = self.api.get_paths_info(self.repo_id, paths, repo_type="dataset", revision=self.commit)
        sizes = {info.path: getattr(info, "size", 0) for info in infos}
        if absent := [path for path in paths if path not in sizes]:
            raise HubError(
                f"{self.repo_id} has no {absent[0]}: expected a collection of signatures, as "
                "`hf-affscore push` makes it. Check the name, or its history."
            )
        if large := [path for path, size in sizes.items() if size > MAX_TABLE]:
            raise SignatureError(
                f"{large[0]} in {self.repo_id} has {sizes[large[0]]} bytes; expected at most {MAX_TABLE} in a "
                "signature. It was not downloaded: ask its author."
            )

    def _download(self, path: str) -> bytes:
        found = self.api.hf_hub_download(self.repo_id, path, repo_type="dataset", revision=self.commit)
        return Path(found).read_bytes()


def fetch_signature(
    kind: type[S],
    source: str | os.PathLike[str],
    choice: Mapping[str, str | None],
    options: Mapping[str, Any] | None = None,
    *,
    revision: str | None,
    token: Token,
) -> S:
    """One signature of a collection; see :meth:`Signature.from_pretrained`."""
    if Path(source).is_dir():
        found = [(Entry.of(one), one) for one in map(kind.from_pretrained, _local_folders(Path(source)))]
        chosen = matching([entry for entry, _ in found], choice, str(source), options)
        return next(one for entry, one in found if entry is chosen)
    repo_id = _repo_id(source)

    def fetch() -> S:
        collection = Collection.at(repo_id, revision, token)
        return collection.load(kind, [matching(collection.entries(), choice, repo_id, options)])[0]

    with failures_named("dataset", repo_id, revision, publishing=True):
        return retried(fetch)


@checked_keywords()
def load_signatures(
    source: str | os.PathLike[str], *, revision: str | None = None, token: Token = None
) -> list[Signature]:
    """All signatures of a collection, in the order of their folders' names.

    Args:
        source: A data set repository on the Hub (``"user/signatures"``), or a local folder with one signature, or
            with many in subfolders.
        revision: Branch, tag or commit on the Hub.
        token: Access token for the Hub.

    Raises:
        SignatureError: The source has no signature, or a damaged one.
        HubError: The repository does not exist, you have no access to it, or it cannot be reached and is not in
            the cache.
    """
    if Path(source).is_dir():
        return [Signature.from_pretrained(folder) for folder in _local_folders(Path(source))]
    return load_from_hub(_repo_id(source), revision=revision, token=token)


def load_from_hub(repo_id: str, *, revision: str | None = None, token: Token = None) -> list[Signature]:
    """All signatures of a collection on the Hub, even if a local folder has its name.

    Raises:
        SignatureError: The collection has no signature, or a damaged one.
        HubError: The repository does not exist, you have no access to it, or it cannot be reached and is not in
            the cache.
    """

    def fetch() -> list[Signature]:
        collection = Collection.at(repo_id, revision, token)
        return collection.load(Signature, collection.entries())

    with failures_named("dataset", repo_id, revision, publishing=True):
        return retried(fetch)


def load_public(repo_id: str) -> list[Signature]:
    """All signatures of a public collection, for pages that serve anonymous visitors.

    Local folders are not read, no token is sent, and cached copies of private repositories are not used.

    Raises:
        InputError: ``repo_id`` is not the name of a repository.
        SignatureError: The collection has no signature, or a damaged one.
        DatasetError, HubError: There is no such public repository, or the Hub cannot be reached.
    """
    return load_from_hub(repo_id, revision=public_commit("dataset", repo_id), token=False)


def _repo_id(source: str | os.PathLike[str]) -> str:
    if not is_repo_id(str(source)):
        raise SignatureError(
            f"No signature in {source}: it is neither a folder with {JSON_FILE} nor a Hub id (expected "
            f"'user/signatures'). Make one with `hf-affscore analyze ... --output {source}`."
        )
    return str(source)


def _local_folders(folder: Path) -> list[Path]:
    """The folders at or below ``folder`` that hold a signature."""
    found = sorted(path.parent for path in folder.rglob(JSON_FILE))
    if not found:
        raise SignatureError(
            f"No signature in {folder} or below: expected {JSON_FILE}. "
            f"Make one with `hf-affscore analyze ... --output {folder}`."
        )
    return found
