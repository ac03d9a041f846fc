"""File contents: downloads from the Hub, and the large file storage at another origin."""

from __future__ import annotations

import hashlib
import re

from tests.hub.api import check_files, check_write, repository
from tests.hub.protocol import Reply, Request, Routes, ranged
from tests.hub.storage import HubError, Store

_REPO = r"/(?P<kind>datasets/|spaces/|)(?P<id>[^/]+(?:/[^/]+)?)"


def resolve(store: Store, request: Request) -> Reply:
    """A file at a revision: its bytes, or for a large one where they are."""
    repo = repository(store, request)
    commit = repo.head(request.groups["rev"])
    check_files(repo, request)
    headers = {"X-Repo-Commit": commit.oid}
    blob = commit.files.get(request.groups["path"])
    if blob is None:
        missing = Reply.error(HubError(404, "Entry not found", "EntryNotFound"))
        return Reply(missing.status, missing.body, {**missing.headers, **headers})
    if not blob.lfs:
        return ranged(blob.content, request, {**headers, "ETag": f'"{blob.etag}"'})
    headers |= {"X-Linked-Etag": f'"{blob.etag}"', "X-Linked-Size": str(len(blob.content))}
    store.uploads[blob.sha256] = blob.content
    return Reply(302, b"", {**headers, "Location": f"{request.storage}/lfs/{blob.sha256}"})


def batch(store: Store, request: Request) -> Reply:
    """Where to put large files; nothing to do for those that are there already."""
    repo = repository(store, request)
    ref = request.json().get("ref")
    check_write(repo, request, pull_request=ref is None, revision=ref["name"] if ref else "")
    objects = []
    for item in request.json()["objects"]:
        actions = {
            "upload": {"href": f"{request.storage}/lfs/{item['oid']}", "header": {}},
            "verify": {"href": f"{request.endpoint}/lfs/verify", "header": {}},
        }
        objects.append({**item} if item["oid"] in store.uploads else {**item, "actions": actions})
    return Reply.json({"transfer": "basic", "objects": objects})


def verify(store: Store, request: Request) -> Reply:
    asked = request.json()
    if len(store.uploads.get(asked["oid"], b"")) != asked["size"]:
        raise HubError(404, f"object {asked['oid']} was not uploaded whole")
    return Reply.json({})


def upload(store: Store, request: Request) -> Reply:
    if hashlib.sha256(request.body).hexdigest() != request.groups["oid"]:
        raise HubError(400, "the uploaded bytes do not have the announced checksum")
    store.uploads[request.groups["oid"]] = request.body
    return Reply()


def download(store: Store, request: Request) -> Reply:
    oid = request.groups["oid"]
    if oid not in store.uploads:
        raise HubError(404, "no such object")
    return ranged(store.uploads[oid], request, {"ETag": f'"{oid}"'})


HUB_ROUTES: Routes = [
    ("HEAD", re.compile(_REPO + r"/resolve/(?P<rev>[^/]+)/(?P<path>.+)"), resolve),
    ("GET", re.compile(_REPO + r"/resolve/(?P<rev>[^/]+)/(?P<path>.+)"), resolve),
    ("POST", re.compile(_REPO + r"\.git/info/lfs/objects/batch"), batch),
    ("POST", re.compile(r"/lfs/verify"), verify),
]
STORAGE_ROUTES: Routes = [
    ("PUT", re.compile(r"/lfs/(?P<oid>[0-9a-f]{64})"), upload),
    ("GET", re.compile(r"/lfs/(?P<oid>[0-9a-f]{64})"), download),
    ("HEAD", re.compile(r"/lfs/(?P<oid>[0-9a-f]{64})"), download),
]
