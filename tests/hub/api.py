"""The Hub's JSON endpoints: accounts, repositories, trees and commits."""

from __future__ import annotations

import base64
import json
import re
from typing import Any, cast
from urllib.parse import parse_qs

from tests.hub.protocol import Endpoint, Reply, Request, Routes
from tests.hub.storage import Blob, Commit, HubError, Kind, Repository, Store, uses_lfs

_REPO = r"/api/(?P<kind>models|datasets|spaces)/(?P<id>[^/]+(?:/[^/]+)?)"


def kind_of(plural: str) -> Kind:
    """``models`` or nothing, ``datasets``, ``spaces`` as they stand in addresses."""
    return cast(Kind, plural.rstrip("/").removesuffix("s") or "model")


def repository(store: Store, request: Request) -> Repository:
    """The repository that the request's path names."""
    return store.find(kind_of(request.groups["kind"]), request.groups["id"], request.user)


def check_files(repo: Repository, request: Request) -> None:
    """Files of a gated repository go to its owner and to those who were granted access."""
    user = request.user.name if request.user else None
    if repo.gated and user not in {repo.owner, *repo.granted}:
        message = f"Access to {repo.kind} {repo.id} is restricted."
        raise HubError(403 if user else 401, message, "GatedRepo")


def check_write(repo: Repository, request: Request, *, pull_request: bool = False, revision: str = "") -> str:
    """The name of the user, who must own the repository unless it is for a pull request, a new one or their own."""
    user = request.user
    if user is None:
        raise HubError(401, "Invalid username or password.")
    proposal = repo.proposals.get(request.groups.get("rev", revision))
    pull_request = pull_request or (proposal is not None and proposal.author == user.name)
    if user.role != "write" or not (pull_request or user.name == repo.owner):
        raise HubError(403, "Forbidden: pass a token with write access to this repository")
    return user.name


def url_of(repo: Repository, request: Request) -> str:
    prefix = "" if repo.kind == "model" else f"{repo.kind}s/"
    return f"{request.endpoint}/{prefix}{repo.id}"


def whoami(store: Store, request: Request) -> Reply:
    if request.user is None:
        raise HubError(401, "Invalid username or password.")
    token = {"role": request.user.role, "displayName": "test"}
    return Reply.json(
        {
            "type": "user",
            "id": request.user.name,
            "name": request.user.name,
            "orgs": [],
            "auth": {"type": "access_token", "accessToken": token},
        }
    )


def validate_yaml(store: Store, request: Request) -> Reply:
    """A card's metadata must be closed; YAML itself is checked by the tests, which have a parser."""
    content = request.json()["content"].replace("\r\n", "\n")
    if content.startswith("---\n") and not re.match(r"---\n(.*\n)??---(\n|$)", content, re.DOTALL):
        error = {"message": "the metadata block at the top is not closed by ---"}
        return Reply.json({"errors": [error], "warnings": []}, 400)
    return Reply.json({"errors": [], "warnings": []})


def create(store: Store, request: Request) -> Reply:
    user, asked = request.user, request.json()
    if user is None:
        raise HubError(401, "Invalid username or password.")
    owner = asked.get("organization") or user.name
    if user.role != "write" or owner != user.name:
        raise HubError(403, f"You don't have the rights to create a repository under the namespace {owner!r}")
    if asked.get("sdk") == "gradio" and not user.pays:
        raise HubError(402, "Gradio Spaces are for PRO accounts. Subscribe, or create a static Space.")
    repo = Repository(asked.get("type") or "model", f"{owner}/{asked['name']}")
    key = (repo.kind, repo.id)
    if key in store.repositories:
        return Reply.json({"error": "You already created this repo", "url": url_of(repo, request)}, 409)
    repo.private, repo.sdk = asked.get("private") or asked.get("visibility") == "private", asked.get("sdk")
    store.repositories[key] = repo
    return Reply.json({"url": url_of(repo, request), "name": repo.id, "id": repo.id})


def delete(store: Store, request: Request) -> Reply:
    asked = request.json()
    owner = asked.get("organization") or (request.user.name if request.user else "")
    repo = store.find(asked.get("type") or "model", f"{owner}/{asked['name']}", request.user)
    check_write(repo, request)
    del store.repositories[repo.kind, repo.id]
    return Reply.json({})


def info(store: Store, request: Request) -> Reply:
    repo = repository(store, request)
    commit = repo.head(request.groups.get("rev") or "main")
    siblings = [{"rfilename": path, **_sizes(blob)} for path, blob in sorted(commit.files.items())]
    return Reply.json(
        {
            "_id": repo.id,
            "id": repo.id,
            "modelId": repo.id,
            "author": repo.owner,
            "sha": commit.oid,
            "private": repo.private,
            "gated": "manual" if repo.gated else False,
            "disabled": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "lastModified": _iso(commit),
            "createdAt": _iso(repo.history()[-1]),
            "siblings": siblings,
            "sdk": repo.sdk,
        }
    )


def _iso(commit: Commit) -> str:
    """The date in milliseconds, the only form the client parses."""
    return commit.date[:-4] + "Z"


def _sizes(blob: Blob) -> dict[str, Any]:
    lfs = {"lfs": {"sha256": blob.sha256, "size": len(blob.content), "pointerSize": 134}} if blob.lfs else {}
    return {"size": len(blob.content), "blobId": blob.git_oid, **lfs}


def _entry(path: str, blob: Blob, commit: Commit) -> dict[str, Any]:
    last = {"id": commit.oid, "title": commit.title, "date": _iso(commit)}
    entry = {"type": "file", "path": path, "size": len(blob.content), "oid": blob.git_oid, "lastCommit": last}
    if blob.lfs:
        entry["lfs"] = {"oid": blob.sha256, "size": len(blob.content), "pointerSize": 134}
    return entry


def _listing(commit: Commit, folder: str, *, recursive: bool) -> list[dict[str, Any]]:
    """Files and folders below ``folder`` ('' for the root), as the tree endpoint lists them."""
    prefix = f"{folder}/" if folder else ""
    entries = {}
    for path, blob in sorted(commit.files.items()):
        if not path.startswith(prefix):
            continue
        parts = path[len(prefix) :].split("/")
        for depth in range(1, len(parts) if recursive else min(len(parts), 2)):
            name = prefix + "/".join(parts[:depth])
            entries[name] = {"type": "directory", "path": name, "size": 0, "oid": "0" * 40}
        if recursive or len(parts) == 1:
            entries[path] = _entry(path, blob, commit)
    return list(entries.values())


def tree(store: Store, request: Request) -> Reply:
    commit = repository(store, request).head(request.groups["rev"])
    folder = request.groups["path"].strip("/")
    entries = _listing(commit, folder, recursive=request.flag("recursive"))
    if folder and not entries:
        raise HubError(404, f"{folder} does not exist on {request.groups['rev']!r}", "EntryNotFound")
    return Reply.json(entries)


def paths_info(store: Store, request: Request) -> Reply:
    commit = repository(store, request).head(request.groups["rev"])
    entries = {entry["path"]: entry for entry in _listing(commit, "", recursive=True)}
    paths = parse_qs(request.body.decode()).get("paths", [])
    return Reply.json([entries[path.strip("/")] for path in paths if path.strip("/") in entries])


def refs(store: Store, request: Request) -> Reply:
    found: dict[str, list[dict[str, str]]] = {"branches": [], "converts": [], "tags": [], "pullRequests": []}
    for name, oid in repository(store, request).refs.items():
        listed = "pullRequests" if name.startswith("refs/pr/") else "branches"
        ref = name if name.startswith("refs/") else f"refs/heads/{name}"
        found[listed].append({"name": name, "ref": ref, "targetCommit": oid})
    return Reply.json(found)


def commits(store: Store, request: Request) -> Reply:
    history = repository(store, request).history(request.groups["rev"])
    return Reply.json(
        [
            {
                "id": commit.oid,
                "title": commit.title,
                "message": commit.description,
                "authors": [{"user": commit.author}],
                "date": _iso(commit),
            }
            for commit in history
        ]
    )


def discussions(store: Store, request: Request) -> Reply:
    """Pull requests, newest first, two a page; there are no other discussions here."""
    repo = repository(store, request)
    asked = {name: values[-1] for name, values in request.query.items()}
    found = [
        {
            "num": one.number,
            "title": one.title,
            "author": {"name": one.author},
            "status": one.status,
            "createdAt": _iso(repo.head(ref)),
            "isPullRequest": True,
            "repo": {"name": repo.id, "type": repo.kind},
        }
        for ref, one in reversed(repo.proposals.items())
        if asked.get("author") in (None, one.author) and asked.get("status") in (None, "all", one.status)
    ]
    start = 2 * int(asked.get("p", "0"))
    return Reply.json({"discussions": found[start : start + 2], "count": len(found), "start": start})


def branch(store: Store, request: Request) -> Reply:
    repo = repository(store, request)
    check_write(repo, request)
    if request.groups["rev"] in repo.refs:
        raise HubError(409, f"Reference already exists: {request.groups['rev']}")
    repo.refs[request.groups["rev"]] = repo.head(request.json().get("startingPoint") or "main").oid
    return Reply.json({})


def preupload(store: Store, request: Request) -> Reply:
    """For each file: kept in git or in large file storage, and what stands there now."""
    repo = repository(store, request)
    check_write(repo, request, pull_request=request.flag("create_pr"))
    present = repo.head(request.groups["rev"]).files
    answers = []
    for file in request.json()["files"]:
        path = file["path"]
        answers.append(
            {
                "path": path,
                "uploadMode": "lfs" if uses_lfs(path, file["size"]) else "regular",
                "shouldIgnore": False,
                "oid": present[path].etag if path in present else None,
            }
        )
    return Reply.json({"files": answers})


def commit(store: Store, request: Request) -> Reply:
    repo, revision = repository(store, request), request.groups["rev"]
    pull_request = request.flag("create_pr")
    author = check_write(repo, request, pull_request=pull_request)
    lines = [json.loads(line) for line in request.body.splitlines() if line]
    header, parent = lines[0]["value"], lines[0]["value"].get("parentCommit")
    if revision not in repo.refs:
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    if parent and not pull_request and repo.head(parent).oid != repo.refs[revision]:
        raise HubError(412, "A commit has happened since. Please refresh and try again.")
    changes = _changes(store, repo.head(parent or revision), lines[1:])
    target = revision
    if pull_request:
        target = repo.open_pull_request(parent or revision, header["summary"], author)
    made = repo.commit(
        target, changes, header["summary"], description=header.get("description", ""), author=author
    )
    answer = {"success": True, "commitOid": made.oid, "hookOutput": ""}
    answer["commitUrl"] = f"{url_of(repo, request)}/commit/{made.oid}"
    if pull_request:
        answer["pullRequestUrl"] = f"{url_of(repo, request)}/discussions/{repo.pull_requests}"
    return Reply.json(answer)


def _changes(store: Store, base: Commit, lines: list[dict[str, Any]]) -> dict[str, Blob | None]:
    """The operations of a commit as new content by path; ``None`` deletes."""
    changes: dict[str, Blob | None] = {}
    for line in lines:
        key, value = line["key"], line["value"]
        if key == "file":
            changes[value["path"]] = Blob(base64.b64decode(value["content"]), lfs=False)
        elif key == "lfsFile":
            if value["oid"] not in store.uploads:
                raise HubError(400, f"{value['path']} was not uploaded before its commit")
            changes[value["path"]] = Blob(store.uploads[value["oid"]], lfs=True)
        elif key == "deletedFile":
            changes[value["path"]] = None
        elif key == "deletedFolder":
            folder = value["path"].rstrip("/") + "/"
            changes.update({path: None for path in base.files if path.startswith(folder)})
        else:
            raise HubError(400, f"Unknown operation {key!r}")
    return changes


def _routes(table: list[tuple[str, str, Endpoint]]) -> Routes:
    return [(method, re.compile(path), endpoint) for method, path, endpoint in table]


ROUTES = _routes(
    [
        ("GET", r"/api/whoami-v2", whoami),
        ("POST", r"/api/validate-yaml", validate_yaml),
        ("POST", r"/api/repos/create", create),
        ("DELETE", r"/api/repos/delete", delete),
        ("GET", _REPO, info),
        ("GET", _REPO + r"/revision/(?P<rev>[^/]+)", info),
        ("GET", _REPO + r"/tree/(?P<rev>[^/]+)(?P<path>/.*)?", tree),
        ("POST", _REPO + r"/paths-info/(?P<rev>[^/]+)", paths_info),
        ("GET", _REPO + r"/refs", refs),
        ("GET", _REPO + r"/discussions", discussions),
        ("GET", _REPO + r"/commits/(?P<rev>[^/]+)", commits),
        ("POST", _REPO + r"/branch/(?P<rev>[^/]+)", branch),
        ("POST", _REPO + r"/preupload/(?P<rev>[^/]+)", preupload),
        ("POST", _REPO + r"/commit/(?P<rev>[^/]+)", commit),
    ]
)
