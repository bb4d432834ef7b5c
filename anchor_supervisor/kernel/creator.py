"""In whose name this thread makes files, and whose they become, without ever losing its powers.

Through an idmapped mount nobody can make a file whose own ids are not mapped there (EOVERFLOW,
mount_setattr(2)), not even root; and a file that is made as root and given away afterwards is
root's for a moment, in a place where others look. So it is made in its owner's name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from anchor_supervisor.errors import KernelError
from anchor_supervisor.kernel import libc

_AT_EMPTY_PATH: Final = 0x1000
_PR_GET_SECUREBITS: Final = 27
_PR_SET_SECUREBITS: Final = 28
_SECBIT_NO_SETUID_FIXUP: Final = 1 << 2
_ANSWER: Final = -1  # setfsuid(2): an id that cannot be is refused, and the present one is told


@contextmanager
def creating_as(owner: int) -> Iterator[None]:
    """What this thread makes meanwhile belongs to user and group `owner`.

    SECBIT_NO_SETUID_FIXUP (capabilities(7)) keeps the capabilities that the change would take.
    Raises KernelError where this process may not do it.
    """
    bits = libc.system_call("prctl", _PR_GET_SECUREBITS, 0, 0, 0, 0, subject="securebits")
    _set_bits(bits | _SECBIT_NO_SETUID_FIXUP)
    before = _present("setfsuid"), _present("setfsgid")
    try:
        _become("setfsgid", owner)
        _become("setfsuid", owner)
        yield
    finally:
        _become("setfsuid", before[0])
        _become("setfsgid", before[1])
        _set_bits(bits)


def change_owner(handle: int, uid: int, gid: int) -> None:
    """Give away what `handle` leads to; O_PATH is enough, and a link is itself."""
    libc.system_call("fchownat", handle, b"", uid, gid, _AT_EMPTY_PATH)


def _set_bits(bits: int) -> None:
    libc.system_call("prctl", _PR_SET_SECUREBITS, bits, 0, 0, 0, subject="securebits")


def _present(name: str) -> int:
    return libc.system_call(name, _ANSWER)


def _become(name: str, number: int) -> None:
    """It never says that it failed (setfsuid(2), BUGS), so ask afterwards."""
    libc.system_call(name, number)
    if _present(name) != number:
        raise KernelError(1, name, str(number))
