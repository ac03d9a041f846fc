"""Storage buckets: files without commits. A bucket is a repository of which only the newest state is served."""

from __future__ import annotations

import re
from urllib.parse import parse_qs

from tests.hub.protocol import Reply, Request, Routes, ranged
from tests.hub.storage import HubError, Repository, Store

_BUCKET = r"/buckets/(?P<id>[^/]+/[^/]+)"


def _bucket(store: Store, request: Request) -> Repository:
    return store.find("bucket", request.groups["id"], request.user)


def _entries(bucket: Repository) -> list[dict[str, object]]:
    commit = bucket.head()
    return [
        {
            "type": "file",
            "path": path,
            "size": len(blob.content),
            "xetHash": blob.sha256,
            "uploadedAt": commit.date[:-4] + "Z",
        }
        for path, blob in sorted(commit.files.items())
        if path != ".gitattributes"
    ]


def info(store: Store, request: Request) -> Reply:
    bucket = _bucket(store, request)
    files = _entries(bucket)
    created = bucket.history()[-1].date[:-4] + "Z"
    about = {"id": bucket.id, "private": bucket.private, "createdAt": created, "totalFiles": len(files)}
    return Reply.json({**about, "size": sum(len(blob.content) for blob in bucket.head().files.values())})


def tree(store: Store, request: Request) -> Reply:
    """The files whose paths start with a prefix; without ``recursive``, folders stand for what is in them."""
    prefix, found, folders = request.groups["prefix"], list[dict[str, object]](), set[str]()
    for entry in _entries(_bucket(store, request)):
        path = str(entry["path"])
        if not path.startswith(prefix):
            continue
        start = len(prefix.rstrip("/")) + 1 if prefix and path != prefix else 0
        folder, inside, _ = path[start:].partition("/")
        if inside and not request.flag("recursive"):
            folders.add(path[:start] + folder)
        else:
            found.append(entry)
    return Reply.json([*({"type": "directory", "path": folder} for folder in sorted(folders)), *found])


def paths_info(store: Store, request: Request) -> Reply:
    asked = request.json()["paths"] if request.body[:1] == b"{" else parse_qs(request.body.decode())["paths"]
    return Reply.json([entry for entry in _entries(_bucket(store, request)) if entry["path"] in asked])


def resolve(store: Store, request: Request) -> Reply:
    blob = _bucket(store, request).head().files.get(request.groups["path"])
    if blob is None:
        raise HubError(404, "Entry not found", "EntryNotFound")
    headers = {"ETag": f'"{blob.sha256}"', "X-Linked-Size": str(len(blob.content)), "X-Xet-Hash": blob.sha256}
    return ranged(blob.content, request, headers)


ROUTES: Routes = [
    ("GET", re.compile("/api" + _BUCKET), info),
    ("GET", re.compile("/api" + _BUCKET + r"/tree(?:/(?P<prefix>.+))?"), tree),
    ("POST", re.compile("/api" + _BUCKET + r"/paths-info"), paths_info),
    ("HEAD", re.compile(_BUCKET + r"/resolve/(?P<path>.+)"), resolve),
    ("GET", re.compile(_BUCKET + r"/resolve/(?P<path>.+)"), resolve),
]
