"""A registry in a thread of the test, which does as it should until a test gives it a `trick`.

Keeps what it is asked, so that a test can say who was told which secret. Loopback only.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, final

from attrs import define, field, frozen

from anchor_supervisor.images.model import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
)
from archives import member, tar

_TLS_RECORD: Final = b"\x16"
_BLOB: Final = re.compile(r"/v2/(.+)/blobs/(sha256:[0-9a-f]{64})")
_MANIFEST: Final = re.compile(r"/v2/(.+)/manifests/([^/]+)")
_UPLOADS: Final = re.compile(r"/v2/(.+)/blobs/uploads/")


def digest_of(content: bytes) -> str:
    """The digest of some bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@final
@frozen
class Asked:
    """One request, as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def secret(self) -> str | None:
        """What it says about who is asking."""
        return self.headers.get("authorization")


@final
class Call:
    """A request being answered; what a trick plays with."""

    def __init__(
        self, handler: BaseHTTPRequestHandler, registry: FakeRegistry, asked: Asked
    ) -> None:
        """Nothing is sent yet."""
        self.handler = handler
        self.registry = registry
        self.asked = asked

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Answer; `_` in the headers' names stand for `-`."""
        self.head(status, length=len(body), **headers)
        if self.asked.method != "HEAD":
            self.send(body)

    def head(self, status: int, length: int | None, **headers: str) -> None:
        """Send the head alone; without a length the body ends with the connection."""
        self.handler.send_response(status)
        for name, value in headers.items():
            self.handler.send_header(name.replace("_", "-"), value)
        if length is None:
            self.handler.send_header("Connection", "close")
            self.handler.close_connection = True
        else:
            self.handler.send_header("Content-Length", str(length))
        self.handler.end_headers()

    def send(self, content: bytes) -> None:
        """Send bytes as they are."""
        self.handler.wfile.write(content)
        self.handler.wfile.flush()

    def drop(self) -> None:
        """Break the connection."""
        self.handler.close_connection = True
        self.handler.connection.shutdown(socket.SHUT_RDWR)

    def hang(self) -> None:
        """Say nothing more until the registry ends or the client has gone."""
        self.handler.connection.settimeout(0.05)
        while not self.registry.over.is_set():
            try:
                if not self.handler.connection.recv(1):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        self.handler.close_connection = True


Trick = Callable[[Call], bool]
"""Answers a call and says True, or leaves it to the registry."""


@final
@define(eq=False)
class FakeRegistry:
    """What it has, what it was asked, and how it misbehaves."""

    blobs: dict[str, bytes] = field(factory=dict)
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(factory=dict)
    asked: list[Asked] = field(factory=list)
    trick: Trick | None = None
    address: str = ""
    over: threading.Event = field(factory=threading.Event)
    connections: list[socket.socket] = field(factory=list)

    def add_blob(self, content: bytes) -> str:
        """Have a blob."""
        digest = digest_of(content)
        self.blobs[digest] = content
        return digest

    def add_manifest(self, name: str, tag: str, content: bytes, kind: str = OCI_MANIFEST) -> str:
        """Have a manifest under a tag and its digest."""
        digest = digest_of(content)
        self.manifests[name, tag] = self.manifests[name, digest] = (kind, content)
        return digest

    def add_image(
        self,
        name: str = "shop",
        tag: str = "1",
        layers: Sequence[bytes] = (),
        *,
        architecture: str = "amd64",
        kinds: tuple[str, str, str] = (OCI_MANIFEST, OCI_CONFIG, OCI_LAYER_GZIP),
        pack: Callable[[bytes], bytes] = lambda plain: gzip.compress(plain, mtime=0),
        changes: Mapping[str, Any] | None = None,
    ) -> str:
        """Have an image of these plain tars; `changes` are made to its manifest."""
        layers = layers or (tar(member("file", b"content")),)
        config = json.dumps(
            {
                "os": "linux",
                "architecture": architecture,
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [digest_of(each) for each in layers]},
            }
        ).encode()
        manifest_kind, config_kind, layer_kind = kinds
        manifest = {
            "schemaVersion": 2,
            "mediaType": manifest_kind,
            "config": self.described(config, config_kind),
            "layers": [self.described(pack(each), layer_kind) for each in layers],
            **(changes or {}),
        }
        return self.add_manifest(name, tag, json.dumps(manifest).encode(), manifest_kind)

    def add_index(
        self, name: str, tag: str, entries: Sequence[tuple[str, Mapping[str, str] | None]]
    ) -> str:
        """Have an index of manifests that are here, each with a platform."""
        listed = []
        for digest, platform in entries:
            kind, content = self.manifests[name, digest]
            entry: dict[str, Any] = {"mediaType": kind, "digest": digest, "size": len(content)}
            listed.append(entry if platform is None else {**entry, "platform": platform})
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}
        return self.add_manifest(name, tag, json.dumps(index).encode(), OCI_INDEX)

    def described(self, content: bytes, kind: str = OCI_LAYER) -> dict[str, Any]:
        """Have a blob, and describe it."""
        return {"mediaType": kind, "digest": self.add_blob(content), "size": len(content)}

    def of(self, part: str, method: str = "GET") -> list[Asked]:
        """Requests for paths with this in them."""
        return [each for each in self.asked if part in each.path and each.method == method]


@contextmanager
def fake_registry(tls: ssl.SSLContext | None = None) -> Iterator[FakeRegistry]:
    """Serve as long as the block lasts; with `tls`, encrypted and nothing else."""
    registry = FakeRegistry()
    with _Server(("127.0.0.1", 0), _handler(registry)) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        registry.address = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield registry
        finally:
            registry.over.set()
            server.shutdown()
            thread.join()
            for connection in registry.connections:
                with suppress(OSError):  # kept alive, or closed by now
                    connection.shutdown(socket.SHUT_RDWR)


@final
class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever asked has gone; that is what the tests are about."""


def _handler(registry: FakeRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            self.connection.settimeout(10)
            registry.connections.append(self.connection)

        def handle(self) -> None:
            if isinstance(self.connection, ssl.SSLSocket):
                with suppress(OSError):
                    self.connection.do_handshake()
                    super().handle()
            # Plain HTTP and nothing else, as most servers of it say at once.
            elif self.connection.recv(1, socket.MSG_PEEK) != _TLS_RECORD:
                super().handle()

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers, self.rfile.read(length))
            registry.asked.append(asked)
            call = Call(self, registry, asked)
            try:
                if registry.trick is None or not registry.trick(call):
                    serve(call)
            except OSError:
                self.close_connection = True

        do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815 - http.server's names

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler


def serve(call: Call) -> None:
    """Answer as a registry should."""
    registry, asked = call.registry, call.asked
    path, _, query = asked.path.partition("?")
    if match := _BLOB.fullmatch(path):
        _serve_blob(call, match[2])
    elif match := _MANIFEST.fullmatch(path):
        _serve_manifest(call, match[1], match[2])
    elif asked.method == "POST" and _UPLOADS.fullmatch(path):
        call.answer(202, Location=f"{path}one?state=x")
    elif asked.method == "PUT" and "digest=" in query:
        registry.blobs[query.rpartition("digest=")[2].replace("%3A", ":")] = asked.body
        call.answer(201)
    else:
        call.answer(200 if path == "/v2/" else 404, b"{}")


def _serve_blob(call: Call, digest: str) -> None:
    content = call.registry.blobs.get(digest)
    if content is None:
        call.answer(404, b'{"errors":[{"code":"BLOB_UNKNOWN"}]}')
        return
    start = int((call.asked.headers.get("range") or "bytes=0-")[6:].rstrip("-"))
    if not start:
        call.answer(200, content)
        return
    where = f"bytes {start}-{len(content) - 1}/{len(content)}"
    call.answer(206, content[start:], Content_Range=where)


def _serve_manifest(call: Call, name: str, which: str) -> None:
    registry, asked = call.registry, call.asked
    if asked.method == "PUT":
        digest = registry.add_manifest(name, which, asked.body, asked.headers["content-type"])
        call.answer(201, Docker_Content_Digest=digest)
        return
    kind, content = registry.manifests.get((name, which), ("", b""))
    if not kind:
        call.answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}')
        return
    call.answer(200, content, Content_Type=kind, Docker_Content_Digest=digest_of(content))
