"""Archives unpacked once, under a name that is the digest of their bytes.

`<data>/layers/<digest>/` is a whole layer, or is not there: an archive is unpacked aside, written
to the disk and then renamed. The directory an archive is unpacked into is also the lock of whoever
does it (flock(2) ends with its holder), so a second comer waits and then finds the work done, and
what a killed process left is known by its being unlocked.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from anchor_supervisor.errors import HostError, ImageError, KernelError
from anchor_supervisor.images.unpack import Limits, unpack
from anchor_supervisor.kernel import libc
from anchor_supervisor.rootfs.private import make_private
from anchor_supervisor.rootfs.removal import DIRECTORY_FLAGS, empty_directory, remove_beneath

_NEW: Final = ".new-"


def unpacked(archive: Path, data: Path, limits: Limits = Limits()) -> Path:  # noqa: B008 - frozen
    """Return the directory that holds the content of `archive`, unpacking it if nobody has yet.

    The directory's name is the archive's sha256. Blocks while another process unpacks the same
    archive. Raises ImageError for a missing or bad archive, HostError for a full disk.
    """
    layers = data / "layers"
    make_private(layers)
    try:
        with archive.open("rb") as file:
            before = os.fstat(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            final = layers / digest
            if not final.is_dir():
                file.seek(0)
                _unpack_once(file, before, layers, digest, limits)
    except IsADirectoryError as error:
        message = f"image `{archive}` is a directory, not an archive"
        raise ImageError(message) from error
    except FileNotFoundError as error:
        message = f"no image at `{archive}`"
        raise ImageError(message) from error
    except (ImageError, HostError) as error:
        if isinstance(error, KernelError):
            raise
        message = f"image `{archive}`: {error.message}"
        raise type(error)(message, hint=error.hint) from error
    except OSError as error:
        raise KernelError(error.errno or 0, "read", str(archive)) from error
    return final


def _unpack_once(
    file: BinaryIO, before: os.stat_result, layers: Path, digest: str, limits: Limits
) -> None:
    parent = os.open(layers, DIRECTORY_FLAGS)
    try:
        with _claimed(parent, digest) as directory:
            _sweep(parent, keep=_NEW + digest)
            if directory is None:
                return
            empty_directory(directory)
            try:
                unpack(file, directory, limits)
                _check_unchanged(file, before)
            except BaseException:
                remove_beneath(parent, _NEW + digest)
                raise
            libc.library_call("syncfs", directory, subject=digest)
            os.rename(_NEW + digest, digest, src_dir_fd=parent, dst_dir_fd=parent)
            os.fsync(parent)
    finally:
        os.close(parent)


def _check_unchanged(file: BinaryIO, before: os.stat_result) -> None:
    """What was unpacked must be what was digested, or the name would lie for ever."""
    after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        message = "the archive was changed while it was read"
        raise ImageError(message, hint="try again when it is complete")


@contextlib.contextmanager
def _claimed(parent: int, digest: str) -> Iterator[int | None]:
    """Hold the directory to unpack into, alone; None when the layer appeared while we waited.

    Having waited for the lock, we look again whether the name still means what we have locked:
    its last holder has renamed it if all went well, and removed it if not.
    """
    name = _NEW + digest
    while True:
        if _exists(digest, parent):
            yield None
            return
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent)
        try:
            directory = os.open(name, DIRECTORY_FLAGS, dir_fd=parent)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            if _is_still(directory, parent, name):
                yield directory
                return
        finally:
            os.close(directory)


def _exists(name: str, parent: int) -> bool:
    try:
        os.stat(name, dir_fd=parent)
    except FileNotFoundError:
        return False
    return True


def _is_still(directory: int, parent: int, name: str) -> bool:
    try:
        return os.path.samestat(os.fstat(directory), os.stat(name, dir_fd=parent))
    except FileNotFoundError:
        return False


def _sweep(parent: int, *, keep: str) -> None:
    """Remove what unpackers that were killed have left: litter that nobody holds locked."""
    for name in os.listdir(parent):
        if not name.startswith(_NEW) or name == keep:
            continue
        try:
            directory = os.open(name, DIRECTORY_FLAGS, dir_fd=parent)
        except OSError:
            continue
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(directory, parent, name):
                remove_beneath(parent, name)
        except BlockingIOError:
            continue
        finally:
            os.close(directory)
