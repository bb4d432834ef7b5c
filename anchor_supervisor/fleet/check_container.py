"""One container by itself: what it runs, how it ends, and keys that contradict each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from anchor_supervisor.fleet.finding import Finding, path_of
from anchor_supervisor.fleet.model import Container, ImageKind, Kind, RestartWhen
from anchor_supervisor.fleet.units import format_duration, format_size
from anchor_supervisor.fleet.wording import did_you_mean, show

SIGNALS: Final = (  # noqa: SIM905 - thirty lines would say no more
    "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM CHLD CONT STOP TSTP "
    "TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS RTMIN RTMAX"
).split()
"""signal(7), the names Linux has everywhere."""

NO_STOP_SIGNALS: Final = frozenset({"STOP", "TSTP", "TTIN", "TTOU", "CONT", "CHLD", "URG"})
"""What leaves a process running or only pauses it (signal(7)); WINCH ends some servers."""

_REAL_TIME: Final = re.compile(r"RTMIN\+([1-9]|[12][0-9]|30)")
"""The C library keeps two of the kernel's for itself and counts from its own RTMIN (signal(7))."""

SMALLEST_MEMORY: Final = 64 * 1024  # bytes; below it not even the first page tables fit

Findings = Iterator[Finding]


def container_findings(container: Container) -> Findings:
    """Yield everything wrong with one container that no other part of the fleet changes."""
    yield from _command(container)
    yield from _working_directory(container)
    yield from _stop_signal(container)
    yield from _memory(container)
    yield from _restart(container)
    if container.kind is Kind.JOB:
        yield from _job(container)


def _path(container: Container, *keys: str) -> str:
    return path_of("containers", container.name, *keys)


def _command(container: Container) -> Findings:
    words = (*(container.entrypoint or ()), *(container.command or ()))
    because = (_path(container, "entrypoint"), _path(container, "image"))
    if words and not words[0]:
        key = "entrypoint" if container.entrypoint else "command"
        yield Finding(_path(container, key), "the program's name is empty", because=because)
    elif not words and (container.complete or container.image.kind is not ImageKind.STORE):
        yield Finding(
            _path(container, "command"),
            f"nothing to run: image `{container.image.reference}` has no command of its own",
            'add `command = ["program"]`',
            because,
        )


def _working_directory(container: Container) -> Findings:
    path = container.working_dir
    if path is not None and not path.startswith("/"):
        yield Finding(_path(container, "working_dir"), f"{show(path)} is not an absolute path")


def _stop_signal(container: Container) -> Findings:
    name = container.stop.signal
    key = _path(container, "stop", "signal")
    if name not in SIGNALS and _REAL_TIME.fullmatch(name) is None:
        near = did_you_mean(name, SIGNALS)
        hint = "by name, as in `TERM`" if name.isdecimal() else near
        yield Finding(key, f"{show(name)} is not a signal", hint)
    elif name in NO_STOP_SIGNALS:
        yield Finding(key, f"{show(name)} does not end a process", "`TERM`, `INT` or `QUIT`")


def _memory(container: Container) -> Findings:
    limits = container.limits
    for name, size in (("memory", limits.memory), ("memory_high", limits.memory_high)):
        if size is not None and size < SMALLEST_MEMORY:
            yield Finding(
                _path(container, "limits", name),
                f"`{format_size(size)}` is too little for any process",
                f"`{size}M` is {size} mebibytes" if 0 < size < 1024 else None,
            )
    if None not in (limits.memory, limits.memory_high) and (
        (limits.memory_high or 0) > (limits.memory or 0)
    ):
        yield Finding(
            _path(container, "limits", "memory_high"),
            f"`{format_size(limits.memory_high or 0)}` is above `memory`, "
            f"`{format_size(limits.memory or 0)}`, so it would never act",
            because=(_path(container, "limits", "memory"),),
        )


def _restart(container: Container) -> Findings:
    policy = container.restart
    if policy.delay > policy.max_delay:
        yield Finding(
            _path(container, "restart", "max_delay"),
            f"`{format_duration(policy.max_delay)}` is below `delay`, "
            f"`{format_duration(policy.delay)}`",
            because=(_path(container, "restart", "delay"),),
        )


def _job(container: Container) -> Findings:
    because = (_path(container, "kind"),)
    if container.restart.when is RestartWhen.ALWAYS:
        yield Finding(
            _path(container, "restart"),
            "a job that is always restarted is never done",
            '`restart = "on-failure"`, or a service',
            because,
        )
    if container.health is not None:
        yield Finding(
            _path(container, "health"),
            "a job is ready when it exits 0, so `health` has no meaning",
            "leave it out, or make it a service",
            because,
        )
