"""A socket's address for a path of any length. Standard library only."""

from __future__ import annotations

import os

from anchor_supervisor.hints import TYPE_CHECKING, final

if TYPE_CHECKING:
    from typing import Final

MAX_PATH: Final = 107  # sun_path is 108 bytes with its NUL, unix(7)


@final
class SocketAddress:
    """Gives an address that leads to a path and fits, for as long as the block runs."""

    def __init__(self, path: str) -> None:
        """Remember."""
        self._path = path
        self._directory = -1

    def __enter__(self) -> str:
        """Give the path, or a short one to it through a descriptor of its directory."""
        if len(os.fsencode(self._path)) <= MAX_PATH:
            return self._path
        directory, name = os.path.split(self._path)
        self._directory = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._directory}/{name}"

    def __exit__(self, *_: object) -> None:
        """Close that."""
        if self._directory >= 0:
            os.close(self._directory)
