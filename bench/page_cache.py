"""Files that the kernel has forgotten: what a first start after a boot, or a pull, has to read.

Only an image's own files are forgotten, and it is looked whether they are: a page that is dirty or
mapped stays whatever one asks (posix_fadvise(2)), and a cold start that was not cold is a lie. An
overlay's pages are those of the file beneath, so they are the same ones.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from anchor_supervisor.errors import HostError

ATTEMPTS: Final = 3

_libc: Final = ctypes.CDLL(None, use_errno=True)


def forget_pages(image: Path) -> None:
    """Let the kernel drop this image's files, and no others. Raises HostError where it does not."""
    for _ in range(ATTEMPTS):
        for path in _files(image):
            with _open(path) as descriptor:
                # What is only in memory yet cannot be dropped from it.
                os.fdatasync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        left = resident_pages(image)
        if not left:
            return
    message = f"{left} pages of `{image}` stay in memory, so no start from it is a cold one"
    raise HostError(message, hint="end what has its files open, or measure a copy of it")


def resident_pages(tree: Path) -> int:
    """How many pages of the files beneath a directory are in memory (mincore(2))."""
    return sum(map(_resident, _files(tree)))


def _resident(path: Path) -> int:
    with _open(path) as descriptor:
        size = os.fstat(descriptor).st_size
        if size == 0:
            return 0
        # A private mapping that could be written to has an address that ctypes will tell.
        with mmap.mmap(descriptor, size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as at:
            flags = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
            start = ctypes.c_char.from_buffer(at)
            try:
                address = ctypes.c_void_p(ctypes.addressof(start))
                if _libc.mincore(address, ctypes.c_size_t(size), flags):
                    raise OSError(ctypes.get_errno(), "mincore", str(path))
            finally:
                del start  # else the mapping could not be closed
            return sum(flag & 1 for flag in flags)


def _files(tree: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(tree):
        for name in names:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                yield path


@contextmanager
def _open(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
