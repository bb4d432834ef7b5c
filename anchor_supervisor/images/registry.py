"""A repository of a registry, over the OCI distribution API (distribution-spec, spec.md).

Whatever comes from it is untrusted: every body has a most, every digest is compared, redirects
lead neither from TLS into the clear nor from elsewhere to this machine, and credentials never
leave the registry's own origin.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self, TypeVar, final
from urllib.parse import urljoin, urlsplit

from anchor_supervisor.errors import HostError, ImageError, NetworkError
from anchor_supervisor.images.authorization import Authorization, login_hint
from anchor_supervisor.images.credentials import Credentials, look_up
from anchor_supervisor.images.faults import ConnectionFault
from anchor_supervisor.images.model import INDEXES, LARGEST_JSON, MANIFESTS
from anchor_supervisor.images.reference import DEFAULT_REGISTRY, Reference
from anchor_supervisor.images.transport import (
    Answer,
    Body,
    Patience,
    Transport,
    is_busy,
    is_loopback,
    join_url,
    retry_after,
    split_url,
)
from anchor_supervisor.values import frozen

T = TypeVar("T")

HUB: Final = "registry-1.docker.io"  # where docker.io's API is
_MOST_HOPS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_KEEPING: Final = frozenset({307, 308})  # the method and the body stay (RFC 9110, 15.4)
_RANGE: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")

_SendBody = Callable[[], Body] | bytes | None


@final
@frozen
class Document:
    """A manifest or an index as it was served; `digest` is that of its bytes."""

    content: bytes
    served_as: str | None
    digest: str


@final
class Registry:
    """One repository; use it as a context. Safe to use from several threads.

    `actions` are what is asked to be allowed: `pull`, or `pull,push`. `note` is told sentences
    that a person should read.
    """

    def __init__(
        self,
        reference: Reference,
        *,
        actions: str = "pull",
        insecure: bool = False,
        patience: Patience = Patience(),  # noqa: B008 - frozen
        note: Callable[[str], None],
    ) -> None:
        """Connect to nothing yet."""
        self._reference = reference
        self._host = HUB if reference.registry == DEFAULT_REGISTRY else reference.registry
        self._note = note
        self._patience = patience
        self._lock = threading.Lock()
        self._base: str | None = None
        self.transport = Transport(insecure=insecure, patience=patience)
        scope = f"repository:{reference.repository}:{actions}"
        self._authorization = Authorization(
            self.transport, reference.registry, scope, self._credentials
        )

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End every connection."""
        self.transport.close()

    # What it has

    def manifest(self, which: str) -> Document:
        """Get a manifest or an index by tag or digest; verified where there is a digest."""
        accept = ", ".join((*MANIFESTS, *INDEXES))

        def get() -> Document:
            with self._ask("GET", f"manifests/{which}", {"Accept": accept}) as answer:
                content = answer.document(LARGEST_JSON, "a manifest")
                served_as, claimed = (
                    answer.header(name) for name in ("Content-Type", "Docker-Content-Digest")
                )
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            for wanted in (which, claimed or ""):
                if wanted.startswith("sha256:") and wanted != digest:
                    message = (
                        f"registry `{self._reference.registry}` lies: what it gives as "
                        f"`{wanted:.100}` has the digest `{digest}`"
                    )
                    raise ImageError(message)
            return Document(content, served_as, digest)

        return self.patiently(get)

    def small_blob(self, digest: str, size: int) -> bytes:
        """Get a blob of at most LARGEST_JSON bytes; not verified."""

        def get() -> bytes:
            with self._ask("GET", f"blobs/{digest}", {}) as answer:
                content = answer.document(min(size, LARGEST_JSON), f"`{digest}`")
            if len(content) < size and answer.length is None:
                message = f"`{answer.host}` broke the connection within `{digest}`"
                raise ConnectionFault(message)
            return content

        return self.patiently(get)

    def open_blob(self, digest: str, offset: int, size: int) -> tuple[Answer, int]:
        """Begin to read a blob; give the answer, and the offset it begins at: `offset`, or 0.

        One try. Raises ImageError where it claims another size than `size`.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        answer = self._ask("GET", f"blobs/{digest}", headers)
        try:
            start = self._start(answer, digest, offset, size)
        except BaseException:
            answer.close()
            raise
        return answer, start

    def _start(self, answer: Answer, digest: str, offset: int, size: int) -> int:
        start, claimed = 0, answer.length
        if answer.status == HTTPStatus.PARTIAL_CONTENT:
            match = _RANGE.fullmatch((answer.header("Content-Range") or "").strip())
            if match is None or int(match[1]) != offset:
                message = (
                    f"`{answer.host}` answers another range of `{digest}` than it was asked for"
                )
                raise NetworkError(message)
            start = offset
            claimed = None if match[3] == "*" else int(match[3])
        if claimed is not None and claimed != size:
            message = f"`{answer.host}` has {claimed} bytes as `{digest}`, which has {size}"
            raise ImageError(message)
        return start

    # What it is given

    def has_blob(self, digest: str) -> bool:
        """Say whether a blob is there."""

        def head() -> bool:
            with self._ask("HEAD", f"blobs/{digest}", {}, fine=(200, 404)) as answer:
                return answer.status == HTTPStatus.OK

        return self.patiently(head)

    def upload(self, digest: str, size: int, content: _SendBody) -> None:
        """Give it a blob, in one piece. One try."""
        with self._ask("POST", "blobs/uploads/", {"Content-Length": "0"}, fine=(202,)) as answer:
            location = answer.header("Location")
            if not location:
                message = f"`{answer.host}` does not say where to upload to"
                raise NetworkError(message)
            place = join_url(answer.url, location)
        place += f"{'&' if split_url(place).query else '?'}digest={digest}"
        self._check_hop(self._origin(), place)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        with self._ask("PUT", place, headers, content, fine=(201, 202, 204)):
            pass

    def put_manifest(self, which: str, media_type: str, content: bytes, digest: str) -> None:
        """Give it a manifest, byte for byte."""

        def put() -> None:
            headers = {"Content-Type": media_type}
            path = f"manifests/{which}"
            with self._ask("PUT", path, headers, content, fine=(201, 202, 204)) as answer:
                claimed = answer.header("Docker-Content-Digest") or digest
            if claimed != digest:
                message = (
                    f"registry `{self._reference.registry}` has stored `{claimed:.100}` in place "
                    f"of `{digest}`"
                )
                raise ImageError(message)

        self.patiently(put)

    # How it is asked

    def patiently(self, action: Callable[[], T]) -> T:
        """Try again, with growing pauses, what a fault of the connection ended."""
        failures = 0
        while True:
            try:
                return action()
            except ConnectionFault as fault:
                failures += 1
                self.pause(fault, failures)

    def pause(self, fault: ConnectionFault, failures: int) -> None:
        """Wait before another try, or raise `fault` where there should be none."""
        patience = self._patience
        delay = min(patience.first_delay * 2 ** (failures - 1), patience.longest_delay)
        if fault.after is not None:
            delay = max(delay, fault.after)
        if not fault.again or failures >= patience.tries or delay > patience.longest_delay:
            raise fault
        self._note(f"{fault.message}; trying again in {delay:.1f} s")
        self.transport.pause(delay)

    def _ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: _SendBody = None,
        *,
        fine: tuple[int, ...] = (200, 206),
    ) -> Answer:
        """Send a request, with authentication and along redirects; give an answer that is fine."""
        base = self._origin()
        url = urljoin(f"{base}/v2/{self._reference.repository}/", path)
        answer = self._send(method, url, headers, body, base)
        if answer.status in fine:
            return answer
        with answer:
            raise self._failure(answer, path)

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: _SendBody, base: str
    ) -> Answer:
        refused = hops = 0
        while True:
            own = _origin_of(url) == _origin_of(base)
            sent = self._authorization.header() if own else None
            proof = {"Authorization": sent} if sent else {}
            answer = self.transport.request(method, url, {**headers, **proof}, body)
            if answer.status == HTTPStatus.UNAUTHORIZED and own and refused < 2:
                refused += 1  # a token may have been too old, and then for too little
                answer.error_text()
                with answer:
                    if not self._authorization.satisfy(answer, sent):
                        raise self._denied()
            elif answer.status in _REDIRECTS and answer.header("Location"):
                if method not in {"GET", "HEAD"} and answer.status not in _KEEPING:
                    return answer
                hops += 1
                with answer:
                    answer.error_text()  # or the connection could not be used again
                    target = join_url(url, answer.header("Location") or "")
                if hops > _MOST_HOPS:
                    message = f"`{answer.host}` redirects more than {_MOST_HOPS} times"
                    raise NetworkError(message)
                self._check_hop(url, target)
                url = target
            else:
                return answer

    def _check_hop(self, origin: str, target: str) -> None:
        """Refuse to be led where the registry's reference could not have led."""
        source, there = split_url(origin), split_url(target)
        host = there.hostname or ""
        why = None
        if there.scheme not in {"http", "https"} or not host:
            why = "which is no address of the web"
        elif is_loopback(host) and not is_loopback(source.hostname or ""):
            why = "which is this machine itself"
        elif there.scheme == "http" and not self.transport.insecure and not is_loopback(host):
            why = "which is not encrypted"
        if why is not None:
            shown = f"{there.scheme}://{there.netloc.rpartition('@')[2]}"
            message = f"`{source.netloc}` leads to `{shown:.200}`, {why}"
            raise NetworkError(message)

    def _failure(self, answer: Answer, path: str) -> HostError:
        said = _said(answer.error_text())
        name = self._reference.registry
        if is_busy(answer.status):
            message = f"registry `{name}` answers {answer.status}{said}"
            return ConnectionFault(message, after=retry_after(answer))
        if answer.status in {401, 403}:
            return self._denied(said)
        if answer.status == HTTPStatus.NOT_FOUND:
            what = path if path.startswith("blobs/") else f"image of this name{said}"
            return ImageError(f"registry `{name}` has no {what}")
        shown = urlsplit(path).path
        return NetworkError(f"registry `{name}` answers {answer.status} for `{shown:.200}`{said}")

    def _denied(self, said: str = "") -> ImageError:
        name = self._reference.registry
        if self._authorization.anonymous:
            message = f"registry `{name}` has no such repository, or wants credentials{said}"
        else:
            message = f"registry `{name}` refuses the credentials that are stored for it{said}"
        return ImageError(message, hint=login_hint(name))

    def _credentials(self) -> Credentials | None:
        return look_up(self._reference, os.environ, self._note)

    def _origin(self) -> str:
        """Find out whether it speaks TLS, where plain HTTP is allowed at all."""
        with self._lock:
            if self._base is None:
                host = urlsplit(f"//{self._host}").hostname or ""
                plain = self.transport.insecure or is_loopback(host)
                self._base = self._probe() if plain else f"https://{self._host}"
            return self._base

    def _probe(self) -> str:
        try:
            with self.transport.request("GET", f"https://{self._host}/v2/", {}):
                return f"https://{self._host}"
        except ConnectionFault as fault:
            if "certificate" in fault.message:
                raise
        with self.transport.request("GET", f"http://{self._host}/v2/", {}):
            return f"http://{self._host}"


def _origin_of(url: str) -> tuple[str, str | None, int | None]:
    parts = split_url(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, parts.port or default


def _said(content: bytes) -> str:
    """Take of an error's body what a person can read (distribution-spec, error codes)."""
    with suppress(ValueError, RecursionError, LookupError, TypeError, AttributeError):
        first = json.loads(content)["errors"][0]
        text = str(first.get("message") or first.get("code") or "")
        text = " ".join(text.split())
        return f": {text:.200}" if text else ""
    return ""
