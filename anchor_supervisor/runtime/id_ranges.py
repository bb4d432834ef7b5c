"""Private ranges of 65,536 user and group ids, one a container, taken machine-wide.

A range in use is an empty file named after its first id and made with O_EXCL, whose content is
the fleet's short id; so two supervisors never share a range, and a sweep finds what a dead one
left. Ranges lie from 2^30 upwards, above what distributions hand to users and to systemd-nspawn
by default (systemd's UIDS-GIDS), and below 2^31, which some file systems take for negative.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final, final

from anchor_supervisor.digests import sha256
from anchor_supervisor.errors import HostError, KernelError
from anchor_supervisor.kernel import libc
from anchor_supervisor.kernel.namespaces import IdRange
from anchor_supervisor.rootfs.private import make_private
from anchor_supervisor.values import frozen

FIRST: Final = 1 << 30
RANGE: Final = 1 << 16
RANGES: Final = ((1 << 31) - FIRST) // RANGE


@final
@frozen
class IdRanges:
    """The register of ranges in `directory`, on behalf of the fleet with this short id."""

    directory: Path
    fleet_id: str

    def take(self, name: str) -> IdRange:
        """Take a range for the container `name`: the same one again where it is still free.

        Raises HostError when every range is taken.
        """
        digest = sha256(f"{self.directory}\0{self.fleet_id}\0{name}".encode()).digest()
        start = int.from_bytes(digest[:4], "big") % RANGES
        for offset in range(RANGES):
            first = FIRST + (start + offset) % RANGES * RANGE
            if self._claim(first):
                return IdRange(first, RANGE)
        message = f"all {RANGES} ranges of user ids are taken"
        raise HostError(message, hint=f"look for files of dead fleets in `{self.directory}`")

    def _claim(self, first: int) -> bool:
        path, content = f"{self.directory}/{first}", self.fleet_id.encode()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        calls: list[libc.Call] = [
            ("openat", libc.AT_FDCWD, libc.path_bytes(path), flags, 0o600),
            ("write", libc.Result(0), content, len(content)),
            ("close", libc.Result(0)),
        ]
        try:
            libc.perform(calls, "write", path)
        except KernelError as error:
            if error.errno == errno.ENOENT:
                make_private(self.directory)
                return self._claim(first)
            if error.errno != errno.EEXIST:
                raise
            return False
        return True

    def release(self, ids: IdRange) -> None:
        """Give a range back; one that was not taken is no error."""
        (self.directory / str(ids.first)).unlink(missing_ok=True)

    def release_all(self) -> int:
        """Give back every range of this fleet, also those of a dead supervisor; return how many."""
        released = 0
        with suppress(FileNotFoundError):
            for entry in sorted(self.directory.iterdir()):
                if entry.read_text() == self.fleet_id:
                    entry.unlink(missing_ok=True)
                    released += 1
        return released
