"""What a container's first process does, from clone to exec, as one readable list of steps.

Pure: everything it needs is an argument, so `--plan` prints exactly what a start performs.
"""

from __future__ import annotations

import resource
from collections.abc import Mapping, Sequence
from typing import Final, final

from anchor_supervisor.fleet.model import EMPTY, Container, UserNamespace
from anchor_supervisor.kernel import capabilities
from anchor_supervisor.kernel.namespaces import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
)
from anchor_supervisor.kernel.steps import (
    ChangeDirectory,
    CloneAgain,
    ControllingTerminal,
    Descriptor,
    Execute,
    JoinNamespace,
    NewSession,
    NoNewPrivileges,
    SetBounding,
    SetCapabilities,
    SetHostname,
    SetIds,
    SetLimit,
    SetStdio,
    Step,
)
from anchor_supervisor.rootfs import command
from anchor_supervisor.rootfs.users import Credentials
from anchor_supervisor.values import evolve, frozen

NEW_NAMESPACES: Final = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWCGROUP
EVERY_NAMESPACE: Final = NEW_NAMESPACES | CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS
DEFAULT_ULIMITS: Final[Mapping[str, tuple[int, int]]] = {"nofile": (1024, 524288)}


@final
@frozen
class Process:
    """The process a container (or an exec in one) becomes. Ids as the container numbers them."""

    argv: tuple[str, ...]
    candidates: tuple[str, ...]
    environment: Mapping[str, str]
    uid: int
    gid: int
    groups: tuple[int, ...]
    working_dir: str
    stdio: tuple[Descriptor, Descriptor, Descriptor]
    terminal: bool = False


@final
@frozen
class Powers:
    """What a process may do at most. `limits` are `name: (soft, hard)` of setrlimit(2)."""

    bounding: int
    no_new_privileges: bool
    private_users: bool
    limits: Mapping[str, tuple[int, int]]


@final
@frozen
class Joined:
    """The namespaces that a start joins, as `namespaces.Sandbox` has them."""

    user: Descriptor | None
    net: Descriptor | None
    ipc: Descriptor
    uts: Descriptor


def container_powers(container: Container) -> Powers:
    """The powers that the fleet file gives to a container."""
    return Powers(
        capabilities.resolve(container.capabilities.add, container.capabilities.drop),
        container.no_new_privileges,
        container.user_namespace is UserNamespace.AUTO,
        _ulimits(container.ulimits),
    )


def container_process(
    container: Container,
    hostname: str,
    credentials: Credentials,
    stdio: tuple[Descriptor, Descriptor, Descriptor],
    *,
    terminal: bool = False,
    more: Mapping[str, str] = EMPTY,
) -> Process:
    """The process that the fleet file asks for; `more` wins over its environment.

    Raises FleetError where it names no command.
    """
    argv = command.argv(container)
    environment = command.environment(
        container, hostname=hostname, home=credentials.home, terminal=terminal
    )
    return Process(
        argv=argv,
        candidates=command.candidates(argv[0], environment["PATH"]),
        environment={**environment, **more},
        uid=credentials.uid,
        gid=credentials.gid,
        groups=credentials.groups,
        working_dir=container.working_dir or "/",
        stdio=stdio,
        terminal=terminal,
    )


def container_steps(
    powers: Powers,
    hostname: str,
    sandbox: Joined,
    root_steps: Sequence[Step],
    process: Process,
    *,
    init: int,
    stay: bool,
    status: Descriptor,
) -> tuple[Step, ...]:
    """Every step of a start. `init`, `stay` and `status` are as in `Execute`."""
    return (
        *_raised_limits(powers),
        *_join(sandbox),
        NewSession(),
        SetHostname(hostname),
        *root_steps,
        *_become(powers, process),
        execute_step(process, init, stay=stay, status=status if stay else None),
    )


def exec_steps(powers: Powers, pidfd: int, process: Process, init: int) -> tuple[Step, ...]:
    """Every step of a command run in the container whose main process is `pidfd`."""
    return (*_enter(powers, pidfd, process), execute_step(process, init, stay=False, status=None))


def reaped_exec_steps(
    powers: Powers, pidfd: int, process: Process, init: int, status: int
) -> tuple[Step, ...]:
    """The same beneath an init that tells `status` of the end, and reaps all that is left."""
    execute = execute_step(process, init, stay=True, status=status)
    return (*_enter(powers, pidfd, process), evolve(execute, to_the_last=True))


def _enter(powers: Powers, pidfd: int, process: Process) -> tuple[Step, ...]:
    joined = EVERY_NAMESPACE if powers.private_users else EVERY_NAMESPACE & ~CLONE_NEWUSER
    return (
        *_raised_limits(powers),
        JoinNamespace(pidfd, joined, "container's namespaces"),
        SetIds(0, 0),
        CloneAgain(0, "process of the container"),
        NewSession(),
        *_become(powers, process),
    )


def _join(sandbox: Joined) -> tuple[Step, ...]:
    """The user namespace comes last: joining it gives up the right to join the others."""
    steps: list[Step] = []
    if sandbox.net is not None:
        steps.append(JoinNamespace(sandbox.net, CLONE_NEWNET, "network namespace"))
    steps.append(JoinNamespace(sandbox.ipc, CLONE_NEWIPC, "ipc namespace"))
    steps.append(JoinNamespace(sandbox.uts, CLONE_NEWUTS, "uts namespace"))
    if sandbox.user is not None:
        steps.append(JoinNamespace(sandbox.user, CLONE_NEWUSER, "user namespace"))
        steps.append(SetIds(0, 0))
    steps.append(CloneAgain(NEW_NAMESPACES, "pid, mount and cgroup namespaces"))
    return tuple(steps)


def _ulimits(declared: Mapping[str, tuple[int, int]]) -> Mapping[str, tuple[int, int]]:
    """The declared limits, and the default ones as far as this process's own hard limits allow."""
    limits = dict(declared)
    for name, (soft, hard) in DEFAULT_ULIMITS.items():
        if name not in limits:
            _, allowed = resource.getrlimit(limit_number(name))
            highest = hard if allowed == resource.RLIM_INFINITY else min(hard, allowed)
            limits[name] = (min(soft, highest), highest)
    return limits


def limit_number(name: str) -> int:
    """The RLIMIT_* number of a name such as `nofile`."""
    number: int = getattr(resource, f"RLIMIT_{name.upper()}")
    return number


def exceeds_own_limit(name: str, hard: int) -> bool:
    """Whether setting this hard limit needs CAP_SYS_RESOURCE on the machine (setrlimit(2))."""
    _, own = resource.getrlimit(limit_number(name))
    return own != resource.RLIM_INFINITY and (hard == resource.RLIM_INFINITY or hard > own)


def _raised_limits(powers: Powers) -> tuple[SetLimit, ...]:
    """Hard limits above our own: raised while we still hold CAP_SYS_RESOURCE on the machine.

    Soft limits are lowered only at the end: a low nofile would starve the steps between.
    """
    return tuple(
        SetLimit(name, limit_number(name), hard, hard)
        for name, (_, hard) in powers.limits.items()
        if exceeds_own_limit(name, hard)
    )


def _become(powers: Powers, process: Process) -> tuple[Step, ...]:
    """Shed every power that the command shall not have, in the one order that works.

    The bounding set needs CAP_SETPCAP, which SetIds to another user gives up (capabilities(7)).
    """
    held = powers.bounding if process.uid == 0 else 0
    steps: list[Step] = [
        ChangeDirectory(process.working_dir),
        SetStdio(*process.stdio),
    ]
    if process.terminal:
        steps.append(ControllingTerminal())
    steps += [
        SetLimit(name, limit_number(name), soft, hard)
        for name, (soft, hard) in powers.limits.items()
    ]
    steps += [
        SetBounding(powers.bounding, capabilities.words(powers.bounding)),
        SetIds(process.uid, process.gid, process.groups),
        SetCapabilities(held, capabilities.words(held)),
    ]
    if powers.no_new_privileges:
        steps.append(NoNewPrivileges())
    return tuple(steps)


def execute_step(process: Process, init: int, *, stay: bool, status: Descriptor | None) -> Execute:
    """Make the last step, always by way of our sealed init, even where that does not stay.

    CVE-2019-5736: an image's `#!/proc/self/exe` must never mean the interpreter that we are.
    """
    environment = tuple(f"{key}={value}" for key, value in process.environment.items())
    return Execute(process.candidates, process.argv, environment, init, status, stay=stay)
