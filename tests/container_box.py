"""A small real container for the kernel room: busybox, a sandbox, and what a child said.

Speaks to the kernel room alone, so that its tests need no other.
"""

from __future__ import annotations

import os
import select
from collections.abc import Sequence
from pathlib import Path
from typing import Final, final

from attrs import frozen

from anchor_supervisor.kernel import (
    capabilities,
    init_image,
    mount,
    namespaces,
    pidfd,
    spawn,
    steps,
)

IDS: Final = namespaces.IdRange(3_200_000)
BUSYBOX: Final = Path("/bin/busybox")
NEW: Final = namespaces.CLONE_NEWPID | namespaces.CLONE_NEWNS | namespaces.CLONE_NEWCGROUP
PROC, SYS, DEV, EMPTY = (steps.Slot(number) for number in range(4))
NOSUID_NOEXEC_NODEV: Final = (
    mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NOEXEC | mount.MOUNT_ATTR_NODEV
)


@final
@frozen
class Outcome:
    """How a container ended, and all it said."""

    ending: pidfd.Ending
    output: str


@final
class Box:
    """A root directory and a sandbox; each `run` is one container in them."""

    def __init__(self, root: Path, *, user: bool = True) -> None:
        self.root = root
        self.user = user
        self.sandbox = namespaces.create_sandbox(IDS if user else None, network=True)
        self.init = init_image.open_init()
        self.null, self.cover = mount.clone_tree("/dev/null"), mount.clone_tree("/dev/null")
        self.mask = capabilities.resolve()

    def close(self) -> None:
        """Let everything go."""
        self.sandbox.close()
        os.close(self.init)
        os.close(self.null)
        os.close(self.cover)

    def open_root(self) -> int:
        """Make the detached root mount of one run."""
        return mount.clone_tree(self.root, idmap=self.sandbox.user)

    def joins(self) -> list[steps.Step]:
        """Enter the sandbox, the user namespace last, and clone into what is new at each start."""
        box = self.sandbox
        assert box.net is not None
        entered: list[steps.Step] = [
            steps.JoinNamespace(box.net, namespaces.CLONE_NEWNET, "network namespace"),
            steps.JoinNamespace(box.ipc, namespaces.CLONE_NEWIPC, "ipc namespace"),
            steps.JoinNamespace(box.uts, namespaces.CLONE_NEWUTS, "host name namespace"),
        ]
        if box.user is not None:
            entered += [
                steps.JoinNamespace(box.user, namespaces.CLONE_NEWUSER, "user namespace"),
                steps.SetIds(0, 0),
            ]
        return [*entered, steps.CloneAgain(NEW, namespaces.words(NEW))]

    def enter(self, root: int) -> list[steps.Step]:
        """Make the file systems, the root, and attach proc, sys and dev."""
        tmpfs = (("mode", "0755"), ("size", "64k"))
        return [
            steps.NewSession(),
            steps.OpenFilesystem(PROC, "proc", (), NOSUID_NOEXEC_NODEV),
            steps.OpenFilesystem(SYS, "sysfs", (), NOSUID_NOEXEC_NODEV | mount.MOUNT_ATTR_RDONLY),
            steps.OpenFilesystem(DEV, "tmpfs", tmpfs, mount.MOUNT_ATTR_NOSUID),
            steps.OpenFilesystem(EMPTY, "tmpfs", (), NOSUID_NOEXEC_NODEV | mount.MOUNT_ATTR_RDONLY),
            steps.EnterRoot(root),
            steps.Attach(PROC, "/proc", "proc", strict=True),
            steps.Attach(SYS, "/sys", "sysfs", strict=True),
            steps.Attach(DEV, "/dev", "a new tmpfs", strict=True),
            steps.Attach(self.null, "/dev/null", "the null device", directory=False),
        ]

    def limit(self) -> list[steps.Step]:
        """Take away what a container must not have."""
        held = capabilities.words(self.mask)
        return [
            steps.SetBounding(self.mask, held),
            steps.SetIds(0, 0),
            steps.SetCapabilities(self.mask, held),
            steps.NoNewPrivileges(),
        ]

    def plan(
        self,
        root: int,
        out: int,
        command: Sequence[str],
        *,
        inside: Sequence[steps.Step] = (),
        last: Sequence[steps.Step] = (),
        init: bool = True,
        status: int | None = None,
    ) -> list[steps.Step]:
        """Write the whole plan; `inside` comes before the limits and `last` after them."""
        execute = steps.Execute(
            (f"/usr/local/bin/{command[0]}", f"/bin/{command[0]}"),
            tuple(command),
            ("PATH=/bin",),
            init=self.init,
            status=status,
            stay=init,
        )
        return [
            *self.joins(),
            *self.enter(root),
            *inside,
            *self.limit(),
            *last,
            steps.ChangeDirectory("/"),
            steps.SetStdio(0, out, out),
            execute,
        ]

    def start(
        self,
        out: int,
        command: Sequence[str],
        *,
        inside: Sequence[steps.Step] = (),
        last: Sequence[steps.Step] = (),
        init: bool = True,
        status: int | None = None,
        group: int | None = None,
        share_memory: bool = True,
        timeout: float = 30.0,
    ) -> spawn.Child:
        """Start one container whose output goes to `out`."""
        root = self.open_root()
        try:
            plan = self.plan(root, out, command, inside=inside, last=last, init=init, status=status)
            return spawn.spawn(plan, cgroup=group, share_memory=share_memory, timeout=timeout)
        finally:
            os.close(root)
            for taken in (self.null, self.cover):
                os.close(taken)  # the container has it now, and a mount is in one place
            self.null, self.cover = mount.clone_tree("/dev/null"), mount.clone_tree("/dev/null")

    def run(
        self,
        *command: str,
        inside: Sequence[steps.Step] = (),
        last: Sequence[steps.Step] = (),
        init: bool = True,
        status: int | None = None,
        share_memory: bool = True,
    ) -> Outcome:
        """Run one container to its end, and return what it said."""
        read, write = os.pipe()
        with os.fdopen(read, "rb") as said:
            try:
                child = self.start(
                    write,
                    command,
                    inside=inside,
                    last=last,
                    init=init,
                    status=status,
                    share_memory=share_memory,
                )
            finally:
                os.close(write)
            output = said.read().decode()
        return Outcome(wait(child), output)

    def say(self, script: str, *, inside: Sequence[steps.Step] = ()) -> str:
        """Run a shell script that must succeed, and return what it said."""
        outcome = self.run("sh", "-c", script, inside=inside)
        assert outcome.ending == pidfd.Ending(code=0), outcome
        return outcome.output


def wait(child: spawn.Child) -> pidfd.Ending:
    """Wait for a child's end (at most half a minute), reap it and give its descriptor back."""
    ended = select.poll()
    ended.register(child.pidfd, select.POLLIN)
    assert ended.poll(30_000), "the child did not end"
    ending = pidfd.reap(child.pidfd)
    assert ending is not None
    child.close()
    return ending
