"""What a process does about signals: proc_pid_status(5), read for any process, at any time."""

from __future__ import annotations

import io
import re
import signal
from typing import Final, final

from anchor_supervisor.patterns import pattern
from anchor_supervisor.values import frozen

# By its newline, which `re` finds much faster than the beginning of a line.
_MASKS: Final = pattern(r"\nSig(Blk|Ign|Cgt):\s*([0-9a-f]+)$", re.MULTILINE)

# signal(7): where nothing else is said, these do nothing, and these stop instead of ending.
_SPARING: Final = frozenset(
    (
        *(signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH),
        *(signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU),
    )
)


@final
@frozen
class Dispositions:
    """Sets of signals as masks: bit N - 1 is signal N. `blocked` is the main thread's."""

    blocked: int
    ignored: int
    caught: int

    def catches(self, number: int) -> bool:
        """Whether a handler of its own is called."""
        return _has(self.caught, number)

    def ignores(self, number: int) -> bool:
        """Whether it has asked for the signal to do nothing, and does not take it otherwise."""
        return _has(self.ignored, number) and not self.catches(number)

    def heeds(self, number: int, *, first: bool) -> bool:
        """Whether the signal can be expected to do something.

        Sent from outside, SIGKILL always does. A blocked signal may be waited for (sigwait(3),
        signalfd(2)), and then does. The `first` process of a pid namespace is spared the default
        action (pid_namespaces(7)).
        """
        if number == signal.SIGKILL or self.catches(number) or _has(self.blocked, number):
            return True
        return not (first or self.ignores(number) or number in _SPARING)


def _has(mask: int, number: int) -> bool:
    return bool(mask >> (number - 1) & 1)


def parse_dispositions(status: str) -> Dispositions | None:
    """Read the text of /proc/PID/status; None where it says nothing of signals."""
    masks = {name: int(digits, 16) for name, digits in _MASKS.findall(status)}
    if len(masks) < len(("Blk", "Ign", "Cgt")):
        return None
    return Dispositions(masks["Blk"], masks["Ign"], masks["Cgt"])


def read_dispositions(pid: int) -> Dispositions | None:
    """Look at a process; None where it has ended, or cannot be looked at now."""
    text = _read(f"/proc/{pid}/status")
    return None if text is None else parse_dispositions(text)


def first_child(pid: int) -> int | None:
    """Find the oldest child that the process has; None: none, or this kernel cannot tell.

    For children that were adopted come after those that were there (proc_pid_task_children(5)).
    """
    text = _read(f"/proc/{pid}/task/{pid}/children")
    children = (text or "").split()
    return int(children[0]) if children else None


def _read(path: str) -> str | None:
    try:
        with io.FileIO(path) as file:
            return file.readall().decode(errors="replace")
    except OSError:  # it has ended; or it is not to be read now, and will be another time
        return None
