"""The command a container runs: its argv, where to look for it, and its first environment.

Pure: no file of the root is looked at. Which candidate exists is found out by execve, inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from anchor_supervisor.errors import FleetError, Problem
from anchor_supervisor.fleet.model import Container

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_TERM: Final = "xterm"


def argv(container: Container) -> tuple[str, ...]:
    """Entrypoint and command, one after the other.

    Raises FleetError where neither says what to run, or where the program's name is empty.
    """
    words = (*(container.entrypoint or ()), *(container.command or ()))
    if words and words[0]:
        return words
    message = (
        "the program's name is empty"
        if words
        else "nothing to run: neither an entrypoint nor a command is given"
    )
    raise FleetError(
        [Problem(message, key=f"containers.{container.name}.command", hint='command = ["program"]')]
    )


def candidates(program: str, path: str) -> tuple[str, ...]:
    """List the paths to try for `program`, in order, as execvp(3) would with this PATH.

    Relative entries of PATH, the empty one among them, are passed over: what runs must not hang
    on the directory the container happens to start in.
    """
    if "/" in program:
        return (program,)
    directories = dict.fromkeys(entry for entry in path.split(":") if entry.startswith("/"))
    return tuple(f"{directory.rstrip('/')}/{program}" for directory in directories)


def environment(
    container: Container, *, hostname: str, home: str, terminal: bool = False
) -> Mapping[str, str]:
    """Put the container's own variables over PATH, HOME, HOSTNAME and, with a terminal, TERM."""
    defaults = {"PATH": DEFAULT_PATH, "HOME": home, "HOSTNAME": hostname}
    if terminal:
        defaults["TERM"] = DEFAULT_TERM
    return {**defaults, **container.environment}
