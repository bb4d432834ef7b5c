"""What a registry wants to see before it answers: basic credentials, or a token for a scope.

Tokens come from the service that the registry's challenge names (distribution: token.md,
oauth.md). Credentials go to the registry and to that service, and nowhere else; in the clear only
to this machine itself, or where the person has said so.
"""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, final
from urllib.parse import urlencode, urlsplit

from anchor_supervisor.errors import HostError, ImageError, NetworkError
from anchor_supervisor.images.credentials import Credentials
from anchor_supervisor.images.faults import ConnectionFault
from anchor_supervisor.images.indexes import parse_json
from anchor_supervisor.images.transport import (
    Answer,
    Transport,
    is_busy,
    is_loopback,
    retry_after,
    split_url,
)
from anchor_supervisor.values import frozen

_LARGEST: Final = 1 << 20  # bytes of a token service's answer
_CLIENT: Final = "anchor-supervise"
_SHORTEST: Final = 60  # seconds a token holds that does not say (token.md)
_LONGEST: Final = 24 * 3600  # seconds that a token is believed to hold: JSON's numbers have no end
_EARLY: Final = 5  # seconds before its end that a token is not used any more
_VISIBLE: Final = re.compile(r"[\x21-\x7e]{1,65536}")

_SCHEME: Final = re.compile(r"\s*,?\s*([A-Za-z][A-Za-z0-9-]*)(?:\s+|$)(?!=)")
_PARAMETER: Final = re.compile(
    r'\s*,?\s*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*'
)


@final
@frozen
class Challenge:
    """One scheme of a WWW-Authenticate header, in lower case, and its parameters."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(headers: Iterable[str]) -> tuple[Challenge, ...]:
    """Read what a server offers (RFC 9110, 11.6.1); what is not understood is left out."""
    found: list[Challenge] = []
    for header in headers:
        at = 0
        while match := _SCHEME.match(header, at):
            parameters: dict[str, str] = {}
            at = match.end()
            while (pair := _PARAMETER.match(header, at)) is not None:
                quoted = pair[2]
                value = pair[3] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
                parameters.setdefault(pair[1].lower(), value)
                at = pair.end()
            found.append(Challenge(match[1].lower(), parameters))
    return tuple(found)


@final
@frozen
class _Token:
    header: str
    ends: float


@final
class Authorization:
    """The Authorization header for one repository of one registry; asked from any thread."""

    def __init__(
        self,
        transport: Transport,
        registry: str,
        scope: str,
        look_up: Callable[[], Credentials | None],
    ) -> None:
        """`look_up` is asked once, and only where the registry wants to know."""
        self._transport = transport
        self._registry = registry
        self._scope = scope
        self._look_up = look_up
        self._lock = threading.Lock()
        self._credentials: Credentials | None = None
        self._looked_up = False
        self._token: _Token | None = None

    @property
    def anonymous(self) -> bool:
        """Whether nothing was found to be known by."""
        return self._credentials is None

    def header(self) -> str | None:
        """Give what has been good so far."""
        token = self._token
        return token.header if token is not None and time.monotonic() < token.ends else None

    def satisfy(self, answer: Answer, sent: str | None) -> bool:
        """Learn from a 401 what to send next time; False: nothing else can be sent.

        `sent` is the header that was refused. Another thread may have a newer one by now.
        """
        with self._lock:
            if self.header() not in {None, sent}:
                return True
            if not self._looked_up:
                self._credentials, self._looked_up = self._look_up(), True
            challenges = {
                each.scheme: each for each in parse_challenges(answer.headers("WWW-Authenticate"))
            }
            token: _Token | None
            if "bearer" in challenges:
                token = self._bearer(challenges["bearer"], answer.url)
            elif "basic" in challenges:
                token = self._basic(answer)
            else:
                message = (
                    f"registry `{self._registry}` asks for an authentication that is not known"
                )
                raise NetworkError(message)
            if token is None or token.header == sent:
                return False
            self._token = token
            return True

    def _basic(self, answer: Answer) -> _Token | None:
        who = self._credentials
        if who is None or not who.user:
            return None
        self._check_private(answer.url, "registry")
        return _Token(_basic_header(who), float("inf"))

    def _bearer(self, challenge: Challenge, asked_by: str) -> _Token:
        realm = challenge.parameters.get("realm", "")
        parts = split_url(realm)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
            message = f"registry `{self._registry}` names no token service: `{realm:.200}`"
            raise NetworkError(message)
        if is_loopback(parts.hostname) and not is_loopback(split_url(asked_by).hostname or ""):
            message = (
                f"registry `{self._registry}` names this machine as its token service: "
                f"`{realm:.200}`"
            )
            raise NetworkError(message)
        self._check_private(realm, "token service")
        scope = challenge.parameters.get("scope") or self._scope
        asked = {"service": challenge.parameters.get("service", ""), "scope": scope}
        with self._ask(realm, {key: value for key, value in asked.items() if value}) as answer:
            if answer.status != 200:
                raise _refusal(self._registry, answer, anonymous=self.anonymous)
            document = parse_json(answer.document(_LARGEST, "a token"), "token service's answer")
        return self._read_token(document)

    def _ask(self, realm: str, asked: dict[str, str]) -> Answer:
        who = self._credentials
        if who is not None and who.identity_token:
            form = {
                "grant_type": "refresh_token",
                "client_id": _CLIENT,
                "refresh_token": who.identity_token,
                **asked,
            }
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            return self._transport.request("POST", realm, kind, urlencode(form).encode())
        if who is not None:
            asked = {"account": who.user, **asked}
        url = f"{realm}{'&' if urlsplit(realm).query else '?'}{urlencode(asked)}"
        headers = {} if who is None else {"Authorization": _basic_header(who)}
        return self._transport.request("GET", url, headers)

    def _read_token(self, document: Mapping[str, Any]) -> _Token:
        text = document.get("token") or document.get("access_token")
        if not isinstance(text, str) or not _VISIBLE.fullmatch(text):
            message = f"the token service of registry `{self._registry}` gives no token"
            raise NetworkError(message)
        seconds = document.get("expires_in")
        if not isinstance(seconds, int | float) or not seconds >= _SHORTEST:
            seconds = _SHORTEST
        return _Token(f"Bearer {text}", time.monotonic() + min(seconds, _LONGEST) - _EARLY)

    def _check_private(self, url: str, what: str) -> None:
        parts = urlsplit(url)
        if parts.scheme == "https" or self._transport.insecure or is_loopback(parts.hostname or ""):
            return
        message = (
            f"the {what} of `{self._registry}` wants credentials in the clear, at `{url:.200}`"
        )
        raise NetworkError(message, hint="--insecure allows it")


def _basic_header(who: Credentials) -> str:
    return "Basic " + base64.b64encode(f"{who.user}:{who.password}".encode()).decode()


def _refusal(registry: str, answer: Answer, *, anonymous: bool) -> HostError:
    if answer.status in {401, 403}:
        who = "anonymous access" if anonymous else "the credentials that are stored for it"
        message = f"registry `{registry}` refuses {who}"
        return ImageError(message, hint=login_hint(registry))
    message = f"the token service of registry `{registry}` answers {answer.status}"
    return ConnectionFault(message, again=is_busy(answer.status), after=retry_after(answer))


def login_hint(registry: str) -> str:
    """Say how to become known to a registry."""
    return f"`docker login {registry}` or `podman login {registry}` stores credentials"
