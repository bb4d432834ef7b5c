"""Who to be at a registry: what docker's and podman's `login` have written down.

A file that the environment names is asked first. Credential helpers are programs of somebody
else's, and are not run: where one would have been asked, the caller is told.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, final

from anchor_supervisor.errors import HostError
from anchor_supervisor.images.reference import DEFAULT_REGISTRY, Reference
from anchor_supervisor.values import field, frozen

_LARGEST: Final = 1 << 20  # bytes of a file of credentials
_HUB: Final = (
    "index.docker.io",
    "registry-1.docker.io",
)  # docker writes https://index.docker.io/v1/


@final
@frozen
class Credentials:
    """A name and a password, or a token that is exchanged for others. Never shown."""

    user: str
    password: str = field(repr=False)
    identity_token: str | None = field(default=None, repr=False)


def look_up(
    reference: Reference, environment: Mapping[str, str], warn: Callable[[str], None]
) -> Credentials | None:
    """Find the credentials for a repository; None: be anonymous.

    `warn` is told of files whose credentials are out of reach. Raises HostError for a file that
    cannot be read.
    """
    for path, required in _files(environment):
        content = _read(path, required=required)
        found = None if content is None else _find(path, content, reference, warn)
        if found is not None:
            return found
    return None


def _files(environment: Mapping[str, str]) -> Iterator[tuple[Path, bool]]:
    """Where to look, in order, and whether it has to be there."""
    home = Path(environment.get("HOME") or "/root")
    named, docker = environment.get("REGISTRY_AUTH_FILE"), environment.get("DOCKER_CONFIG")
    if named:
        yield Path(named), True
    if docker:
        yield Path(docker) / "config.json", False
    runtime = environment.get("XDG_RUNTIME_DIR") or f"/run/containers/{os.geteuid()}"
    yield (
        Path(runtime) / ("containers" if "XDG_RUNTIME_DIR" in environment else "") / "auth.json",
        False,
    )
    config = environment.get("XDG_CONFIG_HOME")
    yield (Path(config) if config else home / ".config") / "containers" / "auth.json", False
    if not docker:
        yield home / ".docker" / "config.json", False


def _read(path: Path, *, required: bool) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        if not required:
            return None
        message = f"`{path}` has no credentials: {error.strerror}"
        raise HostError(message, hint="REGISTRY_AUTH_FILE names it") from error
    except OSError as error:
        message = f"cannot read credentials in `{path}`: {error.strerror}"
        raise HostError(message) from error
    try:
        content = json.loads(text) if len(text) <= _LARGEST else None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise _malformed(path)
    return content


def _find(
    path: Path, content: Mapping[str, Any], reference: Reference, warn: Callable[[str], None]
) -> Credentials | None:
    entries, helpers = content.get("auths") or {}, content.get("credHelpers") or {}
    if not isinstance(entries, dict) or not isinstance(helpers, dict):
        raise _malformed(path)
    wanted = _candidates(reference)
    named = {_normal(key): value for key, value in reversed(list(entries.items()))}
    for name in wanted:
        found = _credentials(path, named[name]) if name in named else None
        if found is not None:
            return found
    helped = {_normal(key) for key in helpers} & set(wanted)
    # `docker login` leaves an empty entry where it gave the secret to its store of credentials.
    if helped or (content.get("credsStore") and set(named) & set(wanted)):
        warn(
            f"`{path}` leaves the credentials of `{reference.registry}` to a credential helper, "
            "which is not run; write them to a file with `podman login --authfile FILE`, and name "
            "it in REGISTRY_AUTH_FILE"
        )
    return None


def _candidates(reference: Reference) -> list[str]:
    """List what a key may be, the longest first: `host/a/b`, `host/a`, `host`."""
    parts = [reference.registry, *reference.repository.split("/")]
    return ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]


def _normal(key: str) -> str:
    """Bring a key to the form of a candidate: no scheme, no version of the protocol."""
    name = key.removeprefix("https://").removeprefix("http://").rstrip("/")
    host, slash, path = name.partition("/")
    if path in {"v1", "v2"}:
        slash = path = ""
    return f"{DEFAULT_REGISTRY if host in _HUB else host}{slash}{path}"


def _credentials(path: Path, entry: object) -> Credentials | None:
    if not isinstance(entry, dict):
        raise _malformed(path)
    token = entry.get("identitytoken") or None
    user, password = entry.get("username") or "", entry.get("password") or ""
    if auth := entry.get("auth"):
        user, password = _decoded(path, auth)
    if not all(isinstance(each, str) for each in (user, password, token or "")):
        raise _malformed(path)
    return Credentials(user, password, token) if token or user else None


def _decoded(path: Path, auth: object) -> tuple[str, str]:
    try:
        text = base64.b64decode(str(auth), validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise _malformed(path) from error
    user, colon, password = text.partition(":")
    if not colon:
        raise _malformed(path)
    return user, password.rstrip("\0")  # docker pads it with zeros


def _malformed(path: Path) -> HostError:
    message = f"the credentials in `{path}` are malformed"
    return HostError(message, hint="`docker login` or `podman login` writes such a file")
