"""What a Hub remembers: users, repositories and their commits. Plain objects, no HTTP.

A commit is an immutable mapping from path to blob; branches and pull requests are names for commits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Literal

Kind = Literal["model", "dataset", "space", "bucket"]
LFS_SUFFIXES = (".parquet", ".safetensors", ".bin", ".png", ".jpg", ".npy", ".arrow", ".zip")
LARGE = 1_000_000  # bytes from which any file goes to large file storage


class HubError(Exception):
    """An answer that is not a success; ``code`` is the Hub's ``X-Error-Code``."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


@dataclass(frozen=True)
class Blob:
    """The content of one file."""

    content: bytes
    lfs: bool

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def git_oid(self) -> str:
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()

    @property
    def etag(self) -> str:
        """What the Hub calls the file's oid: by content, whichever way it is stored."""
        return self.sha256 if self.lfs else self.git_oid


@dataclass(frozen=True)
class Commit:
    """One state of a repository."""

    parent: str | None
    title: str
    description: str
    author: str
    files: Mapping[str, Blob]
    date: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))

    @property
    def oid(self) -> str:
        tree = {path: blob.git_oid for path, blob in self.files.items()}
        key = json.dumps([self.parent, self.title, self.description, self.author, self.date, tree])
        return hashlib.sha1(key.encode()).hexdigest()


def uses_lfs(path: str, size: int) -> bool:
    """Whether the Hub keeps a file in large file storage."""
    return path.endswith(LFS_SUFFIXES) or size >= LARGE


@dataclass
class Proposal:
    """A pull request: what is said about it."""

    number: int
    title: str
    author: str
    status: Literal["open", "closed", "merged"] = "open"


@dataclass
class Repository:
    """A repository of one kind; ``gated`` ones hand out files only to users in ``granted``."""

    kind: Kind
    id: str
    private: bool = False
    gated: bool = False
    sdk: str | None = None
    granted: set[str] = field(default_factory=set)
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    pull_requests: int = 0
    proposals: dict[str, Proposal] = field(default_factory=dict)  # by ref

    def __post_init__(self) -> None:
        self.commit("main", {".gitattributes": Blob(b"*.parquet filter=lfs\n", lfs=False)}, "initial commit")

    @property
    def owner(self) -> str:
        return self.id.split("/")[0]

    def head(self, revision: str = "main") -> Commit:
        """The commit that a branch, a pull request, a tag or a (shortened) oid names."""
        oid = self.refs.get(revision, revision)
        matches = [commit for name, commit in self.commits.items() if len(oid) >= 7 and name.startswith(oid)]
        if len(matches) != 1:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return matches[0]

    def commit(
        self,
        revision: str,
        changes: Mapping[str, Blob | None],
        title: str,
        *,
        description: str = "",
        author: str = "hub",
        parent: str | None = None,
    ) -> Commit:
        """Put files (``None`` deletes) on top of ``parent``, or of the ref's head, and move the ref there."""
        base = self.head(parent or revision) if self.commits else None
        files = dict(base.files) if base else {}
        for path, blob in changes.items():
            if blob is None:
                if files.pop(path, None) is None:
                    raise HubError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
            else:
                files[path] = blob
        commit = Commit(base.oid if base else None, title, description, author, files)
        self.commits[commit.oid] = commit
        self.refs[revision] = commit.oid
        return commit

    def history(self, revision: str = "main") -> list[Commit]:
        """Commits from the newest back to the first."""
        commits = [self.head(revision)]
        while commits[-1].parent is not None:
            commits.append(self.commits[commits[-1].parent])
        return commits

    def open_pull_request(self, start: str, title: str = "", author: str = "hub") -> str:
        """The name of a new pull request's ref, pointing where the branch or commit ``start`` points."""
        self.pull_requests += 1
        ref = f"refs/pr/{self.pull_requests}"
        self.refs[ref] = self.head(start).oid
        self.proposals[ref] = Proposal(self.pull_requests, title, author)
        return ref


@dataclass(frozen=True)
class User:
    """Who a token speaks for, and what it may do."""

    name: str
    role: Literal["read", "write"]
    pays: bool = False


@dataclass
class Store:
    """Everything one Hub holds.

    ``missing`` is what someone without a token is told about a repository that is hidden or not there: the
    Hub answers 401, and clients must bear 404 as well.
    """

    users: dict[str, User] = field(default_factory=dict)  # by token
    repositories: dict[tuple[Kind, str], Repository] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)  # by sha256, before and after their commit
    missing: int = 401

    def find(self, kind: Kind, repo_id: str, user: User | None) -> Repository:
        """The repository, if this user may know of it."""
        repository = self.repositories.get((kind, repo_id))
        hidden = repository is None or (
            repository.private and (user is None or user.name != repository.owner)
        )
        if repository is None or hidden:
            raise HubError(404 if user else self.missing, "Repository not found", "RepoNotFound")
        return repository
