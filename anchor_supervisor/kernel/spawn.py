"""Start a process from a list of steps. Thin: the work is `_spawn.c`'s, the words are `steps`'.

Must not know what a container is. `spawn` blocks its thread for the 1 to 2 ms that a start takes
(the interpreter lock is free meanwhile), so trio calls it in a worker thread; any thread will do.
"""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Sequence
from typing import final

from anchor_supervisor.errors import KernelError, SupervisionBug
from anchor_supervisor.kernel import _spawn
from anchor_supervisor.kernel.mount_steps import Encoded
from anchor_supervisor.kernel.steps import Execute, Step
from anchor_supervisor.values import frozen

NOT_EXECUTABLE = 126
NOT_FOUND = 127
OUR_ERROR = 125

_MISSING = frozenset({errno.ENOENT, errno.ENOTDIR})


@final
@frozen
class Child:
    """A process of ours: `pid` is for people; `pidfd`, owned by whoever holds this, for acting."""

    pid: int
    pidfd: int

    def close(self) -> None:
        """Give the pidfd back. The process lives on."""
        os.close(self.pidfd)


@final
class SpawnError(KernelError):
    """A step failed; nothing of the child is left.

    `step_index` is None where no step had begun (the clone itself failed). `shell_code` is what a
    shell would give: 127 the command was not found, 126 it cannot be executed, otherwise 125.
    """

    def __init__(self, number: int, step: Step | None, step_index: int | None) -> None:
        """Take the errno and the step it came from."""
        super().__init__(number, "clone a child" if step is None else step.describe())
        self.step_index = step_index
        self.shell_code = _exit_code(number, step)


def _exit_code(number: int, step: Step | None) -> int:
    if not isinstance(step, Execute) or number == errno.ETIMEDOUT:
        return OUR_ERROR
    return NOT_FOUND if number in _MISSING else NOT_EXECUTABLE


@final
@frozen
class Prepared:
    """Steps as C takes them, to be spawned any number of times."""

    steps: tuple[Step, ...]
    encoded: tuple[Encoded, ...]

    def exchanged(self, places: Sequence[int], steps: Sequence[Step]) -> Prepared:
        """Return the same with other steps at some places."""
        all_steps, encoded = list(self.steps), list(self.encoded)
        for place, step in zip(places, steps, strict=True):
            all_steps[place], encoded[place] = step, step.encode()
        return Prepared(tuple(all_steps), tuple(encoded))


@functools.lru_cache(maxsize=1024)
def _encode(step: Step) -> Encoded:
    """Containers have most of their steps in common."""
    return step.encode()


def prepare(steps: Sequence[Step]) -> Prepared:
    """Encode the steps."""
    # Not Execute: its environment may hold what is secret, and is to be forgotten with the start.
    encoded = (step.encode() if isinstance(step, Execute) else _encode(step) for step in steps)
    return Prepared(tuple(steps), tuple(encoded))


def spawn(
    what: Sequence[Step] | Prepared,
    *,
    given: Sequence[int] = (),
    flags: int = 0,
    cgroup: int | None = None,
    share_memory: bool = True,
    timeout: float = 30.0,
) -> Child:
    """Clone a child that takes steps, the last of which is Execute; return once it has executed.

    `given` are the descriptors that stand where the steps say `Given`. `flags` are CLONE_NEW* for
    the first child. `cgroup` is a descriptor of the cgroup2 directory the child is born in (no pid
    is ever written, which would cost 12 ms). `share_memory` saves copying page tables, and must be
    False for a child that enters a running container. `timeout` in seconds covers everything up to
    execve; after it the child is killed and errno is ETIMEDOUT.

    Raises SpawnError.
    """
    prepared = what if isinstance(what, Prepared) else prepare(what)
    steps = prepared.steps
    group = -1 if cgroup is None else cgroup
    try:
        pid, pidfd = _spawn.spawn(
            prepared.encoded, tuple(given), flags, group, share_memory, round(timeout * 1000)
        )
    except _spawn.StepFailed as failed:
        number, index = failed.args
        known = 0 <= index < len(steps)
        raise SpawnError(
            number, steps[index] if known else None, index if known else None
        ) from None
    except (ValueError, TypeError, OverflowError) as wrong:
        message = f"the steps of a child are wrong: {wrong}"
        raise SupervisionBug(message) from wrong
    return Child(pid, pidfd)
