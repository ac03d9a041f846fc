"""Locate a named model or data set and pin its state; loaders and cache keys use both."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hf_affscore.checksums import dataset_checksum, model_checksum
from hf_affscore.compat import status_of
from hf_affscore.errors import DatasetError, InputError, ModelError
from hf_affscore.hub import Kind, client, failures_named, pin
from hf_affscore.retries import waited
from hf_affscore.spelling import did_you_mean

#: Bytes to read to detect a Git LFS pointer: a short text that replaces a file that a clone did not download.
POINTER = 64

_POINTER_START = b"version https://git-lfs.github.com/spec/"

#: Files that hold the weights of a checkpoint.
WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack"}


@dataclass(frozen=True)
class Source:
    """The location and the state of a named model or data set.

    Attributes:
        name: Its name in a signature: the Hub id, or the folder's name.
        location: The Hub id, or the folder's path; passed to loaders.
        commit: The commit, passed to loaders; None for a folder.
        state: The commit, or a checksum of the folder; changes when the content changes.
        files: The files of a data set to read, if not all: local paths, or patterns in the repository.
    """

    name: str
    location: str
    commit: str | None
    state: str
    files: tuple[str, ...] = ()

    @property
    def on_the_hub(self) -> bool:
        """Whether it is a repository or a bucket on the Hub; a bucket has no commits."""
        return self.commit is not None or "://" in self.location

    @property
    def root(self) -> str:
        """The folder or address that contains the files of a data set."""
        return self.location if self.commit is None else f"hf://datasets/{self.location}@{self.commit}"


def file_name(path: str) -> str:
    """The last part of a path or an address, without the archives around it.

    Example:
        >>> file_name("zip://images/cat.png::hf://datasets/ada/cats/all.zip")
        'cat.png'
    """
    return re.split(r"[/\\]", path.split("::")[0])[-1]


def is_pointer(content: bytes) -> bool:
    """Whether the content of a file is a Git LFS pointer."""
    return content.startswith(_POINTER_START)


def refuse_pointer(
    path: str, content: bytes, error_class: type[DatasetError] | type[ModelError] = DatasetError
) -> None:
    """Raise an error if a file that begins with ``content`` is a Git LFS pointer.

    Raises:
        DatasetError, ModelError: The file is a pointer.
    """
    if is_pointer(content):
        raise error_class(
            f"{file_name(path)} is a Git LFS pointer, not the file itself. Download the files with "
            "`git lfs pull` in the clone, or name the repository on the Hub instead of the folder."
        )


def locate(kind: Kind, name: str, *, revision: str | None, token: str | bool | None) -> Source:
    """Find a local folder, local files or a Hub repository, and pin its state.

    Args:
        kind: Whether it is a model or a data set.
        name: A path, a Hub id, ``user/name@revision``, or an address ``hf://datasets/user/name@revision/folder``.
            For a data set also a file or a pattern of files, local or in a repository.
        revision: Branch, tag or commit of a repository.
        token: Access token for the Hub.

    Raises:
        ModelError, DatasetError: The folder, repository or revision does not exist or is not accessible, or the
            name is empty.
        InputError: A revision is given for a folder, or two revisions for a repository.
    """
    error_class = ModelError if kind == "model" else DatasetError
    if not name.strip():
        raise error_class(f"The {kind} is {name!r}; expected a Hub id or a folder.")
    if "://" in name:
        return _at_address(kind, name, revision, token)
    try:
        path = Path(name).expanduser()
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, RuntimeError) as error:  # the name is too long, or ~user has no account
        raise error_class(
            f"{name[:100]!r} is neither a readable folder nor a Hub id: {str(error)[:100]}. Check the name."
        ) from error
    if is_folder or exists or (kind == "dataset" and _matching(name)):
        if revision is not None:
            raise InputError(
                f"The revision {revision!r} cannot apply: {name} is a local {'folder' if is_folder else 'file'}, "
                "which has no revisions. Leave it out."
            )
        return _local_folder(kind, path) if is_folder else _local_files(kind, name)
    try:
        return _repository(kind, name, "", revision, token)
    except error_class as error:
        if not path.parent.is_dir():
            raise
        raise error_class(f"{_nothing_at(path, kind)} As a Hub id: {error}") from error.__cause__


def _nothing_at(path: Path, kind: Kind) -> str:
    """That there is nothing at a path, and the name beside it that was probably meant.

    Example:
        >>> _nothing_at(Path("imgz"), "dataset")
        "There is no file or folder 'imgz' here."
    """
    what, where = "folder" if kind == "model" else "file or folder", path.parent
    try:
        beside = [each.name for each in where.iterdir() if kind == "dataset" or each.is_dir()]
    except OSError:  # it may not be listed
        beside = []
    place = "here" if where == Path() else f"in {where}"
    return f"There is no {what} {path.name!r} {place}.{did_you_mean(path.name, beside)}"


def _local_folder(kind: Kind, path: Path) -> Source:
    if kind == "model":
        for file in path.iterdir():
            if file.suffix in WEIGHTS and file.is_file():
                with file.open("rb") as content:
                    refuse_pointer(str(file), content.read(POINTER), ModelError)
    checksum = model_checksum(path) if kind == "model" else dataset_checksum(path)
    return Source(path.resolve().name, str(path), None, checksum)


def _local_files(kind: Kind, name: str) -> Source:
    """One file, or the files that a pattern matches."""
    if kind == "model":
        raise ModelError(
            f"{name} is a file; expected the folder of a checkpoint, or a Hub id. Put the file into a folder "
            "of its own, and name that."
        )
    return locate_files([name] if Path(name).expanduser().exists() else _matching(name), called=name)


def locate_files(paths: Sequence[str | Path], called: str | None = None) -> Source:
    """Local files as one source.

    Raises:
        DatasetError: A path does not exist, or is not a file.
    """
    files = [Path(path).expanduser().absolute() for path in paths]
    for file, path in zip(files, paths, strict=True):
        if not file.is_file():
            raise DatasetError(
                f"{path} is not a file; expected a list of images, or of Parquet or tar files."
            )
    digest = hashlib.sha256()
    for file in files:
        stat = file.stat()
        digest.update(f"{file.resolve()} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    name = file_name(called) if called else f"{len(files)} files"
    return Source(name, str(files[0].parent), None, f"sha256:{digest.hexdigest()}", tuple(map(str, files)))


def _matching(pattern: str) -> list[str]:
    """The local files that a pattern matches, sorted; none if the text is not a pattern."""
    if not glob.has_magic(pattern):
        return []
    return sorted(filter(os.path.isfile, glob.glob(os.path.expanduser(pattern), recursive=True)))


def _at_address(kind: Kind, address: str, revision: str | None, token: str | bool | None) -> Source:
    """The source at an address that begins with ``hf://``."""
    error_class = ModelError if kind == "model" else DatasetError
    plural = {"dataset": "datasets/", "model": "(?:models/)?"}.get(kind, "")
    if kind == "dataset" and address.startswith("hf://buckets/"):
        return _bucket(address, token)
    found = re.fullmatch(rf"hf://{plural}([^/@]+/[^/@]+(?:@(?:refs/[^/]+/[^/]+|[^/]+))?)/?(.*)", address)
    if found is None or (kind == "model" and found[2]):
        expected = (
            "hf://datasets/user/name@revision/folder" if kind == "dataset" else "hf://user/name@revision"
        )
        raise error_class(
            f"{address!r} is not the address of a {kind}; expected one such as {expected}, or a path."
        )
    return _repository(kind, found[1], found[2].rstrip("/"), revision, token)


def _repository(kind: Kind, name: str, inside: str, revision: str | None, token: str | bool | None) -> Source:
    """A repository of the Hub, or a folder, a file or a pattern ``inside`` of it."""
    repo, _, own = name.partition("@")
    own = own.replace("%2F", "/")
    if own and revision is not None and own != revision:
        raise InputError(f"Expected one revision; received two: {name} and {revision!r}. Leave one out.")
    commit = pin(kind, repo, revision=own or revision, token=token)
    if not inside:
        return Source(repo, repo, commit, commit)
    files = inside if re.search(r"[*?\[]", inside) else _files_inside(repo, inside, commit, token)
    return Source(f"{repo}/{inside}", repo, commit, f"{commit}/{inside}", (files,))


def _files_inside(repo: str, inside: str, commit: str, token: str | bool | None) -> str:
    """The pattern that matches a file or a folder of a repository.

    Raises:
        DatasetError: The repository has no such file or folder.
    """
    ask = client(token).get_paths_info
    with failures_named("dataset", repo):
        found = waited(lambda: ask(repo, [inside], repo_type="dataset", revision=commit))
    if not found:
        raise DatasetError(f"Data set {repo!r} has no file or folder {inside!r}. See its files on the Hub.")
    return inside if hasattr(found[0], "blob_id") else f"{inside}/**"


def _bucket(address: str, token: str | bool | None) -> Source:
    """A folder of a bucket; its state is a checksum over the listing of its files.

    Raises:
        DatasetError: The address is malformed, there is no such bucket or folder, or it is not accessible.
    """
    bucket, inside = in_bucket(address)
    api = client(token)
    if not bucket:
        raise DatasetError(f"{address} names no bucket; expected hf://buckets/user/bucket/folder.")
    if not hasattr(api, "list_bucket_tree"):
        raise DatasetError(
            f"{address} needs a huggingface_hub that supports buckets: pip install -U huggingface_hub datasets."
        )
    try:
        with failures_named("dataset", address):
            listing = waited(lambda: list(api.list_bucket_tree(bucket, inside or None, recursive=True)))
    except DatasetError as error:
        if status_of(error.__cause__ or error) not in (401, 403, 404):
            raise
        raise DatasetError(
            f"The bucket {bucket!r} was not found, or the token may not read it. Check the spelling; if it is "
            "private, log in with `hf auth login` or pass a token."
        ) from error.__cause__
    if any(entry.path == inside and hasattr(entry, "size") for entry in listing):
        raise DatasetError(f"{address} is a file; expected a folder of a bucket.")
    entries = [entry for entry in listing if not inside or entry.path.startswith(f"{inside}/")]
    if not entries:
        what = f"no folder {inside!r}" if inside else "no files"
        raise DatasetError(f"The bucket {bucket!r} has {what}. See its files on the Hub.")
    digest = hashlib.sha256()
    for line in sorted(map(repr, entries)):
        digest.update(line.encode())
    address = address.rstrip("/")
    return Source(address.removeprefix("hf://"), address, None, f"sha256:{digest.hexdigest()}")


def in_bucket(address: str) -> tuple[str, str]:
    """The bucket and the folder in it that an address names; no bucket if it names none.

    Example:
        >>> in_bucket("hf://buckets/ada/b/train/cats/"), in_bucket("hf://buckets/ada")
        (('ada/b', 'train/cats'), ('', ''))
    """
    found = re.fullmatch(r"hf://buckets/([^/]+/[^/]+)/?(.*?)/*", address)
    return (found[1], found[2]) if found else ("", "")
