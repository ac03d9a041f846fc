"""HTTP for the local Hub: requests, replies, a table of routes, and threads that serve them."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub.faults import Fault, Faults
from tests.hub.storage import HubError, Store, User


@dataclass(frozen=True)
class Request:
    """One request as an endpoint sees it; ``groups`` are the route's named groups, unquoted."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]  # names in lower case
    body: bytes
    endpoint: str  # the Hub's address, as the client has it
    storage: str  # address of the other origin, which holds large files
    user: User | None = None
    groups: dict[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        return json.loads(self.body)

    def flag(self, name: str) -> bool:
        return self.query.get(name, ["0"])[-1].lower() in ("1", "true")


@dataclass(frozen=True)
class Reply:
    """An answer. ``json`` is a body too, with its content type."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
        return cls(
            status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})}
        )

    @classmethod
    def error(cls, error: HubError) -> Reply:
        headers = {"X-Error-Message": error.message}
        if error.code is not None:
            headers["X-Error-Code"] = error.code
        return cls.json({"error": error.message}, error.status, headers)


Endpoint = Callable[[Store, Request], Reply]
Routes = list[tuple[str, re.Pattern[str], Endpoint]]


@dataclass(frozen=True)
class Logged:
    """A line of the server's log."""

    method: str
    path: str
    status: int | None  # None: the connection was cut
    user_agent: str
    authorized: bool  # whether a token came with it
    storage: bool  # whether it arrived at the large file storage


class Server(ThreadingHTTPServer):
    """Serves one origin in the background; the Hub has two, itself and its large file storage."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, routes: Routes, store: Store, faults: Faults, log: list[Logged]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.routes, self.store, self.faults, self.log = routes, store, faults, log
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self.storage = self.address  # LocalHub points the Hub at its storage
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is an everyday event; anything else shows as a failed request."""

    def answer(self, request: Request) -> Reply:
        """Route the request; one at a time, so that a commit is atomic."""
        try:
            request = _authenticated(request, self.store)
            for method, pattern, endpoint in self.routes:
                if method == request.method and (match := pattern.fullmatch(request.path)):
                    groups = {name: unquote(value or "") for name, value in match.groupdict().items()}
                    with self.lock:
                        return endpoint(self.store, Request(**{**vars(request), "groups": groups}))
            raise HubError(404, f"No such endpoint: {request.method} {request.path}")
        except HubError as error:
            return Reply.error(error)


def _authenticated(request: Request, store: Store) -> Request:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if not scheme:
        return request
    if token not in store.users:
        raise HubError(401, "Invalid credentials in Authorization header")
    return Request(**{**vars(request), "user": store.users[token]})


class _Handler(BaseHTTPRequestHandler):
    """Reads one request, lets the server answer it, and writes the reply in one piece."""

    server: Server
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """The log is ``Server.log``."""

    def do_GET(self) -> None:
        fault = self.server.faults.take(self.command, self.path)
        if fault and fault.status is None and not fault.after:
            self.rfile.read(min(512, int(self.headers.get("Content-Length", 0))))
            return self._cut()
        request = self._read()
        if fault and not fault.after:
            return self._write(_faulty(fault))
        reply = self.server.answer(request)
        if fault and fault.status is None:
            return self._cut()
        return self._write(_faulty(fault) if fault else reply)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - names that http.server calls

    def _read(self) -> Request:
        path = self.path.partition("?")[0]
        path = re.sub("^http://[^/]+", "", path)  # a whole address: this server is used as a proxy
        return Request(
            method=self.command,
            path=path,
            query=parse_qs(urlsplit(self.path).query),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self._body(),
            endpoint=f"http://{self.headers.get('Host')}",  # the name it was asked under
            storage=self.server.storage,
        )

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _write(self, reply: Reply) -> None:
        self._log(reply.status)
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)
        self.wfile.flush()

    def _cut(self) -> None:
        self._log(None)
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _log(self, status: int | None) -> None:
        headers = self.headers
        mine = self.server.storage == self.server.address
        self.server.log.append(
            Logged(
                method=self.command,
                path=self.path,
                status=status,
                user_agent=headers.get("User-Agent", ""),
                authorized="Authorization" in headers,
                storage=mine,
            )
        )


def _faulty(fault: Fault) -> Reply:
    body = json.dumps({"error": f"ordered fault {fault.status}"}).encode()
    return Reply(fault.status or 500, body, {"Content-Type": "application/json", **fault.headers})


def ranged(content: bytes, request: Request, headers: dict[str, str]) -> Reply:
    """``content``, or the part of it that a ``Range`` header asks for."""
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
    headers = {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream", **headers}
    if not asked:
        return Reply(200, content, headers)
    first, last = asked.groups()
    start = int(first) if first else max(len(content) - int(last), 0)
    stop = min(int(last) + 1, len(content)) if first and last else len(content)
    if start >= len(content):
        return Reply(416, b"", {"Content-Range": f"bytes */{len(content)}"})
    part = {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"}
    return Reply(206, content[start:stop], {**headers, **part})
