"""Who a container runs as and what it may: users, capabilities, kernel settings, ulimits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from anchor_supervisor.fleet.finding import Finding, path_of
from anchor_supervisor.fleet.model import Container, NetworkMode, UserNamespace
from anchor_supervisor.fleet.users import foreign_ids, user_mistakes
from anchor_supervisor.fleet.wording import did_you_mean, show
from anchor_supervisor.patterns import pattern

CAPABILITIES: Final = (  # noqa: SIM905 - forty lines would say no more
    "ALL AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN "
    "DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE "
    "MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON "
    "SETFCAP SETGID SETPCAP SETUID SYS_ADMIN SYS_BOOT SYS_CHROOT SYSLOG SYS_MODULE SYS_NICE "
    "SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM"
).split()
"""capabilities(7), and ALL."""

ULIMITS: Final = (  # noqa: SIM905 - as above
    "as core cpu data fsize memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack"
).split()
"""getrlimit(2), RLIMIT_* in lower case; `locks` has done nothing since Linux 2.4.25."""

# ipc_namespaces(7): what the ipc namespace has of its own.
_IPC_SYSCTLS: Final = frozenset(
    f"kernel.{name}"
    for name in (
        *("msgmax", "msgmnb", "msgmni", "sem"),
        *("shmall", "shmmax", "shmmni", "shm_rmid_forced"),
    )
)
# No `/`, and no `..`: the name becomes a path. No `+` or line break in a value: CVE-2022-0811.
_SYSCTL_NAME: Final = pattern(r"[a-z][a-z0-9_]*(?:\.[A-Za-z0-9_-]+)+")
LEAST_OPEN_FILES: Final = 64
_SYSCTL_VALUE: Final = pattern(r"[0-9A-Za-z_.,:-]+(?:[ \t]+[0-9A-Za-z_.,:-]+)*")

Findings = Iterator[Finding]


def privilege_findings(container: Container) -> Findings:
    """Yield every identity or right that is malformed, unknown or not a container's to have."""
    yield from _user(container)
    yield from _capabilities(container)
    yield from _sysctls(container)
    yield from _ulimits(container)


def _user(container: Container) -> Findings:
    if container.user is None:
        return
    key = path_of("containers", container.name, "user")
    mistakes = list(user_mistakes(container.user))
    for mistake in mistakes:
        yield Finding(key, mistake.message, mistake.hint)
    if container.user_namespace is UserNamespace.AUTO and not mistakes:
        hint = 'a smaller number, or `user_namespace = "host"`'
        because = (path_of("containers", container.name, "user_namespace"),)
        for message in foreign_ids(container.user):
            yield Finding(key, message, hint, because)


def _capabilities(container: Container) -> Findings:
    wanted = container.capabilities
    for list_name, names in (("add", wanted.add), ("drop", wanted.drop)):
        key = path_of("containers", container.name, "capabilities", list_name)
        for name in names:
            if name not in CAPABILITIES:
                near = did_you_mean(name, CAPABILITIES)
                yield Finding(key, f"{show(name)} is not a capability", near)
    for name in sorted(set(wanted.add) & set(wanted.drop)):
        key = path_of("containers", container.name, "capabilities")
        yield Finding(key, f"{show(name)} is both added and dropped")


def _sysctls(container: Container) -> Findings:
    for name, value in container.sysctls.items():
        key = path_of("containers", container.name, "sysctls", name)
        if _SYSCTL_NAME.fullmatch(name) is None:
            dotted = name.replace("/", ".")
            near = f"`{dotted}`" if _SYSCTL_NAME.fullmatch(dotted) else None
            yield Finding(key, f"{show(name)} is not the name of a kernel setting", near)
        elif name.startswith("net."):
            if container.network_mode is NetworkMode.HOST:
                message = f"{show(name)} would change the machine's own network"
                yield Finding(key, message, 'leave out `networks = "host"`')
        elif name not in _IPC_SYSCTLS and not name.startswith("fs.mqueue."):
            yield Finding(
                key,
                f"{show(name)} is the machine's, not a container's",
                "a container has `net.*`, `fs.mqueue.*` and `kernel.msg*`, `sem`, `shm*`",
            )
        if _SYSCTL_VALUE.fullmatch(value) is None:
            yield Finding(key, f"{show(value)} is not a value of a kernel setting")


def _ulimits(container: Container) -> Findings:
    for name, (soft, hard) in container.ulimits.items():
        key = path_of("containers", container.name, "ulimits", name)
        if name not in ULIMITS:
            near = did_you_mean(name, ULIMITS)
            yield Finding(key, f"{show(name)} is not a ulimit", near)
        # -1 is no limit at all (RLIM_INFINITY).
        elif hard != -1 and (soft == -1 or soft > hard):
            yield Finding(key, f"soft limit `{soft}` is above hard limit `{hard}`")
        elif name == "nofile" and 0 <= soft < LEAST_OPEN_FILES:
            message = f"a start needs {LEAST_OPEN_FILES} open files itself, more than `{soft}`"
            yield Finding(key, message)
