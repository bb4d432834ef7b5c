"""One HTTP exchange with a host that may be broken or hostile: proxies, TLS, and time.

Knows nothing of registries. A server that sends a byte now and then would satisfy every timeout of
a socket, so each step (connecting with the handshake, an answer's head, one piece of its body) has
a deadline as a whole: a watching thread hangs up on connections that are past theirs. The same
way all of them are hung up at once when whoever waits gives up.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPException
from types import TracebackType
from typing import Any, Final, Protocol, Self, cast, final
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit
from urllib.request import getproxies_environment, proxy_bypass

import urllib3
from urllib3.exceptions import HTTPError, InsecureRequestWarning

from anchor_supervisor import __version__
from anchor_supervisor.errors import HostError, NetworkError
from anchor_supervisor.images.faults import ConnectionFault, explained
from anchor_supervisor.images.hang_up import Stopped, Watch, watched
from anchor_supervisor.values import frozen

CHUNK: Final = 256 << 10
_AT_ONCE: Final = 8  # connections kept a host
_LONGEST_NUMBER: Final = 18  # digits of a length
_STATUS_TEXT: Final = 64 << 10  # bytes of an error's text that are read

__all__ = ["Answer", "Body", "ConnectionFault", "Patience", "Stopped", "Transport", "is_loopback"]


@final
@frozen
class Patience:
    """How long to wait, in seconds, and how often to try again what a connection's fault ended.

    `commit` is for the answer to what was sent, which a registry may first have to move about.
    """

    connect: float = 10.0
    idle: float = 60.0
    commit: float = 300.0
    tries: int = 6
    first_delay: float = 0.5
    longest_delay: float = 60.0


class Body(Protocol):
    """What is sent: a file, or something that reads like one."""

    def read(self, size: int = -1, /) -> bytes: ...


def is_loopback(host: str) -> bool:
    """Say whether a host's name or address means this machine and nothing else."""
    import ipaddress

    if host == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return False


def split_url(url: str) -> SplitResult:
    """Take an address apart that somebody else wrote. Raises NetworkError."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # looked at only when it is asked for
    except ValueError as error:
        message = f"`{url:.200}` is no address of the web: {error}"
        raise NetworkError(message) from error
    return parts


def join_url(base: str, place: str) -> str:
    """Say where a Location leads. Raises NetworkError."""
    try:
        return urljoin(base, place)
    except ValueError as error:
        message = f"`{place:.200}` is no address of the web: {error}"
        raise NetworkError(message) from error


def is_busy(status: int) -> bool:
    """Say whether a status means that asking again later may help."""
    return status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR


def retry_after(answer: Answer) -> float | None:
    """Read Retry-After: in how many seconds to ask again (RFC 9110, 10.2.3)."""
    text = (answer.header("Retry-After") or "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    with suppress(ValueError, TypeError):
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    return None


@final
class Answer:
    """A response whose body has not been read. Close it, or use it as a context."""

    def __init__(self, response: urllib3.HTTPResponse, url: str, watch: Watch) -> None:
        """Belongs to the thread that asked."""
        self._response = response
        self._watch = watch
        self.url = url
        self.host = urlsplit(url).netloc.rpartition("@")[2]
        self.status = response.status

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection, unless the answer has been read to its end."""
        self.close()

    def header(self, name: str) -> str | None:
        """Return a header's value; several of them are joined with commas."""
        return self._response.headers.get(name)

    def headers(self, name: str) -> list[str]:
        """Return every header of this name."""
        return list(self._response.headers.getlist(name))

    @property
    def length(self) -> int | None:
        """The length that the head claims; None where it does not say."""
        text = self.header("Content-Length")
        if text is None or not text.isdecimal() or len(text) > _LONGEST_NUMBER:
            return None  # int() refuses thousands of digits
        return int(text)

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it arrives. Raises ConnectionFault where it ends early."""
        while piece := self._piece():
            yield piece

    def _piece(self) -> bytes:
        with _faults(self.host, self._watch):
            self._watch.step()
            piece = self._response.read1(CHUNK, decode_content=False)
            self._watch.rest()  # what is done with it may take its time
            return piece

    def document(self, most: int, what: str) -> bytes:
        """Read the whole body of at most `most` bytes, within one deadline altogether."""
        ends = time.monotonic() + self._watch.patience
        parts, size = [], 0
        for piece in self.pieces():
            size += len(piece)
            if size > most:
                message = f"`{self.host}` sends more than {most} bytes as {what}"
                raise NetworkError(message)
            if time.monotonic() > ends:
                message = f"`{self.host}` takes more than {self._watch.patience:g} s for {what}"
                raise ConnectionFault(message)
            parts.append(piece)
        return b"".join(parts)

    def error_text(self) -> bytes:
        """Read the beginning of an error's body; nothing is an error here."""
        parts, size = [], 0
        with suppress(NetworkError):
            for piece in self.pieces():
                parts.append(piece)
                size += len(piece)
                if size >= _STATUS_TEXT:
                    break
        return b"".join(parts)[:_STATUS_TEXT]

    def close(self) -> None:
        """Let go of the connection; it is used again only where the answer was read to its end."""
        if self._response.length_remaining == 0:
            with suppress(HTTPError, OSError):
                self._response.read1()  # an answer without a body ends only when it is looked for
        if self._response.isclosed():
            self._response.release_conn()
            self._watch.rest()
        else:
            self._watch.hang_up()
            self._response.close()


@final
class Transport:
    """Connections to any host, from any thread. `insecure` takes TLS that cannot be verified."""

    def __init__(self, *, insecure: bool, patience: Patience) -> None:
        """Open nothing yet."""
        self.insecure = insecure
        self.patience = patience
        self.watch = Watch(patience.idle, patience.connect)
        self._managers: dict[str | None, urllib3.PoolManager] = {}
        self._lock = threading.Lock()
        self._proxies = getproxies_environment()
        self._reached: set[str] = set()

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Callable[[], Body] | bytes | None = None,
    ) -> Answer:
        """Send one request, following no redirect. Raises NetworkError, Stopped."""
        parts = split_url(url)
        manager = self._manager(parts.scheme, parts.hostname or "", parts.netloc)
        host = parts.netloc.rpartition("@")[2]
        limit = self.patience.idle if body is None else self.patience.commit
        self.watch.allow(limit)
        response: urllib3.BaseHTTPResponse | None = None
        try:
            with _faults(host, self.watch, reached=host in self._reached):
                self._watch_pool(manager.connection_from_url(url))
                response = manager.urlopen(
                    method,
                    url,
                    body=body if body is None or isinstance(body, bytes) else body(),
                    headers={
                        "User-Agent": f"anchor-supervise/{__version__}",
                        "Accept-Encoding": "identity",  # digests are of what is sent
                        **headers,
                    },
                    redirect=False,
                    retries=False,
                    preload_content=False,
                    decode_content=False,
                    timeout=urllib3.Timeout(connect=self.patience.connect, read=limit),
                )
        except BaseException:
            if response is not None:
                response.close()
            raise
        self._reached.add(host)
        return Answer(cast("urllib3.HTTPResponse", response), url, self.watch)

    def pause(self, seconds: float) -> None:
        """Wait before another try. Raises Stopped as soon as nobody waits any more."""
        if self.watch.stopped.wait(seconds):
            raise Stopped

    def stop(self) -> None:
        """Hang up everything: whatever is under way in other threads ends with Stopped."""
        self.watch.stop()

    def close(self) -> None:
        """End the watch and the kept connections."""
        self.watch.stop()
        for manager in self._managers.values():
            manager.clear()
        self.watch.close()

    def _watch_pool(self, pool: Any) -> None:  # noqa: ANN401 - of either scheme
        with self._lock:
            if getattr(pool.ConnectionCls, "anchor_watch", None) is not self.watch:
                pool.ConnectionCls = watched(pool.ConnectionCls, self.watch)

    def _manager(self, scheme: str, host: str, netloc: str) -> urllib3.PoolManager:
        proxy = self._proxy(scheme, host, netloc)
        with self._lock:
            if proxy not in self._managers:
                self._managers[proxy] = self._made_manager(proxy)
            return self._managers[proxy]

    def _proxy(self, scheme: str, host: str, netloc: str) -> str | None:
        """Find the proxy the environment wants; never one for this machine itself, as Go does."""
        proxy = self._proxies.get(scheme) or self._proxies.get("all")
        if not proxy or is_loopback(host) or proxy_bypass(netloc):
            return None
        return proxy if "://" in proxy else f"http://{proxy}"

    def _made_manager(self, proxy: str | None) -> urllib3.PoolManager:
        # create_default_context: the system's CAs, or SSL_CERT_FILE's; TLS 1.2 at least.
        context = ssl.create_default_context()
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        options: dict[str, Any] = {"ssl_context": context, "maxsize": _AT_ONCE, "blocksize": CHUNK}
        if self.insecure:
            options["cert_reqs"] = ssl.CERT_NONE
            urllib3.disable_warnings(InsecureRequestWarning)  # it was asked for
        if proxy is None:
            return urllib3.PoolManager(**options)
        parts = split_url(proxy)
        shown = parts.netloc.rpartition("@")[2]
        if parts.scheme not in {"http", "https"}:
            message = f"proxy `{parts.scheme}://{shown}` is of a kind that is not supported"
            raise HostError(message, hint="an http:// or https:// proxy, or unset the variable")
        return urllib3.ProxyManager(
            urlunsplit((parts.scheme, shown, "", "", "")),
            proxy_headers=_proxy_headers(parts.username, parts.password),
            **options,
        )


def _proxy_headers(user: str | None, password: str | None) -> dict[str, str]:
    from urllib.parse import unquote

    if user is None:
        return {}
    return urllib3.make_headers(proxy_basic_auth=f"{unquote(user)}:{unquote(password or '')}")


@final
class _faults:  # noqa: N801 - reads as the block it is
    """Say in our words what urllib3 and http.client raise in theirs."""

    def __init__(self, host: str, watch: Watch, *, reached: bool = True) -> None:
        self._host = host
        self._watch = watch
        self._reached = reached

    def __enter__(self) -> None:
        if self._watch.stopped.is_set():
            raise Stopped

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        foreign = isinstance(error, HTTPError | HTTPException | OSError | ValueError)
        if (error is not None and not foreign) or isinstance(error, HostError):
            return
        # Looked at after what went well, too: http.client takes a head that ends early for a head.
        if self._watch.stopped.is_set():
            raise Stopped from None
        if self._watch.was_late():
            message = f"`{self._host}` is too slow: one step took more than {self._watch.limit:g} s"
            raise ConnectionFault(message) from error
        if error is not None:
            raise explained(self._host, error, reached=self._reached) from error
