"""How long work on images tells whoever waits how far it is."""

from __future__ import annotations

from typing import Protocol, final


class Progress(Protocol):
    """What a person sees of a pull, a push, an import or a build; called from any thread.

    `item` names one thing under way, such as a layer's short digest. Several are under way at a
    time; each begins once, and ends once with what became of it ("pulled", "already here").
    """

    def begin(self, item: str, verb: str, total: int | None = None) -> None:
        """Work on `item` begins, or goes on with another verb; `total` in bytes where known."""

    def advance(self, item: str, count: int) -> None:
        """So many further bytes of it are done."""

    def end(self, item: str, words: str) -> None:
        """It is done."""

    def note(self, sentence: str) -> None:
        """Something worth a line of its own, such as a retry."""


@final
class Silent:
    """Shows nothing."""

    def begin(self, item: str, verb: str, total: int | None = None) -> None:
        """Say nothing."""

    def advance(self, item: str, count: int) -> None:
        """Say nothing."""

    def end(self, item: str, words: str) -> None:
        """Say nothing."""

    def note(self, sentence: str) -> None:
        """Say nothing."""
