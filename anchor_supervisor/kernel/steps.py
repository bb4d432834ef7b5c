"""What a new container process does between clone and exec, as a list of small values.

Python writes the list, prints it (`describe`) and hands it to `_spawn` (`encode`); C carries it
out. A step knows no fleet. Where a step takes a file descriptor, a `Slot` may stand instead: the
number of a descriptor that an earlier step of the same list has made in the child.

`encode` gives `(operation, integers, strings)`. The operation numbers are an agreement with
`_spawn.c` and nothing else. Paths are resolved by C beneath the process's root at that moment,
with no magic links followed.
"""

from __future__ import annotations

import os
from typing import ClassVar, final

from attrs import field, frozen

Encoded = tuple[int, tuple[int, ...], tuple[bytes, ...]]

SLOTS = 32


@final
@frozen
class Slot:
    """A descriptor that lives only in the child: 0 to SLOTS - 1."""

    number: int = field()

    @number.validator
    def _in_range(self, _attribute: object, value: int) -> None:
        if not 0 <= value < SLOTS:
            message = f"slot `{value}` is not between 0 and {SLOTS - 1}"
            raise ValueError(message)


Descriptor = int | Slot


def _descriptor(value: Descriptor) -> int:
    """Slots travel as negative numbers: -2 is slot 0 (-1 stays free for `none`)."""
    return -2 - value.number if isinstance(value, Slot) else value


@final
@frozen
class JoinNamespace:
    """setns(2): `fd` is a namespace file or a pidfd; `flags` the CLONE_NEW* kinds to join."""

    fd: int
    flags: int
    words: str
    operation: ClassVar[int] = 1

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        return f"join the {self.words}"

    def encode(self) -> Encoded:
        """Give it to C."""
        return self.operation, (self.fd, self.flags), ()


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
class OpenFilesystem:
    """fsopen, fsconfig, fsmount: a new, detached file system in `slot`.

    `options` are `(key, value)`; value None sets a flag. `attributes` are MOUNT_ATTR_*.
    """

    slot: Slot
    fstype: str
    options: tuple[tuple[str, str | None], ...] = ()
    attributes: int = 0
    operation: ClassVar[int] = 6

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        given = ",".join(key if value is None else f"{key}={value}" for key, value in self.options)
        return f"make a new {self.fstype}" + (f" ({given})" if given else "")

    def encode(self) -> Encoded:
        """Give it to C: strings are the type, then key and value in turn, b'' for no value."""
        flat = [self.fstype.encode()]
        for key, value in self.options:
            flat += [key.encode(), b"" if value is None else value.encode()]
        kinds = tuple(int(value is not None) for _, value in self.options)
        return self.operation, (_descriptor(self.slot), self.attributes, *kinds), tuple(flat)


@final
@frozen
class EnterRoot:
    """Make the detached mount `fd` the root, and let every older mount go.

    move_mount onto `staging` (a directory of the old root), pivot_root(".", "."), lazy unmount
    of the old root, chdir("/"). From here on no path leads to the host.
    """

    fd: Descriptor
    staging: str = "/"
    operation: ClassVar[int] = 7

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        return "make the prepared root the only root"

    def encode(self) -> Encoded:
        """Give it to C."""
        return self.operation, (_descriptor(self.fd),), (os.fsencode(self.staging),)


@final
@frozen
class Attach:
    """move_mount the detached mount `fd` onto `target`, making the mount point where missing.

    `directory` says which kind of mount point is made. Nothing on the way may be a symbolic link
    that leads outside the root; the last component may not be one at all where `strict`.
    """

    fd: Descriptor
    target: str
    words: str
    directory: bool = True
    strict: bool = False
    operation: ClassVar[int] = 8

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        return f"mount {self.words} on `{self.target}`"

    def encode(self) -> Encoded:
        """Give it to C."""
        return (
            self.operation,
            (_descriptor(self.fd), int(self.directory), int(self.strict)),
            (os.fsencode(self.target),),
        )


@final
@frozen
class MakeDirectory:
    """mkdir, with its parents; one that exists is left as it is."""

    path: str
    mode: int = 0o755
    operation: ClassVar[int] = 9

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        return f"make the directory `{self.path}`"

    def encode(self) -> Encoded:
        """Give it to C."""
        return self.operation, (self.mode,), (os.fsencode(self.path),)


@final
@frozen
class MakeSymlink:
    """symlink(2) `path` -> `target`; `path` must not exist."""

    path: str
    target: str
    operation: ClassVar[int] = 10

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        return f"link `{self.path}` to `{self.target}`"

    def encode(self) -> Encoded:
        """Give it to C."""
        return self.operation, (), (os.fsencode(self.path), os.fsencode(self.target))


@final
@frozen
class WriteBeneath:
    """Write `value` to `path` beneath the descriptor `fd`: sysctls, through our own /proc."""

    fd: Descriptor
    path: str
    value: str
    operation: ClassVar[int] = 11

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        return f"write `{self.value}` to `{self.path}`"

    def encode(self) -> Encoded:
        """Give it to C."""
        return (
            self.operation,
            (_descriptor(self.fd),),
            (os.fsencode(self.path), self.value.encode()),
        )


@final
@frozen
class MakeReadOnly:
    """Bind `path` onto itself read-only; with `remount`, set the mount that is there read-only.

    A path that does not exist is passed over.
    """

    path: str
    remount: bool = False
    operation: ClassVar[int] = 12

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        return f"make `{self.path}` read-only"

    def encode(self) -> Encoded:
        """Give it to C."""
        return self.operation, (int(self.remount),), (os.fsencode(self.path),)


@final
@frozen
class Mask:
    """Hide `path`: a directory under a clone of `empty`, a file under a clone of `null`.

    Both are detached mounts that stay usable for further masks. A missing path is passed over.
    """

    path: str
    empty: Descriptor
    null: Descriptor
    operation: ClassVar[int] = 13

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        return f"mask `{self.path}`"

    def encode(self) -> Encoded:
        """Give it to C."""
        return (
            self.operation,
            (_descriptor(self.empty), _descriptor(self.null)),
            (os.fsencode(self.path),),
        )


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

    stdin: int
    stdout: int
    stderr: int
    operation: ClassVar[int] = 19

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        return "connect standard input, output and error"

    def encode(self) -> Encoded:
        """Give it to C."""
        return self.operation, (self.stdin, self.stdout, self.stderr), ()


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
    whose command is `/proc/self/exe` does not get at the supervisor's interpreter. `init` None
    executes the command straight away, which is for commands of the host only.
    """

    candidates: tuple[str, ...]
    argv: tuple[str, ...]
    environment: tuple[str, ...]
    init: int | None = None
    status: int | None = None
    stay: bool = True
    operation: ClassVar[int] = 21

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        under = " under init" if self.init is not None and self.stay else ""
        return f"execute `{self.argv[0]}`{under}"

    def encode(self) -> Encoded:
        """Give it to C: integers are init, status, the count of each kind of string, and stay."""
        groups = (self.candidates, self.argv, self.environment)
        return (
            self.operation,
            (
                -1 if self.init is None else self.init,
                -1 if self.status is None else self.status,
                *map(len, groups),
                int(self.stay),
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
