"""A socket's address for a path of any length. Standard library only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

MAX_PATH: Final = 107  # sun_path is 108 bytes with its NUL, unix(7)


@contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """Give an address that leads to `path` and fits, for as long as the block runs."""
    if len(os.fsencode(path)) <= MAX_PATH:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
