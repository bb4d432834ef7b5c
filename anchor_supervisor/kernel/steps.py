"""What a new container process does between clone and exec, as a list of small values.

Python writes the list, prints it (`describe`) and hands it to `_spawn` (`encode`); C carries it
out. A step knows no fleet. `encode` gives `(operation, integers, strings)`; the operation numbers
are an agreement with `_steps.c` and nothing else. This file has the steps that change the process
itself; those that change what it sees are in `mount_steps`, and are offered here too.
"""

from __future__ import annotations

import os
from typing import ClassVar, final

from anchor_supervisor.kernel.mount_steps import SLOTS as SLOTS
from anchor_supervisor.kernel.mount_steps import Attach as Attach
from anchor_supervisor.kernel.mount_steps import Descriptor as Descriptor
from anchor_supervisor.kernel.mount_steps import Encoded as Encoded
from anchor_supervisor.kernel.mount_steps import EnterRoot as EnterRoot
from anchor_supervisor.kernel.mount_steps import Given as Given
from anchor_supervisor.kernel.mount_steps import MakeDirectory as MakeDirectory
from anchor_supervisor.kernel.mount_steps import MakeReadOnly as MakeReadOnly
from anchor_supervisor.kernel.mount_steps import MakeSymlink as MakeSymlink
from anchor_supervisor.kernel.mount_steps import Mask as Mask
from anchor_supervisor.kernel.mount_steps import OpenFilesystem as OpenFilesystem
from anchor_supervisor.kernel.mount_steps import Slot as Slot
from anchor_supervisor.kernel.mount_steps import WriteBeneath as WriteBeneath
from anchor_supervisor.kernel.mount_steps import encode_descriptor
from anchor_supervisor.values import frozen


@final
@frozen
class JoinNamespace:
    """setns(2): `fd` is a namespace file or a pidfd; `flags` the CLONE_NEW* kinds to join."""

    fd: Descriptor
    flags: int
    words: str
    operation: ClassVar[int] = 1

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        return f"join the {self.words}"

    def encode(self) -> Encoded:
        """Give it to C."""
        return self.operation, (encode_descriptor(self.fd), self.flags), ()


@final
@frozen
class SetIds:
    """setgroups, setresgid, setresuid, in this order, by raw system calls."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    operation: ClassVar[int] = 2

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        extra = f" and groups {', '.join(map(str, self.groups))}" if self.groups else ""
        return f"become user {self.uid}, group {self.gid}{extra}"

    def encode(self) -> Encoded:
        """Give it to C."""
        return self.operation, (self.uid, self.gid, *self.groups), ()


@final
@frozen
class CloneAgain:
    """clone3 once more with CLONE_PARENT: the steps after this one are the second child's.

    A pid namespace belongs to the user namespace its creator is in, so the creator must have
    joined the container's first (pid_namespaces(7)). The first child ends; the second is the
    supervisor's own child, by CLONE_PARENT.
    """

    flags: int
    words: str
    operation: ClassVar[int] = 3

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        return f"clone into new {self.words}"

    def encode(self) -> Encoded:
        """Give it to C."""
        return self.operation, (self.flags,), ()


@final
@frozen
class NewSession:
    """setsid(2), and an anonymous session keyring (keyctl(2), KEYCTL_JOIN_SESSION_KEYRING)."""

    operation: ClassVar[int] = 4

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        return "start a new session with an empty keyring"

    def encode(self) -> Encoded:
        """Give it to C."""
        return self.operation, (), ()


@final
@frozen
class SetHostname:
    """sethostname(2) in the process's uts namespace."""

    name: str
    operation: ClassVar[int] = 5

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        return f"set the host name `{self.name}`"

    def encode(self) -> Encoded:
        """Give it to C."""
        return self.operation, (), (os.fsencode(self.name),)


@final
@frozen
class SetLimit:
    """setrlimit(2); `resource` is a RLIMIT_* number, `name` its word."""

    name: str
    resource: int
    soft: int
    hard: int
    operation: ClassVar[int] = 14

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        return f"limit {self.name} to {self.soft}, at most {self.hard}"

    def encode(self) -> Encoded:
        """Give it to C."""
        return self.operation, (self.resource, self.soft, self.hard), ()


@final
@frozen
class SetBounding:
    """Drop every capability that is not in `mask` from the bounding set; empty the ambient set."""

    mask: int
    words: str
    operation: ClassVar[int] = 15

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        return f"keep at most the capabilities {self.words}"

    def encode(self) -> Encoded:
        """Give it to C."""
        return self.operation, (self.mask,), ()


@final
@frozen
class SetCapabilities:
    """capset(2): permitted and effective are `mask`, inheritable is empty."""

    mask: int
    words: str
    operation: ClassVar[int] = 16

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        return f"hold the capabilities {self.words}"

    def encode(self) -> Encoded:
        """Give it to C."""
        return self.operation, (self.mask,), ()


@final
@frozen
class NoNewPrivileges:
    """prctl(PR_SET_NO_NEW_PRIVS)."""

    operation: ClassVar[int] = 17

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        return "allow no new privileges"

    def encode(self) -> Encoded:
        """Give it to C."""
        return self.operation, (), ()


@final
@frozen
class ChangeDirectory:
    """chdir; makes the directory where missing and `create`; checks that it is inside the root."""

    path: str
    create: bool = True
    operation: ClassVar[int] = 18

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        return f"change to `{self.path}`"

    def encode(self) -> Encoded:
        """Give it to C."""
        return self.operation, (int(self.create),), (os.fsencode(self.path),)


@final
@frozen
class SetStdio:
    """dup these three onto 0, 1 and 2."""

    stdin: Descriptor
    stdout: Descriptor
    stderr: Descriptor
    operation: ClassVar[int] = 19

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        return "connect standard input, output and error"

    def encode(self) -> Encoded:
        """Give it to C."""
        three = (self.stdin, self.stdout, self.stderr)
        return self.operation, tuple(map(encode_descriptor, three)), ()


@final
@frozen
class ControllingTerminal:
    """ioctl(0, TIOCSCTTY): standard input becomes the session's terminal."""

    operation: ClassVar[int] = 20

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        return "take standard input as the controlling terminal"

    def encode(self) -> Encoded:
        """Give it to C."""
        return self.operation, (), ()


@final
@frozen
class Execute:
    """Reset signals and umask, close every descriptor but 0 to 2, execve the first candidate found.

    `candidates` are the paths to try in turn. `init` is a descriptor of our own small init, run
    as PID 1 in front of the command; `status` a descriptor that init writes the command's raw
    wait status to (4 bytes, native order), or None. Where `stay` is False init becomes the command
    at once: a process that must not have an init still comes from a sealed file, so that an image
    whose command is `/proc/self/exe` does not get at the supervisor's interpreter. `to_the_last`:
    init outlives the command until nothing is left of what the command started, and reaps it all;
    a command that cannot be executed is then told by `status` too, as a negative errno.
    `init` None executes the command straight away, which is for commands of the host only.
    """

    candidates: tuple[str, ...]
    argv: tuple[str, ...]
    environment: tuple[str, ...]
    init: int | None = None
    status: Descriptor | None = None
    stay: bool = True
    to_the_last: bool = False
    operation: ClassVar[int] = 21

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        under = " under init" if self.init is not None and self.stay else ""
        return f"execute `{self.argv[0]}`{under}"

    def encode(self) -> Encoded:
        """Give it to C: integers are init, status, the count of each kind of string, and manner."""
        groups = (self.candidates, self.argv, self.environment)
        return (
            self.operation,
            (
                -1 if self.init is None else self.init,
                -1 if self.status is None else encode_descriptor(self.status),
                *map(len, groups),
                2 if self.to_the_last else int(self.stay),
            ),
            tuple(os.fsencode(text) for group in groups for text in group),
        )


Step = (
    JoinNamespace
    | SetIds
    | CloneAgain
    | NewSession
    | SetHostname
    | OpenFilesystem
    | EnterRoot
    | Attach
    | MakeDirectory
    | MakeSymlink
    | WriteBeneath
    | MakeReadOnly
    | Mask
    | SetLimit
    | SetBounding
    | SetCapabilities
    | NoNewPrivileges
    | ChangeDirectory
    | SetStdio
    | ControllingTerminal
    | Execute
)
