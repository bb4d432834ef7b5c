"""Files that share their blocks until one is written to: btrfs, and xfs made with `reflink=1`."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import Final

from anchor_supervisor.errors import HostError
from anchor_supervisor.fleet.model import RootStrategy
from anchor_supervisor.kernel.filesystem import file_system

_FICLONE: Final = 0x40049409  # ioctl_ficlone(2)
# Another file system; one that cannot; files that are stored too differently (no checksums).
_REFUSALS: Final = (errno.EXDEV, errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL)


def share_content(source: int, target: int) -> None:
    """Let the empty file `target` share all blocks of `source`, holes included.

    Raises HostError that names the file systems where they cannot; nothing is ever copied instead.
    """
    if os.fstat(source).st_size == 0:
        return
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        message = f"root strategy `{RootStrategy.REFLINK}`: {_reason(source, target)}"
        hint = f'root = "{RootStrategy.OVERLAY}", or "{RootStrategy.COPY}"'
        raise HostError(message, hint=hint) from error


def _reason(source: int, target: int) -> str:
    """Name both: two mounts may be of one file system, and two of one kind may not."""
    image, writable = file_system(source), file_system(target)
    if os.fstat(source).st_dev == os.fstat(target).st_dev:
        return f"the file system `{writable}` cannot share blocks between files"
    return f"the image is on `{image}`, and ANCHOR_DATA_DIR on another file system, `{writable}`"
