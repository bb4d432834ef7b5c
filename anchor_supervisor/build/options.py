"""What a build is asked for, and how it tells whoever waits what it does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol, final

from anchor_supervisor.images.model import Platform
from anchor_supervisor.images.progress import Progress, Silent
from anchor_supervisor.images.reference import Reference
from anchor_supervisor.values import frozen

DOCKERFILES: Final = ("Dockerfile", "Containerfile")
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@final
class Interrupted(KeyboardInterrupt):
    """SIGINT or SIGTERM ends the build."""

    def __init__(self, number: int) -> None:
        """Take the signal's number."""
        super().__init__(number)
        self.number = number


@final
@frozen
class Secret:
    """Where a secret comes from: a file, or a variable of our own environment."""

    file: Path | None = None
    variable: str | None = None


@final
@frozen
class BuildOptions:
    """How to build. `dockerfile` None: the usual one in the context; `text`: this one instead.

    `epoch` is SOURCE_DATE_EPOCH: seconds that stand for now, so that two builds are alike.
    """

    names: tuple[Reference, ...] = ()
    dockerfile: Path | None = None
    text: str | None = None
    target: str | None = None
    arguments: Mapping[str, str] = _NOTHING
    labels: Mapping[str, str] = _NOTHING
    secrets: Mapping[str, Secret] = MappingProxyType({})
    platform: Platform | None = None
    cache: bool = True
    pull: bool = False
    epoch: int | None = None


class Reporter(Protocol):
    """What a person sees of a build; `output` is called from a thread of its own."""

    def begin(self, number: int, count: int, words: str) -> None:
        """A step begins; `words` are the instruction's, and may hold anything."""

    def output(self, data: bytes) -> None:
        """The step's command has written this: raw, in any pieces."""

    def end(self, seconds: float | None) -> None:
        """The step is done, and has taken so long; None: it was in the cache."""

    def note(self, sentence: str) -> None:
        """Something worth a line of its own."""

    @property
    def progress(self) -> Progress:
        """Where the pulling of images shows how far it is."""


@final
class Quiet:
    """Shows nothing."""

    def begin(self, number: int, count: int, words: str) -> None:
        """Say nothing."""

    def output(self, data: bytes) -> None:
        """Say nothing."""

    def end(self, seconds: float | None) -> None:
        """Say nothing."""

    def note(self, sentence: str) -> None:
        """Say nothing."""

    @property
    def progress(self) -> Progress:
        """Give one that is silent as well."""
        return Silent()
