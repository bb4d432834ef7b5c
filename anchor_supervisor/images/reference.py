"""Names of images as docker's users write them: `debian`, `ghcr.io/a/b:1.2`, `x@sha256:...`.

Pure. The grammar is that of distribution/reference: a first component with a dot, a colon or the
name `localhost` is a registry; without one it is Docker Hub, whose one-word names are in `library`.
"""

from __future__ import annotations

import re
from typing import Final, final

from anchor_supervisor.errors import ImageError
from anchor_supervisor.values import frozen

DEFAULT_REGISTRY: Final = "docker.io"
DEFAULT_TAG: Final = "latest"
LONGEST_REPOSITORY: Final = 255  # characters of a whole name (distribution/reference)

_REGISTRY: Final = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*"
    r"|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
)
_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


@final
@frozen
class Reference:
    """A name that is complete: either `tag` or `digest` is there, and `digest` rules."""

    registry: str
    repository: str
    tag: str | None
    digest: str | None = None

    def __str__(self) -> str:
        """Return the whole name, registry and all: `docker.io/library/debian:latest`."""
        return f"{self.registry}/{self.repository}{self.suffix}"

    @property
    def suffix(self) -> str:
        """What follows the repository: `:tag`, `@digest`, or both."""
        tag = f":{self.tag}" if self.tag else ""
        return f"{tag}@{self.digest}" if self.digest else tag

    @property
    def name(self) -> str:
        """The repository as people write it: `debian`, `someone/tool`, `ghcr.io/a/b`."""
        if self.registry != DEFAULT_REGISTRY:
            return f"{self.registry}/{self.repository}"
        return self.repository.removeprefix("library/")

    @property
    def familiar(self) -> str:
        """The whole name as people write it."""
        return f"{self.name}{self.suffix}"


def parse(text: str) -> Reference:
    """Read a name; without a tag and a digest it means the tag `latest`.

    Raises ImageError that says what is wrong with it.
    """
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise _wrong(text, f"`{digest}` is not a digest", "sha256: and 64 hexadecimal digits")
    name, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        name, tag = rest, ""
    elif not _TAG.fullmatch(tag):
        raise _wrong(text, f"`{tag}` is not a tag", "letters, digits, `_`, `.` and `-`")
    registry, repository = _split_registry(name)
    if not _REGISTRY.fullmatch(registry):
        raise _wrong(text, f"`{registry}` is not a registry")
    if not _REPOSITORY.fullmatch(repository) or len(name) > LONGEST_REPOSITORY:
        hint = "lower-case letters and digits, parted by `.`, `_`, `-` and `/`"
        raise _wrong(text, f"`{repository}` is not a repository", hint)
    return Reference(registry, repository, tag or (None if at else DEFAULT_TAG), digest or None)


def _split_registry(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and (first == "localhost" or any(sign in first for sign in ".:")):
        registry = DEFAULT_REGISTRY if first == "index.docker.io" else first
    else:
        registry, rest = DEFAULT_REGISTRY, name
    if registry == DEFAULT_REGISTRY and rest and "/" not in rest:
        rest = f"library/{rest}"
    return registry, rest


def _wrong(text: str, why: str, hint: str | None = None) -> ImageError:
    message = f"`{text}` is not an image's name: {why}"
    return ImageError(message, hint=hint)
