"""What instructions do to an image's configuration: a dict in, a new dict out. Pure.

The formats are those of the OCI image specification (config.md) and, for what it lacks
(Healthcheck, OnBuild, Shell), Docker's. Instructions come expanded. Whatever a base image brings is
untrusted: members of a wrong type count as missing.
"""

from __future__ import annotations

import copy
import posixpath
import re
import signal
from collections.abc import Mapping
from typing import Any, Final

from anchor_supervisor.build import instructions as say
from anchor_supervisor.build import read
from anchor_supervisor.errors import FleetError, Problem
from anchor_supervisor.fleet.wording import Mistake, did_you_mean, show
from anchor_supervisor.images.model import Platform

Configuration = dict[str, Any]

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHELL: Final = ("/bin/sh", "-c")
PROTOCOLS: Final = ("tcp", "udp", "sctp")
LARGEST_PORT: Final = 65535
LAST_SIGNAL: Final = 64  # SIGRTMAX (signal(7))

_PORT: Final = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/([A-Za-z]*))?")
_REAL_TIME: Final = re.compile(r"RTM(IN\+|AX-)([0-9]{1,2})|RTM(?:IN|AX)")
_KEPT: Final = (
    *("architecture", "author", "config", "created", "history", "os", "os.features", "os.version"),
    *("rootfs", "variant"),
)


def empty(platform: Platform) -> Configuration:
    """Return the configuration of `FROM scratch`: no layers, and a PATH, as docker has it."""
    configuration: Configuration = {
        "architecture": platform.architecture,
        "os": platform.os,
        "config": {"Env": [f"PATH={DEFAULT_PATH}"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": []},
        "history": [],
    }
    if platform.variant:
        configuration["variant"] = platform.variant
    return configuration


def inherited(base: Mapping[str, Any]) -> tuple[Configuration, tuple[str, ...]]:
    """Return what a stage begins with, and the triggers that its base wants run first.

    What Docker keeps of the container an image was made from, is not passed on.
    """
    configuration = {name: copy.deepcopy(base[name]) for name in _KEPT if name in base}
    configuration["config"] = _table(configuration, "config")
    configuration["history"] = _list(configuration, "history")
    triggers = configuration["config"].pop("OnBuild", None)
    if not isinstance(triggers, list):
        return configuration, ()
    return configuration, tuple(text for text in triggers if isinstance(text, str))


def changed(
    configuration: Configuration,
    instruction: say.Instruction,
    *,
    own_command: bool = False,
    file: str = "",
) -> Configuration:
    """Return the configuration after an (expanded) instruction; RUN, COPY, ADD, ARG change nothing.

    `own_command` says that the stage has had a CMD: then an ENTRYPOINT leaves it alone.
    Raises FleetError at the instruction's line.
    """
    result = {**configuration}
    settings = copy.deepcopy(_table(configuration, "config"))
    try:
        if isinstance(instruction, say.Maintainer):
            result["author"] = instruction.name
        else:
            _change(settings, instruction, own_command=own_command)
    except Mistake as mistake:
        place = (file or None, instruction.line or None, None, mistake.hint)
        raise FleetError([Problem(mistake.message, *place)]) from mistake
    result["config"] = settings
    return result


def _change(settings: dict[str, Any], instruction: say.Instruction, *, own_command: bool) -> None:
    match instruction:
        case say.Env():
            settings["Env"] = _with_variables(settings, instruction.variables)
        case say.Label():
            settings["Labels"] = {**_table(settings, "Labels"), **dict(instruction.labels)}
        case say.User():
            settings["User"] = instruction.user
        case say.WorkDir():
            settings["WorkingDir"] = joined(_text(settings, "WorkingDir"), instruction.path)
        case say.Expose():
            ports = [port for text in instruction.ports for port in read_ports(text)]
            settings["ExposedPorts"] = _with_names(settings, "ExposedPorts", ports)
        case say.Volume():
            settings["Volumes"] = _with_names(settings, "Volumes", list(instruction.paths))
        case say.Cmd():
            _set(settings, "Cmd", _command(settings, instruction.command))
        case say.Entrypoint():
            _set(settings, "Entrypoint", _command(settings, instruction.command))
            # The inherited arguments were meant for the inherited entrypoint.
            if not own_command:
                settings.pop("Cmd", None)
        case say.Shell():
            settings["Shell"] = list(instruction.command)
        case say.StopSignal():
            settings["StopSignal"] = checked_signal(instruction.signal)
        case say.HealthCheck():
            settings["Healthcheck"] = _health_check(instruction)
        case say.OnBuild():
            settings["OnBuild"] = [*_list(settings, "OnBuild"), instruction.trigger]
        case _:
            pass


def environment(configuration: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables that the image sets."""
    pairs = [pair.partition("=") for pair in _words(_table(configuration, "config"), "Env")]
    return {name: value for name, equals, value in pairs if name and equals}


def shell(configuration: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a shell form is given to."""
    return tuple(_words(_table(configuration, "config"), "Shell")) or DEFAULT_SHELL


def command(configuration: Mapping[str, Any], given: say.Command) -> tuple[str, ...]:
    """Return what is executed: the exec form as it is, the shell form as the shell's argument."""
    return given if isinstance(given, tuple) else (*shell(configuration), given)


def on_build(text: str) -> say.Instruction:
    """Read a trigger of a base image. Raises FleetError that shows it."""
    try:
        return read.trigger(text)
    except Mistake as mistake:
        message = f"the base image's trigger {show(text)}: {mistake.message}"
        raise FleetError([Problem(message, hint=mistake.hint)]) from mistake


def joined(current: str, path: str) -> str:
    """Return the directory that WORKDIR leads to from another: absolute, without `.` and `..`."""
    return "/" + posixpath.normpath(posixpath.join("/", current, path)).lstrip("/")


def read_ports(text: str) -> tuple[str, ...]:
    """Read `80`, `53/udp`, `8000-8010`: each port as `80/tcp`. Raises Mistake.

    Of `80:8080` docker takes what is behind the last colon, and so do we.
    """
    found = _PORT.fullmatch(text.rpartition(":")[2])
    if found is None:
        message = f"{show(text)} is not a port"
        raise Mistake(message, hint="such as `80`, `53/udp` or `8000-8010`")
    first, last, protocol = found.groups()
    low, high = int(first), int(last or first)
    protocol = (protocol or "tcp").lower()
    if protocol not in PROTOCOLS:
        message = f"{show(text)}: {show(protocol)} is none of `tcp`, `udp`, `sctp`"
        raise Mistake(message, hint=did_you_mean(protocol, PROTOCOLS))
    if not low <= high <= LARGEST_PORT:
        backwards = "runs backwards" if high < low else f"goes beyond {LARGEST_PORT}"
        message = f"{show(text)} {backwards}"
        raise Mistake(message)
    return tuple(f"{port}/{protocol}" for port in range(low, high + 1))


def checked_signal(text: str) -> str:
    """Return the name or number of a signal as it is written. Raises Mistake for none."""
    if text.isascii() and text.isdigit() and len(text) < 4 and 0 < int(text) <= LAST_SIGNAL:
        return text
    name = text.upper().removeprefix("SIG")
    known = {member.removeprefix("SIG") for member in signal.Signals.__members__}
    found = _REAL_TIME.fullmatch(name)
    span = signal.SIGRTMAX - signal.SIGRTMIN
    if name in known or (found is not None and int(found.group(2) or 0) <= span):
        return text
    message = f"{show(text)} is not a signal"
    near = did_you_mean(name, sorted(known))
    raise Mistake(message, hint=near or "a name such as `SIGTERM`, or its number")


def _health_check(check: say.HealthCheck) -> dict[str, Any]:
    if check.command is None:
        return {"Test": ["NONE"]}
    exec_form = isinstance(check.command, tuple)
    test = ["CMD", *check.command] if exec_form else ["CMD-SHELL", check.command]
    values = {
        "Interval": check.interval,
        "Timeout": check.timeout,
        "StartPeriod": check.start_period,
        "StartInterval": check.start_interval,
        "Retries": check.retries,
    }
    return {"Test": test, **{name: value for name, value in values.items() if value}}


def _command(settings: dict[str, Any], given: say.Command) -> list[str]:
    return list(command({"config": settings}, given))


def _set(settings: dict[str, Any], name: str, value: list[str]) -> None:
    """Set a command; an empty one is none at all."""
    if value:
        settings[name] = value
    else:
        settings.pop(name, None)


def _with_variables(settings: dict[str, Any], given: tuple[tuple[str, str], ...]) -> list[str]:
    """Put each variable where it is already, a new one at the end."""
    variables = environment({"config": settings})
    return [f"{name}={value}" for name, value in {**variables, **dict(given)}.items()]


def _with_names(settings: dict[str, Any], key: str, names: list[str]) -> dict[str, Any]:
    return {**_table(settings, key), **{name: {} for name in names}}


def _table(holder: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = holder.get(name)
    return found if isinstance(found, dict) else {}


def _list(holder: Mapping[str, Any], name: str) -> list[Any]:
    found = holder.get(name)
    return found if isinstance(found, list) else []


def _words(holder: Mapping[str, Any], name: str) -> list[str]:
    return [word for word in _list(holder, name) if isinstance(word, str)]


def _text(holder: Mapping[str, Any], name: str) -> str:
    found = holder.get(name)
    return found if isinstance(found, str) else ""
