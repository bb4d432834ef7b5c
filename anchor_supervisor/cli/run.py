"""`anchor run [-i IMAGE] CMD...`: one container in the foreground, without a file.

It is a fleet of one job: everything that holds for a fleet holds here, `anchor ps` sees it, and
nothing of it is left when the command has ended.
"""

from __future__ import annotations

import argparse
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from anchor_supervisor.cli.problems import show
from anchor_supervisor.cli.provide import provided
from anchor_supervisor.control.fleets import dead_fleets
from anchor_supervisor.errors import AnchorError, FleetError, HostError, ImageError, Problem
from anchor_supervisor.fleet.parse import structure
from anchor_supervisor.kernel.spawn import SpawnError
from anchor_supervisor.observability import places
from anchor_supervisor.runtime.bringup import Stdio
from anchor_supervisor.runtime.service import supervise
from anchor_supervisor.runtime.sweep import sweep_fleet
from anchor_supervisor.runtime.terms import Ending, Options

OUR_ERROR: Final = 125
PREFIX: Final = "run-"

EXAMPLES: Final = """\
Without -i the command runs over the machine's own root, copy-on-write: what it changes is gone
afterwards. The exit code is the command's; 128+N if signal N ended it, 125 our own error,
126 not executable, 127 not found.

examples:
  anchor run /bin/echo "Welcome to Anchor"
  anchor run -i ./rootfs.tar /bin/echo "Hello World"
  anchor run -i debian:12 cat /etc/os-release
  anchor run -i ./rootfs -v ./data:/data:ro -e LANG=C ls -l /data
  anchor run --net none --memory 64M sh -c 'id; ip addr'
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "-i",
        "--image",
        default="host",
        help="a name, a directory or a tar; default: this machine",
    )
    parser.add_argument("--rm", action="store_true", help="accepted: nothing is kept in any case")
    parser.add_argument("-t", "--tty", action="store_true", help="not supported yet")
    parser.add_argument("-d", "--detach", action="store_true", help="not supported yet")
    parser.add_argument("--name", help="the container's name; default: run- and a number")
    parser.add_argument(
        "-e", "--env", metavar="K=V", action="append", default=[], help="a variable"
    )
    parser.add_argument(
        "-v", "--volume", metavar="SRC:DST[:ro]", action="append", default=[], help="a volume"
    )
    parser.add_argument(
        "-p", "--publish", metavar="PORTS", action="append", default=[], help="a published port"
    )
    parser.add_argument("-m", "--memory", metavar="SIZE", help="limit of memory, such as 64M")
    parser.add_argument("--cpus", type=float, help="limit of processors, such as 0.5")
    parser.add_argument("-u", "--user", help="name or number, with :group if need be")
    parser.add_argument("-w", "--workdir", metavar="DIR", help="working directory")
    parser.add_argument("--net", default="default", help="none, host, or default")
    parser.add_argument("--root-strategy", default="overlay", help="overlay, copy, reflink or bind")
    parser.add_argument(
        "--pull", default="missing", help="ask the image's registry: missing, always or never"
    )
    parser.add_argument("--read-only", action="store_true", help="a root that cannot be written to")
    parser.add_argument("--limits", choices=["strict", "best-effort"], default="strict")
    parser.add_argument("command", metavar="CMD", nargs=argparse.REMAINDER, help="what to run")


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    for unsupported, words in ((options.tty, "-t"), (options.detach, "-d")):
        if unsupported:
            message = f"`{words}` is not supported yet"
            raise _wrong(message, words)
    words = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not words and options.image == "host":
        raise _wrong("no command is given", "CMD", "anchor run /bin/echo hello")
    name = options.name or f"{PREFIX}{os.urandom(4).hex()}"
    fleet = structure(
        _literal(_tables(options, name, words)),
        lines={},
        file=None,
        directory=str(Path.cwd()),
        environment={},
    )
    looks = Options(
        quiet=True,
        output=False,
        stdio=Stdio(0, 1, 2),
        forget_logs=True,
        check_programs=False,  # execve says it, and its verdict is our exit code
    )
    _sweep_dead_runs()
    with provided(fleet):
        return _exit_code(name, supervise(fleet, looks))


def _sweep_dead_runs() -> None:
    """End what earlier runs left whose supervisor was killed: nobody else knows their names."""
    for name in dead_fleets():
        if name.startswith(PREFIX):
            with suppress(HostError):  # it has only just begun, and has no socket yet
                sweep_fleet(name, volumes=True)


def _wrong(message: str, key: str, hint: str | None = None) -> FleetError:
    return FleetError([Problem(message, key=key, hint=hint)])


def _tables(options: argparse.Namespace, name: str, words: list[str]) -> dict[str, Any]:
    """Say it as a fleet file would, so that there is one place that knows what each word means."""
    container: dict[str, Any] = {
        "kind": "job",
        "image": options.image if options.image == "host" else _image(options.image),
        "pull": options.pull,
        "root": options.root_strategy,
        "read_only": options.read_only,
    }
    limits = {"memory": options.memory, "cpus": options.cpus}
    optional = {
        "environment": [text for text in map(_variable, options.env) if text is not None],
        "volumes": [_volume(text) for text in options.volume],
        "ports": options.publish,
        "command": words,
        "user": options.user,
        "working_dir": options.workdir,
        "limits": {key: value for key, value in limits.items() if value is not None},
        "networks": options.net if options.net in {"none", "host"} else [options.net],
    }
    container |= {key: value for key, value in optional.items() if value}
    return {"fleet": {"name": name, "limits": options.limits}, "containers": {name: container}}


def _literal(value: Any) -> Any:  # noqa: ANN401 - tables of anything
    """A shell has expanded its variables already: every `$` that is left is meant as one."""
    match value:
        case str():
            return value.replace("$", "$$")
        case list():
            return [_literal(item) for item in value]
        case dict():
            return {key: _literal(item) for key, item in value.items()}
        case _:
            return value


def _image(image: str) -> str:
    """What the store has not got and exists here is meant as a path, also without `./`."""
    if not image or image.startswith(("/", "./", "../")) or not Path(image).exists():
        return image
    from anchor_supervisor.images.store import Store

    try:
        found = Store(places.data_dir()).find(image)
    except ImageError:  # no name, or one that could mean several
        found = None
    return image if found else f"./{image}"


def _variable(text: str) -> str | None:
    """`K` alone takes the value that K has here; None where it has none, as docker has it."""
    if "=" in text:
        return text
    return f"{text}={os.environ[text]}" if text in os.environ else None


def _volume(text: str) -> str:
    """Named volumes belong to a fleet; here a bare name can only be a path."""
    source, colon, rest = text.partition(":")
    if colon and source and "/" not in source and source not in {"tmpfs", ".", ".."}:
        return f"./{source}:{rest}"
    return text


def _exit_code(name: str, ending: Ending) -> int:
    """The command's own end; where there was none, our error and what a shell would say."""
    for failure in ending.failures.values():
        show(failure)
        return failure.shell_code if isinstance(failure, SpawnError) else OUR_ERROR
    if ending.interrupted_by is not None:
        return 128 + ending.interrupted_by
    if ending.exit is None:
        return OUR_ERROR if ending.gave_up else 128 + 15
    if ending.exit.oom:
        show(AnchorError(f"`{name}` was killed: {ending.exit.oom}"))
    if ending.exit.signal is not None:
        return 128 + ending.exit.signal
    return OUR_ERROR if ending.exit.code is None else ending.exit.code
