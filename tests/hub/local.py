"""A Hub in the hand of a test: start it, fill it, break it, look into it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from tests.hub import api, buckets, content
from tests.hub.faults import Fault, Faults
from tests.hub.protocol import Logged, Server
from tests.hub.storage import Blob, Kind, Repository, Store, User, uses_lfs

ROOT = Path(__file__).parents[2]


class LocalHub:
    """A Hub at ``endpoint``, in threads of this process.

    Attributes:
        endpoint: Its address, for ``HF_ENDPOINT``.
        store: What it holds.
        log: Every request that has arrived.
    """

    def __init__(self) -> None:
        self.store, self.log, self._faults = Store(), list[Logged](), Faults()
        self._storage = Server(content.STORAGE_ROUTES, self.store, self._faults, self.log)
        routes = (
            api.ROUTES + buckets.ROUTES + content.HUB_ROUTES + content.STORAGE_ROUTES
        )  # the last for its use as a proxy
        self._server = Server(routes, self.store, self._faults, self.log)
        # By another name of this machine: a client that compares hosts without ports would take both for one.
        self._server.storage = self._storage.address.replace("127.0.0.1", "localhost")
        self.endpoint = self._server.address

    def close(self) -> None:
        for server in (self._server, self._storage):
            server.shutdown()
            server.server_close()

    def reset(self) -> None:
        """Forget everything."""
        for held in (self.store.users, self.store.repositories, self.store.uploads, self.log, self._faults):
            held.clear()
        self.store.missing = 401

    def token(self, user: str, role: Literal["read", "write"] = "write", *, pays: bool = False) -> str:
        """A token of ``user``, made here if there is none yet."""
        token = f"hf_{role}{user.encode().hex()}"
        self.store.users[token] = User(user, role, pays)
        return token

    def add(
        self,
        kind: Kind,
        repo_id: str,
        files: Mapping[str, bytes | Path] | Path | None = None,
        *,
        private: bool = False,
        gated: bool = False,
    ) -> Repository:
        """A repository that is simply there, with these files (or a folder's) in one commit."""
        repo = self.store.repositories[kind, repo_id] = Repository(
            kind, repo_id, private=private, gated=gated
        )
        if isinstance(files, Path):
            paths = (path for path in files.rglob("*") if path.is_file())
            files = {path.relative_to(files).as_posix(): path for path in paths}
        contents = {
            path: file.read_bytes() if isinstance(file, Path) else file
            for path, file in (files or {}).items()
        }
        blobs = {path: Blob(data, lfs=uses_lfs(path, len(data))) for path, data in contents.items()}
        if blobs:
            repo.commit("main", blobs, "files of the test")
        return repo

    def repo(self, kind: Kind, repo_id: str) -> Repository:
        return self.store.repositories[kind, repo_id]

    def files(self, kind: Kind, repo_id: str, revision: str = "main") -> dict[str, bytes]:
        """Contents by path at a revision, without what every repository starts with."""
        files = self.repo(kind, repo_id).head(revision).files
        return {path: blob.content for path, blob in files.items() if path != ".gitattributes"}

    def fail(
        self,
        method: str,
        path: str,
        status: int | None = None,
        *,
        times: int = 1,
        retry_after: int | str | None = None,
        after: bool = False,
    ) -> None:
        """Order a fault, see :class:`~tests.hub.faults.Fault`; no ``status`` cuts the connection."""
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        self._faults.add(Fault(method, path, status, headers, times, after))

    def environment(self, home: Path, token: str | None = None) -> dict[str, str]:
        """What a process must find in its environment to live with this Hub and a fresh home."""
        settings = {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",
            "DISABLE_SAFETENSORS_CONVERSION": "1",
        }
        return settings if token is None else {**settings, "HF_TOKEN": token}

    def run(
        self,
        *arguments: str,
        home: Path,
        token: str | None = None,
        settings: Mapping[str, str] | None = None,
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """``python *arguments`` in a new process that knows only this Hub.

        The home directory moves as well, so that nothing of the person who runs the tests is seen.
        """
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        search = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        fixed = {"HOME": str(home), "PYTHONPATH": search, "OMP_NUM_THREADS": "1"}
        environment = {**inherited, **fixed, **self.environment(home / "hf", token), **(settings or {})}
        return subprocess.run(
            [sys.executable, *arguments],
            env=environment,
            cwd=home,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
