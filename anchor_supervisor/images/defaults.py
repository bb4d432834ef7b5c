"""What an image's configuration says of the containers made from it, under what the file says.

The configuration is its author's word and untrusted: of all it may hold, only what shapes the
process inside is taken (config.md, "Image Configuration"), nothing in it can name a thing of the
machine, and every wrong type is an error.
"""

from __future__ import annotations

import posixpath
import signal
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeVar, final

from anchor_supervisor.errors import ImageError
from anchor_supervisor.fleet.model import (
    Container,
    ExecProbe,
    Health,
    Kind,
    StopPolicy,
    Volume,
    VolumeKind,
)
from anchor_supervisor.images.model import Image
from anchor_supervisor.values import evolve, field, frozen

T = TypeVar("T")

SHELL: Final = ("/bin/sh", "-c")  # config.md and docker's HEALTHCHECK: what CMD-SHELL is given to
_SECOND: Final = 10**9  # nanoseconds
_SHORTEST: Final = (
    10**6
)  # nanoseconds; docker takes no less, and a check for ever under way is a load
_LARGEST: Final = 2**63 - 1  # Go's time.Duration and int
# docker's own defaults, where the image gives none (Dockerfile reference, HEALTHCHECK).
_INTERVAL: Final = 30.0
_TIMEOUT: Final = 30.0
_RETRIES: Final = 3


@final
@frozen
class Defaults:
    """What the image says. `entrypoint` and `command` None: nothing, which differs from empty."""

    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(factory=lambda: MappingProxyType({}))
    user: str | None = None
    working_dir: str | None = None
    stop_signal: str | None = None
    health: Health | None = None
    volumes: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(factory=lambda: MappingProxyType({}))


def defaults_of(image: Image) -> Defaults:
    """Read the configuration. Raises ImageError for what no honest builder writes."""
    given = _typed(image.config.get("config"), dict, "config") or {}
    shell = _words(given.get("Shell"), "Shell") or SHELL
    return Defaults(
        entrypoint=_words(given.get("Entrypoint"), "Entrypoint"),
        command=_words(given.get("Cmd"), "Cmd"),
        environment=_environment(_words(given.get("Env"), "Env") or ()),
        user=_text(given.get("User"), "User") or None,
        working_dir=_directory(_text(given.get("WorkingDir"), "WorkingDir")),
        stop_signal=_signal(_text(given.get("StopSignal"), "StopSignal")),
        health=_health(_typed(given.get("Healthcheck"), dict, "Healthcheck"), shell),
        volumes=tuple(sorted(map(_target, _typed(given.get("Volumes"), dict, "Volumes") or ()))),
        exposed=tuple(_typed(given.get("ExposedPorts"), dict, "ExposedPorts") or ()),
        labels=_labels(_typed(given.get("Labels"), dict, "Labels") or {}),
    )


def completed(container: Container, image: Defaults) -> Container:
    """Return the container with the image's word wherever the file does not speak.

    An entrypoint in the file puts the image's command aside as well, as docker has it.
    """
    command = container.command
    if command is None and container.entrypoint is None:
        command = image.command
    # A job is ready when it exits 0: a server's health check says nothing of it.
    wanted = container.image_health and container.kind is Kind.SERVICE
    health = image.health if wanted else None
    return evolve(
        container,
        entrypoint=image.entrypoint if container.entrypoint is None else container.entrypoint,
        command=command,
        environment=MappingProxyType({**image.environment, **container.environment}),
        user=container.user or image.user,
        working_dir=container.working_dir or image.working_dir,
        stop=_stop(container.stop, image.stop_signal),
        health=container.health or health,
        volumes=(*container.volumes, *_anonymous(container, image)),
        labels=MappingProxyType({**image.labels, **container.labels}),
        complete=True,
    )


def _stop(policy: StopPolicy, name: str | None) -> StopPolicy:
    if name is None or "signal" in policy.declared:
        return policy
    return evolve(policy, signal=name)


def _anonymous(container: Container, image: Defaults) -> tuple[Volume, ...]:
    """The image's volumes, but where the file mounts something else."""
    taken = {volume.target for volume in container.volumes}
    return tuple(
        Volume(VolumeKind.ANONYMOUS, target) for target in image.volumes if target not in taken
    )


def _typed(value: object, kind: type[T], key: str) -> T | None:
    """Take a value of this type; null is as good as nothing (Go writes nil so)."""
    if value is None or isinstance(value, kind):
        return value
    message = f"`{key}` of the configuration is of the wrong type"
    raise ImageError(message)


def _text(value: object, key: str) -> str:
    text = _typed(value, str, key) or ""
    if "\0" in text:
        message = f"`{key}` of the configuration has a NUL character"
        raise ImageError(message)
    try:
        text.encode()
    except UnicodeEncodeError as error:  # JSON can say half of a character (RFC 8259, 8.2)
        message = f"`{key}` of the configuration is not text"
        raise ImageError(message) from error
    return text


def _words(value: object, key: str) -> tuple[str, ...] | None:
    given = _typed(value, list, key)
    if given is None:
        return None
    if not all(isinstance(word, str) for word in given):
        message = f"`{key}` of the configuration is not a list of strings"
        raise ImageError(message)
    return tuple(_text(word, key) for word in given)


def _environment(pairs: tuple[str, ...]) -> Mapping[str, str]:
    """Take the pairs that are pairs; others mean nothing to a process (environ(7))."""
    split = (pair.partition("=") for pair in pairs)
    return MappingProxyType({name: text for name, equals, text in split if name and equals})


def _directory(path: str) -> str | None:
    return _absolute(path) if path else None


def _target(path: object) -> str:
    """A volume's place; whether it may be there is the fleet's checks' to say."""
    return _absolute(_text(path, "Volumes"))


def _absolute(path: str) -> str:
    """Begin at the root, with one slash: two mean what they like (path_resolution(7))."""
    return posixpath.normpath("/" + path.lstrip("/"))


def _signal(text: str) -> str | None:
    """A name, with or without SIG, or a number, as docker allows."""
    name = text.upper().removeprefix("SIG")
    if not name.isdecimal():
        return name or None
    try:
        number = int(name)
        if signal.SIGRTMIN < number < signal.SIGRTMAX:  # only the first and the last have a name
            return f"RTMIN+{number - signal.SIGRTMIN}"
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError as error:
        message = f"the configuration's stop signal `{text}` is no signal"
        raise ImageError(message) from error


def _health(given: dict[str, object] | None, shell: tuple[str, ...]) -> Health | None:
    test = _words((given or {}).get("Test"), "Healthcheck.Test")
    if given is None or not test or test[0] == "NONE":
        return None
    match test:
        case ("CMD", first, *rest):
            command = (first, *rest)
        case ("CMD-SHELL", text):
            command = (*shell, text)
        case _:
            message = f"the configuration's health check has the unknown form `{test[0]:.40}`"
            raise ImageError(message)
    return Health(
        ExecProbe(command),
        interval=_seconds(given, "Interval") or _INTERVAL,
        timeout=_seconds(given, "Timeout") or _TIMEOUT,
        retries=max(1, _number(given, "Retries") or _RETRIES),
        start_period=_seconds(given, "StartPeriod"),
    )


def _seconds(given: Mapping[str, object], key: str) -> float:
    """Take a time; 0 is as good as none, and so is nonsense."""
    number = _number(given, key)
    return number / _SECOND if number >= _SHORTEST else 0.0


def _number(given: Mapping[str, object], key: str) -> int:
    number = _typed(given.get(key), int, f"Healthcheck.{key}") or 0
    if isinstance(number, bool) or abs(number) > _LARGEST:  # JSON's numbers have no end
        message = f"`Healthcheck.{key}` of the configuration is no number of its kind"
        raise ImageError(message)
    return number


def _labels(given: Mapping[object, object]) -> Mapping[str, str]:
    return MappingProxyType({_text(key, "Labels"): _text(given[key], "Labels") for key in given})
