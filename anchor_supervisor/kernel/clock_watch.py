"""The machine's wall clock as something to wait for: readable when somebody has set it.

timerfd_create(2), TFD_TIMER_CANCEL_ON_SET: a timer that never goes off is cancelled by every step
of the clock, and by a wake from suspension. At rest it costs nothing.
"""

from __future__ import annotations

import errno
import os
import struct
from typing import Final, Self, final

from anchor_supervisor.errors import KernelError
from anchor_supervisor.kernel import libc

_CLOCK_REALTIME: Final = 0
_ABSOLUTE, _CANCEL_ON_SET = 1, 2
_NEVER: Final = struct.pack("qqqq", 0, 0, 1 << 33, 0)  # struct itimerspec: once, in the year 2242


@final
class ClockWatch:
    """Owns one timer. Readable (`fileno`) once the clock was set, until `take_changed`."""

    def __init__(self) -> None:
        """Watch from now on. Raises KernelError."""
        flags = os.O_NONBLOCK | os.O_CLOEXEC  # as TFD_NONBLOCK and TFD_CLOEXEC are defined
        self._timer = libc.system_call("timerfd_create", _CLOCK_REALTIME, flags)
        try:
            self._arm()
        except KernelError:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Close at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._timer

    def take_changed(self) -> bool:
        """Whether the clock was set since the last look; never blocks. Raises KernelError."""
        try:
            os.read(self._timer, 8)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.ECANCELED:
                raise KernelError(error.errno or 0, "read a timer") from error
        self._arm()
        return True

    def close(self) -> None:
        """Watch no longer."""
        os.close(self._timer)

    def _arm(self) -> None:
        """Arm the timer; a clock that is set in between cancels it at once."""
        try:
            libc.system_call(
                "timerfd_settime", self._timer, _ABSOLUTE | _CANCEL_ON_SET, _NEVER, None
            )
        except KernelError as error:
            if error.errno != errno.ECANCELED:  # armed all the same, and told by the next look
                raise
