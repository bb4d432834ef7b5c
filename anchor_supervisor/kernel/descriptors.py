"""Descriptors that live for one piece of work and are closed together, in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from anchor_supervisor.kernel._calls import close_all

if TYPE_CHECKING:
    from typing import Self


@final
class Descriptors:
    """Owns what is added until the end of the block. A start opens a dozen.

    Closed one by one each would give up the interpreter lock, and wait to get it back.
    """

    def __init__(self) -> None:
        """Own none yet."""
        self._open: list[int] = []

    def add(self, descriptor: int) -> int:
        """Own this one too, and return it."""
        self._open.append(descriptor)
        return descriptor

    def leave(self, descriptor: int) -> int:
        """Own this one no more, and return it."""
        self._open.remove(descriptor)
        return descriptor

    def close(self) -> None:
        """Close all of them, the last first; twice is allowed."""
        closing, self._open = self._open[::-1], []
        close_all(*closing)

    def __enter__(self) -> Self:
        """Own until the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()
